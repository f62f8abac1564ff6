//! What runs beside the loop: the 30 s look at security groups and VPC, and the hourly search for leaked ENIs.

use super::effect::Script;
use super::state::{Leaked, Node};
use crate::ec2::{Cloud, ImdsRead};
use crate::metrics::{Call, UtilsError};
use cni_types::ec2::{Ec2Code, Ec2Operation};

/// Security groups and VPC CIDRs are looked at this often.
const WATCH_INTERVAL_MS: i64 = 30_000;
/// Leaked ENIs are searched an hour after the last search, and up to 299 s later.
const LEAK_SCAN_INTERVAL_MS: i64 = 3_600_000;
/// A search leaves ENIs alone that are younger than this.
const LEAK_MINIMUM_AGE_MS: i64 = 300_000;

impl Node {
    pub(super) fn begin_background(&mut self, now_ms: i64) {
        self.watch_at_ms = now_ms + WATCH_INTERVAL_MS;
        self.leak_scan_at_ms = if self.spec.settings.leak_cleanup { now_ms + self.scan_jitter_ms() } else { i64::MAX };
    }

    fn scan_jitter_ms(&mut self) -> i64 {
        self.chooser.random.between(0, 299) * 1_000
    }

    pub(super) fn watch(&mut self, at_ms: i64, cloud: &mut dyn Cloud) {
        self.watch_at_ms = at_ms + WATCH_INTERVAL_MS;
        self.prune_released(at_ms);
        let mut script = Script::new(at_ms);
        if self.spec.settings.provisioning {
            self.imds(&mut script, ImdsRead::SecurityGroups, cloud);
        }
        self.imds(&mut script, ImdsRead::VpcCidrs, cloud);
        for (at_ms, effect) in script.effects {
            self.apply(at_ms, effect);
        }
    }

    pub(super) fn scan_for_leaks(&mut self, at_ms: i64, cloud: &mut dyn Cloud) {
        let mut script = Script::new(at_ms);
        let op = Ec2Operation::DescribeNetworkInterfaces;
        let code = cloud.fault(op, at_ms);
        self.metrics.scan(Call { op, code: code.map(Ec2Code::name), ms: 0 });
        if code.is_none() {
            let old = |leaked: &Leaked| at_ms - leaked.since_ms >= LEAK_MINIMUM_AGE_MS;
            let (due, young) = std::mem::take(&mut self.leaked).into_iter().partition(old);
            self.leaked = young;
            for Leaked { eni, .. } in due {
                if let Err(code) = self.delete_eni(&mut script, eni, false, cloud) {
                    self.utils_error(
                        &mut script,
                        UtilsError::CleanUpLeaked,
                        Ec2Operation::DeleteNetworkInterface,
                        code,
                    );
                }
            }
        }
        let ended_ms = script.at_ms;
        self.leak_scan_at_ms = ended_ms + LEAK_SCAN_INTERVAL_MS + self.scan_jitter_ms();
        // Its own goroutine: what it does is felt at once and the loop does not wait.
        for (_, effect) in script.effects {
            self.apply(at_ms, effect);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::ec2::{AttachedEni, EniId, SubnetId, SubnetSpec, Vpc};
    use crate::node::NodeSpec;
    use crate::settings::Settings;
    use cni_types::limits::InstanceLimits;

    #[test]
    fn a_search_leaves_young_enis_alone() {
        let mut vpc = Vpc::new(vec![SubnetSpec::new(SubnetId::from_bits(0), Ipv4Addr::new(10, 0, 0, 0), 24)], 0);
        let spec = NodeSpec::new(InstanceLimits::custom(3, 10), Settings::manifest(), SubnetId::from_bits(0), 0);
        let mut node = Node::new(spec, 0, &mut vpc).unwrap();
        let primary = vpc.take_addresses(SubnetId::from_bits(0), 1).unwrap()[0];
        let free = vpc.free_addresses(SubnetId::from_bits(0));
        let eni = AttachedEni::new(EniId::from_bits(7), 0, SubnetId::from_bits(0), primary);
        node.leaked.push(Leaked { eni, since_ms: 1_000 });
        node.scan_for_leaks(300_999, &mut vpc);
        assert_eq!((node.leaked.len(), vpc.free_addresses(SubnetId::from_bits(0))), (1, free));
        node.scan_for_leaks(301_000, &mut vpc);
        assert_eq!((node.leaked.len(), vpc.free_addresses(SubnetId::from_bits(0))), (0, free + 1));
    }
}
