//! A careful agent keeps what it knows only in part: from ENIs whose subnets are unknown nothing new is given, and neither are
//! addresses that the host shows in use.

use std::net::IpAddr;

use super::memory::{Agent, PodKey};
use crate::block::Block;
use crate::config::Policy;
use crate::id::EniId;
use crate::input::HostPod;
use crate::store::{PoolEni, Refused};

/// Subnets of ENIs that are held are looked up this often.
const HOLD_MS: i64 = 30_000;

/// More traces of pods than this are not remembered: a node has fewer pods.
const MOST: usize = 4_096;

impl<K: PodKey> Agent<K> {
    /// The branches of a careful agent are taken.
    pub(crate) fn is_careful(&self) -> bool {
        self.config.policy == Policy::Careful
    }

    /// Pods have addresses of this ENI, or the host shows that something has.
    pub(crate) fn is_in_use(&self, eni: EniId) -> bool {
        let known = self.pool.eni(eni);
        known.is_some_and(|eni| eni.assigned() > 0 || eni.blocks().any(|block| self.pool.is_occupied(eni.id, block)))
    }

    /// The same of one CIDR.
    pub(crate) fn block_is_in_use(&self, eni: EniId, block: Block) -> bool {
        let pods = self.pool.eni(eni).and_then(|eni| eni.assigned_in(block));
        pods.is_some_and(|pods| pods > 0) || self.pool.is_occupied(eni, block)
    }

    /// Nothing new is given from this ENI until its subnet is known, unless that is so of all.
    pub(crate) fn hold(&mut self, eni: EniId) {
        if !self.held.enis.contains(&eni) {
            self.held.enis.push(eni);
        }
        self.balance_holds();
    }

    /// Nothing is given from this ENI until it is known to be ours to use.
    pub(crate) fn doubt(&mut self, eni: EniId) {
        self.held.doubted.push(eni);
        self.exclude(eni, true);
    }

    /// It may not be ours any more; meanwhile it serves pods as before, if it did.
    pub(crate) fn remember_doubt(&mut self, eni: EniId, serves: bool) {
        self.held.doubted.push(eni);
        self.exclude(eni, !serves);
    }

    /// It is ours to use; true if that was in doubt.
    pub(crate) fn trust(&mut self, eni: EniId) -> bool {
        let before = self.held.doubted.len();
        self.held.when_there(|held| held.doubted.retain(|doubted| *doubted != eni));
        let doubted = self.held.doubted.len() < before;
        if doubted {
            self.exclude(eni, false);
        }
        doubted
    }

    /// These ENIs are ours to use. Others that were loaded leave the store, unless something uses their addresses.
    pub(crate) fn settle_doubts(&mut self, ours: &[EniId]) {
        for eni in self.held.when_there(|held| std::mem::take(&mut held.doubted)) {
            if ours.contains(&eni) || self.is_in_use(eni) {
                self.held.doubted.push(eni);
            } else {
                self.drop_eni_by_force(eni);
            }
        }
    }

    /// It is time to look up the subnets of ENIs that are held again.
    pub(crate) fn holds_are_due(&self) -> bool {
        let due = self.held.asked_ms.is_none_or(|asked_ms| self.ms().saturating_sub(asked_ms) >= HOLD_MS);
        due && !self.held.enis.is_empty() && self.config.settings.subnet_discovery
    }

    /// It is known whether this ENI serves pods.
    pub(crate) fn release_hold(&mut self, eni: EniId, excluded: bool) {
        self.held.when_there(|held| held.enis.retain(|held| *held != eni));
        self.exclude(eni, excluded);
        self.balance_holds();
    }

    fn exclude(&mut self, eni: EniId, excluded: bool) {
        // An ENI that has left the store serves no pods.
        let _gone: Result<(), Refused> = self.ledger().exclude(eni, excluded);
        self.file_changed();
    }

    /// Where no other ENI serves pods, those that are held do: the original does so of all of them.
    fn balance_holds(&mut self) {
        let held = self.held.when_there(|held| std::mem::take(&mut held.enis));
        let serves = |eni: &&PoolEni| eni.kind.serves_pods() && !eni.excluded && !held.contains(&eni.id);
        let others = self.pool.enis().iter().any(|eni| serves(&eni));
        for eni in &held {
            self.exclude(*eni, others);
        }
        self.held.when_there(|there| there.enis = held);
    }

    /// The host shows these interfaces: their addresses are given to none unless a pod here has them.
    pub(crate) fn see_traces(&mut self, pods: &[HostPod]) {
        let owned: Vec<IpAddr> = self.pool.owners().values().copied().collect();
        let traces = pods.iter().flat_map(|pod| pod.routes.iter().map(|route| (pod.ifindex, *route)));
        self.held.occupied = traces.filter(|(_, route)| !owned.contains(route)).take(MOST).collect();
        self.keep_traces();
    }

    /// An interface is gone: what it used is free, and rests. True if an allocation was made for it.
    pub(crate) fn veth_gone(&mut self, ifindex: u32) -> bool {
        let now_ms = self.ms();
        let occupied = self.held.when_there(|held| std::mem::take(&mut held.occupied));
        let (gone, kept): (Vec<_>, Vec<_>) = occupied.into_iter().partition(|(index, _)| *index == ifindex);
        self.held.when_there(|held| held.occupied = kept);
        for (_, address) in gone {
            if !self.held.occupied.iter().any(|(_, other)| *other == address) {
                self.pool.vacate(address, now_ms);
            }
        }
        self.link_gone(ifindex)
    }

    /// CIDRs were added: allocations and traces that lie in them are kept before anything is given out of them.
    pub(crate) fn keep_traces(&mut self) {
        for orphan in self.held.when_there(|held| std::mem::take(&mut held.orphans)) {
            let address = orphan.ipv4.map(IpAddr::from).or(orphan.ipv6.map(IpAddr::from));
            let (key, pod) = (orphan.key.clone(), orphan.pod.clone());
            let taken = address.map(|address| self.recover(key, address, pod, orphan.allocated_ns));
            if taken == Some(Err(Refused::UnknownAddress)) {
                self.held.orphans.push(orphan);
            }
        }
        for (_, address) in &self.held.occupied {
            self.pool.occupy(*address);
        }
    }
}
