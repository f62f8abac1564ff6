//! What an error code in the labels of an agent means for its node's addresses.
//!
//! Agents up to v1.19.3 are built with version 1 of the SDK for Go, newer ones with version 2. The label has the code that the
//! error carries: that of the service, or one that the SDK or the agent made itself. Each code of the table names where it comes
//! from.

use std::fmt;

/// What a code says about the call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CodeMeaning {
    /// The credentials themselves are refused, so every call fails.
    RoleUnusable,
    /// On one API a permission is missing; on several the role cannot be used.
    AccessDenied,
    /// The role lacks the action.
    PermissionMissing,
    /// No free /28 block in the subnet: fragmented, or full.
    NoFreeBlock,
    /// Too few free addresses in the subnet.
    NoFreeAddress,
    /// The instance has as many ENIs as its type may have.
    SlotsTaken,
    /// The account's quota of network interfaces is used up.
    QuotaReached,
    /// A subnet or a security group that the call names does not exist, or does not fit.
    WrongReference,
    /// One of the call's values is not valid: a wrong security group, a prefix where none is free, or an ENI in use.
    InvalidValue,
    /// The account is throttled.
    Throttled,
    /// No answer: the end point was not reached, or took too long.
    Unreachable,
    /// EC2's own fault.
    ServiceFault,
    /// The agent's datastore and EC2 differ; agents count it as success or compare anew.
    OutOfStep,
    /// A call of the instance metadata service failed.
    Metadata,
}

/// Where a code is documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CodeSource {
    /// *Error codes for the Amazon EC2 API*: client errors of all actions or of some, and server errors.
    Ec2,
    /// *Troubleshooting* of prefix delegation in the EKS documentation: EC2's page does not list it.
    Eks,
    /// *Errors* of `AssumeRoleWithWebIdentity` and `AssumeRole` in the STS API reference.
    Sts,
    /// *Common error types* of AWS's APIs.
    Common,
    /// The SDK for Go, version 1: made by the SDK where no service answered, or where it waits for credentials.
    Sdk1,
    /// The SDK for Go, either version: codes that it takes as throttling.
    Throttles,
    /// The VPC CNI's source, which makes it.
    Agent,
}

impl CodeSource {
    /// A code of a call to EC2 that only agents of version 1 of the SDK have.
    pub const fn is_of_first_sdk(self) -> bool {
        matches!(self, Self::Sdk1)
    }
}

/// A code with its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownCode {
    /// As it is spelled in the label `error`.
    pub code: &'static str,
    /// What it says.
    pub meaning: CodeMeaning,
    /// Where it is documented.
    pub source: CodeSource,
    /// The source of the VPC CNI v1.23.2 decides something by it, or makes it.
    pub is_handled: bool,
}

const fn known(code: &'static str, meaning: CodeMeaning, source: CodeSource) -> KnownCode {
    KnownCode { code, meaning, source, is_handled: false }
}

/// The same for a code that the VPC CNI's source names.
const fn handled(code: &'static str, meaning: CodeMeaning, source: CodeSource) -> KnownCode {
    KnownCode { is_handled: true, ..known(code, meaning, source) }
}

/// Every code whose meaning is known, in the order of the codes.
pub const KNOWN_CODES: &[KnownCode] = {
    use CodeMeaning as M;
    use CodeSource as S;
    &[
        known("AccessDenied", M::AccessDenied, S::Sts),
        known("AccessDeniedException", M::AccessDenied, S::Common),
        known("AttachmentLimitExceeded", M::SlotsTaken, S::Ec2),
        known("AuthFailure", M::RoleUnusable, S::Ec2),
        known("Blocked", M::RoleUnusable, S::Ec2),
        known("CredentialsEndpointError", M::RoleUnusable, S::Sdk1),
        known("EC2MetadataError", M::Metadata, S::Sdk1),
        known("EC2RoleRequestError", M::RoleUnusable, S::Sdk1),
        known("EC2ThrottledException", M::Throttled, S::Throttles),
        known("ExpiredToken", M::RoleUnusable, S::Sts),
        known("ExpiredTokenException", M::RoleUnusable, S::Sts),
        known("IDPCommunicationError", M::RoleUnusable, S::Sts),
        known("IDPRejectedClaim", M::RoleUnusable, S::Sts),
        handled("IMDSRequestError", M::Metadata, S::Agent),
        known("IncompleteSignature", M::RoleUnusable, S::Ec2),
        handled("InsufficientCidrBlocks", M::NoFreeBlock, S::Eks),
        handled("InsufficientFreeAddressesInSubnet", M::NoFreeAddress, S::Ec2),
        known("InternalError", M::ServiceFault, S::Ec2),
        known("InternalFailure", M::ServiceFault, S::Ec2),
        known("InvalidClientTokenId", M::RoleUnusable, S::Ec2),
        known("InvalidGroup.NotFound", M::WrongReference, S::Ec2),
        known("InvalidGroupId.Malformed", M::WrongReference, S::Ec2),
        known("InvalidIdentityToken", M::RoleUnusable, S::Sts),
        handled("InvalidNetworkInterfaceID.NotFound", M::OutOfStep, S::Ec2),
        handled("InvalidParameterValue", M::InvalidValue, S::Ec2),
        known("InvalidSecurityGroupID.NotFound", M::WrongReference, S::Ec2),
        known("InvalidSubnet", M::WrongReference, S::Ec2),
        known("InvalidSubnetID.NotFound", M::WrongReference, S::Ec2),
        known("MissingAuthenticationToken", M::RoleUnusable, S::Ec2),
        known("NetworkInterfaceLimitExceeded", M::QuotaReached, S::Ec2),
        known("NoCredentialProviders", M::RoleUnusable, S::Sdk1),
        handled("NotFound", M::Metadata, S::Agent),
        known("OptInRequired", M::RoleUnusable, S::Ec2),
        known("PendingVerification", M::RoleUnusable, S::Ec2),
        handled("PrivateIpAddressLimitExceeded", M::OutOfStep, S::Ec2),
        known("RegionDisabledException", M::RoleUnusable, S::Sts),
        known("RequestCanceled", M::Unreachable, S::Sdk1),
        known("RequestError", M::Unreachable, S::Sdk1),
        known("RequestExpired", M::RoleUnusable, S::Ec2),
        known("RequestLimitExceeded", M::Throttled, S::Ec2),
        known("RequestThrottled", M::Throttled, S::Throttles),
        known("RequestThrottledException", M::Throttled, S::Throttles),
        known("SecurityGroupsPerInterfaceLimitExceeded", M::InvalidValue, S::Ec2),
        known("ServiceUnavailable", M::ServiceFault, S::Ec2),
        known("SignatureDoesNotMatch", M::RoleUnusable, S::Common),
        known("SlowDown", M::Throttled, S::Throttles),
        known("ThrottledException", M::Throttled, S::Throttles),
        known("Throttling", M::Throttled, S::Throttles),
        known("ThrottlingException", M::Throttled, S::Common),
        known("TooManyRequestsException", M::Throttled, S::Throttles),
        handled("UnauthorizedOperation", M::PermissionMissing, S::Ec2),
        known("Unavailable", M::ServiceFault, S::Ec2),
        known("UnrecognizedClientException", M::RoleUnusable, S::Common),
        known("WebIdentityErr", M::RoleUnusable, S::Sdk1),
    ]
};

impl CodeMeaning {
    /// What a code means; `None` for one that is not in the table.
    pub fn of(code: &str) -> Option<Self> {
        let found = KNOWN_CODES.binary_search_by(|known| known.code.cmp(code)).ok()?;
        KNOWN_CODES.get(found).map(|known| known.meaning)
    }
}

impl fmt::Display for CodeMeaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RoleUnusable => "the credentials are refused",
            Self::AccessDenied => "access is denied",
            Self::PermissionMissing => "a permission is missing",
            Self::NoFreeBlock => "the subnet has no free /28 block",
            Self::NoFreeAddress => "the subnet has too few free addresses",
            Self::SlotsTaken => "the instance has as many ENIs as its type may have",
            Self::QuotaReached => "the quota of network interfaces is used up",
            Self::WrongReference => "a subnet or a security group does not exist",
            Self::InvalidValue => "a value is not valid",
            Self::Throttled => "the account is throttled",
            Self::Unreachable => "no answer came",
            Self::ServiceFault => "EC2 has a fault",
            Self::OutOfStep => "the agent's datastore and EC2 differ",
            Self::Metadata => "the instance metadata service failed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ec2::Ec2Code;

    /// What the source of the VPC CNI v1.23.2 compares a code with, or makes itself, and what it does then. A test that needs Go
    /// (`the_table_has_the_codes_that_the_original_handles`) holds the list to the source.
    const HANDLED: [(&str, CodeMeaning, &str); 8] = [
        ("IMDSRequestError", CodeMeaning::Metadata, "a request of instance metadata failed without a code of its own"),
        (
            "InsufficientCidrBlocks",
            CodeMeaning::NoFreeBlock,
            "assigns nothing for two minutes, or tries another subnet",
        ),
        ("InsufficientFreeAddressesInSubnet", CodeMeaning::NoFreeAddress, "the same"),
        ("InvalidNetworkInterfaceID.NotFound", CodeMeaning::OutOfStep, "takes the ENI as gone"),
        ("InvalidParameterValue", CodeMeaning::InvalidValue, "tries no further to assign IPv6 prefixes"),
        ("NotFound", CodeMeaning::Metadata, "takes a key of instance metadata as absent"),
        ("PrivateIpAddressLimitExceeded", CodeMeaning::OutOfStep, "reads what the ENI has, as after a success"),
        ("UnauthorizedOperation", CodeMeaning::PermissionMissing, "sends an event, or tries no further"),
    ];

    #[test]
    fn the_codes_that_the_original_handles_are_exactly_those_that_the_table_says() {
        let listed: Vec<_> = HANDLED.iter().map(|(code, meaning, _)| (*code, *meaning)).collect();
        let handled = KNOWN_CODES.iter().filter(|known| known.is_handled);
        assert_eq!(handled.map(|known| (known.code, known.meaning)).collect::<Vec<_>>(), listed);
    }

    /// Where no service answers, the first SDK makes a code; what it makes, no service sends.
    #[test]
    fn the_codes_of_sources_have_meanings_that_fit_them() {
        for known in KNOWN_CODES {
            let fits = match known.source {
                CodeSource::Agent => known.is_handled && known.meaning == CodeMeaning::Metadata,
                CodeSource::Throttles => known.meaning == CodeMeaning::Throttled,
                CodeSource::Eks => known.meaning == CodeMeaning::NoFreeBlock,
                CodeSource::Sts => matches!(known.meaning, CodeMeaning::RoleUnusable | CodeMeaning::AccessDenied),
                CodeSource::Sdk1 => {
                    matches!(
                        known.meaning,
                        CodeMeaning::RoleUnusable | CodeMeaning::Unreachable | CodeMeaning::Metadata
                    )
                }
                CodeSource::Ec2 | CodeSource::Common => known.meaning != CodeMeaning::Metadata,
            };
            assert!(fits, "{known:?}");
            assert!(!known.is_handled || !known.source.is_of_first_sdk(), "{known:?}");
        }
    }

    #[test]
    fn the_codes_that_start_the_agents_back_off_are_those_of_an_exhausted_subnet() {
        for known in KNOWN_CODES {
            let is_exhausted = matches!(known.meaning, CodeMeaning::NoFreeBlock | CodeMeaning::NoFreeAddress);
            let code = Ec2Code::ANSWERED.iter().find(|code| code.name() == known.code);
            assert_eq!(code.is_some_and(|code| code.is_insufficient()), is_exhausted, "{known:?}");
        }
    }

    #[test]
    fn the_table_is_in_order_and_every_code_that_the_model_answers_is_in_it() {
        assert!(KNOWN_CODES.is_sorted_by(|one, next| one.code < next.code));
        for code in Ec2Code::ANSWERED.iter().filter(|code| **code != Ec2Code::OperationNotPermitted) {
            assert!(CodeMeaning::of(code.name()).is_some(), "{code:?}");
        }
        // It says nothing of its own: the text beside it does.
        assert_eq!(CodeMeaning::of("OperationNotPermitted"), None);
        assert_eq!(CodeMeaning::of(""), None);
    }
}
