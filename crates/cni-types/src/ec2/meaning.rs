//! What an error code in the labels of an agent means for its node's addresses.
//!
//! Sources: *Error codes for the Amazon EC2 API* and *Common error types* of STS in the AWS documentation, and the codes that the
//! VPC CNI's source names. Agents up to v1.19.3 are built with version 1 of the SDK for Go, whose own codes are here too.

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

/// A code with its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownCode {
    /// As it is spelled in the label `error`.
    pub code: &'static str,
    /// What it says.
    pub meaning: CodeMeaning,
}

const fn known(code: &'static str, meaning: CodeMeaning) -> KnownCode {
    KnownCode { code, meaning }
}

/// Every code whose meaning is known, in the order of the codes.
pub const KNOWN_CODES: &[KnownCode] = {
    use CodeMeaning::{
        AccessDenied, InvalidValue, Metadata, NoFreeAddress, NoFreeBlock, OutOfStep, PermissionMissing, QuotaReached,
        RoleUnusable, ServiceFault, SlotsTaken, Throttled, Unreachable, WrongReference,
    };
    &[
        known("AccessDenied", AccessDenied),
        known("AccessDeniedException", AccessDenied),
        known("AttachmentLimitExceeded", SlotsTaken),
        known("AuthFailure", RoleUnusable),
        known("EC2MetadataError", Metadata),
        known("EC2ThrottledException", Throttled),
        known("ExpiredToken", RoleUnusable),
        known("ExpiredTokenException", RoleUnusable),
        known("IDPCommunicationError", RoleUnusable),
        known("IDPRejectedClaim", RoleUnusable),
        known("IMDSRequestError", Metadata),
        known("InsufficientCidrBlocks", NoFreeBlock),
        known("InsufficientFreeAddressesInSubnet", NoFreeAddress),
        known("InternalError", ServiceFault),
        known("InternalFailure", ServiceFault),
        known("InvalidClientTokenId", RoleUnusable),
        known("InvalidGroup.NotFound", WrongReference),
        known("InvalidIdentityToken", RoleUnusable),
        known("InvalidNetworkInterfaceID.NotFound", OutOfStep),
        known("InvalidParameterValue", InvalidValue),
        known("InvalidSecurityGroupID.NotFound", WrongReference),
        known("InvalidSubnetID.NotFound", WrongReference),
        known("NetworkInterfaceLimitExceeded", QuotaReached),
        known("NoCredentialProviders", RoleUnusable),
        known("PrivateIpAddressLimitExceeded", OutOfStep),
        known("RequestCanceled", Unreachable),
        known("RequestError", Unreachable),
        known("RequestExpired", RoleUnusable),
        known("RequestLimitExceeded", Throttled),
        known("ServiceUnavailable", ServiceFault),
        known("SignatureDoesNotMatch", RoleUnusable),
        known("Throttling", Throttled),
        known("ThrottlingException", Throttled),
        known("UnauthorizedOperation", PermissionMissing),
        known("Unavailable", ServiceFault),
        known("UnrecognizedClientException", RoleUnusable),
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

    /// The codes that the source of the original v1.23.2 compares with or makes: `pkg/ipamd/ipamd.go`,
    /// `pkg/awsutils/awsutils.go`, `pkg/awsutils/imds.go`.
    const HANDLED_BY_THE_ORIGINAL: [(&str, CodeMeaning); 7] = [
        ("IMDSRequestError", CodeMeaning::Metadata),
        ("InsufficientCidrBlocks", CodeMeaning::NoFreeBlock),
        ("InsufficientFreeAddressesInSubnet", CodeMeaning::NoFreeAddress),
        ("InvalidNetworkInterfaceID.NotFound", CodeMeaning::OutOfStep),
        ("InvalidParameterValue", CodeMeaning::InvalidValue),
        ("PrivateIpAddressLimitExceeded", CodeMeaning::OutOfStep),
        ("UnauthorizedOperation", CodeMeaning::PermissionMissing),
    ];

    #[test]
    fn every_code_that_the_original_handles_has_its_meaning() {
        for (code, meaning) in HANDLED_BY_THE_ORIGINAL {
            assert_eq!(CodeMeaning::of(code), Some(meaning), "{code}");
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
