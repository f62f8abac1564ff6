//! Addresses that can be given to a pod now, and when those that rest can.

use super::cidr::Freed;
use super::pool::{Pool, PoolEni};
use crate::settings::Mode;

impl<K: Ord + Clone> Pool<K> {
    /// Addresses that can be given to a pod at `now_ms`: those that rest or are occupied are none. An IPv6 prefix has more than
    /// any node can use.
    pub fn usable(&self, mode: Mode, now_ms: i64) -> u32 {
        let serving = || self.enis.iter().filter(|eni| !eni.excluded);
        if mode == Mode::Ipv6 {
            return if serving().any(|eni| !eni.ipv6.is_empty()) { u32::MAX } else { 0 };
        }
        let of_eni = |eni: &PoolEni| {
            let cidrs = || eni.cidrs.iter().filter(|cidr| cidr.matches(mode));
            let fresh: u32 = cidrs().map(|cidr| cidr.size() - (cidr.used | cidr.left).count_ones()).sum();
            let rested =
                |freed: &&Freed| !self.rests(freed.at_ms, now_ms) && cidrs().any(|cidr| cidr.contains(freed.address));
            fresh.saturating_add(u32::try_from(eni.freed.iter().filter(rested).count()).unwrap_or(u32::MAX))
        };
        serving().map(of_eni).fold(0, u32::saturating_add)
    }

    /// When resting addresses of ENIs that serve pods can be given again, the earliest first.
    pub fn rest_ends(&self, mode: Mode, now_ms: i64) -> Vec<i64> {
        let of_mode = |freed: &&Freed| freed.prefix == (mode == Mode::Prefix) && mode != Mode::Ipv6;
        let serving = self.enis.iter().filter(|eni| !eni.excluded);
        let resting =
            serving.flat_map(|eni| &eni.freed).filter(of_mode).filter(|freed| self.rests(freed.at_ms, now_ms));
        // The bound itself still rests. An occupied address has no end.
        let ends = resting.map(|freed| freed.at_ms.saturating_add(self.cooldown_ms).saturating_add(1));
        let mut ends: Vec<_> = ends.filter(|end_ms| *end_ms < i64::MAX).collect();
        ends.sort_unstable();
        ends
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::block::Block;
    use crate::chooser::Seeded;
    use crate::id::{EniId, SubnetId};
    use crate::input::EniKind;

    #[test]
    fn what_rests_is_not_usable_until_its_rest_ends() {
        let mut pool = Pool::new(30_000);
        for number in 1..=2_u32 {
            let id = EniId::from_bits(number.into());
            pool.add_eni(PoolEni::new(id, 0, EniKind::Interface, number == 1, SubnetId::from_bits(0)));
            for offset in 0..3 {
                pool.add_block(id, Block::Address(Ipv4Addr::from(0x0a00_0000 + number * 256 + offset)));
            }
        }
        let (mode, chooser) = (Mode::Secondary, &mut Seeded::first_fit(0));
        for pod in 0..4 {
            pool.assign(pod, mode, 0, chooser).unwrap();
        }
        assert_eq!((pool.usable(mode, 0), pool.usable(Mode::Prefix, 0), pool.usable(Mode::Ipv6, 0)), (2, 0, 0));
        pool.unassign(&0, 1_000).unwrap();
        pool.unassign(&1, 500).unwrap();
        assert_eq!((pool.usable(mode, 1_000), pool.rest_ends(mode, 1_000)), (2, vec![30_501, 31_001]));
        assert_eq!((pool.usable(mode, 30_501), pool.rest_ends(mode, 30_501)), (3, vec![31_001]));
        assert_eq!((pool.usable(mode, 31_001), pool.rest_ends(mode, 31_001)), (4, Vec::new()));
        pool.eni_mut(EniId::from_bits(2)).unwrap().excluded = true;
        assert_eq!(pool.usable(mode, 31_001), 2);
        // What the host shows in use has no end of its rest.
        assert!(pool.occupy(std::net::IpAddr::from([10, 0, 1, 0])));
        assert_eq!((pool.usable(mode, 90_000), pool.rest_ends(mode, 90_000)), (1, Vec::new()));
    }
}
