//! Shrinking: CIDRs without pods beyond the targets, and one ENI that is not needed.

use super::effect::{Effect, Retry, Script};
use super::state::{HALF_LOOP_MS, Leaked, Node, Step};
use crate::ec2::{AttachedEni, Block, Cloud, EniId};
use crate::metrics::{Action, IpamdError, UtilsError};
use cni_types::ec2::{Ec2Code, Ec2Operation};
use ipamd_core::chooser::{Chooser, Placement};

/// More than this lies between two decreases.
pub(super) const DECREASE_INTERVAL_MS: i64 = 30_000;

/// EC2 needs a moment between detach and delete.
const AFTER_DETACH_MS: i64 = 2_000;

pub(super) fn leaked(eni: AttachedEni, since_ms: i64) -> Leaked {
    Leaked { eni, since_ms }
}

impl Node {
    pub(super) fn begin_decrease(&mut self, script: &mut Script, over: u32) -> (Step, i64) {
        script.push(Effect::Progress(Action::Decrease, 1));
        let mut queue = self.visit();
        if self.chooser.placement == Placement::Random {
            // The queue is worked off from its end; a shuffled one has no direction.
            queue.reverse();
        }
        (Step::Decrease { over, queue }, 0)
    }

    /// Releases CIDRs of either kind from one ENI, the last of the queue; rest is not considered, so cooling addresses may go.
    pub(super) fn decrease(
        &mut self,
        script: &mut Script,
        mut over: u32,
        mut queue: Vec<EniId>,
        cloud: &mut dyn Cloud,
    ) -> (Step, i64) {
        let id = queue.pop().filter(|_| over > 0);
        let Some(id) = id else {
            script.push(Effect::Progress(Action::Decrease, -1));
            script.push(Effect::Decreased);
            return (Step::SpareEni, 0);
        };
        let chosen = self.chooser.blocks(id, self.pool.free_blocks(id), over as usize);
        over -= u32::try_from(chosen.len()).unwrap_or(over);
        self.release(script, id, chosen, cloud);
        (Step::Decrease { over, queue }, 0)
    }

    fn may_spare_eni(&self, now_ms: i64) -> bool {
        let stats = self.pool.stats(self.mode, now_ms);
        self.targets().enis_to_spare(&stats, self.pool.has_idle_eni())
    }

    /// Takes CIDRs out of the store, remembers them so that no reconcile takes them back too soon, and unassigns them;
    /// where EC2 refuses they stay on the ENI and come back later.
    pub(super) fn release(&mut self, script: &mut Script, id: EniId, blocks: Vec<Block>, cloud: &mut dyn Cloud) {
        let mut gone = Vec::new();
        for block in blocks {
            if self.ledger().remove_block(id, block, false).is_ok() {
                gone.push(block);
                self.released.push((id, block, script.at_ms));
            } else {
                script.push(Effect::Ipamd(IpamdError::DecreasePool));
            }
        }
        let (prefixes, addresses): (Vec<_>, Vec<_>) =
            gone.into_iter().partition(|block| matches!(block, Block::Prefix(_)));
        for group in [prefixes, addresses] {
            if !group.is_empty() {
                self.unassign(script, id, &group, cloud);
            }
        }
    }

    fn unassign(&mut self, script: &mut Script, id: EniId, blocks: &[Block], cloud: &mut dyn Cloud) {
        let op = Ec2Operation::UnassignPrivateIpAddresses;
        // A refusal is counted by the call itself and otherwise only logged.
        let _refused: Result<(), Ec2Code> = self.call(script, op, cloud, |node, cloud| {
            let Some(eni) = node.instance.eni_mut(id) else { return Ok(()) };
            for block in blocks {
                if eni.remove(*block) {
                    cloud.give_back(eni.subnet, *block);
                }
            }
            Ok(())
        });
    }

    /// Gives up at most one ENI. It leaves the store before EC2 is asked.
    pub(super) fn release_spare_eni(&mut self, s: &mut Script, cloud: &mut dyn Cloud) -> (Step, i64) {
        let next = (Step::Reconcile, HALF_LOOP_MS);
        if !self.may_spare_eni(s.at_ms) || self.growth_suspended() {
            return next;
        }
        let spare = self.pool.spare_enis(&self.targets(), s.at_ms);
        let Some(id) = self.visit().into_iter().find(|id| spare.contains(id)) else { return next };
        self.ledger().retire_eni(id);
        if self.free_eni(s, id, cloud).is_err() {
            s.push(Effect::Ipamd(IpamdError::FreeEniFailed));
        }
        next
    }

    /// Looks the attachment up, detaches and deletes.
    pub(super) fn free_eni(&mut self, s: &mut Script, id: EniId, cloud: &mut dyn Cloud) -> Result<(), Ec2Code> {
        if let Err(code) = self.plain_call(s, Ec2Operation::DescribeNetworkInterfaces, cloud) {
            self.utils_error(s, UtilsError::GetAttachmentId, Ec2Operation::DescribeNetworkInterfaces, code);
            return Err(code);
        }
        let retry = Retry { tries: 12, first_ms: 200, limit_ms: 60_000, jitter_percent: 15 };
        self.retried(s, Ec2Operation::DetachNetworkInterface, retry, cloud, |_| Ok(()))?;
        s.at_ms += AFTER_DETACH_MS;
        let Some(eni) = self.instance.detach(id) else { return Ok(()) };
        let deleted = self.delete_eni(s, eni, true, cloud);
        if let Err(code) = deleted {
            self.utils_error(s, UtilsError::FreeEniDelete, Ec2Operation::DeleteNetworkInterface, code);
        }
        deleted
    }

    pub(super) fn utils_error(&mut self, s: &mut Script, site: UtilsError, op: Ec2Operation, code: Ec2Code) {
        if code.is_api_error() {
            let text = self.error_text(op, code);
            s.push(Effect::Utils(site, text));
        }
    }
}
