//! The same histories in the original, in virtual time, and in the core in its small world: the calls of EC2 with their times,
//! amounts and codes, the replies, the gauges and counters of the page.
//!
//! Which ENI and which address are taken is the order of Go's maps there and the first here, so histories are chosen in which
//! that makes no difference, and addresses and ENIs are not compared by name.

mod histories;
mod random;

use std::cell::RefCell;
use std::collections::BTreeMap;

use cni_testkit::original::Original;
use cni_types::limits::InstanceLimits;
use ipamd_core::output::{Ec2Call, Want};
use serde_json::{Value, json};

use crate::machine::page;
use crate::world::World;

/// What each call of EC2 takes.
const EC2_MS: i64 = 150;

/// A call, as far as it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Call {
    op: String,
    start_ms: i64,
    amount: u64,
    code: Option<String>,
}

/// Histories that one process of the original plays, one after the other: a start takes it longer than a history.
const HISTORIES_PER_PROCESS: u32 = 100;

thread_local! {
    /// A process of the original that has played this many histories, all alike.
    static IDLE: RefCell<Option<(Original, u32)>> = const { RefCell::new(None) };
}

/// Both sides of a history.
struct Pair {
    /// Taken when the pair is dropped.
    original: Option<Original>,
    played: u32,
    world: World,
    theirs: Vec<Call>,
    base_ms: i64,
    compared: usize,
}

impl Pair {
    /// A node with so many ENIs of so many addresses, in the shipped settings with these changes.
    fn boot(variables: &[(&str, &str)], enis: u16, addresses: u16) -> Self {
        Self::boot_with(variables, enis, addresses, &json!({}), |_| {})
    }

    /// The same, with more for the original's start and for the world here.
    fn boot_with(
        variables: &[(&str, &str)],
        enis: u16,
        addresses: u16,
        more: &Value,
        prepare: impl FnOnce(&mut World),
    ) -> Self {
        let mut settings = json!({"WARM_PREFIX_TARGET": "1", "DISABLE_LEAKED_ENI_CLEANUP": "true"});
        for (name, value) in variables {
            settings[*name] = json!(value);
        }
        let limits = json!({"enis": enis, "ips": addresses});
        let mut boot = json!({"limits": limits, "settings": settings, "node": {"max_pods": 110}, "latency_ms": EC2_MS, "jitter": false});
        for (name, value) in more.as_object().into_iter().flatten() {
            boot[name] = value.clone();
        }
        let ours: Vec<_> =
            [("DISABLE_LEAKED_ENI_CLEANUP", "true")].into_iter().chain(variables.iter().copied()).collect();
        let mut world = World::new(&ours, InstanceLimits::custom(enis, addresses));
        world.exact_ms = Some(EC2_MS);
        world.veths = Some(BTreeMap::new());
        world.cidrs = vec!["10.0.0.0/8".into()];
        prepare(&mut world);
        world.log.clear();
        world.restart_same_life();
        let base_ms = world.now_ms;
        let (mut original, played) = IDLE.take().unwrap_or_else(|| (Original::node(), 0));
        let theirs = calls(&original.ask(&json!({ "boot": boot })));
        Self { original: Some(original), played, world, theirs, base_ms, compared: 0 }
    }

    fn original(&self) -> &Original {
        self.original.as_ref().unwrap()
    }

    fn ask(&mut self, command: &Value) -> Value {
        let answer = self.original.as_mut().unwrap().ask(command);
        self.theirs.extend(calls(&answer));
        answer
    }

    /// Lets time pass on both sides, and compares. The few milliseconds more keep the end of a call from being that of the time.
    fn pass(&mut self, ms: i64) {
        let ms = ms + 7;
        self.ask(&json!({ "pass": ms }));
        self.world.run_ms(ms);
        self.compare();
    }

    /// A pod asks on both sides: whether each gave an address is the same.
    fn add(&mut self, pod: u64) {
        let answer = self.ask(&json!({"add": format!("c{pod}")}));
        let rpc = self.world.begin_add(pod);
        self.world.run_ms(0);
        let ours = matches!(self.world.reply(rpc), ipamd_core::output::Reply::Added { .. });
        assert_eq!(answer["replies"][0]["success"], ours, "{answer}");
    }

    /// A pod goes on both sides.
    fn del(&mut self, pod: u64) {
        self.ask(&json!({"del": format!("c{pod}")}));
        self.world.begin_del(pod);
        self.world.run_ms(0);
    }

    /// An operation of EC2 fails so often on both sides.
    fn fail(&mut self, op: cni_types::ec2::Ec2Operation, code: cni_types::ec2::Ec2Code, times: u32) {
        let fault = json!({"op": op.name(), "code": code.name(), "text": "made so", "times": times});
        self.ask(&json!({ "fault": fault }));
        // A later fault takes the place of an earlier one of the same operation.
        self.world.faults.retain(|fault| fault.op != op);
        self.world.fail(op, code, times);
    }

    /// The metadata service answers, or does not, on both sides.
    fn imds(&mut self, down: bool) {
        let state = if down { "down" } else { "up" };
        self.ask(&json!({"imds": {"what": "*", "state": state}}));
        self.world.imds_down = down;
    }

    /// The process starts anew on both sides, once no call is under way: whether one that is cut off takes place is not decided
    /// alike.
    fn restart(&mut self) {
        while self.world.log.last().is_some_and(|logged| logged.at_ms + EC2_MS > self.world.now_ms) {
            self.pass(EC2_MS);
        }
        self.ask(&json!({"restart": {}}));
        self.world.restart();
    }

    /// Nothing fails any more, on both sides.
    fn heal(&mut self) {
        let failing: Vec<_> = self.world.faults.drain(..).map(|fault| fault.op.name()).collect();
        for op in failing {
            self.ask(&json!({"fault": {"op": op}}));
        }
        self.imds(false);
    }

    fn compare(&mut self) {
        let now_ms = self.world.now_ms;
        let ended = self.world.log.iter().filter(|logged| logged.at_ms + EC2_MS <= now_ms);
        let ours: Vec<Call> = ended
            .map(|logged| Call {
                op: logged.call.operation().name().to_owned(),
                start_ms: logged.at_ms - self.base_ms,
                amount: amount(&logged.call),
                code: logged.code.as_deref().map(str::to_owned),
            })
            .collect();
        for (ours, theirs) in ours.iter().zip(&self.theirs).skip(self.compared) {
            assert_eq!(ours, theirs, "left here, right the original");
        }
        assert_eq!(ours.len(), self.theirs.len(), "here {:?}, the original {:?}", ours.last(), self.theirs.last());
        self.compared = ours.len();
        assert_eq!(self.our_page(), self.their_page(), "at {} ms", now_ms - self.base_ms);
    }

    fn their_page(&self) -> BTreeMap<String, f64> {
        let series = self.original().view.metrics.iter().map(|(name, value)| (name.clone(), *value));
        comparable(series)
    }

    fn our_page(&self) -> BTreeMap<String, f64> {
        let series = page(&self.world).into_iter().map(|(name, value)| (name, value.parse().unwrap()));
        comparable(series)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        if let Some(original) = self.original.take()
            && !std::thread::panicking()
            && self.played < HISTORIES_PER_PROCESS
        {
            IDLE.set(Some((original, self.played + 1)));
        }
    }
}

/// The series that mean the same on both sides: gauges by ENI and CIDR as sums, errors with a text by their place.
fn comparable(series: impl Iterator<Item = (String, f64)>) -> BTreeMap<String, f64> {
    let mut kept = BTreeMap::new();
    for (name, value) in series {
        let family = name.split('{').next().unwrap_or_default();
        let left_out =
            family.contains("_duration_seconds") || family.contains("connmark") || family.contains("build_info");
        if left_out || !family.starts_with("awscni_") {
            continue;
        }
        let key = match family {
            "awscni_assigned_ip_per_eni" | "awscni_assigned_ip_per_cidr" => family.to_owned(),
            "awscni_aws_utils_error_count" => {
                name.rsplit_once("fn=").map_or(name.clone(), |(_, place)| place.to_owned())
            }
            _ => name.clone(),
        };
        *kept.entry(key).or_insert(0.0) += value;
    }
    kept
}

fn calls(answer: &Value) -> Vec<Call> {
    let calls = answer["calls"].as_array().into_iter().flatten();
    let parsed = calls.map(|call| {
        let arguments = &call["arguments"];
        let number = |name: &str| arguments[name].as_u64().unwrap_or(0);
        let length = |name: &str| arguments[name].as_array().map_or(0, |list| list.len() as u64);
        let amount = match call["op"].as_str().unwrap_or_default() {
            "UnassignPrivateIpAddresses" => length("v4") + length("prefixes"),
            "AssignIpv6Addresses" => number("prefixes"),
            "AssignPrivateIpAddresses" | "CreateNetworkInterface" => number("count") + number("prefixes"),
            _ => 0,
        };
        Call {
            op: call["op"].as_str().unwrap_or_default().to_owned(),
            start_ms: call["start_us"].as_i64().unwrap_or_default() / 1_000,
            amount,
            code: call["error"].as_object().map(|error| error["code"].as_str().unwrap_or_default().to_owned()),
        }
    });
    parsed.collect()
}

fn amount(call: &Ec2Call) -> u64 {
    match call {
        Ec2Call::Assign { want, .. } | Ec2Call::CreateEni { want, .. } => match want {
            Want::Ipv4(count) | Want::Ipv4Prefixes(count) | Want::Ipv6Prefixes(count) => u64::from(*count),
        },
        Ec2Call::Unassign { ipv4, ipv4_prefixes, .. } => (ipv4.len() + ipv4_prefixes.len()) as u64,
        _ => 0,
    }
}
