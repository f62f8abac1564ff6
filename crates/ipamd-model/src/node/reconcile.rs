//! Comparing the store with IMDS, and with EC2 where the two disagree.

use super::effect::{Effect, Script};
use super::state::{HALF_LOOP_MS, Node, Step};
use crate::ec2::{AttachedEni, Block, Cloud, EniId, EniKind, ImdsRead};
use crate::metrics::{Action, IpamdError, Reconcile};
use crate::pool::PoolEni;
use cni_types::ec2::Ec2Operation;

/// A reconcile runs when more than this has passed since the last pool action.
const RECONCILE_INTERVAL_MS: i64 = 60_000;

/// A released CIDR that EC2 still shows is taken back only after this.
const READOPTION_COOLDOWN_MS: i64 = 60_000;

impl Node {
    /// The second half of a cycle.
    pub(super) fn reconcile(&mut self, s: &mut Script, cloud: &mut dyn Cloud) -> (Step, i64) {
        let next = if self.spec.settings.provisioning { Step::PoolCheck } else { Step::Reconcile };
        let due = self.last_action_ms.is_none_or(|last| s.at_ms - last > RECONCILE_INTERVAL_MS);
        let trunk_missing = self.spec.settings.pod_eni && !self.has_trunk();
        if due || trunk_missing {
            s.push(Effect::Progress(Action::Reconcile, 1));
            if self.compare(s, cloud).is_some() {
                s.push(Effect::Acted);
            }
            s.push(Effect::Progress(Action::Reconcile, -1));
        }
        (next, HALF_LOOP_MS)
    }

    /// One pass; `None` where it broke off, which leaves it due.
    fn compare(&mut self, s: &mut Script, cloud: &mut dyn Cloud) -> Option<()> {
        self.metrics.imds_reads += 2 * self.instance.enis.len() as u64;
        if !self.imds(s, ImdsRead::Macs, cloud) {
            s.push(Effect::Ipamd(IpamdError::ReconcileList));
            return None;
        }
        let known = |node: &Self, id: EniId| node.pool.eni(id).is_some() || node.unmanaged.contains(&id);
        let efa = |eni: &AttachedEni| eni.kind == EniKind::EfaOnly;
        if self.instance.enis.iter().any(|eni| !efa(eni) && !known(self, eni.id)) {
            self.describe_all(s, cloud).ok()?;
        }
        self.write_ceilings();
        let stored: Vec<_> = self.pool.enis().iter().map(|eni| eni.id).collect();
        let present: Vec<_> = self.managed().map(|eni| eni.id).collect();
        for id in &present {
            if stored.contains(id) {
                self.compare_eni(s, *id, cloud);
            } else {
                self.adopt_met(s, *id, cloud);
            }
        }
        stored.iter().filter(|id| !present.contains(id)).for_each(|id| self.sweep_eni(*id));
        Some(())
    }

    /// An ENI that the agent did not attach: it is tagged and added.
    fn adopt_met(&mut self, s: &mut Script, id: EniId, cloud: &mut dyn Cloud) {
        let kind = self.instance.eni(id).map(|eni| (eni.kind, eni.tagged));
        let wants_tags = kind.is_some_and(|(kind, tagged)| kind != EniKind::Trunk && !tagged);
        let tagged = !wants_tags || !self.spec.settings.provisioning || self.tag(s, id, cloud).is_ok();
        if tagged && self.set_up_eni(s, id, cloud).is_ok() {
            self.metrics.reconciled(Reconcile::EniAdd, 1);
        } else {
            s.push(Effect::Ipamd(IpamdError::ReconcileAddEni));
        }
    }

    fn compare_eni(&mut self, s: &mut Script, id: EniId, cloud: &mut dyn Cloud) {
        let stored: Vec<_> = self.pool.eni(id).into_iter().flat_map(PoolEni::blocks).collect();
        let usable = |eni: &&AttachedEni| eni.kind.serves_pods();
        let attached: Vec<_> = self.instance.eni(id).filter(usable).into_iter().flat_map(AttachedEni::blocks).collect();
        let readable = self.imds(s, ImdsRead::LocalAddresses, cloud);
        let same = stored.len() == attached.len() && attached.iter().all(|block| stored.contains(block));
        // IMDS that shows no address is a disagreement like any other: EC2 is asked and believed.
        if (!same || !readable) && self.plain_call(s, Ec2Operation::DescribeNetworkInterfaces, cloud).is_err() {
            return;
        }
        let mut seen = 0;
        let mut taken = Vec::new();
        for block in &attached {
            if self.may_take_back(s, id, *block, cloud) {
                seen += 1;
                if !stored.contains(block) {
                    taken.push(*block);
                }
            }
        }
        self.take_blocks_in(id, &taken);
        self.metrics.reconciled(Reconcile::PoolAdd, seen);
        stored.iter().filter(|block| !attached.contains(block)).for_each(|block| self.sweep_block(id, *block));
    }

    /// A block released lately is left alone for a while, then checked with EC2 once.
    fn may_take_back(&mut self, s: &mut Script, id: EniId, block: Block, cloud: &mut dyn Cloud) -> bool {
        let lately = self.released.iter().position(|(eni, released, _)| *eni == id && *released == block);
        let Some(index) = lately else { return true };
        let since_ms = self.released.get(index).map_or(i64::MIN, |(_, _, at_ms)| *at_ms);
        if s.at_ms - since_ms <= READOPTION_COOLDOWN_MS {
            return false;
        }
        if self.plain_call(s, Ec2Operation::DescribeNetworkInterfaces, cloud).is_err() {
            return false;
        }
        self.released.swap_remove(index);
        true
    }

    /// Entries of blocks that are not attached any more serve nothing once they are old.
    pub(super) fn prune_released(&mut self, now_ms: i64) {
        let instance = &self.instance;
        let attached = |id: EniId, block: Block| instance.eni(id).is_some_and(|eni| eni.holds(block));
        self.released.retain(|(id, block, at_ms)| now_ms - at_ms <= READOPTION_COOLDOWN_MS || attached(*id, *block));
    }
}
