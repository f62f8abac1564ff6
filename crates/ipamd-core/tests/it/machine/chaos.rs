//! Random worlds: answers late, lost, doubled and of another kind, faults, restarts at any moment.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cni_types::ec2::{Ec2Code, Ec2Operation};
use cni_types::limits::InstanceLimits;
use cni_types::random::Random;
use ipamd_core::id::{EniId, RpcId};
use ipamd_core::input::{DelReason, DelRequest, EniKind, PodName};
use ipamd_core::settings::Settings;
use ipamd_core::{Config, Input, Policy};

use proptest::prelude::*;

use crate::world::{Chaos, World};

/// What a random world is made of.
const SETTINGS: [&[(&str, &str)]; 6] = [
    &[],
    &[("WARM_IP_TARGET", "2"), ("MINIMUM_IP_TARGET", "4")],
    &[("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "1")],
    &[("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_IP_TARGET", "5"), ("ENABLE_SUBNET_DISCOVERY", "false")],
    &[("ENABLE_POD_ENI", "true"), ("WARM_IP_TARGET", "1")],
    &[("ENABLE_IPv4", "false"), ("ENABLE_IPv6", "true"), ("ENABLE_PREFIX_DELEGATION", "true")],
];

/// The most EC2 calls of one minute that any fault may cause: twelve tries of several things, and a start.
const CALLS_A_MINUTE: usize = 400;

struct Run {
    world: World,
    random: Random,
    asked: BTreeMap<RpcId, u32>,
    next_key: u64,
    rpc: u64,
    checked: usize,
    /// Answers are unreliable.
    chaotic: bool,
}

impl Run {
    fn new(seed: u64, policy: Policy) -> Self {
        let mut random = Random::new(seed);
        let settings = Settings::manifest_with(SETTINGS[random.index(SETTINGS.len())].iter().copied());
        let config = Config { policy, ..Config::upstream(settings) };
        let mut world = World::with(config, InstanceLimits::custom(3, 5));
        world.veths = Some(BTreeMap::new());
        let asked = BTreeMap::new();
        let mut run = Self { world, random, asked, next_key: 1, rpc: 1 << 32, checked: 0, chaotic: false };
        run.begin_life();
        run
    }

    /// Two of three lives begin quietly: a start that loses one answer in thirty does not often succeed.
    fn begin_life(&mut self) {
        self.world.faults.clear();
        (self.world.imds_down, self.world.disk_full) = (false, false);
        self.chaotic = self.random.below(3) == 0;
        let seed = self.random.bits();
        self.world.chaos = if self.chaotic { Chaos::all(seed) } else { Chaos::none() };
    }

    /// What kubelet does, and the weather.
    fn before_step(&mut self) {
        if self.world.fatal.is_some() {
            self.begin_life();
            self.world.restart();
        } else if self.world.ready_ms.is_some() && !self.chaotic {
            self.chaotic = true;
            self.world.chaos = Chaos::all(self.random.bits());
        }
    }

    fn step(&mut self) {
        self.before_step();
        let key = 1 + self.random.below(self.next_key + 1);
        match self.random.below(12) {
            0..=3 => {
                self.next_key = (self.next_key + 1).min(40);
                let rpc = self.world.begin_add(key);
                self.asked.insert(rpc, self.world.epoch);
            }
            4 | 5 => {
                self.rpc += 1;
                let (rpc, uid, reason) = (RpcId(self.rpc), "".into(), DelReason::PodDeleted);
                self.asked.insert(rpc, self.world.epoch);
                self.world.forget_veth(key);
                self.world.input(Input::Del(DelRequest { rpc, key, pod: PodName::default(), uid, reason }));
            }
            6 => self.fault(),
            7 => {
                self.world.imds_down = self.random.below(4) == 0;
                self.world.disk_full = self.random.below(6) == 0;
            }
            8 if self.random.below(6) == 0 => {
                self.begin_life();
                self.world.restart();
            }
            9 if self.random.below(4) == 0 => {
                let id = EniId::from_bits(0xa0 + u128::from(self.random.below(3)));
                if self.world.ec2.attached().count() < 3 && !self.world.ec2.enis.contains_key(&id) {
                    let kind = [EniKind::Interface, EniKind::Trunk, EniKind::EfaOnly][self.random.index(3)];
                    let now_ms = self.world.now_ms;
                    self.world.ec2.attach_foreign(id, kind, 2, now_ms);
                }
            }
            10 => {
                let shown: Vec<_> = self.world.ec2.attached().map(|eni| eni.id).collect();
                let hidden = (self.random.below(3) == 0).then(|| shown[self.random.index(shown.len())]);
                self.world.imds_hides = hidden.into_iter().collect();
            }
            _ => {}
        }
        let ms = self.random.between(0, 20_000);
        self.world.run_ms(ms);
    }

    fn fault(&mut self) {
        let op = Ec2Operation::ALL[self.random.index(Ec2Operation::ALL.len())];
        let codes = [Ec2Code::NoAnswer, Ec2Code::RequestLimitExceeded, Ec2Code::InsufficientFreeAddressesInSubnet];
        let times = u32::try_from(self.random.between(1, 14)).unwrap();
        let code = codes[self.random.index(codes.len())];
        self.world.fail(op, code, times);
    }

    /// What holds at every moment.
    fn check(&mut self) {
        let pool = self.world.core.pool();
        let mut addresses = BTreeSet::new();
        for address in pool.owners().values() {
            assert!(addresses.insert(*address), "{address} has two owners");
        }
        if self.world.config.policy == Policy::Careful && self.world.ready_ms.is_some() {
            self.check_kept();
            // No request waits longer than it may: the world hands in every deadline.
            assert!(self.world.core.waits().longest_ms <= 25_000, "{:?}", self.world.core.waits());
        }
        assert!(self.world.core.lanes_are_single(), "a lane waits for two answers");
        assert!(self.world.core.open_rpcs() <= self.asked.len());
        for (rpc, replies) in &self.world.replies {
            assert_eq!(replies.len(), 1, "{rpc:?} {replies:?}");
        }
        let log = &self.world.log;
        for (at, logged) in log.iter().enumerate().skip(self.checked) {
            let before_ms = logged.at_ms - 60_000;
            let recent = log[..=at].iter().rev().take_while(|earlier| earlier.at_ms > before_ms).count();
            assert!(recent <= CALLS_A_MINUTE, "{recent} calls within a minute");
        }
        self.checked = log.len();
    }

    /// A pod that was told its address, and was not deleted since, has it.
    fn check_kept(&self) {
        let kept: BTreeMap<_, _> = self.world.core.checkpoint().map(|entry| (entry.key, entry)).collect();
        for (key, address) in self.world.veths.iter().flatten() {
            let entry = kept.get(key).map(|entry| entry.ipv4.map(IpAddr::from).or(entry.ipv6.map(IpAddr::from)));
            assert_eq!(entry, Some(Some(*address)), "pod {key}");
        }
    }

    /// After the last fault, every RPC of this life is answered within the longest wait.
    fn end(mut self) {
        self.world.chaos = Chaos::none();
        self.world.faults.clear();
        (self.world.imds_down, self.world.disk_full) = (false, false);
        self.world.imds_hides.clear();
        self.world.run_ms(1_500_000);
        if self.world.fatal.is_some() {
            self.world.restart();
            self.world.run_ms(900_000);
        }
        assert!(self.world.ready_ms.is_some(), "{:?}", self.world.fatal);
        assert_eq!(self.world.core.open_rpcs(), 0);
        let unanswered = self
            .asked
            .iter()
            .filter(|(rpc, epoch)| **epoch == self.world.epoch && !self.world.replies.contains_key(rpc));
        assert_eq!(unanswered.count(), 0);
        assert!(self.world.core.open_effects() <= 3);
    }
}

fn run(seed: u64, policy: Policy, steps: u32) {
    let mut run = Run::new(seed, policy);
    for _ in 0..steps {
        run.step();
        run.check();
    }
    run.end();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_random_world_breaks_no_invariant(seed in any::<u64>()) {
        run(seed, Policy::Upstream, 120);
    }

    #[test]
    fn a_careful_agent_keeps_every_pods_address_in_any_world(seed in any::<u64>()) {
        run(seed, Policy::Careful, 120);
    }
}

#[test]
fn answers_to_nothing_and_of_another_kind_are_counted_and_ignored() {
    use ipamd_core::id::{Epoch, OpId};
    use ipamd_core::input::{Answer, Ec2Reply, HostReply, ImdsReply, KubeReply, NodeSeen, StoreReply};
    let mut world = World::new(&[], InstanceLimits::custom(3, 10));
    // The first effect of a life reads the identity.
    let (op, epoch, took_ms) = (OpId(1), Epoch(0), 1);
    world.input(Input::Ec2(Answer { op, epoch, took_ms, result: Ok(Ec2Reply::Done) }));
    world.input(Input::Imds(Answer { op, epoch, took_ms, result: Ok(ImdsReply::Groups(Vec::new())) }));
    world.input(Input::Kube(Answer { op, epoch, took_ms, result: Ok(KubeReply::Node(NodeSeen::default())) }));
    world.input(Input::Host(Answer { op, epoch, took_ms, result: Ok(HostReply::Done) }));
    world.input(Input::Store(Answer { op, epoch, took_ms, result: Ok(StoreReply::Written) }));
    world.input(Input::Host(Answer { op: OpId(999), epoch, took_ms, result: Ok(HostReply::Done) }));
    world.input(Input::Host(Answer { op, epoch: Epoch(8), took_ms, result: Ok(HostReply::Done) }));
    world.input(Input::Boot(ipamd_core::input::Boot::default()));
    let bad: BTreeMap<_, _> = world.core.bad_inputs().collect();
    let expected = [("earlier_life", 1), ("second_boot", 1), ("unknown_operation", 1), ("wrong_kind", 5)];
    assert_eq!(bad, expected.into_iter().collect());
    world.run_ms(20_000);
    assert!(world.ready_ms.is_some());
}

#[test]
fn an_answer_that_comes_twice_asks_for_nothing() {
    let mut world = World::new(&[], InstanceLimits::custom(3, 10));
    world.chaos = Chaos::all(3);
    (world.chaos.lost, world.chaos.late, world.chaos.wrong, world.chaos.doubled) = (0, 0, 0, 100);
    world.run_ms(20_000);
    let calls = |world: &World| world.log.iter().map(|logged| logged.call.operation()).collect::<Vec<_>>();
    let twice = calls(&world);
    let once = calls(&World::serving(&[], 3, 10));
    assert_eq!(twice, once);
}

#[test]
fn what_no_eni_can_have_and_times_beyond_all_clocks_are_counted_or_borne() {
    use ipamd_core::id::Now;
    let mut world = World::serving(&[], 3, 10);
    let primary = world.ec2.enis.get_mut(&crate::world::PRIMARY).unwrap();
    primary.ipv4.extend((0..2_000_u32).map(|low| std::net::Ipv4Addr::from(0x0a09_0000 + low)));
    world.run_ms(130_000);
    assert!(world.core.bad_inputs().any(|(name, count)| name == "too_many_addresses" && count > 1_000));
    assert_eq!(world.core.pool().enis()[0].blocks().count(), 256);
    // Nothing is due at the end of the clock again and again.
    for mono_ms in [i64::MAX, i64::MIN, i64::MAX] {
        let outputs = world.core.handle(Now { mono_ms, unix_ns: mono_ms }, Input::Tick);
        assert!(outputs.len() < 24, "{outputs:?}");
    }
}
