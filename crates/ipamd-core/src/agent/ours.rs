//! Careful: which ENIs are proven ours. Only these are detached and deleted.
//!
//! An ENI that somebody attached by hand, without a tag, was tagged, detached and deleted as if an agent had made it.

use super::attached::{Attached, Described};
use super::memory::{Agent, PodKey};
use crate::block::Block;
use crate::chooser::{Purpose, chosen};
use crate::id::EniId;

/// What the description of an ENI made by an agent begins with.
pub(crate) const DESCRIPTION: &str = "aws-K8S-";
/// Tag with the time when an ENI was made.
pub(crate) const CREATED_AT: &str = "node.k8s.amazonaws.com/createdAt";
/// CIDRs on the ENIs of others that are remembered as assigned by this agent.
const MOST_LENT: usize = 4_096;

impl<K: PodKey> Agent<K> {
    /// This agent, or an earlier life of it, made the ENI: it says so with this instance's id and the time.
    pub(crate) fn is_own_work<'a>(&self, description: &str, mut tags: impl Iterator<Item = &'a str>) -> bool {
        let instance = self.facts.identity.as_ref().map(|identity| identity.instance.to_string());
        let made_by = description.strip_prefix(DESCRIPTION);
        made_by.is_some() && made_by == instance.as_deref() && tags.any(|key| *key == *CREATED_AT)
    }

    /// Takes over what EC2 says of the attached ENIs.
    pub(crate) fn prove(&mut self, attached: &Attached) {
        let ours = |eni: &&Described| self.is_own_work(&eni.description, eni.tags.iter().map(|(key, _)| &**key));
        let ours: Vec<EniId> = attached.described.iter().filter(ours).map(|eni| eni.id).collect();
        let Some(own) = &mut self.own else { return };
        // What was made a moment ago may not be described yet.
        own.proven.retain(|eni| !attached.described.iter().any(|described| described.id == *eni));
        own.proven.extend(ours);
        let pool = &self.pool;
        let growing = &own.growing;
        let is_here = |eni: &EniId| pool.eni(*eni).is_some() || growing.iter().any(|growth| growth.eni == Some(*eni));
        let described = |eni: &EniId| attached.described.iter().any(|described| described.id == *eni);
        own.proven.retain(|eni| is_here(eni) || described(eni));
    }

    /// The agent made it.
    pub(crate) fn made(&mut self, eni: EniId) {
        if let Some(own) = &mut self.own {
            own.proven.push(eni);
        }
    }

    /// The ENI may be detached and deleted.
    pub(crate) fn is_proven(&self, eni: EniId) -> bool {
        self.own.as_ref().is_none_or(|own| own.proven.contains(&eni))
    }

    /// An ENI that no target needs and that may go.
    pub(crate) fn spare_of_ours(&mut self) -> Option<EniId> {
        let mut spare = self.pool.spare_enis(&self.targets(), self.ms());
        spare.retain(|eni| self.is_proven(*eni) && !self.is_growing(*eni));
        let index = if spare.len() > 1 { self.chooser.eni(Purpose::Spare, &spare) } else { 0 };
        chosen(&spare, index)
    }

    /// The CIDR may be given back: of an ENI that somebody else made only what this agent assigned.
    pub(crate) fn may_give_back(&self, eni: EniId, block: Block) -> bool {
        let Some(own) = &self.own else { return true };
        let ours = self.is_primary(eni) || own.proven.contains(&eni) || own.lent.contains(&(eni, block));
        ours && !self.pool.is_occupied(eni, block)
    }

    /// CIDRs were assigned to this ENI by this agent.
    pub(crate) fn lend(&mut self, eni: EniId, blocks: &[Block]) {
        if self.is_primary(eni) || self.is_proven(eni) {
            return;
        }
        let Some(own) = &mut self.own else { return };
        own.lent.retain(|(_, known)| !blocks.contains(known));
        own.lent.extend(blocks.iter().map(|block| (eni, *block)));
        let beyond = own.lent.len().saturating_sub(MOST_LENT);
        own.lent.drain(..beyond);
    }
}
