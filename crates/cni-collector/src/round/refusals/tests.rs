use std::fmt::Write;
use std::sync::Arc;

use cni_metrics_core::agent::{AgentFacts, PoolSettings};
use cni_metrics_core::aggregate::{CounterMode, HelperStart};
use cni_metrics_core::model::{FailureKind, NodeLabels, Observation, PodUid, Target};
use cni_metrics_core::parse::parse;

use super::*;
use crate::captured::captured_log;

const START: i64 = 1_767_225_600_000;
const ROUND_MS: i64 = 30_000;

/// Nodes whose pages count on, their rounds, and what is logged of them.
struct World {
    aggregator: Aggregator,
    refusals: Refusals,
    round: i64,
    nodes: Vec<Node>,
}

/// What a node's page counts: refused requests, errors by API and code; and what its pool is.
#[derive(Default, Clone)]
struct Node {
    refused: u64,
    errors: BTreeMap<(&'static str, &'static str), u64>,
    held: u64,
    assigned: u64,
    is_silent: bool,
}

impl Node {
    fn page(&self) -> String {
        let Self { refused, held, assigned, .. } = self;
        let mut page = format!(
            "awscni_no_available_ip_addresses {refused}\nawscni_add_ip_req_count 1\nawscni_ip_max 27\nawscni_eni_max 3\n\
             awscni_total_ip_addresses {held}\nawscni_assigned_ip_addresses {assigned}\n"
        );
        for ((api, error), count) in &self.errors {
            writeln!(page, "awscni_aws_api_error_count{{api=\"{api}\",error=\"{error}\"}} {count}").unwrap();
        }
        page
    }

    fn fails(&mut self, api: &'static str, code: &'static str) {
        *self.errors.entry((api, code)).or_default() += 1;
    }
}

impl World {
    /// Some nodes that were seen once.
    fn new(nodes: usize) -> Self {
        let start = HelperStart { clock: UnixMillis(START), api_server: None };
        let mut world = Self {
            aggregator: Aggregator::new(start, CounterMode::Increase),
            refusals: Refusals::default(),
            round: 0,
            nodes: vec![Node { held: 18, assigned: 12, ..Node::default() }; nodes],
        };
        assert!(world.round().is_empty(), "what was refused before the helper's start is not known");
        world
    }

    /// The lines of the next round.
    fn round(&mut self) -> Vec<String> {
        self.round += 1;
        let pool = Some(PoolSettings::default());
        let target = |number: usize| Target {
            uid: PodUid::new(format!("uid-{number}")),
            node: NodeName::new(format!("node-{number}")),
            created_at: None,
            labels: Arc::<NodeLabels>::default(),
            agent: AgentFacts { pool, ..AgentFacts::default() },
        };
        let observe = |(number, node): (usize, &Node)| Observation {
            target: target(number),
            expected: true,
            outcome: if node.is_silent {
                Err(FailureKind::Timeout)
            } else {
                Ok(parse(node.page().as_bytes()).sample.unwrap())
            },
        };
        let observations = self.nodes.iter().enumerate().map(observe).collect();
        let mut snapshot = self.aggregator.round(UnixMillis(START + self.round * ROUND_MS), observations);
        snapshot.round = u64::try_from(self.round).unwrap();
        let (subscriber, log) = captured_log();
        tracing::subscriber::with_default(subscriber, || self.refusals.round(&snapshot, &self.aggregator));
        log.lines()
    }

    /// The next round, in which each of the first nodes refuses that number of requests.
    fn refuse(&mut self, requests: &[u64]) -> Vec<String> {
        for (node, requests) in self.nodes.iter_mut().zip(requests) {
            node.refused += requests;
        }
        self.round()
    }
}

#[track_caller]
fn has(lines: &[String], parts: &[&str]) {
    assert_eq!(lines.len(), 1, "{lines:?}");
    for part in parts {
        assert!(lines[0].contains(part), "{part:?} is not in {lines:?}");
    }
}

const CREATE: &str = "CreateNetworkInterface";
const ASSIGN: &str = "AssignPrivateIpAddresses";
const DRY: &str = "InsufficientFreeAddressesInSubnet";

#[test]
fn refusals_are_told_when_they_begin_and_when_they_end_and_not_in_between() {
    let mut world = World::new(10);
    (0..5).for_each(|node| world.nodes[node].fails(CREATE, DRY));
    world.nodes[9].fails(CREATE, "InternalError");
    let lines = world.refuse(&[58, 60, 59, 60, 1]);
    has(
        &lines,
        &[
            "WARN",
            "238 requests for a pod address refused on 5 of 10 nodes in round 2",
            "node-1 (60), node-3 (60), node-2 (59), ...",
            "CreateNetworkInterface failed with InsufficientFreeAddressesInSubnet on 5 nodes: the subnet has no free address",
            "their pods wait in ContainerCreating",
        ],
    );
    assert!(!lines[0].contains("InternalError"), "that node refuses nothing: {lines:?}");
    for _ in 0..4 {
        assert!(world.refuse(&[60, 60, 60, 60, 60]).is_empty());
    }
    assert!(world.refuse(&[]).is_empty(), "one quiet round");
    assert!(world.refuse(&[2]).is_empty(), "it goes on");
    assert!(world.refuse(&[]).is_empty());
    has(
        &world.refuse(&[]),
        &["INFO", "no node that answers refuses requests", "refused 1440 requests in 180 s, on up to 5 nodes"],
    );
    assert!(world.refuse(&[]).is_empty());
    has(&world.refuse(&[3]), &["WARN", "3 requests for a pod address refused on 1 of"]);
}

#[test]
fn a_change_of_the_cause_is_told_once() {
    let mut world = World::new(4);
    world.nodes[0].fails(CREATE, "RequestLimitExceeded");
    has(&world.refuse(&[5]), &["RequestLimitExceeded on 1 node: EC2 throttles the account"]);
    world.nodes[0].fails(ASSIGN, "RequestLimitExceeded");
    assert!(world.refuse(&[5]).is_empty(), "the same cause at another API");
    world.nodes[0].fails(CREATE, DRY);
    let changed = "the cause of refused requests has changed: ";
    has(&world.refuse(&[5]), &["WARN", changed, DRY, "RequestLimitExceeded"]);
    for _ in 0..9 {
        world.nodes[0].fails(CREATE, "RequestLimitExceeded");
        world.nodes[0].fails(CREATE, DRY);
        assert!(world.refuse(&[5]).is_empty());
    }
    // Errors explain refusals for five minutes; ten rounds later it is sure that they do no longer.
    let silent_rounds = (0..19).map(|_| world.refuse(&[5])).filter(Vec::is_empty).count();
    assert_eq!(silent_rounds, 19);
    has(&world.refuse(&[5]), &["WARN", changed, "no node of them is full, and no call failed"]);
    world.nodes[0].held = 27;
    has(&world.refuse(&[5]), &["WARN", changed, "1 node is full"]);
}

#[test]
fn refusals_that_spread_or_last_are_told_again() {
    let mut world = World::new(12);
    has(&world.refuse(&[1]), &["on 1 of 12 nodes"]);
    assert!(world.refuse(&[1, 1]).is_empty());
    has(&world.refuse(&[1, 1, 1]), &["WARN", "more nodes refuse requests: 3 requests"]);
    assert!(world.refuse(&[1; 8]).is_empty());
    has(&world.refuse(&[1; 9]), &["more nodes refuse requests: "]);
    let told: Vec<usize> = (1..=240).filter(|_| !world.refuse(&[1; 9]).is_empty()).collect();
    assert_eq!(told, [120, 240], "once per hour");
}

#[test]
fn silence_is_not_the_end() {
    let mut world = World::new(2);
    has(&world.refuse(&[4]), &["on 1 of 2 nodes"]);
    world.nodes.iter_mut().for_each(|node| node.is_silent = true);
    (0..5).for_each(|_| assert!(world.round().is_empty()));
    world.nodes[1].is_silent = false;
    assert!(world.round().is_empty());
    has(&world.round(), &["INFO", "no node that answers refuses requests", "; 1 node does not answer"]);
}

#[test]
fn calls_that_get_no_addresses_explain_nothing_unless_they_are_of_instance_metadata() {
    let mut world = World::new(1);
    world.nodes[0].fails("UnassignPrivateIpAddresses", "UnauthorizedOperation");
    world.nodes[0].fails(ASSIGN, "PrivateIpAddressLimitExceeded");
    has(&world.refuse(&[4]), &["no node of them is full, and no call failed in the 30 s since this helper's start"]);
    world.nodes[0].fails("GetVPCIPv4CIDRBlocks", "RequestError");
    has(
        &world.refuse(&[4]),
        &["GetVPCIPv4CIDRBlocks failed with RequestError on 1 node: enable the node's instance metadata service"],
    );
}
