//! What the page counts of the answers, whatever the lane then does with them.

use cni_types::ec2::{Ec2Code, Ec2Operation};

use super::memory::{Agent, PodKey};
use super::operations::{Asked, Count};
use super::trouble::Trouble;
use crate::input::{Ec2Failure, ImdsError, ImdsErrorKind};
use crate::metrics::{Call, UtilsError};
use crate::output::{Effect, ImdsRead, KubeCall};
use crate::settings::Mode;

impl<K: PodKey> Agent<K> {
    /// Counts an answer of EC2's, and says it on the pod where a permission is missing.
    pub(crate) fn count_ec2(&mut self, asked: Asked, failure: Option<&Ec2Failure>, ms: u32) {
        let Asked::Ec2(op, _, count) = asked else { return };
        // Where no answer came there is no code.
        let code = failure.map(|failure| failure.code.as_deref().unwrap_or_default());
        let call = Call { op, code, ms };
        let at_ms = self.now.unix_ms();
        match count {
            Count::Always => {
                self.metrics.call(call, at_ms);
                if call.code == Some(Ec2Code::InvalidNetworkInterfaceIdNotFound.name()) {
                    self.metrics.scan(call);
                }
            }
            Count::ExceptMissing => self.metrics.call(call, at_ms),
            Count::Plain => self.metrics.plain_request(call),
            Count::FailureOnly if failure.is_some() => self.metrics.scan(call),
            Count::FailureOnly => {}
        }
        // The original looks at the wrong variable after a detach.
        if call.code == Some(Ec2Code::UnauthorizedOperation.name()) && op != Ec2Operation::DetachNetworkInterface {
            self.operations.tell(Effect::Kube(KubeCall::WarnMissingPermission { operation: op }));
        }
    }

    /// Careful: after EC2 throttled a call, reads pause; a read that is answered ends that.
    pub(crate) fn see_throttling(&mut self, asked: Asked, failure: Option<&Ec2Failure>) {
        let now_ms = self.ms();
        let Self { operations, chooser, .. } = self;
        let (Some(gate), Asked::Ec2(_, kind, _)) = (operations.gate(), asked) else { return };
        let throttled = |failure: &Ec2Failure| {
            matches!(failure.code.as_deref(), Some("RequestLimitExceeded" | "Throttling" | "ThrottlingException"))
        };
        match failure {
            Some(failure) if throttled(failure) => gate.throttle(now_ms, |below_ms| chooser.jitter(below_ms)),
            None if kind.is_read() => gate.calm(),
            _ => {}
        }
    }

    /// Counts an error under its whole text, if EC2 caused it.
    pub(crate) fn count_utils(&mut self, site: UtilsError, trouble: &Trouble) {
        if trouble.is_api_error() {
            self.metrics.utils_error(site, trouble.text().to_owned());
        }
    }

    /// Counts a failed read of the metadata service, where the original counts it.
    pub(crate) fn count_imds(&mut self, read: ImdsRead, failure: &ImdsError) {
        let ipv6 = self.facts.mode == Mode::Ipv6;
        if let Some(api) = imds_label(read, failure, ipv6) {
            self.metrics.api_error(api, "IMDSRequestError");
        }
    }
}

/// The label under which a failed read is counted: only some readers count at all, and to some a missing path is an answer.
fn imds_label(read: ImdsRead, failure: &ImdsError, ipv6: bool) -> Option<&'static str> {
    let leaf = failure.path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let missing = failure.kind == ImdsErrorKind::NotFound;
    let label = match leaf {
        "macs" => "GetMACs",
        "subnet-id" => "GetSubnetID",
        "vpc-id" => "GetVpcID",
        "security-group-ids" => "GetSecurityGroupIDs",
        "local-ipv4s" => "GetLocalIPv4s",
        "ipv4-prefix" if !missing => "GetIPv4Prefixes",
        "ipv6-prefix" if !missing => "GetIPv6Prefixes",
        "ipv6s" if !missing => "GetIPv6s",
        "subnet-ipv4-cidr-block" => "GetSubnetIPv4CIDRBlock",
        "subnet-ipv6-cidr-blocks" if !missing => "GetSubnetIPv6CIDRBlocks",
        "network-card" => "GetNetworkCard",
        "vpc-ipv4-cidr-blocks" => "GetVPCIPv4CIDRBlocks",
        "vpc-ipv6-cidr-blocks" => "GetVPCIPv6CIDRBlocks",
        // The answer never came, so that no path stands in it.
        "" => match read {
            ImdsRead::Enis => "GetMACs",
            ImdsRead::Groups => "GetSecurityGroupIDs",
            ImdsRead::VpcCidrs if ipv6 => "GetVPCIPv6CIDRBlocks",
            ImdsRead::VpcCidrs => "GetVPCIPv4CIDRBlocks",
            ImdsRead::Identity => return None,
        },
        _ => return None,
    };
    Some(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(read: ImdsRead, path: &str, kind: ImdsErrorKind) -> Option<&'static str> {
        imds_label(read, &ImdsError { path: path.into(), kind }, false)
    }

    #[test]
    fn only_readers_that_count_have_a_label() {
        let timeout = ImdsErrorKind::Timeout;
        assert_eq!(label(ImdsRead::Enis, "meta-data/network/interfaces/macs/", timeout), Some("GetMACs"));
        assert_eq!(label(ImdsRead::Enis, "meta-data/network/interfaces/macs/0a:1b/device-number", timeout), None);
        let prefixes = "meta-data/network/interfaces/macs/0a:1b/ipv4-prefix";
        assert_eq!(label(ImdsRead::Enis, prefixes, timeout), Some("GetIPv4Prefixes"));
        assert_eq!(label(ImdsRead::Enis, prefixes, ImdsErrorKind::NotFound), None);
        assert_eq!(label(ImdsRead::VpcCidrs, "", timeout), Some("GetVPCIPv4CIDRBlocks"));
        assert_eq!(label(ImdsRead::Identity, "", timeout), None);
    }

    #[test]
    fn each_path_has_the_label_of_its_reader_and_some_may_be_missing() {
        for (leaf, wanted, may_be_missing) in [
            ("macs", "GetMACs", false),
            ("subnet-id", "GetSubnetID", false),
            ("vpc-id", "GetVpcID", false),
            ("security-group-ids", "GetSecurityGroupIDs", false),
            ("local-ipv4s", "GetLocalIPv4s", false),
            ("ipv4-prefix", "GetIPv4Prefixes", true),
            ("ipv6-prefix", "GetIPv6Prefixes", true),
            ("ipv6s", "GetIPv6s", true),
            ("subnet-ipv4-cidr-block", "GetSubnetIPv4CIDRBlock", false),
            ("subnet-ipv6-cidr-blocks", "GetSubnetIPv6CIDRBlocks", true),
            ("network-card", "GetNetworkCard", false),
            ("vpc-ipv4-cidr-blocks", "GetVPCIPv4CIDRBlocks", false),
            ("vpc-ipv6-cidr-blocks", "GetVPCIPv6CIDRBlocks", false),
        ] {
            let path = format!("network/interfaces/macs/02:00/{leaf}");
            assert_eq!(label(ImdsRead::Enis, &path, ImdsErrorKind::Timeout), Some(wanted), "{leaf}");
            let missing = Some(wanted).filter(|_| !may_be_missing);
            assert_eq!(label(ImdsRead::Enis, &path, ImdsErrorKind::NotFound), missing, "{leaf}");
        }
        let failure = ImdsError { path: "".into(), kind: ImdsErrorKind::Timeout };
        for (read, four, six) in [
            (ImdsRead::Enis, Some("GetMACs"), Some("GetMACs")),
            (ImdsRead::Groups, Some("GetSecurityGroupIDs"), Some("GetSecurityGroupIDs")),
            (ImdsRead::VpcCidrs, Some("GetVPCIPv4CIDRBlocks"), Some("GetVPCIPv6CIDRBlocks")),
            (ImdsRead::Identity, None, None),
        ] {
            let labels = [false, true].map(|ipv6| imds_label(read, &failure, ipv6));
            assert_eq!(labels, [four, six], "{read:?}");
        }
    }
}
