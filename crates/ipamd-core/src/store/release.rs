//! What may leave the pool: CIDRs without pods, and whole ENIs that are not needed. And which ENIs may grow.

use super::cidr::Prefix;
use super::decide::Targets;
use super::pool::{Pool, PoolEni};
use crate::block::Block;
use crate::chooser::{Chooser, Purpose, chosen};
use crate::id::EniId;
use crate::input::EniKind;
use cni_types::limits::ADDRESSES_PER_PREFIX;

/// An ENI younger than this in the store is not given up.
pub const MINIMUM_ENI_AGE_MS: i64 = 60_000;

impl<K: Ord + Clone> Pool<K> {
    /// IPv4 CIDRs of one ENI without pods, of either kind; rest is not considered.
    pub fn free_blocks(&self, id: EniId) -> Vec<Block> {
        let cidrs = self.eni(id).map(|eni| eni.cidrs.as_slice()).unwrap_or_default();
        cidrs.iter().filter(|cidr| cidr.used == 0).map(|cidr| cidr.block()).collect()
    }

    /// CIDRs of one ENI without pods, of one kind: prefixes, IPv6 ones included, or IPv4 addresses.
    pub fn unused_blocks(&self, id: EniId, prefix: bool) -> Vec<Block> {
        let mut blocks = self.free_blocks(id);
        blocks.retain(|block| matches!(block, Block::Prefix(_)) == prefix);
        let ipv6 = self.eni(id).into_iter().filter(|_| prefix).flat_map(|eni| &eni.ipv6);
        blocks.extend(ipv6.filter(|held| held.assigned() == 0).map(Prefix::block));
        blocks
    }

    /// ENIs that may get more CIDRs, each having `slots` places; with custom networking the primary ENI gets none.
    pub fn allocatable(&self, slots: u32, custom_networking: bool) -> Vec<EniId> {
        let may_grow = |eni: &&PoolEni| {
            !(custom_networking && eni.primary)
                && eni.kind != EniKind::Trunk
                && !eni.excluded
                && (eni.slots_used() as u64) < u64::from(slots)
        };
        self.enis.iter().filter(may_grow).map(|eni| eni.id).collect()
    }

    /// A plain secondary ENI has no pods.
    pub fn has_idle_eni(&self) -> bool {
        self.enis.iter().any(|eni| !eni.primary && eni.kind == EniKind::Interface && eni.is_idle())
    }

    /// The ENIs of which each may be given up.
    pub fn spare_enis(&self, targets: &Targets, now_ms: i64) -> Vec<EniId> {
        let may_go = |eni: &&PoolEni| self.may_go(eni, now_ms) && !self.is_needed(eni, targets);
        self.enis.iter().filter(may_go).map(|eni| eni.id).collect()
    }

    /// One ENI that may be given up.
    pub fn spare_eni(&self, targets: &Targets, now_ms: i64, chooser: &mut dyn Chooser) -> Option<EniId> {
        let spare = self.spare_enis(targets, now_ms);
        let index = if spare.is_empty() { 0 } else { chooser.eni(Purpose::Spare, &spare) };
        chosen(&spare, index)
    }

    fn may_go(&self, eni: &PoolEni, now_ms: i64) -> bool {
        !eni.primary
            && eni.kind == EniKind::Interface
            && now_ms.saturating_sub(eni.created_ms) >= MINIMUM_ENI_AGE_MS
            && eni.assigned_ipv4() == 0
            && !eni.freed.iter().any(|freed| self.rests(freed.at_ms, now_ms))
    }

    /// Whether the other ENIs alone would miss a target. Addresses count if they are of the mode in force, free CIDRs of either
    /// kind count as prefixes.
    fn is_needed(&self, leaving: &PoolEni, targets: &Targets) -> bool {
        let (mut total, mut assigned, mut free_cidrs) = (0, 0, 0);
        let others = self.enis.iter().filter(|eni| eni.id != leaving.id && !eni.excluded);
        for cidr in others.flat_map(|eni| &eni.cidrs) {
            free_cidrs += u32::from(cidr.used == 0);
            if cidr.prefix == targets.prefix_mode {
                total += cidr.size();
                assigned += cidr.assigned();
            }
        }
        let whole = |target: u32| {
            if !targets.prefix_mode {
                return target;
            }
            target.div_ceil(ADDRESSES_PER_PREFIX).saturating_mul(ADDRESSES_PER_PREFIX)
        };
        total - assigned < whole(targets.warm_ip)
            || total < whole(targets.minimum_ip)
            || (targets.prefix_mode && free_cidrs < targets.warm_prefix)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::chooser::Seeded;
    use crate::id::SubnetId;
    use crate::settings::Mode;

    const OLD_MS: i64 = 1_000_000;

    fn id(number: u32) -> EniId {
        EniId::from_bits(number.into())
    }

    fn secondary(number: u32, offset: u32) -> Block {
        Block::Address(Ipv4Addr::from(0x0a00_0000 + number * 256 + offset))
    }

    /// Two addresses with pods on the primary, two free on ENI 2, one free on ENI 3.
    fn pool() -> Pool<u32> {
        let mut pool = Pool::new(30_000);
        for (number, addresses) in [(1, 2), (2, 2), (3, 1)] {
            add(&mut pool, number, EniKind::Interface, addresses);
        }
        for pod in 0..2 {
            pool.assign(pod, Mode::Secondary, 0, &mut Seeded::first_fit(0)).unwrap();
        }
        pool
    }

    fn add(pool: &mut Pool<u32>, number: u32, kind: EniKind, addresses: u32) {
        pool.add_eni(PoolEni::new(id(number), 0, kind, number == 1, SubnetId::from_bits(0)));
        for offset in 0..addresses {
            assert!(pool.add_block(id(number), secondary(number, offset)));
        }
    }

    fn targets(warm_ip: u32, minimum_ip: u32) -> Targets {
        Targets { prefix_mode: false, warm_ip, minimum_ip, warm_eni: 0, warm_prefix: 0, slots: 9, max_pods: 99 }
    }

    fn spare(pool: &Pool<u32>, targets: &Targets, now_ms: i64) -> Option<EniId> {
        pool.spare_eni(targets, now_ms, &mut Seeded::first_fit(0))
    }

    #[test]
    fn the_eni_whose_loss_breaks_no_target_goes() {
        let mut pool = pool();
        assert_eq!(spare(&pool, &targets(3, 1), OLD_MS), None);
        assert_eq!(spare(&pool, &targets(1, 5), OLD_MS), None);
        assert_eq!(spare(&pool, &targets(2, 4), OLD_MS), Some(id(3)));
        pool.drop_eni(id(3)).unwrap();
        assert_eq!(spare(&pool, &targets(0, 3), OLD_MS), None);
        assert_eq!(spare(&pool, &targets(0, 2), OLD_MS), Some(id(2)));
        pool.drop_eni(id(2)).unwrap();
        add(&mut pool, 4, EniKind::Trunk, 1);
        add(&mut pool, 5, EniKind::EfaOnly, 1);
        assert_eq!(spare(&pool, &targets(0, 2), OLD_MS), None);
        add(&mut pool, 6, EniKind::Interface, 0);
        assert_eq!(spare(&pool, &targets(0, 2), OLD_MS), Some(id(6)));
    }

    #[test]
    fn an_address_with_a_pod_goes_only_by_force() {
        let mut pool = pool();
        assert_eq!(pool.remove_block(id(1), secondary(1, 0), false), None);
        assert_eq!((pool.total(), pool.assigned()), (5, 2));
        assert_eq!(pool.remove_block(id(1), secondary(1, 0), true), Some(1));
        assert_eq!((pool.total(), pool.assigned()), (4, 1));
    }

    #[test]
    fn a_young_eni_stays_for_a_minute() {
        let pool = pool();
        assert_eq!(spare(&pool, &targets(0, 2), 59_999), None);
        assert_eq!(spare(&pool, &targets(0, 2), 60_000), Some(id(2)));
    }

    #[test]
    fn an_eni_with_a_resting_address_stays() {
        let mut pool = pool();
        pool.assign(7, Mode::Secondary, 0, &mut Seeded::first_fit(0)).unwrap();
        assert_eq!(spare(&pool, &targets(0, 2), OLD_MS), Some(id(3)));
        pool.drop_eni(id(3)).unwrap();
        pool.unassign(&7, OLD_MS).unwrap();
        assert_eq!(spare(&pool, &targets(0, 2), OLD_MS + 30_000), None);
        assert_eq!(spare(&pool, &targets(0, 2), OLD_MS + 30_001), Some(id(2)));
    }

    #[test]
    fn addresses_of_excluded_enis_meet_no_target() {
        let mut pool = pool();
        pool.eni_mut(id(2)).unwrap().excluded = true;
        assert_eq!(spare(&pool, &targets(0, 3), OLD_MS), Some(id(2)));
        assert_eq!(spare(&pool, &targets(1, 0), OLD_MS), Some(id(2)));
        assert_eq!(spare(&pool, &targets(2, 0), OLD_MS), None);
    }

    #[test]
    fn prefix_targets_are_met_in_whole_prefixes() {
        let mut pool = Pool::new(30_000);
        for number in 1..=2_u32 {
            pool.add_eni(PoolEni::new(id(number), 0, EniKind::Interface, number == 1, SubnetId::from_bits(0)));
            for offset in 0..number {
                pool.add_block(id(number), Block::Prefix(Ipv4Addr::from(0x0a00_0000 + number * 256 + offset * 16)));
            }
        }
        let prefix = |warm_ip, minimum_ip, warm_prefix| Targets {
            prefix_mode: true,
            warm_prefix,
            ..targets(warm_ip, minimum_ip)
        };
        assert_eq!(spare(&pool, &prefix(16, 0, 0), OLD_MS), Some(id(2)));
        assert_eq!(spare(&pool, &prefix(17, 0, 0), OLD_MS), None);
        assert_eq!(spare(&pool, &prefix(0, 16, 0), OLD_MS), Some(id(2)));
        assert_eq!(spare(&pool, &prefix(0, 17, 0), OLD_MS), None);
        assert_eq!(spare(&pool, &prefix(0, 0, 1), OLD_MS), Some(id(2)));
        assert_eq!(spare(&pool, &prefix(0, 0, 2), OLD_MS), None);
        for targets in [prefix(u32::MAX, 0, 0), prefix(0, u32::MAX, 0), prefix(0, 0, u32::MAX)] {
            assert_eq!(spare(&pool, &targets, OLD_MS), None);
        }
    }

    #[test]
    fn a_rested_address_is_used_again_before_a_fresh_one() {
        let mut pool = Pool::new(30_000);
        pool.add_eni(PoolEni::new(id(1), 0, EniKind::Interface, true, SubnetId::from_bits(0)));
        pool.add_block(id(1), Block::Prefix(Ipv4Addr::new(10, 0, 0, 0)));
        let chooser = &mut Seeded::first_fit(0);
        let mut next = |pool: &mut Pool<u32>, pod, now_ms| {
            let given = pool.assign(pod, Mode::Prefix, now_ms, chooser);
            given.map(|given| given.place.address.to_string())
        };
        for (pod, address) in (0..).zip(["10.0.0.0", "10.0.0.1", "10.0.0.2"]) {
            assert_eq!(next(&mut pool, pod, 0).as_deref(), Some(address));
        }
        pool.unassign(&1, 0).unwrap();
        assert_eq!(next(&mut pool, 10, 30_000).as_deref(), Some("10.0.0.3"));
        assert_eq!(next(&mut pool, 11, 30_001).as_deref(), Some("10.0.0.1"));
        for pod in 20..32 {
            assert!(next(&mut pool, pod, 30_001).is_some());
        }
        assert_eq!(next(&mut pool, 40, 30_001), None);
        assert_eq!(pool.stats(Mode::Prefix, 0).total, 16);
    }
}
