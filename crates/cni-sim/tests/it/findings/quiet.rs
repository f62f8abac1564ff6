//! Clusters in which nothing is wrong have no finding above info in any round, and those in which one thing happens have exactly its
//! finding.

use std::collections::BTreeSet;

use cni_sim::scenario::Scenario;

use super::play::{Play, Rights, Round};
use super::shown::check_sums;

const SEEDS: std::ops::Range<u64> = 11..16;
const INTERVAL_S: i64 = 30;

/// `FINDING_ROUNDS` makes the quiet clusters run longer: 1,000 rounds are a step of `.ci/release`.
fn rounds() -> u32 {
    std::env::var("FINDING_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(120)
}

/// Three kinds of targets and waves.
const WAVES: &str = "
name: waves
description: Nothing that is not normal in a cluster that is used.
warm_up: 20m
subnets:
  - { name: a, cidr: 10.0.0.0/20, zone: zone-a }
  - { name: b, cidr: 10.1.0.0/20, zone: zone-b }
node_groups:
  - { name: plain, instance_type: m5.xlarge, count: 3, subnet: a, max_pods: 58 }
  - { name: tight, instance_type: c5.xlarge, count: 3, subnet: b, env: { WARM_IP_TARGET: 6, MINIMUM_IP_TARGET: 16 } }
  - { name: prefix, instance_type: m5.large, count: 2, subnet: b, max_pods: 110, env: { ENABLE_PREFIX_DELEGATION: true } }
workload:
  - { group: plain, pods_per_node: 12, churn_per_minute: 2, waves: { extra: 20, every: 12m, lasts: 5m } }
  - { group: tight, pods_per_node: 8, churn_per_minute: 1, waves: { extra: 6, every: 9m, lasts: 4m } }
  - { group: prefix, pods_per_node: 30, churn_per_minute: 6, diurnal: { extra: 30, period: 1h } }
";

/// In each hour a node joins, instances are lost and replaced, and every agent restarts once, some of them a second time within half
/// an hour.
fn used_cluster(rounds: u32) -> Scenario {
    let hours = i64::from(rounds) * INTERVAL_S / 3_600;
    let in_hour = |hour: i64| {
        let fault = |minute: i64, rest: &str| format!("  - {{ at: {}m, {rest} }}\n", hour * 60 + minute);
        [
            fault(5, "target: { group: plain }, fault: { join: { count: 1 } }"),
            fault(10, "target: { group: tight, count: 1 }, fault: { node-loss: { replace: true } }"),
            fault(15, "target: { group: plain, count: 1 }, fault: { node-loss: { replace: true } }"),
            fault(20, "fault: { restart: {} }"),
            fault(32, "target: { fraction: 0.3 }, fault: { restart: {} }"),
            fault(45, "target: { group: prefix, count: 1 }, fault: { node-loss: { replace: true } }"),
        ]
        .concat()
    };
    let faults: String = (0..=hours).map(in_hour).collect();
    Scenario::parse(&format!("{WAVES}faults:\n{faults}"), "waves.yaml").unwrap()
}

fn play(scenario: &Scenario, seed: u64, rounds: u32) -> Vec<Round> {
    let mut play = Play::of(scenario, (seed, INTERVAL_S), Rights::All);
    (0..rounds).map(|_| play.round()).collect()
}

/// The findings above info of all rounds, with their times.
fn loud(rounds: &[Round]) -> Vec<String> {
    let all = rounds.iter().flat_map(|round| round.loud().map(|finding| (round.at_ms / 1_000, finding)));
    all.map(|(at_s, finding)| format!("{at_s} s: {} of {} nodes", finding.identity.id, finding.nodes)).collect()
}

fn assert_quiet(name: &str, scenario: &Scenario) {
    for seed in SEEDS {
        let played = play(scenario, seed, rounds());
        assert_eq!(loud(&played), Vec::<String>::new(), "{name}, seed {seed}");
        check_sums(&played).unwrap_or_else(|why| panic!("{name}, seed {seed}: {why}"));
    }
}

#[test]
fn calm_clusters_are_quiet() {
    let scenario = Scenario::named("calm").unwrap();
    assert_quiet("calm", &scenario);
}

#[test]
fn clusters_with_churn_are_quiet() {
    assert_quiet("churn", &Scenario::named("churn").unwrap());
}

#[test]
fn clusters_with_waves_joins_losses_and_restarts_are_quiet() {
    assert_quiet("waves", &used_cluster(rounds()));
}

/// What one thing that happens to a quiet cluster is told as.
#[test]
fn one_thing_that_happens_is_its_own_finding_only() {
    let cases = [
        ("a vanished ENI", "  - { at: 5m, target: { group: plain, count: 1 }, fault: lose-eni }", "enis-force-removed"),
        (
            "restarts",
            "  - { at: 1m, for: 22m, target: { group: plain, count: 1 }, fault: { restart: { every: 5m } } }",
            "agent-restarting",
        ),
    ];
    for (name, fault, expected) in cases {
        let text = format!("{WAVES}faults:\n{fault}\n");
        let played = play(&Scenario::parse(&text, "one.yaml").unwrap(), 7, 80);
        let found: BTreeSet<&str> =
            played.iter().flat_map(Round::loud).map(|finding| finding.identity.id.name()).collect();
        assert_eq!(found, BTreeSet::from([expected]), "{name}: {:#?}", loud(&played));
    }
}

/// Nodes that the VPC CNI has no part in are not missing.
#[test]
fn nodes_without_agents_are_no_finding() {
    let others = "other_nodes: [{ kind: auto-mode, count: 2 }, { kind: fargate, count: 3 }, { kind: windows, count: 1 }, \
                  { kind: hybrid, count: 1 }]";
    let scenario = Scenario::parse(&format!("{WAVES}{others}\n"), "others.yaml").unwrap();
    let mut play = Play::of(&scenario, (7, INTERVAL_S), Rights::All);
    let before = play.known_nodes();
    let played: Vec<Round> = (0..20).map(|_| play.round()).collect();
    assert_eq!(before, 8 + 7);
    assert_eq!(loud(&played), Vec::<String>::new());
    assert_eq!(play.observed_nodes(), 8);
}

/// Agents that cannot write their checkpoint count nothing as refused: their pages look like those of a calm cluster.
#[test]
fn what_no_page_shows_is_no_finding() {
    let text = format!("{WAVES}faults:\n  - {{ fault: disk-full }}\n");
    let mut play = Play::of(&Scenario::parse(&text, "disk.yaml").unwrap(), (7, INTERVAL_S), Rights::All);
    let first = play.round();
    let pods = play.pods();
    let played: Vec<Round> = std::iter::once(first).chain((0..20).map(|_| play.round())).collect();
    assert!(play.pods() < pods, "pods that leave are replaced: {} of {pods}", play.pods());
    assert_eq!(loud(&played), Vec::<String>::new());
}
