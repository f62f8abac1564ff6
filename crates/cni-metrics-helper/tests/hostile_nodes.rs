//! Nodes that misbehave in every way that the simulator knows cost themselves only: the others are read in every round, and
//! their numbers are exact.

#![expect(clippy::unwrap_used, reason = "a test stops where something is missing")]

#[expect(dead_code, reason = "written for all tests on a simulated world; this one uses a part of it")]
#[path = "world/lockstep.rs"]
mod lockstep;

use std::collections::BTreeSet;
use std::time::Duration;

use cni_metrics_core::model::{FailureKind, NodeFigures, Snapshot};
use cni_sim::scenario::Scenario;
use cni_sim::truth::RoundTruth;
use lockstep::World;

/// A calm cluster of two groups whose agents take this long to answer.
fn cluster(good: u32, hostile: u32, latency: &str) -> Scenario {
    let text = format!(
        "
name: hostile
description: Two groups, one of them to be hostile.
warm_up: 10m
cluster: {{ node_latency: {latency} }}
subnets:
  - {{ name: a, cidr: 10.0.0.0/16, zone: eu-central-1a }}
node_groups:
  - {{ name: good, instance_type: m5.large, count: {good}, subnet: a }}
  - {{ name: hostile, instance_type: m5.large, count: {hostile}, subnet: a }}
workload:
  - {{ pods_per_node: 3, churn_per_minute: 1 }}
"
    );
    Scenario::parse(&text, "hostile.yaml").unwrap()
}

/// A round may take 8 s: four scrapes at once, each of 200 ms, would be too few for the 300 nodes of the first test.
const INTERVAL: Duration = Duration::from_secs(10);
const FLAGS: [&str; 6] = ["--scrape-via", "proxy", "--interval", "10", "--scrape-timeout", "8s"];

fn rounds(variable: &str, usual: u32) -> u32 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// By the simulated cluster's own word: the helper's watch of nodes may still be on its way in the first round.
fn is_hostile(world: &World, node: &NodeFigures) -> bool {
    let object = world.sim.cluster().kube().node(node.name.as_str()).unwrap();
    object.meta.label("eks.amazonaws.com/nodegroup") == Some("hostile")
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_answer_429_take_no_other_node_out_of_the_round() {
    let mut world = World::start(cluster(285, 15, "200ms")).await;
    let mut helper = world.helper(&FLAGS).await;
    assert_eq!(helper.round().await.coverage.scraped, 300);
    for fault in [
        "page-status: { code: 429, retry_after_s: 60 }",
        "page-status: { code: 503, retry_after_s: 60 }",
        "forged-status: { code: 429, retry_after_s: 60 }",
        "forged-status: { code: 503, retry_after_s: 60 }",
        "forged-status: { code: 429 }",
    ] {
        world.inject_on("{ group: hostile, count: 3 }", fault);
    }
    for round in 0..rounds("HOSTILE_429_ROUNDS", 100) {
        world.advance_by(INTERVAL, &[&helper]).await;
        let snapshot = helper.round().await;
        let failed = |node: &&NodeFigures| !is_hostile(&world, node) && node.failure.is_some();
        let failed: Vec<_> = snapshot.nodes.iter().filter(failed).collect();
        assert!(failed.is_empty(), "round {round}: {failed:?}");
        assert_eq!(snapshot.coverage.scraped, 285, "round {round}");
        assert_eq!(snapshot.coverage.failed, [(FailureKind::RateLimitedByNode, 15)].into(), "round {round}");
    }
    helper.end().await;
}

/// Every way in which a node can be hostile or broken that shows at once.
const FAST_WAYS: [&str; 16] = [
    "reset",
    "refused",
    "garbage",
    "html",
    "empty",
    "truncated",
    "huge: { bytes: 100000000 }",
    "gzip-bomb: { bytes: 1000000000 }",
    "short-lines: { bytes: 8000000 }",
    "page-status: { code: 500 }",
    "page-status: { code: 429, retry_after_s: 60 }",
    "forged-status: { code: 429, retry_after_s: 60 }",
    "forged-status: { code: 403 }",
    "odd-values: { value: 1e300 }",
    "odd-values: { value: NaN }",
    "long-headers: { count: 2000 }",
];

/// Those that cost their time limit of real time in every round.
const SLOW_WAYS: [&str; 4] = ["hang", "endless", "slow-page: { bytes_per_second: 100 }", "unreachable: { via: proxy }"];

/// Asserts that each node of the good group was read, and that its numbers are those that it served.
fn assert_exact(world: &World, snapshot: &Snapshot, truth: &RoundTruth, round: u32) {
    let mut seen = BTreeSet::new();
    for node in snapshot.nodes.iter().filter(|node| !is_hostile(world, node)) {
        assert_eq!(node.failure, None, "round {round}: {}", node.name);
        let served = &truth.nodes[node.name.as_str()];
        for (metric, value) in node.values.iter() {
            assert_eq!(Some(&value), served.get(metric.name()), "round {round}: {} {}", node.name, metric.name());
        }
        seen.insert(node.name.clone());
    }
    assert_eq!(seen.len(), 20, "round {round}");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_the_nodes_hostile_in_every_known_way_leave_the_other_half_exact() {
    let mut world = World::start(cluster(20, 20, "1ms")).await;
    // The hostile half keeps the processor busy, and unoptimised code for long: a good node's page must not be late for that.
    let flags = ["--scrape-via", "proxy", "--interval", "10", "--scrape-timeout", "6s"];
    let mut helper = world.helper(&flags).await;
    let first = helper.round().await;
    let truth = world.truth(40).await;
    assert_exact(&world, &first, &truth, 0);
    let mut served = 40 - FAST_WAYS.len() as u64;
    for fault in FAST_WAYS {
        world.inject_on("{ group: hostile, count: 1 }", fault);
    }
    let (fast, slow) = (rounds("HOSTILE_ROUNDS", 40), rounds("HOSTILE_SLOW_ROUNDS", 3));
    for round in 1..=fast + slow {
        if round == fast + 1 {
            served -= SLOW_WAYS.len() as u64;
            for fault in SLOW_WAYS {
                world.inject_on("{ group: hostile, count: 1 }", fault);
            }
        }
        world.advance_by(INTERVAL, &[&helper]).await;
        let snapshot = helper.round().await;
        let truth = world.truth(served).await;
        assert_exact(&world, &snapshot, &truth, round);
        let failed: u64 = snapshot.coverage.failed.values().sum();
        assert!(failed >= 13, "round {round}: the hostile half is hostile: {:?}", snapshot.coverage);
    }
    helper.end().await;
}

/// The scrape timeout is 5 s by default, and a round of these intervals is shorter.
#[tokio::test(flavor = "multi_thread")]
async fn hung_nodes_are_timeouts_at_intervals_shorter_than_the_scrape_timeout() {
    for interval in ["1", "2", "3"] {
        let mut world = World::start(cluster(3, 2, "1ms")).await;
        world.inject_on("{ group: hostile }", "hang");
        let mut helper = world.helper(&["--scrape-via", "proxy", "--interval", interval]).await;
        let mut rounds = Vec::new();
        // A busy machine may begin a scrape so late that the round ends before it; the time of most suffices.
        while rounds.iter().filter(|failures| *failures == &[Some(FailureKind::Timeout); 2]).count() < 3 {
            assert!(rounds.len() < 20, "interval {interval}: {rounds:?}");
            if !rounds.is_empty() {
                world.advance_by(Duration::from_secs(interval.parse().unwrap()), &[&helper]).await;
            }
            let snapshot = helper.round().await;
            rounds.push(
                snapshot
                    .nodes
                    .iter()
                    .filter(|node| is_hostile(&world, node))
                    .map(|node| node.failure)
                    .collect::<Vec<_>>(),
            );
        }
        helper.end().await;
    }
}
