//! Nodes that misbehave in every way that the simulator knows cost themselves only: the others are read in every round, and
//! their numbers are exact.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cni_metrics_core::model::{FailureKind, NodeFigures, Snapshot};
use cni_sim::scenario::Scenario;
use cni_sim::truth::RoundTruth;
use cni_testkit::wait;
use cni_testkit::world::page::get;
use cni_testkit::world::{Helper, World};
use cni_types::catalogue::{CATALOGUE, Kind};

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

#[test(flavor = "multi_thread")]
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
pub(crate) const FAST_WAYS: [&str; 16] = [
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
pub(crate) const SLOW_WAYS: [&str; 4] =
    ["hang", "endless", "slow-page: { bytes_per_second: 100 }", "unreachable: { via: proxy }"];

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

#[test(flavor = "multi_thread")]
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

/// Scrapes that were not made because their nodes had failed before, as the helper's own metrics show them.
async fn left_out(helper: &Helper) -> u64 {
    let page = get(helper.admin.unwrap(), "/metrics").await;
    let name = "cni_metrics_helper_scrapes_left_out_total{cluster=\"";
    let line = page.lines().find(|line| line.starts_with(name)).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// One round in which each node of the hostile group is named and counted as one that refuses connections.
async fn refused_round(world: &mut World, helper: &mut Helper, hostile: usize) {
    world.advance(&[helper]).await;
    let snapshot = helper.round().await;
    assert_eq!(snapshot.coverage.failed, [(FailureKind::ConnectRefused, hostile as u64)].into(), "{}", snapshot.round);
    assert_eq!((snapshot.coverage.scraped, snapshot.coverage.expected), (12, 12 + hostile as u64));
    let named = snapshot.nodes.iter().filter(|node| node.failure == Some(FailureKind::ConnectRefused));
    let named = named.inspect(|node| assert_eq!(node.values.iter().count(), 0, "{}", node.name)).count();
    assert_eq!(named, hostile, "{}", snapshot.round);
}

#[test(flavor = "multi_thread")]
async fn nodes_that_keep_failing_are_asked_less_often_and_counted_as_failing_in_every_round() {
    let mut world = World::start(cluster(12, 8, "1ms")).await;
    let mut helper = world.helper(&["--scrape-via", "proxy", "--admin-address", "127.0.0.1:0"]).await;
    assert_eq!(helper.round().await.coverage.scraped, 20);
    let fault = world.inject_on("{ group: hostile }", "refused");
    for _ in 0..4 {
        refused_round(&mut world, &mut helper, 8).await;
    }
    assert_eq!(left_out(&helper).await, 0, "four rounds ask as ever");
    for _ in 4..24 {
        refused_round(&mut world, &mut helper, 8).await;
    }
    // Of twelve rounds every second one asks, of the other eight every fourth, each node in rounds of its own.
    let not_asked = left_out(&helper).await;
    assert!((8 * 11..=8 * 13).contains(&not_asked), "{not_asked}");

    world.clear(fault);
    let (mut scraped, mut rounds) = (12, 0);
    while scraped < 20 {
        assert!(rounds < 4, "{scraped} of 20 nodes are read {rounds} rounds after all of them answer");
        world.advance(&[&helper]).await;
        scraped = helper.round().await.coverage.scraped;
        rounds += 1;
    }
    world.advance(&[&helper]).await;
    let totals = helper.round().await.totals.clone();
    let truth = world.truth(20).await;
    assert!(truth.cumulative["addReqCount"] > 0.0, "nothing happened that could have been lost");
    for row in CATALOGUE.iter().filter(|row| row.kind == Kind::Counter) {
        assert_eq!(totals.get(row.metric), truth.cumulative.get(row.name).copied(), "{}", row.name);
    }
    helper.end().await;
}

#[test(flavor = "multi_thread")]
async fn nodes_whose_agents_restart_and_nodes_of_a_failure_of_most_are_asked_at_once() {
    let mut world = World::start(cluster(12, 8, "1ms")).await;
    let mut helper = world.helper(&["--scrape-via", "proxy"]).await;
    assert_eq!(helper.round().await.coverage.scraped, 20);
    let fault = world.inject_on("{ group: hostile }", "refused");
    for _ in 0..20 {
        refused_round(&mut world, &mut helper, 8).await;
    }
    world.inject_on("{ group: hostile }", "restart: {}");
    refused_round(&mut world, &mut helper, 8).await;
    let restarted = || helper.index.targets().0.iter().filter(|(pod, _)| pod.restarts == 1).count();
    wait::until_async("eight agents have restarted", Duration::from_mins(1), || restarted() == 8).await;
    world.clear(fault);
    world.advance(&[&helper]).await;
    assert_eq!(helper.round().await.coverage.scraped, 20, "all that restarted are asked in the next round");

    let most = world.inject_on("{ fraction: 0.9 }", "refused");
    for _ in 0..20 {
        world.advance(&[&helper]).await;
        assert_eq!(helper.round().await.coverage.scraped, 2);
    }
    world.clear(most);
    world.advance(&[&helper]).await;
    assert_eq!(helper.round().await.coverage.scraped, 20, "all are asked in every round while most of them fail");
    helper.end().await;
}

/// The scrape timeout is 5 s by default, and a round of these intervals is shorter.
#[test(flavor = "multi_thread")]
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

/// Each node's failure in a round of `slow-nodes` in which all of its faults are there.
async fn failures_within(timeout: &str) -> BTreeMap<String, Option<FailureKind>> {
    let mut world = World::start(Scenario::named("slow-nodes").unwrap()).await;
    let mut helper = world.helper(&["--scrape-via", "proxy", "--scrape-timeout", timeout]).await;
    let mut snapshot = helper.round().await;
    for _ in 0..3 {
        world.advance(&[&helper]).await;
        snapshot = helper.round().await;
    }
    helper.end().await;
    snapshot.nodes.iter().map(|node| (node.name.as_str().to_owned(), node.failure)).collect()
}

#[test(flavor = "multi_thread")]
async fn a_nodes_failure_has_the_same_kind_with_any_timeout_and_is_never_the_api_servers() {
    let (short, long) = (Box::pin(failures_within("1s")).await, Box::pin(failures_within("7s")).await);
    let is_of_api_server = |kind: FailureKind| {
        matches!(kind, FailureKind::ApiServerUnreachable | FailureKind::RateLimitedByApiServer | FailureKind::Forbidden)
    };
    let mut kinds = BTreeSet::new();
    for (node, failure) in &short {
        let (failure, longer) = (*failure, long[node]);
        // More time may be enough; it never makes another failure of it.
        assert!(longer.is_none() || longer == failure, "{node}: {failure:?} within 1 s, {longer:?} within 7 s");
        assert!(!failure.is_some_and(is_of_api_server), "{node}: {failure:?}");
        kinds.extend(failure);
    }
    for kind in [
        FailureKind::Timeout,
        FailureKind::ConnectionReset,
        FailureKind::ConnectRefused,
        FailureKind::RateLimitedByNode,
        FailureKind::BadPage,
    ] {
        assert!(kinds.contains(&kind), "no {kind} in {short:?}");
    }
}
