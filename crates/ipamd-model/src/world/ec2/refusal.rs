//! The words with which EC2 refuses a call. One id that a message names stands in single quotes.

use std::net::Ipv4Addr;

use cni_types::ec2::Ec2Operation;
use ipamd_core::id::{AttachmentId, EniId, GroupId, InstanceId, SubnetId};
use ipamd_core::input::{Ec2Failure, Fate};

/// An error that EC2 answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its code.
    pub code: Box<str>,
    /// Its message.
    pub message: Box<str>,
}

impl Refusal {
    /// A code with its message.
    pub fn new(code: &str, message: impl Into<Box<str>>) -> Self {
        Self { code: code.into(), message: message.into() }
    }

    /// Any code, with what EC2 usually says with it.
    pub fn of_code(code: &str) -> Self {
        let message = match code {
            "RequestLimitExceeded" => "Request limit exceeded.",
            "UnauthorizedOperation" => "You are not authorized to perform this operation.",
            "InternalError" => "An internal error has occurred",
            "Unavailable" => "The service is unavailable. Please try again shortly.",
            "InsufficientFreeAddressesInSubnet" => {
                "The specified subnet does not have enough free addresses to satisfy the request."
            }
            "InsufficientCidrBlocks" => {
                "There are not enough free cidr blocks in the specified subnet to satisfy the request."
            }
            "PrivateIpAddressLimitExceeded" => "Number of private addresses will exceed limit.",
            _ => "The request could not be completed.",
        };
        Self::new(code, message)
    }

    /// There is no such ENI.
    pub fn no_eni(eni: EniId) -> Self {
        let message = format!("The networkInterface ID '{eni}' does not exist");
        Self::new("InvalidNetworkInterfaceID.NotFound", message)
    }

    /// There is no such subnet.
    pub fn no_subnet(subnet: SubnetId) -> Self {
        Self::new("InvalidSubnetID.NotFound", format!("The subnet ID '{subnet}' does not exist"))
    }

    /// There is no such security group.
    pub fn no_group(group: GroupId) -> Self {
        Self::new("InvalidGroup.NotFound", format!("The security group '{group}' does not exist"))
    }

    /// There is no such attachment.
    pub fn no_attachment(attachment: AttachmentId) -> Self {
        Self::new("InvalidAttachmentID.NotFound", format!("The attachment ID '{attachment}' does not exist"))
    }

    /// There is no such instance, or it was terminated.
    pub fn no_instance(instance: InstanceId) -> Self {
        Self::new("InvalidInstanceID.NotFound", format!("The instance ID '{instance}' does not exist"))
    }

    /// The ENI is attached, and the call wants one that is not.
    pub fn in_use(eni: EniId) -> Self {
        Self::new("InvalidParameterValue", format!("Network interface '{eni}' is currently in use."))
    }

    /// The ENI is attached already.
    pub fn attached_already(eni: EniId) -> Self {
        Self::new("InvalidNetworkInterface.InUse", format!("Interface: [{eni}] in use."))
    }

    /// The attachment is not in a state in which it can be detached.
    pub fn wrong_state(attachment: AttachmentId) -> Self {
        let message = format!("Attachment '{attachment}' is not in state 'attached'.");
        Self::new("IncorrectState", message)
    }

    /// The primary ENI stays.
    pub fn primary_stays() -> Self {
        let message = "The network interface at device index 0 and networkCard index 0 cannot be detached.";
        Self::new("OperationNotPermitted", message)
    }

    /// The device number is taken.
    pub fn device_in_use(instance: InstanceId, device: u8) -> Self {
        let message = format!("Ec2Instance '{instance}' already has an interface attached at device index '{device}'.");
        Self::new("InvalidParameterValue", message)
    }

    /// The instance has as many ENIs as its type may have.
    pub fn too_many_enis(count: usize, instance_type: &str) -> Self {
        let message = format!("Interface count {count} exceeds the limit for {instance_type}");
        Self::new("AttachmentLimitExceeded", message)
    }

    /// The account has as many ENIs as its quota allows.
    pub fn account_is_full() -> Self {
        let message = "The maximum number of network interfaces has been reached.";
        Self::new("NetworkInterfaceLimitExceeded", message)
    }

    /// At least one of these addresses or prefixes is not the ENI's; nothing was taken from it.
    pub fn not_assigned(eni: EniId, addresses: &[Ipv4Addr]) -> Self {
        let named = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let message = format!("Some of [{named}] addresses are not assigned to interface {eni}");
        Self::new("InvalidParameterValue", message)
    }

    /// At least one of these /80 prefixes is not the ENI's.
    pub fn not_assigned_ipv6(eni: EniId) -> Self {
        let message = format!("Some of the specified prefixes are not assigned to interface {eni}");
        Self::new("InvalidParameterValue", message)
    }

    /// A call with a token of another call.
    pub fn token_of_another() -> Self {
        let message = "The request uses the same client token as a previous, but non-identical request.";
        Self::new("IdempotentParameterMismatch", message)
    }

    /// A parameter is out of its range.
    pub fn bad_parameter(what: &str) -> Self {
        Self::new("InvalidParameterValue", format!("Value for parameter {what} is invalid."))
    }

    /// The SDK sends the call again by itself.
    pub fn is_retried_by_the_sdk(&self) -> bool {
        matches!(
            &*self.code,
            "RequestLimitExceeded" | "Throttling" | "ThrottlingException" | "InternalError" | "Unavailable"
        )
    }

    /// What the SDK makes of it after so many attempts.
    pub fn failure(self, operation: Ec2Operation, request: (u64, u64), attempts: u32) -> Ec2Failure {
        let tried = match attempts {
            0 | 1 => String::new(),
            many => format!("exceeded maximum number of attempts, {many}, "),
        };
        let Self { code, message } = self;
        let text = format!(
            "operation error EC2: {}, {tried}https response error StatusCode: {}, RequestID: {}, api error {code}: {message}",
            operation.name(),
            status_of(&code),
            request_id(request),
        );
        Ec2Failure { code: Some(code), message, text: text.into(), fate: Fate::Refused }
    }
}

/// A failure in which EC2 had no part that is known: the call was not sent, or nothing came back.
pub fn no_answer(operation: Ec2Operation, fate: Fate) -> Ec2Failure {
    let name = operation.name();
    let text = match fate {
        Fate::NotSent => {
            format!("operation error EC2: {name}, failed to sign request: failed to refresh cached credentials")
        }
        _ => {
            format!("operation error EC2: {name}, https response error StatusCode: 0, RequestID: , request send failed")
        }
    };
    Ec2Failure { code: None, message: text.clone().into(), text: text.into(), fate }
}

/// The SDK refuses a detach without an attachment's id: nothing is sent.
pub fn detach_without_attachment() -> Ec2Failure {
    let text = "operation error EC2: DetachNetworkInterface, 1 validation error(s) found.\n- missing required field, \
                DetachNetworkInterfaceInput.AttachmentId.\n";
    Ec2Failure { code: None, message: text.into(), text: text.into(), fate: Fate::NotSent }
}

fn status_of(code: &str) -> u16 {
    use cni_types::ec2::Ec2Code;
    let known = Ec2Code::ANSWERED.iter().find(|known| known.name() == code);
    known.map_or(400, |known| known.http_status())
}

fn request_id((high, low): (u64, u64)) -> String {
    format!(
        "{:08x}-{:04x}-4{:03x}-9{:03x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_that_of_the_sdk_and_names_the_id() {
        let eni = EniId::from_bits(0xabc);
        let refusal = Refusal::no_eni(eni);
        let failure = refusal.failure(Ec2Operation::DeleteNetworkInterface, (1 << 32, 5), 1);
        assert_eq!(&*failure.message, "The networkInterface ID 'eni-00000000000000abc' does not exist");
        assert_eq!(
            &*failure.text,
            "operation error EC2: DeleteNetworkInterface, https response error StatusCode: 400, RequestID: \
             00000001-0000-4000-9000-000000000005, api error InvalidNetworkInterfaceID.NotFound: The networkInterface ID \
             'eni-00000000000000abc' does not exist"
        );
        assert_eq!(
            (failure.code.as_deref(), failure.fate),
            (Some("InvalidNetworkInterfaceID.NotFound"), Fate::Refused)
        );
    }

    #[test]
    fn exhausted_attempts_are_said() {
        let failure = Refusal::of_code("RequestLimitExceeded").failure(Ec2Operation::DescribeSubnets, (0, 0), 3);
        assert!(
            failure.text.starts_with("operation error EC2: DescribeSubnets, exceeded maximum number of attempts, 3, ")
        );
        assert!(failure.text.contains("StatusCode: 503"), "{failure}");
    }

    #[test]
    fn without_an_answer_there_is_no_code() {
        for fate in [Fate::NotSent, Fate::Unknown] {
            let failure = no_answer(Ec2Operation::CreateTags, fate);
            assert!(failure.code.is_none() && failure.fate == fate && failure.text.contains("CreateTags"), "{failure}");
        }
        assert_eq!(detach_without_attachment().fate, Fate::NotSent);
    }
}
