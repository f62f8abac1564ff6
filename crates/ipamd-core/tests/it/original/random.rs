//! Random histories: of a node with one ENI, and of one with several that grows, releases and gives ENIs up.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use cni_types::ec2::{Ec2Code, Ec2Operation};
use ipamd_core::id::{EniId, GroupId};
use ipamd_core::input::EniKind;
use ipamd_core::output::{Ec2Call, Reply};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use serde_json::json;

use super::{Made, Pair};
use crate::world::{Fault, PRIMARY};

/// What happens next.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Pass(i64),
    Add(u64),
    Del(u64),
    Fail(Ec2Operation, Ec2Code, u32),
    /// Calls are not answered; those that are done all the same.
    Silent(Ec2Operation, bool, u32),
    /// Calls take so long.
    Hold(Ec2Operation, i64),
    Imds(bool),
    Restart,
    /// Someone else attaches an ENI.
    Foreign(EniKind),
    /// An ENI other than the primary one, or a secondary address, is no more.
    LoseEni(Index),
    LoseAddress(Index),
    /// The metadata service does not show some of the addresses and prefixes, or all again.
    Hide(Vec<Index>),
    /// Addresses that were released are given out again.
    Reuse,
    /// Another ENI gets a secondary address of this one, which loses it, or keeps it.
    Move {
        index: Index,
        keeps: bool,
    },
    /// Someone, an agent or not, leaves an ENI behind.
    Leave {
        agents: bool,
        made: Made,
    },
    /// The primary ENI gets other security groups.
    Groups(Vec<u8>),
    /// A restart with or without prefixes.
    Mode(bool),
}

fn codes() -> impl Strategy<Value = Ec2Code> {
    prop::sample::select(vec![
        Ec2Code::InternalError,
        Ec2Code::InsufficientFreeAddressesInSubnet,
        Ec2Code::UnauthorizedOperation,
        Ec2Code::RequestLimitExceeded,
        Ec2Code::InvalidNetworkInterfaceIdNotFound,
        Ec2Code::PrivateIpAddressLimitExceeded,
    ])
}

fn ops(several: bool) -> impl Strategy<Value = Ec2Operation> {
    let mut ops = vec![
        Ec2Operation::AssignPrivateIpAddresses,
        Ec2Operation::UnassignPrivateIpAddresses,
        Ec2Operation::DescribeNetworkInterfaces,
        Ec2Operation::DescribeSubnets,
        Ec2Operation::ModifyNetworkInterfaceAttribute,
    ];
    if several {
        ops.extend([
            Ec2Operation::CreateNetworkInterface,
            Ec2Operation::AttachNetworkInterface,
            Ec2Operation::DescribeInstances,
            Ec2Operation::CreateTags,
            Ec2Operation::DetachNetworkInterface,
            Ec2Operation::DeleteNetworkInterface,
        ]);
    }
    prop::sample::select(ops)
}

/// What may happen next, and how often it does.
pub(super) fn steps(several: bool) -> Vec<(u32, BoxedStrategy<Step>)> {
    let fails = (ops(several), codes(), 1..4_u32).prop_map(|(op, code, times)| Step::Fail(op, code, times));
    let silent = (ops(several), any::<bool>(), 1..3_u32).prop_map(|(op, done, times)| Step::Silent(op, done, times));
    let hold = (ops(several), 1..9_i64).prop_map(|(op, tenths)| Step::Hold(op, tenths * 1_010));
    let kinds = prop::sample::select(vec![EniKind::Interface, EniKind::Trunk, EniKind::Efa, EniKind::EfaOnly]);
    let hidden = prop::collection::vec(any::<Index>(), 0..4);
    let mut steps = vec![
        (12, (1..40_000_i64).prop_map(Step::Pass).boxed()),
        (14, (0..14_u64).prop_map(Step::Add).boxed()),
        (8, (0..14_u64).prop_map(Step::Del).boxed()),
        (3, fails.boxed()),
        (1, silent.boxed()),
        (1, hold.boxed()),
        (1, any::<bool>().prop_map(Step::Imds).boxed()),
        (2, Just(Step::Restart).boxed()),
        (1, any::<Index>().prop_map(Step::LoseAddress).boxed()),
        (1, hidden.prop_map(Step::Hide).boxed()),
        (1, Just(Step::Reuse).boxed()),
    ];
    if several {
        steps.push((1, kinds.prop_map(Step::Foreign).boxed()));
        steps.push((1, any::<Index>().prop_map(Step::LoseEni).boxed()));
        let moved = (any::<Index>(), prop::bool::weighted(0.7));
        steps.push((2, moved.prop_map(|(index, keeps)| Step::Move { index, keeps }).boxed()));
    }
    steps
}

fn step(several: bool) -> impl Strategy<Value = Step> {
    prop::strategy::Union::new_weighted(steps(several))
}

type Variables = &'static [(&'static str, &'static str)];

const NO_REST: (&str, &str) = ("IP_COOLDOWN_PERIOD", "0");
const NO_DISCOVERY: (&str, &str) = ("ENABLE_SUBNET_DISCOVERY", "false");
const PREFIXES: (&str, &str) = ("ENABLE_PREFIX_DELEGATION", "true");

fn settings() -> impl Strategy<Value = Variables> {
    prop::sample::select(vec![
        &[][..],
        &[("WARM_ENI_TARGET", "0"), NO_DISCOVERY],
        &[("WARM_ENI_TARGET", "2"), NO_REST],
        &[("MAX_ENI", "2")],
        &[("WARM_IP_TARGET", "2")],
        &[("WARM_IP_TARGET", "2"), NO_REST],
        &[("WARM_IP_TARGET", "1"), ("MINIMUM_IP_TARGET", "5"), NO_REST],
        &[("WARM_IP_TARGET", "1"), ("MINIMUM_IP_TARGET", "7")],
        &[("WARM_IP_TARGET", "3"), NO_DISCOVERY],
        &[PREFIXES],
        &[PREFIXES, NO_REST],
        &[PREFIXES, ("WARM_IP_TARGET", "5"), ("MINIMUM_IP_TARGET", "20"), NO_REST],
        &[PREFIXES, ("WARM_IP_TARGET", "20")],
    ])
}

impl Pair {
    /// Each step on both sides, compared, and what follows from the last one.
    pub(super) fn play(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Pass(ms) => self.pass(ms),
                Step::Add(pod) => self.add(pod),
                Step::Del(pod) => self.del(pod),
                Step::Fail(op, code, times) => self.fail(op, code, times),
                Step::Silent(op, done, times) => self.fault(Fault { op, code: None, times, done, hold_ms: None }),
                Step::Hold(op, ms) => {
                    let code = Some(Ec2Code::InternalError.name());
                    self.fault(Fault { op, code, times: 1, done: false, hold_ms: Some(ms) });
                }
                Step::Imds(down) => self.imds(down),
                Step::Restart => {
                    self.heal();
                    self.restart();
                    self.pass(5_000);
                }
                Step::Foreign(kind) => self.foreign(kind),
                Step::LoseEni(index) => self.lose_some_eni(index),
                Step::LoseAddress(index) => self.lose_some_address(index),
                Step::Hide(indices) => self.hide(&indices),
                Step::Reuse => self.reuse(),
                Step::Move { index, keeps } => self.move_address(index, keeps),
                Step::Leave { agents, made } => {
                    self.foreign += 1;
                    let description = if agents { "aws-K8S-i-2" } else { "a database" };
                    self.leave(EniId::from_bits(0x1_0000 + self.foreign), description, made);
                }
                Step::Groups(groups) => {
                    let groups: Vec<_> = groups.iter().map(|group| GroupId::from_bits((*group).into())).collect();
                    self.set_groups(&groups);
                }
                Step::Mode(prefixes) => {
                    self.heal();
                    self.restart_with(&[("ENABLE_PREFIX_DELEGATION", if prefixes { "true" } else { "false" })]);
                    self.pass(5_000);
                }
            }
        }
        self.pass(100_000);
        self.compare_checkpoints();
    }

    /// An instance has one trunk at most.
    fn foreign(&mut self, kind: EniKind) {
        let attached = || self.world.ec2.attached();
        let has_trunk = self.world.expects_trunk() || attached().any(|eni| eni.kind == EniKind::Trunk);
        let second_trunk = kind == EniKind::Trunk && has_trunk;
        if attached().count() < usize::from(self.world.limits.max_enis) && !second_trunk {
            self.foreign += 1;
            self.attach(EniId::from_bits(0x1_0000 + self.foreign), kind, &[]);
        }
    }

    fn lose_some_eni(&mut self, index: Index) {
        let enis: Vec<_> = self.world.ec2.enis.keys().copied().filter(|id| *id != PRIMARY).collect();
        if !enis.is_empty() {
            self.lose_eni(*index.get(&enis));
        }
    }

    fn lose_some_address(&mut self, index: Index) {
        let enis = self.world.ec2.enis.values();
        let held: Vec<_> = enis.flat_map(|eni| eni.ipv4.iter().map(|address| (eni.id, *address))).collect();
        if !held.is_empty() {
            let (eni, address) = *index.get(&held);
            self.lose_address(eni, address);
        }
    }

    /// To an ENI that has room for it.
    fn move_address(&mut self, index: Index, keeps: bool) {
        let slots = usize::from(self.world.limits.ipv4_per_eni) - 1;
        let attached: Vec<_> = self.world.ec2.attached().collect();
        let has_room = |eni: &ipamd_core::input::Ec2Eni, address: Ipv4Addr| {
            eni.kind != EniKind::EfaOnly
                && eni.ipv4.len() + eni.ipv4_prefixes.len() < slots
                && !eni.ipv4.contains(&address)
        };
        let moves: Vec<_> = attached
            .iter()
            .flat_map(|from| from.ipv4.iter().map(|address| (from.id, *address)))
            .flat_map(|(from, address)| {
                let others = attached.iter().filter(move |to| to.id != from && has_room(to, address));
                others.map(move |to| (from, to.id, address))
            })
            .collect();
        if moves.is_empty() {
            return;
        }
        let (from, to, address) = *index.get(&moves);
        self.give_address(to, address);
        if !keeps {
            self.lose_address(from, address);
        }
    }

    fn hide(&mut self, indices: &[Index]) {
        let enis = self.world.ec2.enis.values();
        let all: Vec<_> = enis
            .flat_map(|eni| {
                let addresses = eni.ipv4.iter().map(|address| (eni.id, *address, address.to_string()));
                addresses.chain(eni.ipv4_prefixes.iter().map(|base| (eni.id, *base, format!("{base}/28"))))
            })
            .collect();
        let hidden: Vec<_> =
            if all.is_empty() { Vec::new() } else { indices.iter().map(|index| index.get(&all)).collect() };
        let mut theirs = json!({});
        for (eni, _, text) in &hidden {
            let list = &mut theirs[eni.to_string()];
            let mut texts = list.as_array().cloned().unwrap_or_default();
            texts.push(json!(text));
            *list = json!(texts);
        }
        let ours = hidden.iter().map(|(eni, base, _)| (*eni, *base)).collect();
        self.ask(&json!({"imds": {"hide": theirs}}));
        self.world.imds_hidden = ours;
    }

    /// Where the metadata service lags, it shows the address on its former ENI, too.
    fn reuse(&mut self) {
        let held = |address| {
            self.world.ec2.enis.values().any(|eni| eni.primary == Some(address) || eni.ipv4.contains(&address))
        };
        let released = self.world.log.iter().filter_map(|logged| match &logged.call {
            Ec2Call::Unassign { ipv4, .. } => Some(ipv4),
            _ => None,
        });
        let mut free: Vec<_> = released.flatten().copied().filter(|address| !held(*address)).collect();
        free.sort_unstable();
        free.dedup();
        self.ask(&json!({"world": {"reuse": free}}));
        self.world.ec2.reuse = free.into();
    }
}

/// How many histories are played: `NODE_COMPARISON_HISTORIES`, or what a change must pass.
pub(super) fn histories() -> u32 {
    std::env::var("NODE_COMPARISON_HISTORIES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000)
}

/// Fewer histories need not come to everything.
const FEW: u32 = 250;

/// Plays this number of histories of these kinds. Together they must come to what is `wanted`, or they compare less than they
/// seem to: choices of the original that are followed, operations of EC2, replies.
pub(super) fn play_random<S: Strategy>(cases: u32, kinds: S, wanted: &[&str], play: impl Fn(S::Value) -> Pair) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let seen = RefCell::new(BTreeMap::<String, u64>::new());
    let result = TestRunner::new(config).run(&kinds, |kind| {
        let pair = play(kind);
        for (what, times) in pair.seen() {
            *seen.borrow_mut().entry(what).or_default() += times;
        }
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}\n{failure:#?}"));
    let seen = seen.into_inner();
    let never: Vec<_> = wanted.iter().filter(|what| !seen.contains_key(**what)).collect();
    assert!(never.is_empty() || cases < FEW, "{never:?} did not happen in {cases} histories: {seen:#?}");
    // `.ci/release` writes it down.
    println!("played alike: {cases} histories");
}

impl Pair {
    /// What happened in this history, and how often.
    fn seen(&self) -> BTreeMap<String, u64> {
        let followed = self.world.script.lock().followed.clone();
        let followed = followed.into_iter().filter(|(_, times)| *times > 0);
        let mut seen: BTreeMap<_, _> = followed.map(|(what, times)| (what.to_owned(), times)).collect();
        let calls = self.world.log.iter().map(|logged| match &logged.call {
            Ec2Call::DescribeLeaked { .. } => "a search for leaked ENIs",
            call => call.operation().name(),
        });
        let replies = self.world.replies.values().flatten().filter_map(|reply| match reply {
            Reply::AddedBranch { .. } => Some("a branch ENI"),
            Reply::AddRefused => Some("a refused ADD"),
            Reply::Added { .. } => Some("an address"),
            _ => None,
        });
        let other = [
            (self.world.log.iter().any(|logged| logged.code.as_deref() == Some("")), "no answer"),
            (self.world.core.pool().enis().iter().any(|eni| eni.excluded), "an excluded ENI"),
            (self.ended, "a start that failed"),
        ];
        let other = other.into_iter().filter(|(happened, _)| *happened).map(|(_, what)| what);
        for what in calls.chain(replies).chain(other) {
            *seen.entry(what.to_owned()).or_default() += 1;
        }
        seen
    }
}

/// Choices that histories of any kind come to.
const CHOICES: [&str; 5] =
    ["the CIDR of a pod", "the CIDRs that are released", "an address", "a refused ADD", "no answer"];

#[test]
#[ignore = "needs Go: run .ci/run"]
fn random_histories_of_one_eni_are_the_originals() {
    let kinds = (settings(), prop::collection::vec(step(false), 1..40));
    play_random(histories() / 4, kinds, &CHOICES, |(variables, steps)| {
        let mut pair = Pair::boot(variables, 1, 9);
        pair.pass(5_000);
        pair.play(steps);
        pair
    });
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn random_histories_of_several_enis_are_the_originals() {
    let lags = prop::sample::select(vec![0_i64, 0, 700, 3_000, 20_000]);
    let kinds = (settings(), lags, prop::collection::vec(step(true), 1..40));
    let more =
        ["the ENI of a pod", "the ENI that releases", "the ENI that is next", "the ENI that a pod is restored on"];
    let wanted = [&CHOICES[..], &more, &["CreateNetworkInterface", "DeleteNetworkInterface"]].concat();
    play_random(histories() / 2, kinds, &wanted, |(variables, lag_ms, steps)| {
        let more = json!({"imds_lag_ms": lag_ms});
        let mut pair = Pair::boot_with(variables, 3, 5, &more, |world| world.imds_lag_ms = lag_ms);
        pair.pass(5_000);
        pair.play(steps);
        pair
    });
}
