//! Changes of the store together with the gauges the agent writes at each, and the effects of a journal.

use super::effect::Effect;
use super::state::Node;
use crate::ec2::{Block, EniId};
use crate::metrics::{Reconcile, Timed};
use crate::pool::{PodKey, PoolEni};
use ipamd_core::chooser::Placement;
use ipamd_core::store::{Ledger, Refused};

impl Node {
    pub(super) fn apply(&mut self, at_ms: i64, effect: Effect) {
        match effect {
            Effect::Call(call) => self.metrics.call(call, at_ms),
            Effect::PlainRequest(call) => self.metrics.plain_request(call),
            Effect::Waited { ms, seen } => {
                self.metrics.observe((Timed::WaitAttached, (!seen).then_some("")), ms, at_ms);
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

    pub(super) fn ledger(&mut self) -> Ledger<'_, PodKey> {
        Ledger { pool: &mut self.pool, metrics: &mut self.metrics }
    }

    /// Order in which ENIs are visited.
    pub(super) fn visit(&mut self) -> Vec<EniId> {
        let mut ids: Vec<_> = self.pool.enis().iter().map(|eni| eni.id).collect();
        if self.chooser.placement == Placement::Random {
            for last in (1..ids.len()).rev() {
                ids.swap(last, self.chooser.random.index(last + 1));
            }
        }
        ids
    }

    fn take_eni_in(&mut self, eni: PoolEni) {
        // One that is there stays as it is.
        let _known: Result<(), Refused> = self.ledger().add_eni(eni);
    }

    pub(super) fn take_blocks_in(&mut self, id: EniId, blocks: &[Block]) {
        for block in blocks {
            // An ENI that left while its addresses were on their way takes none.
            let _known: Result<(), Refused> = self.ledger().add_block(id, *block);
        }
    }

    /// Takes a CIDR out that EC2 no longer has: its pods lose their addresses.
    pub(super) fn sweep_block(&mut self, id: EniId, block: Block) {
        if self.ledger().remove_block(id, block, true).is_ok() {
            self.metrics.reconciled(Reconcile::PoolDel, 1);
        }
    }

    /// Takes an ENI out that is gone from the instance.
    pub(super) fn sweep_eni(&mut self, id: EniId) {
        if self.ledger().remove_eni(id, true).is_ok() {
            self.metrics.reconciled(Reconcile::EniDel, 1);
        }
    }
}
