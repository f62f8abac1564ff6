//! Which address a careful agent gives next: one that was never used, then the one that has rested longest; with prefixes, of
//! the fullest one.
//!
//! Connections of the pod that had the address last, and what others remember of it, end with time.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr};

use super::assign::Assignment;
use super::cidr::{Cidr, Prefix};
use super::pool::{Pool, PoolEni};
use crate::settings::Mode;

/// Addresses of an IPv6 prefix that are remembered before one that has rested is used again.
const MOST_TRACKED: usize = 4_096;
/// Stands for the time when an address was left that never was used.
const NEVER: i64 = i64::MIN;

impl<K: Ord + Clone> Pool<K> {
    /// Gives a pod an address, the one it has if it has one.
    pub fn assign_in_order(&mut self, key: K, mode: Mode, now_ms: i64) -> Option<Assignment> {
        if let Some(place) = self.place_of(&key) {
            return Some(Assignment { place, repeated: true });
        }
        let address = if mode == Mode::Ipv6 { self.next_ipv6(now_ms) } else { self.next_ipv4(mode, now_ms) }?;
        let place = self.place(address, true)?;
        self.owners.insert(key, address);
        self.assigned += 1;
        Some(Assignment { place, repeated: false })
    }

    fn next_ipv4(&mut self, mode: Mode, now_ms: i64) -> Option<IpAddr> {
        let serving = self.enis.iter().filter(|eni| !eni.excluded);
        let cidrs =
            serving.flat_map(|eni| eni.cidrs.iter().filter(|cidr| cidr.matches(mode)).map(move |cidr| (eni, *cidr)));
        let best = cidrs.filter_map(|(eni, cidr)| {
            let (left_ms, address) = self.next_of(eni, cidr, now_ms)?;
            Some((Reverse(cidr.assigned()), left_ms, address))
        });
        // A CIDR of one address has no pods if its address is free.
        let (_, _, address) = best.min_by_key(|(pods, left_ms, _)| (*pods, *left_ms))?;
        self.changed.mark();
        let holds = |eni: &&mut PoolEni| !eni.excluded && eni.cidrs.iter().any(|cidr| cidr.contains(address));
        let eni = self.enis.iter_mut().find(holds)?;
        let cidr = eni.cidrs.iter_mut().find(|cidr| cidr.contains(address))?;
        cidr.used |= cidr.bit(address);
        cidr.left &= !cidr.bit(address);
        eni.freed.retain(|freed| freed.address != address);
        Some(Ipv4Addr::from(address).into())
    }

    /// The address of a CIDR that is next, and when it was left.
    fn next_of(&self, eni: &PoolEni, cidr: Cidr, now_ms: i64) -> Option<(i64, u32)> {
        if let Some(fresh) = cidr.fresh() {
            return Some((NEVER, fresh));
        }
        let left = eni.freed.iter().filter(|freed| cidr.contains(freed.address) && !self.rests(freed.at_ms, now_ms));
        left.map(|freed| (freed.at_ms, freed.address)).min()
    }

    fn next_ipv6(&mut self, now_ms: i64) -> Option<IpAddr> {
        let cooldown_ms = self.cooldown_ms;
        let mut serving = self.enis.iter_mut().filter(|eni| !eni.excluded).flat_map(|eni| &mut eni.ipv6);
        serving.next().map(|prefix| prefix.next(now_ms, cooldown_ms).into())
    }
}

impl Prefix {
    fn next(&mut self, now_ms: i64, cooldown_ms: i64) -> std::net::Ipv6Addr {
        let has_rested = |at_ms: i64| now_ms.saturating_sub(at_ms) > cooldown_ms;
        let left = self.tracked.iter().filter_map(|(offset, left)| Some(((*left)?, *offset)));
        let rested = left.filter(|(at_ms, _)| has_rested(*at_ms)).min().map(|(_, offset)| offset);
        let offset = rested.filter(|_| self.tracked.len() >= MOST_TRACKED).unwrap_or_else(|| self.fresh());
        self.tracked.insert(offset, None);
        self.address(offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Block;
    use crate::id::{EniId, SubnetId};
    use crate::input::EniKind;

    fn pool(blocks: &[Block]) -> Pool<u32> {
        let mut pool = Pool::new(30_000);
        let id = EniId::from_bits(1);
        pool.add_eni(PoolEni::new(id, 0, EniKind::Interface, true, SubnetId::from_bits(0)));
        assert!(blocks.iter().all(|block| pool.add_block(id, *block)));
        pool
    }

    fn next(pool: &mut Pool<u32>, pod: u32, mode: Mode, now_ms: i64) -> Option<String> {
        pool.assign_in_order(pod, mode, now_ms).map(|given| given.place.address.to_string())
    }

    #[test]
    fn never_used_comes_first_and_then_what_rested_longest() {
        let mut pool = pool(&[0, 1, 2].map(|low| Block::Address(Ipv4Addr::new(10, 0, 0, low))));
        let mode = Mode::Secondary;
        assert_eq!(next(&mut pool, 1, mode, 0).as_deref(), Some("10.0.0.0"));
        assert_eq!(next(&mut pool, 2, mode, 0).as_deref(), Some("10.0.0.1"));
        pool.unassign(&2, 1_000).unwrap();
        pool.unassign(&1, 2_000).unwrap();
        // Both have rested, and one was never used.
        assert_eq!(next(&mut pool, 3, mode, 90_000).as_deref(), Some("10.0.0.2"));
        assert_eq!(next(&mut pool, 4, mode, 90_000).as_deref(), Some("10.0.0.1"));
        assert_eq!(next(&mut pool, 4, mode, 90_000).as_deref(), Some("10.0.0.1"), "it is asked again");
        assert_eq!(next(&mut pool, 5, mode, 90_000).as_deref(), Some("10.0.0.0"));
        assert_eq!(next(&mut pool, 6, mode, 90_000), None);
        pool.unassign(&5, 90_000).unwrap();
        assert_eq!((next(&mut pool, 6, mode, 120_000), pool.assigned()), (None, 2));
        assert_eq!(next(&mut pool, 6, mode, 120_001).as_deref(), Some("10.0.0.0"));
    }

    #[test]
    fn the_fullest_prefix_is_filled_first() {
        let mut pool = pool(&[0, 16].map(|low| Block::Prefix(Ipv4Addr::new(10, 0, 0, low))));
        let mode = Mode::Prefix;
        for pod in 0..17 {
            assert!(next(&mut pool, pod, mode, 0).is_some());
        }
        // The first prefix has one pod less than all; what rested there goes before what was never used in the second.
        pool.unassign(&3, 0).unwrap();
        assert_eq!(next(&mut pool, 20, mode, 10_000).as_deref(), Some("10.0.0.17"), "it rests");
        assert_eq!(next(&mut pool, 21, mode, 40_000).as_deref(), Some("10.0.0.3"));
        assert_eq!(next(&mut pool, 22, mode, 40_000).as_deref(), Some("10.0.0.18"));
    }

    #[test]
    fn an_ipv6_prefix_remembers_no_more_than_so_many_addresses() {
        let mut pool = pool(&[Block::Ipv6Prefix("2001:db8::".parse().unwrap())]);
        for pod in 0..10_000 {
            let now_ms = i64::from(pod) * 1_000;
            assert!(next(&mut pool, pod, Mode::Ipv6, now_ms).is_some());
            pool.unassign(&pod, now_ms).unwrap();
        }
        assert_eq!(pool.enis()[0].freed().count(), MOST_TRACKED);
        // The next to be used again is the one that rested longest.
        let oldest = pool.enis()[0].freed().min_by_key(|(_, at_ms)| *at_ms).unwrap().0;
        assert_eq!(next(&mut pool, 1, Mode::Ipv6, 20_000_000), Some(oldest.to_string()));
    }
}
