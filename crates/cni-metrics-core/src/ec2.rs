//! The EC2 operations whose latencies count.
//!
//! ipamd's latency summary also holds calls of the instance metadata service and waits for an interface to appear. They
//! are no EC2 operations, take another time by their nature, and are left out of `awsAPILatency`.

/// An EC2 operation that some version of ipamd times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are EC2's own")]
pub enum Ec2Operation {
    AssignIpv6Addresses,
    AssignPrivateIpAddresses,
    AttachNetworkInterface,
    CreateNetworkInterface,
    CreateTags,
    DeleteNetworkInterface,
    DescribeInstanceTypes,
    DescribeInstances,
    DescribeNetworkInterfaces,
    DescribeSubnets,
    DetachNetworkInterface,
    ModifyNetworkInterfaceAttribute,
    UnassignIpv6Addresses,
    UnassignPrivateIpAddresses,
}

/// How many operations there are.
pub const EC2_OPERATIONS: usize = 14;

/// What the SDK for Go before its version 2 appended to an operation's method, and ipamd to some labels.
const METHOD_SUFFIX: &[u8] = b"WithContext";

impl Ec2Operation {
    /// Every operation, in the order of their numbers.
    pub const ALL: [Self; EC2_OPERATIONS] = [
        Self::AssignIpv6Addresses,
        Self::AssignPrivateIpAddresses,
        Self::AttachNetworkInterface,
        Self::CreateNetworkInterface,
        Self::CreateTags,
        Self::DeleteNetworkInterface,
        Self::DescribeInstanceTypes,
        Self::DescribeInstances,
        Self::DescribeNetworkInterfaces,
        Self::DescribeSubnets,
        Self::DetachNetworkInterface,
        Self::ModifyNetworkInterfaceAttribute,
        Self::UnassignIpv6Addresses,
        Self::UnassignPrivateIpAddresses,
    ];

    /// EC2's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AssignIpv6Addresses => "AssignIpv6Addresses",
            Self::AssignPrivateIpAddresses => "AssignPrivateIpAddresses",
            Self::AttachNetworkInterface => "AttachNetworkInterface",
            Self::CreateNetworkInterface => "CreateNetworkInterface",
            Self::CreateTags => "CreateTags",
            Self::DeleteNetworkInterface => "DeleteNetworkInterface",
            Self::DescribeInstanceTypes => "DescribeInstanceTypes",
            Self::DescribeInstances => "DescribeInstances",
            Self::DescribeNetworkInterfaces => "DescribeNetworkInterfaces",
            Self::DescribeSubnets => "DescribeSubnets",
            Self::DetachNetworkInterface => "DetachNetworkInterface",
            Self::ModifyNetworkInterfaceAttribute => "ModifyNetworkInterfaceAttribute",
            Self::UnassignIpv6Addresses => "UnassignIpv6Addresses",
            Self::UnassignPrivateIpAddresses => "UnassignPrivateIpAddresses",
        }
    }

    /// The operation that a label `api` of the latency summary names; `None` for anything that is no EC2 operation.
    pub fn of_label(label: &[u8]) -> Option<Self> {
        let name = label.strip_suffix(METHOD_SUFFIX).unwrap_or(label);
        Self::ALL.into_iter().find(|operation| operation.name().as_bytes() == name)
    }
}

/// The EC2 operations by which a node gets more addresses: only their errors can be why a pod is refused one. Agents up to
/// v1.19.3 call an IPv6 assignment `AssignPrivateIpv6Addresses`.
const GROWTH: [&[u8]; 8] = [
    b"AssignIpv6Addresses",
    b"AssignPrivateIpAddresses",
    b"AssignPrivateIpv6Addresses",
    b"AttachNetworkInterface",
    b"CreateNetworkInterface",
    b"DescribeInstances",
    b"DescribeSubnets",
    b"ModifyNetworkInterfaceAttribute",
];

/// True for a label `api` that names an operation by which a node gets more addresses.
pub fn is_growth_api(label: &[u8]) -> bool {
    let name = label.strip_suffix(METHOD_SUFFIX).unwrap_or(label);
    GROWTH.contains(&name)
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
}
