//! What must hold of a node's core whatever it is told. The fuzz target and the stable tests share it.
//!
//! Bytes become settings, an instance type, and steps: answers as they should be, any answers, answers of another kind,
//! doubled, to nothing and of other lives, requests of plugins, and clocks that jump.

mod answers;
mod bytes;
mod node;
mod seen;

use std::collections::{BTreeMap, VecDeque};

use ipamd_core::chooser::Seeded;
use ipamd_core::id::{Epoch, Now, OpId, RpcId};
use ipamd_core::input::{AddRequest, Boot, DelReason, DelRequest, Input, Mac};
use ipamd_core::metrics::{PageFlavour, Shown};
use ipamd_core::output::{Effect, Output, StoreCall};
use ipamd_core::settings::Settings;
use ipamd_core::{Config, Core, Phase};

use bytes::Bytes;
use node::AnsweringNode;
use seen::Seen;

/// The most steps of one run.
const MOST_STEPS: u32 = 4_000;
/// The most outputs of one input: what a start or a lane asks at once. Requests that end with it come on top, up to two each.
const MOST_OUTPUTS: usize = 24;
/// The most calls of EC2 within a minute of the steady clock.
const CALLS_A_MINUTE: usize = 400;
/// The largest page, bytes.
const LARGEST_PAGE: usize = 16 << 20;

/// Variables of the settings, with values that the entry point takes and others.
const VARIABLES: [(&str, &[&str]); 12] = [
    ("WARM_IP_TARGET", &["0", "1", "5", "4294967295", "-1"]),
    ("MINIMUM_IP_TARGET", &["0", "3", "4294967295", "x"]),
    ("WARM_ENI_TARGET", &["0", "1", "2", "4294967295"]),
    ("WARM_PREFIX_TARGET", &["0", "1", "4294967295"]),
    ("MAX_ENI", &["0", "1", "4294967295", "-1"]),
    ("ENABLE_PREFIX_DELEGATION", &["true", "false"]),
    ("ENABLE_POD_ENI", &["true", "false"]),
    ("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", &["true", "false"]),
    ("ENABLE_SUBNET_DISCOVERY", &["true", "false"]),
    ("IP_COOLDOWN_PERIOD", &["0", "30", "9223372036854775807"]),
    ("ANNOTATE_POD_IP", &["true", "false"]),
    ("DISABLE_NETWORK_RESOURCE_PROVISIONING", &["true", "false"]),
];

/// Numbers of a run, so that a test can see that runs get anywhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reached {
    /// The core served.
    pub served: bool,
    /// Inputs that were handed in.
    pub inputs: u64,
    /// Inputs that were counted as bad.
    pub bad: u64,
    /// Their names.
    pub bad_names: Vec<&'static str>,
    /// Addresses that pods were given.
    pub given: u64,
}

/// Panics unless a core bears these inputs.
///
/// # Panics
/// If the core panics or breaks one of the rules.
pub fn check_inputs(bytes: &[u8]) -> Reached {
    let mut run = Run::new(Bytes::new(bytes));
    for _ in 0..MOST_STEPS {
        if run.bytes.is_empty() {
            break;
        }
        run.step();
    }
    run.end()
}

struct Run<'a> {
    bytes: Bytes<'a>,
    core: Core<u64>,
    node: AnsweringNode,
    now: Now,
    /// Effects without an answer, in the order in which they were asked.
    open: VecDeque<(OpId, Epoch, Effect)>,
    last: Option<Input<u64>>,
    seen: Seen,
    /// RPCs that were begun and not answered, and how often.
    begun: BTreeMap<RpcId, u32>,
    /// When EC2 was called within the last minute.
    calls: VecDeque<i64>,
    reached: Reached,
}

impl<'a> Run<'a> {
    fn new(mut bytes: Bytes<'a>) -> Self {
        let config = config(&mut bytes);
        let limits = answers::limits(&mut bytes);
        let seed = u64::from(bytes.byte());
        let chooser = if bytes.flag() { Seeded::random(seed) } else { Seeded::first_fit(seed) };
        let now = Now { mono_ms: 1_000, unix_ns: 1_700_000_000_000_000_000 };
        let mut run = Self {
            core: Core::new(config, Box::new(chooser)),
            node: AnsweringNode::new(limits),
            now,
            open: VecDeque::new(),
            last: None,
            seen: Seen::default(),
            begun: BTreeMap::new(),
            calls: VecDeque::new(),
            reached: Reached::default(),
            bytes,
        };
        if !run.bytes.seldom(16) {
            let boot = run.boot();
            run.hand_in(boot);
        }
        run
    }

    fn boot(&mut self) -> Input<u64> {
        let bytes = &mut self.bytes;
        Input::Boot(Boot {
            epoch: Epoch(bytes.below(3).into()),
            node_name: bytes.text(),
            api_server_reachable: !bytes.seldom(4),
            waited_ms: if bytes.seldom(4) { bytes.extreme() } else { 0 },
            boot_id: if bytes.flag() { "boot".into() } else { bytes.text() },
            syn_sent_timeout_s: Some(120),
        })
    }

    fn step(&mut self) {
        match self.bytes.below(24) {
            0..=3 => self.settle(),
            4 | 5 => self.answer_well(),
            6..=9 => self.answer(false),
            10 => self.answer(true),
            11 => self.answer_nothing(),
            12 => {
                if let Some(again) = self.last.clone() {
                    self.hand_in(again);
                }
            }
            13..=15 => self.add(),
            16 | 17 => self.del(),
            18 => self.pass_time(),
            19 => self.jump(),
            _ => {
                let other = self.other();
                self.hand_in(other);
            }
        }
    }

    /// Lets some answers come as they should, and time pass where none is waited for.
    fn settle(&mut self) {
        for _ in 0..self.bytes.below(80) {
            if self.open.is_empty() {
                self.wait_for_deadline();
            } else {
                self.answer_well();
            }
        }
    }

    fn wait_for_deadline(&mut self) {
        if let Some(deadline) = self.core.deadline() {
            self.now.mono_ms = self.now.mono_ms.max(deadline);
        }
        self.hand_in(Input::Tick);
    }

    fn answer_well(&mut self) {
        let Some((op, epoch, effect)) = self.open.pop_front() else { return };
        let answer = self.node.answer(op, epoch, &effect, || self.core.checkpoint().collect());
        self.now.mono_ms = self.now.mono_ms.saturating_add(5);
        self.hand_in(answer);
    }

    /// Any answer to something that was asked; a crooked one is of another kind, and the question waits on.
    fn answer(&mut self, crooked: bool) {
        let place = self.bytes.index(self.open.len());
        let Some((op, epoch, effect)) = self.open.get(place).cloned() else { return };
        let answer = answers::any(&mut self.bytes, op, epoch, &effect, crooked);
        self.now.mono_ms = self.now.mono_ms.saturating_add(i64::from(self.bytes.byte()));
        if !crooked {
            self.open.remove(place);
        }
        self.hand_in(answer);
    }

    /// An answer to an operation that was never asked, or to one of another life.
    fn answer_nothing(&mut self) {
        let (op, epoch) = match self.bytes.below(3) {
            0 => (OpId(u64::MAX), Epoch(self.bytes.below(3).into())),
            1 => (OpId(self.bytes.byte().into()), Epoch(u32::MAX)),
            _ => (OpId(self.bytes.byte().into()), Epoch(self.bytes.below(3).into())),
        };
        let effect =
            self.open.front().map_or(Effect::Store(StoreCall::ReadCheckpoint), |(_, _, effect)| effect.clone());
        let answer = answers::any(&mut self.bytes, op, epoch, &effect, false);
        // It may have hit.
        self.open.retain(|(known, life, _)| (*known, *life) != (op, epoch));
        self.hand_in(answer);
    }

    fn add(&mut self) {
        let (rpc, key) = (RpcId(self.bytes.byte().into()), u64::from(self.bytes.below(40)));
        let pod = answers::pod(&mut self.bytes);
        let uid = self.bytes.text();
        let limit_ms = self.bytes.flag().then(|| self.bytes.extreme());
        self.hand_in(Input::Add(AddRequest { rpc, key, pod, uid, limit_ms }));
    }

    fn del(&mut self) {
        let (rpc, key) = (RpcId(self.bytes.byte().into()), u64::from(self.bytes.below(40)));
        let (pod, uid) = (answers::pod(&mut self.bytes), self.bytes.text());
        let reason = if self.bytes.flag() { DelReason::PodDeleted } else { DelReason::SetupNsFailed };
        self.hand_in(Input::Del(DelRequest { rpc, key, pod, uid, reason }));
    }

    fn pass_time(&mut self) {
        let ms = i64::from(self.bytes.u16()) * if self.bytes.flag() { 1 } else { 1_000 };
        self.now.mono_ms = self.now.mono_ms.saturating_add(ms);
        self.now.unix_ns = self.now.unix_ns.saturating_add(ms.saturating_mul(1_000_000));
        self.hand_in(Input::Tick);
    }

    /// Clocks that say anything. What the steady clock says below the last time is the core's to bear; this run remembers it
    /// as the latest.
    fn jump(&mut self) {
        let before = self.now;
        if self.bytes.flag() {
            self.now.mono_ms = self.bytes.extreme();
        }
        if self.bytes.flag() {
            self.now.unix_ns = self.bytes.extreme();
        }
        self.hand_in(Input::Tick);
        self.now.mono_ms = self.now.mono_ms.max(before.mono_ms);
    }

    fn other(&mut self) -> Input<u64> {
        let bytes = &mut self.bytes;
        match bytes.below(9) {
            0 => self.boot(),
            8 => Input::Bound { key: bytes.below(40).into(), ifindex: bytes.byte().into() },
            1 => Input::Terminate { grace_ms: bytes.extreme() },
            2 => Input::ApiServer { reachable: bytes.flag() },
            3 => Input::NodeSeen(answers::node(bytes)),
            4 => Input::LinkSeen { mac: Mac::default() },
            5 => Input::LinkChanged { eni: answers::eni_id(bytes), up: bytes.flag(), has_primary: bytes.flag() },
            6 => Input::VethGone { name: bytes.text(), ifindex: bytes.byte().into() },
            _ => Input::RpcGone { rpc: RpcId(bytes.byte().into()) },
        }
    }

    fn hand_in(&mut self, input: Input<u64>) {
        self.seen.note(&input);
        if let Input::Add(AddRequest { rpc, .. }) | Input::Del(DelRequest { rpc, .. }) = &input {
            *self.begun.entry(*rpc).or_default() += 1;
        }
        self.last = Some(input.clone());
        self.reached.inputs += 1;
        let waiting = self.core.open_rpcs();
        let outputs = self.core.handle(self.now, input);
        let most = MOST_OUTPUTS + 2 * waiting;
        assert!(outputs.len() <= most, "{} outputs of one input, at most {most} are allowed", outputs.len());
        for output in outputs {
            self.take(output);
        }
        self.check();
    }

    fn take(&mut self, output: Output) {
        match output {
            Output::Effect { op, epoch, budget_ms, effect } => {
                if let Effect::Ec2(_) = effect {
                    self.count_call();
                }
                // What is not answered has no budget.
                if budget_ms > 0 {
                    self.open.push_back((op, epoch, effect));
                }
            }
            Output::Reply { rpc, reply } => {
                let left = self.begun.get(&rpc).copied().unwrap_or(0);
                assert!(left > 0, "{rpc:?} was not asked, or was answered before: {reply:?}");
                self.begun.insert(rpc, left - 1);
                self.reached.given += u64::from(matches!(reply, ipamd_core::output::Reply::Added { .. }));
            }
            Output::Ready => self.reached.served = true,
            Output::Warn(warning) => assert!(!warning.to_string().is_empty()),
            Output::Fatal { reason } => assert!(!reason.is_empty() && matches!(self.core.phase(), Phase::Ended(_))),
        }
    }

    fn count_call(&mut self) {
        let now_ms = self.now.mono_ms;
        self.calls.retain(|at_ms| now_ms.saturating_sub(*at_ms) < 60_000);
        self.calls.push_back(now_ms);
        let recent = self.calls.len();
        assert!(recent <= CALLS_A_MINUTE, "{recent} calls of EC2 within a minute");
    }

    /// What holds after every input.
    fn check(&mut self) {
        self.seen.check(self.core.pool());
        assert!(self.core.lanes_are_single(), "a lane waits for two answers");
        let waiting = self.begun.values().filter(|count| **count > 0).count();
        assert!(self.core.open_rpcs() <= waiting, "{} RPCs are open, {waiting} were begun", self.core.open_rpcs());
        assert!(self.core.open_effects() <= self.core.open_rpcs() + 7, "more effects than lanes");
        assert!(self.core.released().0 <= 4_096);
    }

    /// The page can be written whatever happened.
    fn end(mut self) -> Reached {
        let mut page = Vec::new();
        let shown = Shown { now_ms: self.now.unix_ms(), seed: 0, nftables: false };
        self.core.metrics().render(shown, PageFlavour::V1_23, &mut page);
        assert!(page.len() <= LARGEST_PAGE, "a page of {} bytes", page.len());
        assert!(std::str::from_utf8(&page).is_ok(), "the page is no text");
        let _all: Vec<_> = self.core.checkpoint().collect();
        self.reached.bad_names = self.core.bad_inputs().map(|(name, _)| name).collect();
        self.reached.bad = self.core.bad_inputs().map(|(_, count)| count).sum();
        assert_eq!(self.reached.bad > 0, self.core.last_bad_input().is_some());
        self.reached
    }
}

fn config(bytes: &mut Bytes<'_>) -> Config {
    let mut pairs = Vec::new();
    if bytes.seldom(6) {
        pairs.extend([("ENABLE_IPv4", "false"), ("ENABLE_IPv6", "true"), ("ENABLE_PREFIX_DELEGATION", "true")]);
    }
    for _ in 0..bytes.below(5) {
        let (name, values) = VARIABLES[bytes.index(VARIABLES.len())];
        pairs.push((name, values[bytes.index(values.len())]));
    }
    let settings = Settings::manifest_with(pairs);
    let mut config = if bytes.seldom(3) { Config::careful(settings) } else { Config::upstream(settings) };
    config.unknown_subnet_serves = bytes.flag();
    config
}
