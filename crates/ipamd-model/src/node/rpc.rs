//! What the CNI plugin asks: an address for a pod, and its return.

use super::effect::Script;
use super::state::{AddOutcome, DelOutcome, DelReason, Node};
use crate::ec2::{Block, Cloud, EniId, ImdsRead};
use crate::pool::PodKey;
use crate::settings::Mode;
use ipamd_core::store::Ledger;

impl Node {
    /// An `AddNetwork` RPC.
    pub fn add_pod(&mut self, key: PodKey, now_ms: i64, cloud: &mut dyn Cloud) -> AddOutcome {
        self.advance(now_ms, cloud);
        if !self.is_serving() {
            return AddOutcome::NotReady;
        }
        self.metrics.add_requests += 1;
        let held = self.pool.owners().get(&key).copied();
        let Some(address) = held.or_else(|| self.assign(key, now_ms)) else {
            return AddOutcome::NoAddress;
        };
        // The VPC's CIDRs are read afresh for every pod, after the address is taken.
        let mut script = Script::new(now_ms);
        let readable = self.imds(&mut script, ImdsRead::VpcCidrs, cloud);
        self.apply_now(script);
        if readable { AddOutcome::Assigned(address) } else { AddOutcome::ImdsFailed(address) }
    }

    /// An `AddNetwork` RPC of a pod with its own security groups: counted, but the pool has no part in it.
    pub fn add_branch_pod(&mut self, now_ms: i64, cloud: &mut dyn Cloud) -> bool {
        self.advance(now_ms, cloud);
        let ready = self.is_serving();
        self.metrics.add_requests += u64::from(ready);
        ready && self.has_trunk()
    }

    fn assign(&mut self, key: PodKey, now_ms: i64) -> Option<std::net::IpAddr> {
        let mut ledger = Ledger { pool: &mut self.pool, metrics: &mut self.metrics };
        let place = ledger.assign(key, self.mode, now_ms, &mut self.chooser).ok()?.place;
        ledger.assign_written(place);
        Some(place.address)
    }

    /// A `DelNetwork` RPC.
    pub fn del_pod(&mut self, key: PodKey, why: DelReason, now_ms: i64, cloud: &mut dyn Cloud) -> DelOutcome {
        self.advance(now_ms, cloud);
        if !self.is_serving() {
            return DelOutcome::NotReady;
        }
        let [deleted, undone] = &mut self.metrics.del_requests;
        *match why {
            DelReason::PodDeleted => deleted,
            DelReason::SetupNsFailed => undone,
        } += 1;
        let Ok(place) = self.ledger().unassign(&key, now_ms) else { return DelOutcome::UnknownPod };
        self.ledger().unassign_written(place);
        if self.mode == Mode::Secondary && matches!(place.block, Block::Prefix(_)) {
            self.release_leftover_prefixes(place.eni, now_ms, cloud);
        }
        DelOutcome::Released(place.address)
    }

    /// A pod left a prefix of the time when prefix delegation was on: the ENI's free prefixes go.
    fn release_leftover_prefixes(&mut self, eni: EniId, now_ms: i64, cloud: &mut dyn Cloud) {
        let free = self.pool.unused_blocks(eni, true);
        if !free.is_empty() {
            let mut script = Script::new(now_ms);
            self.release(&mut script, eni, free, cloud);
            self.apply_now(script);
        }
    }

    /// RPCs run beside the loop: what they call is felt at once.
    fn apply_now(&mut self, script: Script) {
        for (at_ms, effect) in script.effects {
            self.apply(at_ms, effect);
        }
    }

    /// The pod's interface is gone without a DEL; the next start prunes its allocation.
    pub fn forget_pod(&mut self, key: PodKey) {
        self.gone.push(key);
    }
}
