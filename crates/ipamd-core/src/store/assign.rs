//! Addresses go to pods and come back.

use std::net::{IpAddr, Ipv4Addr};

use super::cidr::{Cidr, Freed, Prefix};
use super::pool::{Place, Pool, PoolEni};
use super::refused::Refused;
use crate::block::Block;
use crate::chooser::{Chooser, Purpose, chosen};
use crate::id::EniId;
use crate::settings::Mode;
use crate::small_map::make_room;

/// What a pod was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment {
    /// Its address.
    pub place: Place,
    /// The pod has had it before, and nothing changed.
    pub repeated: bool,
}

impl PoolEni {
    /// Where an address lies on this ENI, and if `used`, where a pod has it.
    pub(super) fn place(&self, address: IpAddr, used: bool) -> Option<Place> {
        let block = match address {
            IpAddr::V4(v4) => {
                let address = v4.into();
                let held = |cidr: &&Cidr| !used || cidr.used & cidr.bit(address) != 0;
                self.cidrs.iter().find(|cidr| cidr.contains(address) && held(cidr)).map(|cidr| cidr.block())
            }
            IpAddr::V6(v6) => self.ipv6.iter().find(|prefix| prefix.offset(v6).is_some()).map(Prefix::block),
        };
        block.map(|block| Place { address, eni: self.id, block })
    }
}

impl<K: Ord + Clone> Pool<K> {
    /// Gives a pod an address, the one it has if it has one.
    pub fn assign(&mut self, key: K, mode: Mode, now_ms: i64, chooser: &mut dyn Chooser) -> Option<Assignment> {
        if let Some(place) = self.place_of(&key) {
            return Some(Assignment { place, repeated: true });
        }
        let place =
            if mode == Mode::Ipv6 { self.take_ipv6(now_ms, chooser)? } else { self.take_ipv4(mode, now_ms, chooser)? };
        self.own(key, place);
        self.assigned += 1;
        Some(Assignment { place, repeated: false })
    }

    /// Where an address lies, and if `used`, where a pod has it.
    pub(super) fn place(&self, address: IpAddr, used: bool) -> Option<Place> {
        self.enis.iter().find_map(|eni| eni.place(address, used))
    }

    /// The ENIs that have an address, in the order in which they came. Usually there is one.
    pub fn holders(&self, address: IpAddr) -> Vec<EniId> {
        self.enis.iter().filter(|eni| eni.place(address, false).is_some()).map(|eni| eni.id).collect()
    }

    fn take_ipv4(&mut self, mode: Mode, now_ms: i64, chooser: &mut dyn Chooser) -> Option<Place> {
        let usable = |eni: &PoolEni, cidr: &Cidr| cidr.matches(mode) && self.has_usable(eni, *cidr, now_ms);
        let serving = self.enis.iter().filter(|eni| !eni.excluded);
        let enis: Vec<EniId> =
            serving.filter(|eni| eni.cidrs.iter().any(|cidr| usable(eni, cidr))).map(|eni| eni.id).collect();
        let id = chosen(&enis, chooser.eni(Purpose::Assign, &enis))?;
        let eni = self.eni(id)?;
        let blocks: Vec<Block> = eni.cidrs.iter().filter(|cidr| usable(eni, cidr)).map(|cidr| cidr.block()).collect();
        let block = chosen(&blocks, chooser.block(id, &blocks))?;
        let address = self.take_address(id, block, now_ms, chooser)?;
        Some(Place { address: address.into(), eni: id, block })
    }

    fn has_usable(&self, eni: &PoolEni, cidr: Cidr, now_ms: i64) -> bool {
        let rested = |freed: &Freed| cidr.contains(freed.address) && !self.rests(freed.at_ms, now_ms);
        cidr.fresh().is_some() || (cidr.left != 0 && eni.freed.iter().any(rested))
    }

    /// An address used before and rested, else the lowest never used.
    fn take_address(&mut self, id: EniId, block: Block, now_ms: i64, chooser: &mut dyn Chooser) -> Option<Ipv4Addr> {
        let cooldown_ms = self.cooldown_ms;
        let eni = self.eni_mut(id)?;
        let cidr = eni.cidrs.iter_mut().find(|cidr| cidr.block() == block)?;
        let rested = |freed: &Freed| cidr.contains(freed.address) && now_ms.saturating_sub(freed.at_ms) > cooldown_ms;
        let before: Vec<IpAddr> = if cidr.left == 0 {
            Vec::new()
        } else {
            eni.freed.iter().filter(|freed| rested(freed)).map(|freed| Ipv4Addr::from(freed.address).into()).collect()
        };
        let index = if before.len() > 1 { chooser.address(&before) } else { 0 };
        let address = match chosen(&before, index) {
            Some(IpAddr::V4(address)) => {
                // With the one that is taken, all that have rested count as never used.
                let forgotten = eni.freed.iter().filter(|freed| rested(freed)).map(|freed| cidr.bit(freed.address));
                let forgotten = forgotten.fold(0, |bits, bit| bits | bit);
                eni.freed.retain(|freed| !rested(freed));
                cidr.left &= !forgotten;
                address.into()
            }
            _ => cidr.fresh()?,
        };
        cidr.used |= cidr.bit(address);
        Some(address.into())
    }

    /// Takes a pod's address away; it rests from `now_ms` on. Where that leaves a CIDR of an excluded ENI without pods, the CIDR
    /// is due for [`Self::clean_up`].
    pub fn unassign(&mut self, key: &K, now_ms: i64) -> Option<Place> {
        let place = self.release(key)?;
        let eni = self.eni_mut(place.eni)?;
        match place.address {
            IpAddr::V4(v4) => {
                let address = v4.into();
                let cidr = eni.cidrs.iter_mut().find(|cidr| cidr.contains(address))?;
                cidr.left |= cidr.bit(address);
                let prefix = cidr.prefix;
                eni.freed.retain(|freed| freed.address != address);
                make_room(&mut eni.freed);
                eni.freed.push(Freed { address, prefix, at_ms: now_ms });
            }
            IpAddr::V6(v6) => {
                let prefix = eni.ipv6.iter_mut().find(|prefix| prefix.block() == place.block)?;
                let offset = prefix.offset(v6)?;
                prefix.tracked.insert(offset, Some(now_ms));
            }
        }
        if eni.excluded && eni.assigned_in(place.block) == Some(0) {
            self.clean_ups.schedule(place.eni, place.block, now_ms);
        }
        Some(place)
    }

    /// Takes an assignment back that could not be written down: the address is as if it had never been used.
    pub fn withdraw(&mut self, key: &K) -> Option<Place> {
        self.release(key)
    }

    /// The pod's address is no one's; nothing tells that it was used.
    fn release(&mut self, key: &K) -> Option<Place> {
        let place = self.place_of(key);
        let address = self.owners.remove(key)?;
        self.twice.remove(key);
        self.assigned -= 1;
        let place = place?;
        let eni = self.eni_mut(place.eni)?;
        match address {
            IpAddr::V4(v4) => {
                let cidr = eni.cidrs.iter_mut().find(|cidr| cidr.contains(v4.into()))?;
                cidr.used &= !cidr.bit(v4.into());
            }
            IpAddr::V6(v6) => {
                let prefix = eni.ipv6.iter_mut().find(|prefix| prefix.block() == place.block)?;
                let offset = prefix.offset(v6)?;
                prefix.tracked.remove(&offset);
            }
        }
        self.forget_places();
        Some(place)
    }

    /// Gives a pod back what [`Self::unassign`] took, because that could not be written down.
    pub fn undo_unassign(&mut self, key: K, place: Place) {
        let Some(eni) = self.eni_mut(place.eni) else { return };
        // Only if it left the CIDR without pods, it scheduled a clean-up.
        let scheduled = eni.excluded && eni.assigned_in(place.block) == Some(0);
        match place.address {
            IpAddr::V4(v4) => {
                let address = u32::from(v4);
                let Some(cidr) = eni.cidrs.iter_mut().find(|cidr| cidr.contains(address)) else { return };
                cidr.used |= cidr.bit(address);
                cidr.left &= !cidr.bit(address);
                eni.freed.retain(|freed| freed.address != address);
            }
            IpAddr::V6(v6) => {
                let Some(prefix) = eni.ipv6.iter_mut().find(|prefix| prefix.block() == place.block) else { return };
                let Some(offset) = prefix.offset(v6) else { return };
                prefix.tracked.insert(offset, None);
            }
        }
        if scheduled {
            self.clean_ups.cancel(place.eni, place.block);
        }
        self.own(key, place);
        self.assigned += 1;
    }

    /// Takes a checkpointed allocation over, as one of an ENI that has the address.
    pub fn recover(&mut self, key: K, address: IpAddr, eni: EniId) -> Result<Place, Refused> {
        let place = self.eni(eni).and_then(|eni| eni.place(address, false)).ok_or(Refused::UnknownAddress)?;
        if self.owners.contains_key(&key) {
            return Err(Refused::KeyInUse);
        }
        let eni = self.eni_mut(place.eni).ok_or(Refused::UnknownAddress)?;
        match address {
            IpAddr::V4(v4) => {
                let address = v4.into();
                let cidr = eni.cidrs.iter_mut().find(|cidr| cidr.contains(address)).ok_or(Refused::UnknownAddress)?;
                let bit = cidr.bit(address);
                if (cidr.used | cidr.left) & bit != 0 {
                    return Err(Refused::AddressInUse);
                }
                cidr.used |= bit;
            }
            IpAddr::V6(v6) => {
                let prefix = eni.ipv6.iter_mut().find(|prefix| prefix.block() == place.block);
                let prefix = prefix.ok_or(Refused::UnknownAddress)?;
                let offset = prefix.offset(v6).ok_or(Refused::UnknownAddress)?;
                if prefix.tracked.contains_key(&offset) {
                    return Err(Refused::AddressInUse);
                }
                prefix.tracked.insert(offset, None);
            }
        }
        self.own(key, place);
        self.assigned += 1;
        Ok(place)
    }

    /// When the next clean-up of a CIDR is due.
    pub fn clean_up_at_ms(&self) -> Option<i64> {
        self.clean_ups.next_ms()
    }

    /// Takes those CIDRs off excluded ENIs that are due and still without pods. The raw counters keep counting them, as the
    /// original's do.
    pub fn clean_up(&mut self, now_ms: i64) {
        if self.clean_ups.next_ms().is_none_or(|due_ms| due_ms > now_ms) {
            return;
        }
        for (eni, block) in self.clean_ups.take_due(now_ms) {
            if self.eni(eni).is_some_and(|eni| eni.excluded) {
                self.lose_block(eni, block);
            }
        }
    }
}
