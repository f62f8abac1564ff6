//! What holds of the datastore whatever happens to it, in histories without the original.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipamd_core::block::Block;
use ipamd_core::chooser::Seeded;
use ipamd_core::id::EniId;
use ipamd_core::settings::Mode;
use ipamd_core::store::{Place, PoolEni};
use proptest::prelude::*;

use crate::comparison::mirror::Mirror;
use crate::comparison::steps::{Step, history};

const COOLDOWN_MS: i64 = 30_000;

/// A store, and what its history says of it.
struct Lab {
    mode: Mode,
    ours: Mirror,
    chooser: Seeded,
    /// When pods left the addresses that are still here.
    left: BTreeMap<(EniId, IpAddr), i64>,
    /// Something happened at which the original's raw counters stop being a count of what is there.
    miscounted: bool,
}

impl Lab {
    fn places(&self) -> BTreeMap<u32, Place> {
        let pool = &self.ours.pool;
        pool.owners().keys().map(|pod| (*pod, pool.place_of(pod).unwrap())).collect()
    }

    /// The CIDRs of each ENI: some have the same.
    fn blocks(&self) -> BTreeSet<(EniId, Block)> {
        let of = |eni: &PoolEni| eni.blocks().map(|block| (eni.id, block)).collect::<Vec<_>>();
        self.ours.pool.enis().iter().flat_map(of).collect()
    }

    fn play(&mut self, step: &Step) {
        let (places, blocks) = (self.places(), self.blocks());
        let (before, raw) = (format!("{:?}", self.ours.pool), self.raw());
        let result = self.ours.play_alone(step, &mut self.chooser);
        // A restored checkpoint may be read in part before an entry is refused.
        if result.is_err() && !matches!(step, Step::Restore(_)) {
            assert_eq!(format!("{:?}", self.ours.pool), before, "refused with {result:?}");
        }
        let (now, held) = (self.places(), self.blocks());
        self.owners_stay(step, &places, &now, &held);
        let gone: Vec<_> = blocks.difference(&held).collect();
        self.left.retain(|(eni, address), _| !gone.iter().any(|(id, block)| id == eni && covers(*block, *address)));
        let [total, prefixes, _] = self.recount();
        let lowered = [raw[0] - self.raw()[0], raw[1] - self.raw()[1]];
        let removed = gone.iter().map(|(_, block)| size(*block)).fold([0, 0], |sum, [a, b]| [sum[0] + a, sum[1] + b]);
        self.miscounted |= !gone.is_empty() && lowered != removed;
        if !self.miscounted {
            assert_eq!(self.raw()[..2], [total, prefixes], "the raw counters");
        }
    }

    /// A pod keeps its address until it leaves, or the CIDR does; none gets one unasked, and what it gets has rested.
    fn owners_stay(
        &mut self,
        step: &Step,
        places: &BTreeMap<u32, Place>,
        now: &BTreeMap<u32, Place>,
        held: &BTreeSet<(EniId, Block)>,
    ) {
        for (pod, place) in places {
            match now.get(pod) {
                Some(kept) => assert_eq!(kept, place, "pod {pod} was moved"),
                None if !held.contains(&(place.eni, place.block)) => {}
                None => {
                    assert!(
                        matches!(step, Step::Unassign(_) | Step::UnassignRestored(_)),
                        "pod {pod} lost its address"
                    );
                    self.left.insert((place.eni, place.address), self.ours.now_ms);
                }
            }
        }
        for (pod, place) in now.iter().filter(|(pod, _)| !places.contains_key(pod)) {
            assert!(matches!(step, Step::Assign(_) | Step::Restore(_)), "pod {pod} got an address unasked");
            if let Step::Assign(asked) = step {
                assert_eq!(u32::from(*asked), *pod);
                let excluded = self.ours.pool.eni(place.eni).unwrap().excluded;
                assert!(!excluded && fits(place.block, self.mode), "{place:?}");
                let left_ms = self.left.remove(&(place.eni, place.address));
                assert!(
                    left_ms.is_none_or(|left_ms| self.ours.now_ms - left_ms > COOLDOWN_MS),
                    "{place:?} did not rest"
                );
            }
        }
        let mut addresses = BTreeSet::new();
        let once = now.values().all(|place| addresses.insert((place.eni, place.address)));
        assert!(once, "an address of an ENI with two pods: {now:?}");
    }

    /// The raw counters: addresses, prefixes, assigned addresses.
    fn raw(&self) -> [i64; 3] {
        let pool = &self.ours.pool;
        [pool.total(), pool.prefixes(), pool.assigned()]
    }

    fn recount(&self) -> [i64; 3] {
        let sizes = self
            .blocks()
            .into_iter()
            .map(|(_, block)| size(block))
            .fold([0, 0], |sum, [a, b]| [sum[0] + a, sum[1] + b]);
        [sizes[0], sizes[1], i64::try_from(self.ours.pool.owners().len()).unwrap()]
    }

    /// What is remembered is bounded by what is attached, and adds up.
    fn is_sound(&self) {
        let pool = &self.ours.pool;
        for eni in pool.enis() {
            let (pods, addresses) = (pool.owners().keys(), usize::try_from(eni.addresses()).unwrap());
            let pods = pods.filter(|pod| pool.place_of(pod).is_some_and(|place| place.eni == eni.id)).count();
            assert_eq!(pods, usize::try_from(eni.assigned()).unwrap(), "pods of {}", eni.id);
            let freed: Vec<_> = eni.freed().map(|(address, _)| address).collect();
            assert_eq!(freed.iter().collect::<BTreeSet<_>>().len(), freed.len(), "{freed:?}");
            let freed_ipv4 = freed.iter().filter(|address| address.is_ipv4()).count();
            assert!(freed_ipv4 + usize::try_from(eni.assigned_per_block().sum::<u32>()).unwrap() <= addresses);
        }
        for mode in [Mode::Secondary, Mode::Prefix] {
            let stats = pool.stats(mode, self.ours.now_ms);
            assert!(stats.assigned + stats.cooling <= stats.total, "{stats:?}");
        }
        assert_eq!(self.ours.metrics.assigned, pool.assigned());
        // IPv6 prefixes with pods leave with their ENI, and the raw counter keeps the pods.
        if self.mode != Mode::Ipv6 {
            assert_eq!(pool.assigned(), self.recount()[2], "pods and their raw counter");
        }
        assert!(pool.clean_up_at_ms().is_none_or(|due_ms| due_ms > self.ours.now_ms), "a clean-up was missed");
    }
}

/// Addresses and prefixes of a CIDR.
fn size(block: Block) -> [i64; 2] {
    match block {
        Block::Address(_) => [1, 0],
        Block::Prefix(_) => [16, 1],
        Block::Ipv6Prefix(_) => [1 << 48, 1],
    }
}

fn fits(block: Block, mode: Mode) -> bool {
    match mode {
        Mode::Secondary => matches!(block, Block::Address(_)),
        Mode::Prefix => matches!(block, Block::Prefix(_)),
        Mode::Ipv6 => matches!(block, Block::Ipv6Prefix(_)),
    }
}

fn covers(block: Block, address: IpAddr) -> bool {
    match (block, address) {
        (Block::Address(held), IpAddr::V4(address)) => held == address,
        (Block::Prefix(base), IpAddr::V4(address)) => u32::from(base) >> 4 == u32::from(address) >> 4,
        (Block::Ipv6Prefix(base), IpAddr::V6(address)) => u128::from(base) >> 48 == u128::from(address) >> 48,
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn owners_counters_and_what_is_remembered((mode, steps) in history(150), seed in any::<u64>()) {
        let ours = Mirror::new(mode);
        let chooser = Seeded::random(seed);
        let mut lab = Lab { mode, ours, chooser, left: BTreeMap::new(), miscounted: false };
        for step in &steps {
            lab.play(step);
            lab.is_sound();
        }
    }
}
