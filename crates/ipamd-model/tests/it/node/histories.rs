//! Random histories with random failures: what must hold whatever happens.

use std::collections::BTreeSet;
use std::net::IpAddr;

use cni_types::ec2::{Ec2Code, Ec2Operation};
use ipamd_model::ec2::{AttachedEni, Block, EniKind, ImdsRead, ManagedBy};
use ipamd_model::metrics::Truth;
use ipamd_model::node::{AddOutcome, ForeignEni, Phase, PodKey};
use ipamd_model::pool::{Placement, PoolEni};
use proptest::prelude::*;

use super::cloud::{Lab, OTHER, SUBNET};

/// Addresses of the two subnets together.
const WHOLE: u32 = 2 * (1_024 - 5);

const CODES: [Ec2Code; 6] = [
    Ec2Code::InsufficientFreeAddressesInSubnet,
    Ec2Code::InsufficientCidrBlocks,
    Ec2Code::RequestLimitExceeded,
    Ec2Code::UnauthorizedOperation,
    Ec2Code::NoAnswer,
    Ec2Code::InternalError,
];

#[derive(Debug, Clone)]
enum Event {
    Pass(i64),
    Add(u64),
    Del(u64),
    Fail(usize, usize),
    FailImds(ImdsRead),
    Heal,
    Restart,
    Cordon(bool),
    Attach(bool),
    Detach(usize),
    Lose(usize, u16),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (1_i64..90_000).prop_map(Event::Pass),
        8 => (0_u64..60).prop_map(Event::Add),
        6 => (0_u64..60).prop_map(Event::Del),
        2 => (0_usize..14, 0_usize..6).prop_map(|(op, code)| Event::Fail(op, code)),
        1 => prop::sample::select(vec![ImdsRead::Macs, ImdsRead::LocalAddresses, ImdsRead::VpcCidrs]).prop_map(Event::FailImds),
        3 => Just(Event::Heal),
        1 => Just(Event::Restart),
        1 => any::<bool>().prop_map(Event::Cordon),
        1 => any::<bool>().prop_map(Event::Attach),
        1 => (0_usize..4).prop_map(Event::Detach),
        1 => (0_usize..4, 1_u16..4).prop_map(|(eni, count)| Event::Lose(eni, count)),
    ]
}

/// Settings that behave differently.
fn settings() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    prop::sample::select(vec![
        vec![],
        vec![("WARM_IP_TARGET", "3"), ("MINIMUM_IP_TARGET", "6")],
        vec![("MINIMUM_IP_TARGET", "5")],
        vec![("ENABLE_PREFIX_DELEGATION", "true")],
        vec![("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_IP_TARGET", "5")],
        vec![("ENABLE_POD_ENI", "true")],
        vec![("ENABLE_SUBNET_DISCOVERY", "false"), ("MAX_ENI", "2")],
        vec![("IP_COOLDOWN_PERIOD", "0"), ("WARM_IP_TARGET", "1")],
    ])
}

fn play(lab: &mut Lab, event: &Event) {
    let eni = |lab: &Lab, index: usize| lab.node.instance().enis.get(index).map(|eni| eni.id);
    match event {
        Event::Pass(span_ms) => lab.pass(*span_ms),
        Event::Add(pod) => {
            let serving = lab.node.is_serving();
            assert_eq!(lab.add(*pod) == AddOutcome::NotReady, !serving);
        }
        Event::Del(pod) => {
            lab.del(*pod);
        }
        Event::Fail(op, code) => lab.cloud.fail(Ec2Operation::ALL[*op], CODES[*code]),
        Event::FailImds(read) => lab.cloud.fail_imds(*read),
        Event::Heal => lab.cloud.heal(),
        Event::Restart => lab.node.restart(lab.now_ms, &mut lab.cloud),
        Event::Cordon(cordoned) => lab.node.set_cordoned(*cordoned),
        Event::Attach(managed) => {
            let managed_by = if *managed { ManagedBy::Untagged } else { ManagedBy::NoManage };
            let eni = ForeignEni { kind: EniKind::Interface, managed_by, subnet: OTHER, addresses: 2 };
            let _full: Result<_, Ec2Code> = lab.node.attach_eni(eni, lab.now_ms, &mut lab.cloud);
        }
        Event::Detach(index) => {
            if let Some(id) = eni(lab, *index) {
                lab.node.detach_eni(id, &mut lab.cloud);
            }
        }
        Event::Lose(index, count) => {
            if let Some(id) = eni(lab, *index) {
                lab.node.lose_addresses(id, *count, &mut lab.cloud);
            }
        }
    }
}

/// Every address of the subnets is free there, on an attached ENI, or on a leaked one.
fn addresses_are_conserved(lab: &Lab) {
    let free = lab.cloud.vpc.free_addresses(SUBNET) + lab.cloud.vpc.free_addresses(OTHER);
    let enis = lab.node.instance().enis.iter().chain(lab.node.leaked_enis());
    let held: usize = enis.map(|eni| 1 + eni.addresses.len() + 16 * eni.prefixes.len()).sum();
    assert_eq!(free as usize + held, WHOLE as usize);
}

fn held(lab: &Lab) -> BTreeSet<Block> {
    lab.node.instance().enis.iter().flat_map(AttachedEni::blocks).collect()
}

/// Everything that is there more than once.
fn twice<T: Ord + Copy>(items: &[T]) -> BTreeSet<T> {
    let mut seen = BTreeSet::new();
    items.iter().copied().filter(|item| !seen.insert(*item)).collect()
}

fn covers(block: Block, address: IpAddr) -> bool {
    match (block, address) {
        (Block::Address(held), IpAddr::V4(address)) => held == address,
        (Block::Prefix(base), IpAddr::V4(address)) => u32::from(base) >> 4 == u32::from(address) >> 4,
        (Block::Ipv6Prefix(_), _) | (_, IpAddr::V6(_)) => false,
    }
}

/// `lost`: what ENIs have lost behind the agent's back. The agent believes in it until its next reconcile, while EC2 may
/// give it to another ENI, or to the same one once more; nothing else may be in two places.
fn pool_is_sound(lab: &Lab, lost: &BTreeSet<Block>) {
    let pool = lab.node.pool();
    let limits = lab.node.spec().limits;
    assert!(lab.node.instance().enis.len() <= usize::from(limits.max_enis));
    assert!(lab.node.instance().enis.iter().all(|eni| eni.used_slots() <= limits.slots() as usize));
    let blocks: Vec<_> = pool.enis().iter().flat_map(PoolEni::blocks).collect();
    let doubled: Vec<_> = twice(&blocks).into_iter().filter(|block| !lost.contains(block)).collect();
    assert_eq!(doubled, [], "a CIDR in two places");
    let owned: Vec<_> = pool.owners().values().copied().collect();
    let shared: Vec<_> =
        twice(&owned).into_iter().filter(|address| !lost.iter().any(|block| covers(*block, *address))).collect();
    assert_eq!(shared, Vec::<IpAddr>::new(), "an address with two pods");
    let assigned: u32 = pool.enis().iter().map(PoolEni::assigned).sum();
    // Two pods of one address, which only a loss can make, are one place of the pool.
    if lost.is_empty() {
        assert_eq!(assigned as usize, pool.owners().len());
    }
    let size: u32 = pool.enis().iter().map(PoolEni::addresses).sum();
    assert!(assigned + pool.cooling(lab.now_ms) <= size);
    let stats = pool.stats(lab.node.mode(), lab.now_ms);
    assert!(stats.assigned <= stats.total && stats.total <= size);
    let prefixes = blocks.iter().filter(|block| matches!(block, Block::Prefix(_))).count();
    let prefixes = i64::try_from(prefixes).unwrap();
    // An ENI that vanishes with pods on it leaves the counter twice.
    if lab.truth().force_removed_enis == 0 {
        assert_eq!(pool.prefixes(), prefixes);
    } else {
        assert!(pool.prefixes() <= prefixes);
    }
}

fn page_tells_the_truth(lab: &Lab) {
    let (truth, pool) = (lab.truth(), lab.node.pool());
    assert_eq!((truth.assigned, truth.eni_allocated), (pool.assigned(), i64::try_from(pool.enis().len()).unwrap()));
    if truth.force_removed_enis == 0 && truth.reconcile == 0 {
        assert!((truth.total - pool.total() as f64).abs() < f64::EPSILON);
    }
}

fn counters(truth: &Truth) -> [u64; 12] {
    [
        truth.add_requests,
        truth.del_requests,
        truth.no_available,
        truth.force_removed_enis,
        truth.force_removed_ips,
        truth.reconcile,
        truth.ipamd_errors,
        truth.pod_eni_errors,
        truth.aws_api_errors,
        truth.aws_utils_errors,
        truth.ec2_requests,
        truth.ec2_errors,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens(
        env in settings(),
        random in any::<bool>(),
        seed in any::<u64>(),
        events in prop::collection::vec(event(), 1..120),
    ) {
        let mut lab = Lab::new((4, 6), &env, |spec| {
            spec.seed = seed;
            spec.deletes_lag = true;
            spec.placement = if random { Placement::Random } else { Placement::FirstFit };
        });
        let mut last = (lab.truth().process_start_ms, counters(&lab.truth()));
        let mut lost = BTreeSet::new();
        for event in &events {
            let before = held(&lab);
            play(&mut lab, event);
            if matches!(event, Event::Detach(_) | Event::Lose(..)) {
                lost.extend(before.difference(&held(&lab)));
            }
            addresses_are_conserved(&lab);
            pool_is_sound(&lab, &lost);
            page_tells_the_truth(&lab);
            let now = (lab.node.process_start_ms(), counters(&lab.truth()));
            if now.0 == last.0 && matches!(lab.node.phase(), Phase::Serving { .. }) {
                prop_assert!(now.1.iter().zip(last.1).all(|(now, last)| *now >= last), "{now:?} {last:?}");
            }
            last = now;
        }
        lab.node.terminate(&mut lab.cloud);
        prop_assert_eq!(lab.cloud.vpc.free_addresses(SUBNET) + lab.cloud.vpc.free_addresses(OTHER), WHOLE);
    }

    #[test]
    fn big_steps_and_small_steps_end_alike(env in settings(), seed in any::<u64>(), pods in 1_u64..20) {
        let run = |step_ms: i64| {
            let mut lab = Lab::serving((4, 6), &env, |spec| {
                spec.seed = seed;
                spec.placement = Placement::Random;
            });
            let end_ms = lab.start_ms + 1_000_000;
            for pod in 0..pods {
                lab.add(PodKey(pod).0);
                lab.pass(5_000);
            }
            while lab.now_ms < end_ms {
                lab.pass(step_ms.min(end_ms - lab.now_ms));
            }
            lab.page()
        };
        prop_assert_eq!(run(777), run(1_000_000));
    }
}

/// The agent's list of ENIs is older than an ENI that filled the instance: the trunk it asks for cannot be attached.
#[test]
fn a_full_instance_gets_no_trunk() {
    let env = [("ENABLE_POD_ENI", "true")];
    let mut lab = Lab::new((4, 6), &env, |spec| {
        spec.seed = 3_289_749_601_909_112_715;
        spec.deletes_lag = true;
        spec.placement = Placement::Random;
    });
    let events = [
        Event::Pass(2_909),
        Event::Add(5),
        Event::Pass(11_453),
        Event::Add(6),
        Event::Pass(1),
        Event::Detach(1),
        Event::Attach(true),
        Event::Add(0),
        Event::Pass(1),
        Event::Add(1),
        Event::Add(2),
        Event::Add(3),
        Event::Fail(4, 0),
        Event::Pass(54_019),
        Event::Pass(1),
        Event::Pass(27_309),
    ];
    for event in &events {
        play(&mut lab, event);
        assert!(lab.node.instance().enis.len() <= 4, "after {event:?}");
    }
    assert_eq!(lab.node.instance().enis.len(), 4);
}

/// The leak test that the agent's own repository runs on a real cluster: half of what the node can hold comes and goes,
/// and within six minutes ENIs and addresses are back where they were, with nothing left in EC2.
#[test]
fn after_half_the_node_came_and_went_nothing_is_held_or_leaked() {
    let (enis, addresses) = (3, 10);
    let mut lab = Lab::serving((enis, addresses), &[("WARM_IP_TARGET", "3"), ("WARM_ENI_TARGET", "0")], |_| {});
    lab.pass(120_000);
    let (before, free) = (lab.truth(), lab.cloud.vpc.free_addresses(SUBNET));
    // ENIs times slots, less the one node and one more, halved.
    let pods = u64::from(enis * (addresses - 1) - 1 - 1) / 2;
    for pod in 1..=pods {
        while lab.add(pod) == AddOutcome::NoAddress {
            lab.pass(5_000);
        }
    }
    lab.pass(60_000);
    assert!(lab.truth().eni_allocated > before.eni_allocated && lab.cloud.vpc.free_addresses(SUBNET) < free);
    for pod in 1..=pods {
        lab.del(pod);
    }
    lab.pass(360_000);
    let after = lab.truth();
    assert_eq!((after.eni_allocated, after.total, after.assigned), (before.eni_allocated, before.total, 0));
    assert_eq!((lab.cloud.vpc.free_addresses(SUBNET), lab.node.leaked_enis().count()), (free, 0));
}
