//! EC2's operations that agents call, and the codes with which EC2 refuses them.
//!
//! Sources: the calls in `pkg/awsutils/awsutils.go` of the VPC CNI, and *Error codes for the Amazon EC2 API*.

mod meaning;

pub use meaning::{CodeMeaning, CodeSource, KNOWN_CODES, KnownCode};

/// The code of a row, or the default where it has none.
macro_rules! or {
    ($default:expr) => {
        $default
    };
    ($default:expr, $given:expr) => {
        $given
    };
}

/// Makes the operations from their rows: the name, whether it is one by which a node gets more addresses, its typical latency
/// in milliseconds, and other labels by which agents name it.
macro_rules! operations {
    ($($name:ident $growth:ident $typical_ms:literal $(latency $latency:literal)? $(formerly $former:literal)?;)+) => {
        /// An EC2 operation that some version of ipamd calls and times.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "the names are EC2's own")]
        pub enum Ec2Operation {
            $($name,)+
        }

        /// How many operations there are.
        pub const EC2_OPERATIONS: usize = [$(stringify!($name)),+].len();

        impl Ec2Operation {
            /// Every operation, in the order of their names and numbers.
            pub const ALL: [Self; EC2_OPERATIONS] = [$(Self::$name),+];

            /// EC2's name of it, as in the labels `fn` and `api`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// True if a node gets more addresses by it: only its errors can be why a pod is refused one.
            pub const fn is_growth(self) -> bool {
                match self {
                    $(Self::$name => Growth::$growth.is_growth(),)+
                }
            }

            /// The label `api` in the latency summary, which names one operation differently from all other families.
            pub const fn latency_name(self) -> &'static str {
                match self {
                    $(Self::$name => or!(stringify!($name) $(, $latency)?),)+
                }
            }

            /// What agents up to v1.19.3 call it in the label `api` of errors, where that is not its name.
            pub const fn former_name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => or!(None $(, Some($former))?),)+
                }
            }

            /// Typical latency of a call that succeeds, milliseconds; the means of a calm cluster.
            pub const fn typical_ms(self) -> i64 {
                match self {
                    $(Self::$name => $typical_ms,)+
                }
            }
        }
    };
}

/// Whether a node gets more addresses by an operation.
#[derive(Clone, Copy)]
enum Growth {
    /// It does.
    Grows,
    /// It does not.
    Other,
}

impl Growth {
    const fn is_growth(self) -> bool {
        matches!(self, Self::Grows)
    }
}

#[rustfmt::skip] // a table is read by columns
operations! {
    AssignIpv6Addresses             Grows 294 latency "AssignIpv6AddressesWithContext" formerly "AssignPrivateIpv6Addresses";
    AssignPrivateIpAddresses        Grows 294;
    AttachNetworkInterface          Grows 438;
    CreateNetworkInterface          Grows 133;
    CreateTags                      Other 112;
    DeleteNetworkInterface          Other 263;
    DescribeInstanceTypes           Other 122;
    DescribeInstances               Grows 133;
    DescribeNetworkInterfaces       Other 118;
    DescribeSubnets                 Grows 122;
    DetachNetworkInterface          Other 203;
    ModifyNetworkInterfaceAttribute Grows 155;
    UnassignIpv6Addresses           Other 240;
    UnassignPrivateIpAddresses      Other 240;
}

/// What the SDK for Go before its version 2 appended to an operation's method, and ipamd to some labels.
const METHOD_SUFFIX: &[u8] = b"WithContext";

impl Ec2Operation {
    /// The operation of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }

    /// The operation that a label `api` of the latency summary names; `None` for anything that is no EC2 operation: the
    /// summary also holds calls of the instance metadata service and waits for an interface to appear.
    pub fn of_label(label: &[u8]) -> Option<Self> {
        let name = label.strip_suffix(METHOD_SUFFIX).unwrap_or(label);
        Self::ALL.into_iter().find(|operation| operation.name().as_bytes() == name)
    }
}

/// Number of names of operations by which a node gets more addresses.
const GROWTH_NAMES: usize = {
    let (mut count, mut at) = (0, 0);
    while at < EC2_OPERATIONS {
        let operation = Ec2Operation::ALL[at];
        if operation.is_growth() {
            count += 1 + operation.former_name().is_some() as usize;
        }
        at += 1;
    }
    count
};

/// The names of the operations by which a node gets more addresses, the former ones included.
const GROWTH: [&[u8]; GROWTH_NAMES] = {
    let mut names: [&[u8]; GROWTH_NAMES] = [&[]; GROWTH_NAMES];
    let (mut next, mut at) = (0, 0);
    while at < EC2_OPERATIONS {
        let operation = Ec2Operation::ALL[at];
        if operation.is_growth() {
            names[next] = operation.name().as_bytes();
            next += 1;
            if let Some(former) = operation.former_name() {
                names[next] = former.as_bytes();
                next += 1;
            }
        }
        at += 1;
    }
    names
};

/// How many labels `api` name such an operation: each name, with and without the suffix.
pub const GROWTH_LABELS: usize = 2 * GROWTH_NAMES;

/// True for a label `api` that names an operation by which a node gets more addresses.
pub fn is_growth_api(label: &[u8]) -> bool {
    let name = label.strip_suffix(METHOD_SUFFIX).unwrap_or(label);
    GROWTH.contains(&name)
}

/// Makes the codes from their rows: the name, the status of HTTP with which EC2 sends it, and what it means to an agent.
macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident $name:literal $status:literal $(insufficient $insufficient:literal)?;)+) => {
        /// Why an EC2 operation failed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Ec2Code {
            /// No answer: a timeout or a broken connection; not an API error, so no code in any label.
            NoAnswer,
            $($(#[$doc])* $variant,)+
        }

        impl Ec2Code {
            /// Every code that EC2 answers with, in the order of their names.
            pub const ANSWERED: &[Self] = &[$(Self::$variant),+];

            /// The code as EC2 spells it; empty where no API error came back.
            pub const fn name(self) -> &'static str {
                match self {
                    Self::NoAnswer => "",
                    $(Self::$variant => $name,)+
                }
            }

            /// HTTP status with which EC2 sends this code.
            pub const fn http_status(self) -> u16 {
                match self {
                    Self::NoAnswer => 400,
                    $(Self::$variant => $status,)+
                }
            }

            /// The two codes that say that a subnet has no more addresses. They start the agent's cooldown of 120 s.
            pub const fn is_insufficient(self) -> bool {
                match self {
                    Self::NoAnswer => false,
                    $(Self::$variant => or!(false $(, $insufficient)?),)+
                }
            }
        }
    };
}

codes! {
    /// The instance has as many ENIs as its type may have.
    AttachmentLimitExceeded "AttachmentLimitExceeded" 400;
    /// No free /28 in the subnet.
    InsufficientCidrBlocks "InsufficientCidrBlocks" 400 insufficient true;
    /// No free address in the subnet.
    InsufficientFreeAddressesInSubnet "InsufficientFreeAddressesInSubnet" 400 insufficient true;
    /// EC2's own fault.
    InternalError "InternalError" 500;
    /// There is no such ENI.
    InvalidNetworkInterfaceIdNotFound "InvalidNetworkInterfaceID.NotFound" 400;
    /// For example deleting an ENI that is still in use.
    InvalidParameterValue "InvalidParameterValue" 400;
    /// The account or the resource does not allow it.
    OperationNotPermitted "OperationNotPermitted" 400;
    /// The ENI has as many addresses as it may have.
    PrivateIpAddressLimitExceeded "PrivateIpAddressLimitExceeded" 400;
    /// Throttling.
    RequestLimitExceeded "RequestLimitExceeded" 503;
    /// The role lacks the action.
    UnauthorizedOperation "UnauthorizedOperation" 403;
    /// EC2 is overloaded.
    Unavailable "Unavailable" 503;
}

impl Ec2Code {
    /// An answer of the API, as opposed to none.
    pub const fn is_api_error(self) -> bool {
        !matches!(self, Self::NoAnswer)
    }
}

/// What helps against calls that failed with this code, in the words of a log line.
pub fn remedy(code: &str) -> &'static str {
    match code {
        "InsufficientFreeAddressesInSubnet" => {
            "the subnet has no free address; free addresses, add a subnet, or lower the warm targets"
        }
        "InsufficientCidrBlocks" => {
            "the subnet has no free /28 block (fragmented or full); reserve a CIDR block for prefixes, or add a subnet"
        }
        "RequestLimitExceeded" | "Throttling" | "ThrottlingException" => {
            "EC2 throttles the account; set warm targets that need fewer calls, or ask AWS for a higher limit"
        }
        "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" => {
            "the agents' role lacks the permission; attach the policy AmazonEKS_CNI_Policy to it"
        }
        "AttachmentLimitExceeded" => {
            "the instance has as many ENIs as its type may have; detach those that the agent does not manage, or set MAX_ENI"
        }
        "NetworkInterfaceLimitExceeded" => {
            "the account's quota of network interfaces in the region is used up; raise it"
        }
        "InternalError" | "Unavailable" | "ServiceUnavailable" => "EC2 has a problem, and the agents try again",
        _ => "aws-node's log on the node has the whole error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_numbered_in_order_and_found_by_their_labels() {
        for (number, operation) in Ec2Operation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, number);
            assert_eq!(Ec2Operation::of_label(operation.name().as_bytes()), Some(operation));
        }
        let with_suffix = b"AssignIpv6AddressesWithContext";
        assert_eq!(Ec2Operation::of_label(with_suffix), Some(Ec2Operation::AssignIpv6Addresses));
    }

    #[test]
    fn operations_of_growth_are_told_from_the_others() {
        let growth = ["CreateNetworkInterface", "AssignPrivateIpAddresses", "AssignIpv6AddressesWithContext"];
        assert!(growth.iter().all(|label| is_growth_api(label.as_bytes())));
        let others =
            ["UnassignPrivateIpAddresses", "DetachNetworkInterface", "CreateTags", "GetMACs", "", "WithContext"];
        assert!(!others.iter().any(|label| is_growth_api(label.as_bytes())));
    }

    #[test]
    fn metadata_calls_waits_and_unknown_names_are_no_operations() {
        for label in ["GetMetadata", "waitForENIAndIPsAttached", "WithContext", "", "createtags", "CreateTagsX"] {
            assert_eq!(Ec2Operation::of_label(label.as_bytes()), None, "{label}");
        }
    }

    #[test]
    fn names_and_codes_are_in_order_and_used_once() {
        let names = Ec2Operation::ALL.map(Ec2Operation::name);
        assert!(names.is_sorted_by(|one, next| one < next), "{names:?}");
        let codes: Vec<&str> = Ec2Code::ANSWERED.iter().map(|code| code.name()).collect();
        assert!(codes.is_sorted_by(|one, next| one < next), "{codes:?}");
        for code in Ec2Code::ANSWERED {
            assert!(code.is_api_error() && (400..600).contains(&code.http_status()), "{code:?}");
            assert_eq!(code.is_insufficient(), code.name().starts_with("Insufficient"), "{code:?}");
        }
        assert!(!Ec2Code::NoAnswer.is_api_error());
    }

    #[test]
    fn errors_of_growth_are_known_by_present_and_former_names() {
        let mut names = GROWTH.map(|name| std::str::from_utf8(name).unwrap());
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "AssignIpv6Addresses",
                "AssignPrivateIpAddresses",
                "AssignPrivateIpv6Addresses",
                "AttachNetworkInterface",
                "CreateNetworkInterface",
                "DescribeInstances",
                "DescribeSubnets",
                "ModifyNetworkInterfaceAttribute",
            ]
        );
        for operation in Ec2Operation::ALL {
            assert_eq!(Ec2Operation::of_label(operation.latency_name().as_bytes()), Some(operation));
            assert_eq!(Ec2Operation::by_name(operation.name()), Some(operation));
        }
    }
}
