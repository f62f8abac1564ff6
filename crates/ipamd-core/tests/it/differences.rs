//! Where the datastore once differed from the original's: each sequence with what the original's real code did at it.

use std::net::Ipv4Addr;

use ipamd_core::block::Block;
use ipamd_core::chooser::{Chooser, Seeded};
use ipamd_core::id::{EniId, SubnetId};
use ipamd_core::input::EniKind;
use ipamd_core::metrics::Metrics;
use ipamd_core::settings::Mode;
use ipamd_core::store::{Ledger, Pool, PoolEni, Refused, Stats, Targets};

/// A store, its gauges and a clock.
struct Lab {
    pool: Pool<u32>,
    metrics: Metrics,
    chooser: Seeded,
    mode: Mode,
    now_ms: i64,
}

impl Lab {
    fn new(mode: Mode) -> Self {
        let chooser = Seeded::first_fit(0);
        Self { pool: Pool::new(30_000), metrics: Metrics::new(0, false), chooser, mode, now_ms: 0 }
    }

    fn ledger(&mut self) -> Ledger<'_, u32> {
        Ledger { pool: &mut self.pool, metrics: &mut self.metrics }
    }

    fn eni(&mut self, number: u8, kind: EniKind, blocks: &[Block]) -> EniId {
        let id = EniId::from_bits(number.into());
        let eni = PoolEni::new(id, self.now_ms, kind, number == 1, SubnetId::from_bits(0));
        self.ledger().add_eni(eni).unwrap();
        for block in blocks {
            self.ledger().add_block(id, *block).unwrap();
        }
        id
    }

    fn assign(&mut self, pods: std::ops::Range<u32>) {
        for pod in pods {
            let (mode, now_ms) = (self.mode, self.now_ms);
            let mut ledger = Ledger { pool: &mut self.pool, metrics: &mut self.metrics };
            let given = ledger.assign(pod, mode, now_ms, &mut self.chooser).unwrap();
            ledger.assign_written(given.place);
        }
    }

    fn unassign(&mut self, pod: u32) {
        let now_ms = self.now_ms;
        let place = self.ledger().unassign(&pod, now_ms).unwrap();
        self.ledger().unassign_written(place);
    }

    fn stats(&self) -> Stats {
        self.pool.stats(self.mode, self.now_ms)
    }
}

fn address(last: u8) -> Block {
    Block::Address(Ipv4Addr::new(10, 0, 0, last))
}

fn prefix(number: u8) -> Block {
    Block::Prefix(Ipv4Addr::new(10, 1, number, 0))
}

fn targets(mode: Mode, warm_ip: u32, minimum_ip: u32) -> Targets {
    let prefix_mode = mode == Mode::Prefix;
    Targets { prefix_mode, warm_ip, minimum_ip, warm_eni: 0, warm_prefix: 0, slots: 9, max_pods: 110 }
}

/// Two ENIs of three prefixes and 70 pods; the second ENI vanishes.
#[test]
fn d3_a_vanished_eni_lowers_the_counter_of_prefixes_twice() {
    let mut lab = Lab::new(Mode::Prefix);
    lab.eni(1, EniKind::Interface, &[prefix(1), prefix(2), prefix(3)]);
    let second = lab.eni(2, EniKind::Interface, &[prefix(4), prefix(5), prefix(6)]);
    lab.assign(0..70);
    lab.ledger().remove_eni(second, true).unwrap();
    assert_eq!((lab.pool.total(), lab.pool.prefixes(), lab.pool.assigned()), (0, 0, 48));
    // The gauges keep what they said until a CIDR changes.
    assert_eq!((lab.metrics.total, lab.metrics.prefixes, lab.metrics.assigned), (96, 6, 48));
    assert_eq!((lab.metrics.force_removed_enis, lab.metrics.force_removed_ips), (1, 22));
    // What the counter says feeds the decision: no prefix is ever too many again.
    assert_eq!(lab.stats().prefixes, 0);
    (0..48).for_each(|pod| lab.unassign(pod));
    assert_eq!(targets(Mode::Prefix, 1, 0).surplus(&lab.stats()), 0);
    // A change of an address shows the total and no prefixes, one of a prefix shows both.
    let first = EniId::from_bits(1);
    lab.ledger().add_block(first, address(9)).unwrap();
    assert_eq!((lab.metrics.total, lab.metrics.prefixes), (1, 6));
    lab.ledger().add_block(first, prefix(7)).unwrap();
    assert_eq!((lab.metrics.total, lab.metrics.prefixes), (17, 1));
    // A second loss, and the counters are below what is left by as much again.
    let third = lab.eni(3, EniKind::Interface, &[prefix(8), prefix(9)]);
    lab.now_ms = 30_001;
    lab.assign(100..165);
    lab.ledger().remove_eni(third, true).unwrap();
    assert_eq!((lab.pool.total(), lab.pool.prefixes()), (-15, -1));
    assert_eq!(lab.stats().prefixes, 0);
}

#[test]
fn d4_a_vanished_prefix_leaves_the_gauges_by_eni_and_by_cidr() {
    let mut lab = Lab::new(Mode::Prefix);
    let eni = lab.eni(1, EniKind::Interface, &[prefix(1)]);
    lab.assign(0..2);
    assert_eq!(lab.ledger().remove_block(eni, prefix(1), false), Err(Refused::CidrInUse));
    assert_eq!(lab.ledger().remove_block(eni, prefix(1), true), Ok(2));
    assert_eq!((lab.metrics.per_eni.get(&eni), lab.metrics.per_cidr.get(prefix(1))), (Some(&2), Some(2)));
    assert_eq!((lab.metrics.assigned, lab.metrics.force_removed_ips), (0, 2));
    assert_eq!((lab.metrics.total, lab.metrics.prefixes), (0, 0));
}

/// What a sweep takes by force and what is given back later is as new: nothing rests, and no pod has it.
#[test]
fn d12_a_swept_address_that_comes_back_is_free_at_once() {
    let mut lab = Lab::new(Mode::Secondary);
    let eni = lab.eni(1, EniKind::Interface, &[address(1)]);
    lab.assign(0..1);
    assert_eq!(lab.ledger().remove_block(eni, address(1), true), Ok(1));
    assert_eq!((lab.pool.owners().len(), lab.pool.total(), lab.pool.assigned()), (0, 0, 0));
    lab.ledger().add_block(eni, address(1)).unwrap();
    lab.assign(1..2);
    assert_eq!((lab.pool.owners().len(), lab.pool.total(), lab.pool.assigned()), (1, 1, 1));
}

/// A node that was in prefix mode before has addresses that no pod gets, and whose release counts like a prefix's.
#[test]
fn d19_cidrs_of_either_kind_may_be_released() {
    let mut lab = Lab::new(Mode::Prefix);
    let eni = lab.eni(1, EniKind::Interface, &[prefix(1), prefix(2), address(1)]);
    lab.assign(0..1);
    assert_eq!(lab.pool.free_blocks(eni), [prefix(2), address(1)]);
    assert_eq!(lab.pool.unused_blocks(eni, true), [prefix(2)]);
    let over = targets(Mode::Prefix, 1, 0).surplus(&lab.stats()) as usize;
    assert_eq!(over, 1);
    let released = lab.chooser.blocks(eni, lab.pool.free_blocks(eni), over);
    assert_eq!(released, [address(1)], "the prefix that is too much stays");
}

#[test]
fn d20_only_addresses_of_the_mode_in_force_keep_an_eni_from_being_needed() {
    let mut lab = Lab::new(Mode::Secondary);
    lab.eni(1, EniKind::Interface, &[prefix(1)]);
    let second = lab.eni(2, EniKind::Interface, &[address(1), address(2)]);
    lab.now_ms = 60_000;
    let spare =
        |lab: &Lab, warm_ip, minimum_ip| lab.pool.spare_enis(&targets(lab.mode, warm_ip, minimum_ip), lab.now_ms);
    assert_eq!((spare(&lab, 1, 0), spare(&lab, 0, 1)), (vec![], vec![]));
    assert_eq!(spare(&lab, 0, 0), [second]);
    // Free CIDRs of either kind meet the target of prefixes.
    let mut lab = Lab::new(Mode::Prefix);
    lab.eni(1, EniKind::Interface, &[address(1), address(2)]);
    let second = lab.eni(2, EniKind::Interface, &[prefix(1)]);
    lab.now_ms = 60_000;
    let warm_prefix = |warm_prefix| Targets { warm_prefix, ..targets(Mode::Prefix, 0, 0) };
    assert_eq!(lab.pool.spare_enis(&warm_prefix(2), lab.now_ms), [second]);
    assert_eq!(lab.pool.spare_enis(&warm_prefix(3), lab.now_ms), []);
}

#[test]
fn d30_an_efa_with_addresses_serves_pods_grows_and_is_never_given_up() {
    let mut lab = Lab::new(Mode::Secondary);
    lab.eni(1, EniKind::Interface, &[]);
    let efa = lab.eni(2, EniKind::Efa, &[address(1)]);
    let trunk = lab.eni(3, EniKind::Trunk, &[]);
    lab.now_ms = 3_600_000;
    assert_eq!(lab.pool.allocatable(2, true), [efa]);
    assert_eq!(lab.pool.allocatable(1, true), []);
    assert!(!lab.pool.has_idle_eni());
    assert_eq!(lab.pool.spare_enis(&targets(lab.mode, 0, 0), lab.now_ms), []);
    assert_eq!((lab.stats().total, lab.metrics.eni_allocated), (1, 3));
    lab.assign(0..1);
    assert_eq!((lab.metrics.per_eni.get(&efa), lab.metrics.per_eni.get(&trunk)), (Some(&1), Some(&0)));
}

/// Go's maps have no order: over many seeds every free CIDR is released first by some.
#[test]
fn d34_any_free_cidr_may_be_the_one_that_is_released() {
    let mut lab = Lab::new(Mode::Secondary);
    let blocks = [address(1), address(2), address(3), address(4)];
    let eni = lab.eni(1, EniKind::Interface, &blocks);
    let free = lab.pool.free_blocks(eni);
    let mut first: Vec<_> = (0..64).map(|seed| Seeded::random(seed).blocks(eni, free.clone(), 2)[0]).collect();
    first.sort();
    first.dedup();
    assert_eq!(first, blocks);
    assert_eq!(Seeded::first_fit(0).blocks(eni, free, 2), [address(4), address(3)]);
}

/// The pod that leaves the prefix at 1 s does not empty it; the one at 3 s does, and 5 s later the prefix is gone.
#[test]
fn d36_a_cidr_of_an_excluded_eni_is_cleaned_up_after_its_last_pod() {
    let mut lab = Lab::new(Mode::Prefix);
    let eni = lab.eni(1, EniKind::Interface, &[prefix(1)]);
    lab.assign(0..2);
    lab.ledger().exclude(eni, true).unwrap();
    lab.now_ms = 1_000;
    lab.unassign(0);
    assert_eq!(lab.pool.clean_up_at_ms(), None);
    lab.now_ms = 3_000;
    lab.unassign(1);
    assert_eq!(lab.pool.clean_up_at_ms(), Some(8_000));
    lab.pool.clean_up(7_999);
    assert_eq!(lab.pool.free_blocks(eni), [prefix(1)]);
    lab.pool.clean_up(8_000);
    assert_eq!((lab.pool.free_blocks(eni), lab.pool.clean_up_at_ms()), (vec![], None));
    // No counter and no gauge tells of it.
    assert_eq!((lab.pool.total(), lab.pool.prefixes(), lab.metrics.total), (16, 1, 16));
    assert_eq!(lab.pool.cooling(8_000), 0);
    // An ENI that serves pods again keeps what it has.
    lab.ledger().add_block(eni, prefix(1)).unwrap();
    lab.ledger().exclude(eni, false).unwrap();
    lab.assign(2..3);
    lab.ledger().exclude(eni, true).unwrap();
    lab.unassign(2);
    lab.ledger().exclude(eni, false).unwrap();
    lab.pool.clean_up(100_000);
    assert_eq!(lab.pool.free_blocks(eni), [prefix(1)]);
}
