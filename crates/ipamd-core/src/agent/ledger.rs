//! Changes of the store by a lane: what `store::Ledger` does, and what the agent knows besides.

use std::net::IpAddr;

use super::memory::{Agent, Allocation, Link, PodKey};
use crate::block::Block;
use crate::chooser::{Purpose, chosen};
use crate::id::EniId;
use crate::input::{EniKind, ImdsEni, PodName};
use crate::metrics::{IpamdError, Reconcile};
use crate::output::{Effect, HostCall};
use crate::settings::Mode;
use crate::small_map::make_room;
use crate::store::{Assignment, Ledger, Place, PoolEni, Refused};

impl<K: PodKey> Agent<K> {
    /// The store and its gauges.
    pub(crate) fn ledger(&mut self) -> Ledger<'_, K> {
        Ledger { pool: &mut self.pool, metrics: &mut self.metrics }
    }

    /// Takes an ENI into the store, without addresses; nothing but its link changes if it is there.
    pub(crate) fn take_eni_in(&mut self, eni: &ImdsEni, kind: EniKind) {
        let primary = eni.ipv4.as_ref().and_then(|addresses| addresses.first().copied());
        self.links.retain(|known| known.eni != eni.id);
        make_room(&mut self.links);
        self.links.push(Link { eni: eni.id, device: eni.device, primary });
        self.eni_is_known(eni);
        let (now_ms, primary) = (self.ms(), self.is_primary(eni.id));
        // One that is there already stays as it is.
        let _known: Result<(), Refused> =
            self.ledger().add_eni(PoolEni::new(eni.id, now_ms, kind, primary, eni.subnet));
    }

    /// Takes an ENI into the store with its IPv4 addresses.
    pub(crate) fn load_eni(&mut self, eni: &ImdsEni) {
        if self.pool.eni(eni.id).is_none() {
            self.take_eni_in(eni, EniKind::Interface);
        }
        if self.facts.mode != Mode::Ipv6 {
            // Prefixes of the primary ENI are not read with custom networking.
            let skip = self.config.settings.custom_networking && self.is_primary(eni.id);
            let blocks: Vec<_> = blocks_of(eni).filter(|block| !skip || matches!(block, Block::Address(_))).collect();
            self.take_blocks_in(eni.id, blocks);
        }
    }

    /// Gives a pod an address, to be written down.
    pub(crate) fn assign(&mut self, key: K, pod: PodName) -> Result<Assignment, Refused> {
        let (mode, now) = (self.facts.mode, self.now);
        let mut ledger = Ledger { pool: &mut self.pool, metrics: &mut self.metrics };
        // Careful: what was never used, then what rested longest.
        let given = if self.own.is_some() {
            ledger.assign_in_order(key.clone(), mode, now.mono_ms)?
        } else {
            ledger.assign(key.clone(), mode, now.mono_ms, &mut *self.chooser)?
        };
        if !given.repeated {
            // Careful: connections of the pod that had the address before are none of this one's. That they could not be
            // forgotten is no error of a request.
            if self.own.is_some() {
                self.operations.tell(Effect::Host(HostCall::ForgetConnections { address: given.place.address }));
            }
            self.remember(key, pod, now.unix_ns);
        }
        Ok(given)
    }

    /// It could not be written down.
    pub(crate) fn withdraw(&mut self, key: &K) {
        self.ledger().withdraw(key);
        self.allocations.remove(key);
        self.unbind(key);
    }

    /// A pod's address is free again, and rests.
    pub(crate) fn free_address(&mut self, key: &K) -> Result<Place, Refused> {
        let now_ms = self.ms();
        let place = self.ledger().unassign(key, now_ms)?;
        self.ledger().unassign_written(place);
        self.file_changed();
        self.allocations.remove(key);
        self.unbind(key);
        Ok(place)
    }

    /// A pod of the checkpoint is taken over.
    pub(crate) fn recover(
        &mut self,
        key: K,
        address: IpAddr,
        pod: PodName,
        allocated_ns: i64,
    ) -> Result<Place, Refused> {
        let eni = self.restores_on(address).ok_or(Refused::UnknownAddress)?;
        let place = self.ledger().recover(key.clone(), address, eni)?;
        self.remember(key, pod, allocated_ns);
        Ok(place)
    }

    /// The ENI that a pod of the checkpoint has its address of: where several have it, the original takes any, also one on which
    /// another pod has it, and then does not start.
    fn restores_on(&mut self, address: IpAddr) -> Option<EniId> {
        let enis = self.pool.holders(address);
        let index = match &self.own {
            _ if enis.len() < 2 => 0,
            None => self.chooser.eni(Purpose::Restore(address), &enis),
            // Careful: one on which no pod has it, so that the start goes on.
            Some(_) => enis.iter().position(|eni| !self.pool.is_used_on(*eni, address)).unwrap_or(0),
        };
        chosen(&enis, index)
    }

    /// Keeps what the checkpoint says of a pod that has a name.
    fn remember(&mut self, key: K, pod: PodName, allocated_ns: i64) {
        if !pod.name.is_empty() {
            self.allocations.insert(key, Allocation { pod, allocated_ns });
        }
    }

    /// Takes CIDRs without pods out of the store; answers those that went.
    pub(crate) fn take_blocks_out(&mut self, eni: EniId, blocks: Vec<Block>) -> Vec<Block> {
        self.file_changed();
        let mut gone = Vec::with_capacity(blocks.len());
        for block in blocks {
            if self.ledger().remove_block(eni, block, false).is_ok() {
                gone.push(block);
            } else {
                self.metrics.ipamd_error(IpamdError::DecreasePool);
            }
        }
        gone
    }

    /// Takes a CIDR out that is no longer the ENI's: its pods lose their addresses.
    pub(crate) fn sweep_block(&mut self, eni: EniId, block: Block) {
        let Ok(pods) = self.ledger().remove_block(eni, block, true) else {
            self.metrics.ipamd_error(IpamdError::ReconcileDelIp);
            return;
        };
        self.file_changed();
        self.forget_lost_pods(pods > 0);
        self.metrics.reconciled(Reconcile::PoolDel, 1);
    }

    /// Takes an ENI out with all it has.
    pub(crate) fn drop_eni_by_force(&mut self, eni: EniId) -> bool {
        let pods = self.pool.owners().len();
        let removed = self.ledger().remove_eni(eni, true).is_ok();
        if removed {
            self.file_changed();
            self.forget_lost_pods(self.pool.owners().len() < pods);
            self.links.retain(|link| link.eni != eni);
        }
        removed
    }

    /// The checkpoint is written again without the pods that lost their addresses.
    fn forget_lost_pods(&mut self, lost: bool) {
        if !lost {
            return;
        }
        self.lost_pods = true;
        let owners = self.pool.owners();
        if !self.allocations.is_empty() {
            self.allocations.retain(|key, _| owners.contains_key(key));
        }
        if let Some(own) = &mut self.own {
            own.bindings.retain(|key, _| owners.contains_key(key));
        }
    }
}

/// CIDRs of a listing: secondary addresses without the primary, and prefixes. The original reads no prefixes of an ENI that shows
/// no address.
pub(crate) fn blocks_of(eni: &ImdsEni) -> impl Iterator<Item = Block> {
    let bare = eni.ipv4.as_ref().is_some_and(Vec::is_empty) && eni.ipv6.is_empty();
    let addresses = eni.ipv4.as_deref().unwrap_or_default().iter().skip(1).copied().map(Block::Address);
    addresses.chain(eni.ipv4_prefixes.iter().copied().filter(move |_| !bare).map(Block::Prefix))
}
