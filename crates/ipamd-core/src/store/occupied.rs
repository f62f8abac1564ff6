//! Addresses that something on the host uses and no pod here has.

use std::net::IpAddr;

use super::cidr::Freed;
use super::pool::{Pool, PoolEni};
use crate::block::Block;
use crate::id::EniId;
use crate::small_map::make_room;

/// Stands for the time when such an address was left: it never has rested.
const OCCUPIED: i64 = i64::MAX;

impl<K: Ord + Clone> Pool<K> {
    /// The host shows that something uses an address which no pod here has: it is given to none until [`Self::vacate`], and its
    /// ENI is not one that may be given up. False where no CIDR holds it.
    pub fn occupy(&mut self, address: IpAddr) -> bool {
        self.mark_left(address, OCCUPIED)
    }

    /// A pod left the address at this time; one that a pod has stays with it.
    pub fn rest(&mut self, address: IpAddr, at_ms: i64) {
        self.mark_left(address, at_ms);
    }

    /// The address does not rest any more: the checkpoint names the pod that has it.
    pub fn end_rest(&mut self, address: IpAddr) {
        let Some(place) = self.place(address, false) else { return };
        let Some(eni) = self.eni_mut(place.eni) else { return };
        match address {
            IpAddr::V4(v4) => {
                let address = v4.into();
                eni.cidrs
                    .iter_mut()
                    .filter(|cidr| cidr.contains(address))
                    .for_each(|cidr| cidr.left &= !cidr.bit(address));
                eni.freed.retain(|freed| freed.address != address);
            }
            IpAddr::V6(v6) => {
                for prefix in eni.ipv6.iter_mut().filter(|prefix| prefix.block() == place.block) {
                    let rests =
                        prefix.offset(v6).filter(|offset| prefix.tracked.get(offset).is_some_and(Option::is_some));
                    if let Some(offset) = rests {
                        prefix.tracked.remove(&offset);
                    }
                }
            }
        }
    }

    /// An occupied address is free from now on, and rests.
    pub fn vacate(&mut self, address: IpAddr, now_ms: i64) {
        let occupied = self.enis.iter().flat_map(PoolEni::freed).any(|freed| freed == (address, OCCUPIED));
        if occupied {
            self.mark_left(address, now_ms);
        }
    }

    /// An address of this CIDR is occupied.
    pub fn is_occupied(&self, id: EniId, block: Block) -> bool {
        let occupied = self.eni(id).into_iter().flat_map(PoolEni::freed).filter(|(_, at_ms)| *at_ms == OCCUPIED);
        occupied
            .filter_map(|(address, _)| self.place(address, false))
            .any(|place| place.eni == id && place.block == block)
    }

    fn mark_left(&mut self, address: IpAddr, at_ms: i64) -> bool {
        let Some(place) = self.place(address, false) else { return false };
        let Some(eni) = self.eni_mut(place.eni) else { return false };
        match address {
            IpAddr::V4(v4) => {
                let address = v4.into();
                let Some(cidr) = eni.cidrs.iter_mut().find(|cidr| cidr.contains(address)) else { return false };
                if cidr.used & cidr.bit(address) != 0 {
                    return false;
                }
                cidr.left |= cidr.bit(address);
                let prefix = cidr.prefix;
                eni.freed.retain(|freed| freed.address != address);
                make_room(&mut eni.freed);
                eni.freed.push(Freed { address, prefix, at_ms });
            }
            IpAddr::V6(v6) => {
                let Some(prefix) = eni.ipv6.iter_mut().find(|prefix| prefix.block() == place.block) else {
                    return false;
                };
                match prefix.offset(v6) {
                    Some(offset) if prefix.tracked.get(&offset) != Some(&None) => {
                        prefix.tracked.insert(offset, Some(at_ms));
                    }
                    _ => return false,
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;
    use crate::id::SubnetId;
    use crate::input::EniKind;
    use crate::store::Refused;

    #[test]
    fn an_address_that_rests_goes_to_the_pod_that_the_checkpoint_names() {
        let id = EniId::from_bits(1);
        let mut pool = Pool::new(30_000);
        pool.add_eni(PoolEni::new(id, 0, EniKind::Interface, true, SubnetId::from_bits(0)));
        let (v4, v6) = (Ipv4Addr::new(10, 0, 0, 5), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 5));
        pool.add_block(id, Block::Address(v4));
        pool.add_block(id, Block::Ipv6Prefix(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0)));
        for (key, address) in [IpAddr::from(v4), IpAddr::from(v6)].into_iter().enumerate() {
            pool.rest(address, 1_000);
            assert_eq!(pool.recover(key, address, id), Err(Refused::AddressInUse), "{address}");
            pool.end_rest(address);
            assert!(pool.recover(key, address, id).is_ok(), "{address}");
            // It is the pod's now.
            pool.end_rest(address);
            assert_eq!(pool.recover(key + 2, address, id), Err(Refused::AddressInUse), "{address}");
        }
    }
}
