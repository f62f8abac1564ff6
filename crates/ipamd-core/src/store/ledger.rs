//! Each change of the store together with the gauges and counters that the original writes at it. They do not always say what
//! the store has: a gauge keeps what was last written.

use std::net::IpAddr;

use super::assign::Assignment;
use super::decide::Targets;
use super::pool::{Place, Pool, PoolEni};
use super::refused::Refused;
use crate::block::Block;
use crate::chooser::Chooser;
use crate::id::EniId;
use crate::metrics::Metrics;
use crate::settings::Mode;

/// The store and its gauges.
#[derive(Debug)]
pub struct Ledger<'a, K> {
    /// The store.
    pub pool: &'a mut Pool<K>,
    /// Where the gauges are.
    pub metrics: &'a mut Metrics,
}

impl<K: Ord + Clone> Ledger<'_, K> {
    /// Takes an ENI in.
    pub fn add_eni(&mut self, eni: PoolEni) -> Result<(), Refused> {
        if self.pool.eni(eni.id).is_some() {
            return Err(Refused::DuplicateEni);
        }
        self.metrics.per_eni.insert(eni.id, 0);
        self.pool.add_eni(eni);
        self.write_enis();
        Ok(())
    }

    /// Takes an ENI out; one with pods only by force. The gauges of addresses and prefixes keep what they said.
    pub fn remove_eni(&mut self, id: EniId, force: bool) -> Result<(), Refused> {
        let eni = self.pool.eni(id).ok_or(Refused::UnknownEni)?;
        if eni.assigned_ipv4() > 0 && !force {
            return Err(Refused::EniInUse);
        }
        let pods = self.pool.drop_eni(id).map_or(0, |(_, pods)| pods);
        self.metrics.force_removed_enis += u64::from(pods > 0);
        self.metrics.force_removed_ips += u64::from(pods);
        self.metrics.assigned = self.pool.assigned();
        self.metrics.per_eni.remove(&id);
        self.write_enis();
        Ok(())
    }

    /// Takes one unused ENI out in order to free it, if there is one that no target needs.
    pub fn remove_unused_eni(&mut self, targets: &Targets, now_ms: i64, chooser: &mut dyn Chooser) -> Option<EniId> {
        let id = self.pool.spare_eni(targets, now_ms, chooser)?;
        self.retire_eni(id);
        Some(id)
    }

    /// Takes an ENI without pods out in order to free it.
    pub fn retire_eni(&mut self, id: EniId) {
        let Some(eni) = self.pool.eni(id) else { return };
        let has_prefixes = eni.blocks().any(|block| matches!(block, Block::Prefix(_)));
        self.pool.drop_eni(id);
        if has_prefixes {
            self.metrics.prefixes = self.pool.prefixes();
        }
        self.metrics.total = self.pool.total();
        self.metrics.per_eni.remove(&id);
        self.write_enis();
    }

    fn write_enis(&mut self) {
        self.metrics.eni_allocated = i64::try_from(self.pool.enis().len()).unwrap_or(i64::MAX);
    }

    /// Says whether an ENI serves pods.
    pub fn exclude(&mut self, id: EniId, excluded: bool) -> Result<(), Refused> {
        self.pool.eni_mut(id).ok_or(Refused::UnknownEni)?.excluded = excluded;
        Ok(())
    }

    /// Adds a CIDR to an ENI.
    pub fn add_block(&mut self, id: EniId, block: Block) -> Result<(), Refused> {
        let eni = self.pool.eni(id).ok_or(Refused::UnknownEni)?;
        if eni.assigned_in(block).is_some() || !self.pool.add_block(id, block) {
            return Err(Refused::DuplicateCidr);
        }
        // An IPv6 prefix is counted, and shown when a prefix is removed.
        if matches!(block, Block::Prefix(_)) {
            self.metrics.prefixes = self.pool.prefixes();
        }
        self.metrics.total = self.pool.total();
        Ok(())
    }

    /// Removes a CIDR, one with pods only by force; the answer is the number of pods that lost their address. Neither the gauge
    /// by CIDR nor the one by ENI tells of them.
    pub fn remove_block(&mut self, id: EniId, block: Block, force: bool) -> Result<u32, Refused> {
        let used = self.pool.eni(id).ok_or(Refused::UnknownEni)?.assigned_in(block).ok_or(Refused::UnknownCidr)?;
        if used > 0 && !force {
            return Err(Refused::CidrInUse);
        }
        let pods = self.pool.remove_block(id, block, force).unwrap_or(0);
        self.metrics.force_removed_ips += u64::from(pods);
        self.metrics.assigned = self.pool.assigned();
        if !matches!(block, Block::Address(_)) {
            self.metrics.prefixes = self.pool.prefixes();
        }
        self.metrics.total = self.pool.total();
        Ok(pods)
    }

    /// Gives a pod an address. Once it is written down, [`Self::assign_written`] follows, otherwise [`Self::withdraw`].
    pub fn assign(
        &mut self,
        key: K,
        mode: Mode,
        now_ms: i64,
        chooser: &mut dyn Chooser,
    ) -> Result<Assignment, Refused> {
        let given = self.pool.assign(key, mode, now_ms, chooser);
        self.assigned(given, mode)
    }

    /// The same in a careful agent's order.
    pub fn assign_in_order(&mut self, key: K, mode: Mode, now_ms: i64) -> Result<Assignment, Refused> {
        let given = self.pool.assign_in_order(key, mode, now_ms);
        self.assigned(given, mode)
    }

    fn assigned(&mut self, given: Option<Assignment>, mode: Mode) -> Result<Assignment, Refused> {
        let Some(given) = given else {
            self.metrics.no_available += 1;
            return Err(Refused::NoAddress);
        };
        if !given.repeated {
            self.metrics.assigned = self.pool.assigned();
            // The gauge by CIDR counts no IPv6 assignments, only recovered ones.
            if mode != Mode::Ipv6 {
                self.metrics.per_cidr.add(given.place.block, 1);
            }
        }
        Ok(given)
    }

    /// An assignment is written down.
    pub fn assign_written(&mut self, place: Place) {
        if let Some(pods) = self.metrics.per_eni.get_mut(&place.eni) {
            *pods += 1;
        }
    }

    /// An assignment could not be written down.
    pub fn withdraw(&mut self, key: &K) {
        let Some(place) = self.pool.withdraw(key) else { return };
        self.metrics.assigned = self.pool.assigned();
        if !matches!(place.block, Block::Ipv6Prefix(_)) {
            self.metrics.per_cidr.add(place.block, -1);
        }
    }

    /// Takes a pod's address away; it rests from `now_ms` on. Once that is written down, [`Self::unassign_written`] follows,
    /// otherwise [`Self::undo_unassign`].
    pub fn unassign(&mut self, key: &K, now_ms: i64) -> Result<Place, Refused> {
        let place = self.pool.unassign(key, now_ms).ok_or(Refused::UnknownPod)?;
        self.metrics.assigned = self.pool.assigned();
        Ok(place)
    }

    /// That a pod's address was taken away is written down.
    pub fn unassign_written(&mut self, place: Place) {
        if let Some(pods) = self.metrics.per_eni.get_mut(&place.eni) {
            *pods -= 1;
        }
        // No IPv6 assignment was counted here, so that this gauge goes below 0.
        self.metrics.per_cidr.add(place.block, -1);
    }

    /// Gives a pod back what [`Self::unassign`] took, because that could not be written down.
    pub fn undo_unassign(&mut self, key: K, place: Place) {
        self.pool.undo_unassign(key, place);
        self.metrics.assigned = self.pool.assigned();
    }

    /// Takes a checkpointed allocation over, as one of an ENI that has the address.
    pub fn recover(&mut self, key: K, address: IpAddr, eni: EniId) -> Result<Place, Refused> {
        let place = self.pool.recover(key, address, eni)?;
        self.metrics.assigned = self.pool.assigned();
        self.assign_written(place);
        self.metrics.per_cidr.add(place.block, 1);
        Ok(place)
    }
}
