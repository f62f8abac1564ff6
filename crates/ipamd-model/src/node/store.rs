//! Changes of the store together with the gauges the agent writes at each, and the effects of a journal.

use super::effect::Effect;
use super::state::Node;
use crate::ec2::{Block, EniId};
use crate::metrics::Reconcile;
use crate::pool::{Place, PoolEni};

impl Node {
    pub(super) fn apply(&mut self, at_ms: i64, effect: Effect) {
        match effect {
            Effect::Call(call) => self.metrics.call(call, at_ms),
            Effect::PlainRequest(call) => self.metrics.plain_request(call),
            Effect::Waited { ms, seen } => {
                let code = (!seen).then_some(cni_types::ec2::Ec2Code::NoAnswer);
                self.metrics.observe(("waitForENIAndIPsAttached", code), ms, at_ms);
            }
            Effect::ApiError(api, code) => self.metrics.api_error(api, code),
            Effect::Ipamd(site) => self.metrics.ipamd_error(site),
            Effect::PodEni(site) => self.metrics.pod_eni_error(site),
            Effect::Utils(site, text) => self.metrics.utils_error(site, text),
            Effect::Progress(action, change) => self.metrics.progress(action, change),
            Effect::AddEni(mut eni) => {
                eni.created_ms = at_ms;
                self.take_eni_in(*eni);
            }
            Effect::Exclude(id) => {
                if let Some(eni) = self.pool.eni_mut(id) {
                    eni.excluded = true;
                }
            }
            Effect::AddBlocks(id, blocks) => self.take_blocks_in(id, &blocks),
            Effect::Acted => self.last_action_ms = Some(at_ms),
            Effect::Decreased => {
                self.last_decrease_ms = Some(at_ms);
                self.last_action_ms = Some(at_ms);
            }
            Effect::Insufficient => self.insufficient_ms = Some(at_ms),
        }
    }

    fn take_eni_in(&mut self, eni: PoolEni) {
        if self.pool.eni(eni.id).is_none() {
            self.metrics.per_eni.insert(eni.id, 0);
            self.pool.add_eni(eni);
            self.metrics.eni_allocated = i64::try_from(self.pool.enis().len()).unwrap_or(i64::MAX);
        }
    }

    pub(super) fn take_blocks_in(&mut self, id: EniId, blocks: &[Block]) {
        // An ENI that left while its addresses were on their way takes none.
        let added = blocks.iter().filter(|block| self.pool.add_block(id, **block)).count();
        if added > 0 {
            self.write_totals();
        }
    }

    pub(super) fn write_totals(&mut self) {
        self.metrics.total = self.pool.total();
        self.metrics.prefixes = if self.metrics.ipv6 { 0 } else { self.pool.prefixes() };
    }

    /// A pod got an address: the per-CIDR gauge does not count IPv6 assignments, only recovered ones.
    pub(super) fn count_assigned(&mut self, place: Place, recovered: bool) {
        self.metrics.assigned = self.pool.assigned();
        *self.metrics.per_eni.entry(place.eni).or_default() += 1;
        if recovered || !matches!(place.block, Block::Ipv6Prefix(_)) {
            *self.metrics.per_cidr.entry(place.block).or_default() += 1;
        }
    }

    pub(super) fn count_unassigned(&mut self, place: Place) {
        self.metrics.assigned = self.pool.assigned();
        *self.metrics.per_eni.entry(place.eni).or_default() -= 1;
        *self.metrics.per_cidr.entry(place.block).or_default() -= 1;
    }

    /// Takes a CIDR out that EC2 no longer has: its pods lose their addresses. Neither per-CIDR gauge nor, for a single
    /// address, per-ENI gauge is updated.
    pub(super) fn sweep_block(&mut self, id: EniId, block: Block) {
        let Some(pods) = self.pool.remove_block(id, block, true) else { return };
        self.metrics.force_removed_ips += u64::from(pods);
        self.metrics.assigned = self.pool.assigned();
        if matches!(block, Block::Prefix(_)) {
            *self.metrics.per_eni.entry(id).or_default() -= i32::try_from(pods).unwrap_or(0);
        }
        self.write_totals();
        self.metrics.reconciled(Reconcile::PoolDel, 1);
    }

    /// Takes an ENI out that is gone from the instance; the total and prefix gauges keep what they said.
    pub(super) fn sweep_eni(&mut self, id: EniId) {
        let Some((_, pods)) = self.pool.drop_eni(id) else { return };
        if pods > 0 {
            self.metrics.force_removed_enis += 1;
            self.metrics.force_removed_ips += u64::from(pods);
        }
        self.metrics.assigned = self.pool.assigned();
        self.forget_eni(id);
        self.metrics.reconciled(Reconcile::EniDel, 1);
    }

    /// Takes an unused ENI out in order to free it.
    pub(super) fn retire_eni(&mut self, id: EniId) {
        if self.pool.drop_eni(id).is_some() {
            self.forget_eni(id);
            self.write_totals();
        }
    }

    fn forget_eni(&mut self, id: EniId) {
        self.metrics.per_eni.remove(&id);
        self.metrics.eni_allocated = i64::try_from(self.pool.enis().len()).unwrap_or(i64::MAX);
    }
}
