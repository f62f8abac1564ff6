//! Several helpers share a simulated cluster that stands still during rounds: what they publish together is exactly what
//! happened, and each of them knows its own nodes only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cni_metrics_core::model::Snapshot;
use cni_sim::kube_store::Kind as ObjectKind;
use cni_sim::scenario::Scenario;
use cni_sim::truth::RoundTruth;
use cni_testkit::world::{Helper, START_MS, World};
use cni_types::catalogue::{CATALOGUE, Kind};
use cni_types::shard::Shard;

/// Sixty nodes on which pods come and go.
fn scenario() -> Scenario {
    let mut scenario = Scenario::named("churn").unwrap();
    for group in &mut scenario.node_groups {
        group.count *= 6;
    }
    scenario
}

async fn helpers(world: &mut World, of: u32) -> Vec<Helper> {
    let mut helpers = Vec::new();
    for index in 0..of {
        helpers.push(world.helper(&["--shard", &format!("{index}/{of}")]).await);
    }
    helpers
}

async fn round(helpers: &mut [Helper]) -> Vec<Arc<Snapshot>> {
    let mut snapshots = Vec::new();
    for helper in helpers {
        snapshots.push(helper.round().await);
    }
    assert!(snapshots.iter().all(|snapshot| snapshot.at == snapshots[0].at), "replicas tick together");
    let cluster = scenario().cluster.name;
    let is_named = |snapshot: &Arc<Snapshot>| snapshot.cluster.as_ref().is_some_and(|id| *id == *cluster);
    assert!(snapshots.iter().all(is_named), "each snapshot says of which cluster it is");
    snapshots
}

async fn advance(world: &mut World, helpers: &[Helper]) {
    world.advance(&helpers.iter().collect::<Vec<_>>()).await;
}

/// Every node was asked by one helper, once, and each helper asked its own.
fn check_nodes(snapshots: &[Arc<Snapshot>], truth: &RoundTruth) {
    let of = snapshots.len();
    let mut asked = BTreeSet::new();
    for (index, snapshot) in snapshots.iter().enumerate() {
        let shard: Shard = format!("{index}/{of}").parse().unwrap();
        for node in &snapshot.nodes {
            assert!(shard.owns(Some(node.name.as_str())), "{} in {shard}", node.name.as_str());
            assert!(asked.insert(node.name.as_str().to_owned()), "{} asked twice", node.name.as_str());
        }
    }
    let scraped: u64 = snapshots.iter().map(|snapshot| snapshot.coverage.scraped).sum();
    assert_eq!(truth.deliveries, scraped, "pages handed over");
    assert_eq!(truth.nodes.len() as u64, scraped, "nodes that handed over a page");
    assert!(truth.nodes.keys().all(|node| asked.contains(node)));
}

/// Time → `SHARD` → value, of one metric of the cluster.
fn published(world: &World, name: &str) -> BTreeMap<i64, BTreeMap<String, f64>> {
    let cluster = world.sim.cluster().scenario().cluster.name.clone();
    let mut published: BTreeMap<i64, BTreeMap<String, f64>> = BTreeMap::new();
    for datum in world.sim.cloudwatch().data().iter().filter(|datum| datum.key.name == name) {
        let [(first, id), (second, shard)] = &datum.key.dimensions[..] else { panic!("{:?}", datum.key) };
        assert_eq!((first.as_str(), id, second.as_str()), ("CLUSTER_ID", &cluster, "SHARD"));
        let twice = published.entry(datum.timestamp_ms).or_default().insert(shard.clone(), datum.statistics.sum);
        assert_eq!(twice, None, "{name} of shard {shard} twice");
    }
    published
}

#[test(flavor = "multi_thread")]
async fn three_shards_together_publish_the_truth() {
    let mut world = World::start(scenario()).await;
    let mut helpers = helpers(&mut world, 3).await;
    let mut truths = BTreeMap::new();
    for number in 0..12 {
        if number > 0 {
            advance(&mut world, &helpers).await;
        }
        let snapshots = round(&mut helpers).await;
        let scraped = snapshots.iter().map(|snapshot| snapshot.coverage.scraped).sum();
        let truth = world.truth(scraped).await;
        check_nodes(&snapshots, &truth);
        truths.insert(snapshots[0].at.0, truth);
        if number == 4 {
            // A node leaves and another comes, perhaps in another shard; restarts and silence besides.
            world.inject_on("{ count: 2 }", "node-loss: { replace: true }");
            world.inject_on("{ fraction: 0.2 }", "restart: {}");
            world.inject_on("{ count: 3 }", "reset");
        }
    }
    for helper in &helpers {
        helper.wait_all_sent().await;
    }
    assert!(truths.values().any(|truth| truth.metrics["nodesScraped"] < truth.metrics["nodesExpected"]));
    let newest = truths.values().last().unwrap();
    for row in &CATALOGUE {
        let published = published(&world, row.name);
        let mut sum_of_all = 0.0;
        for (at, truth) in &truths {
            let shards = published.get(at);
            if let Some(shards) = shards.filter(|_| row.kind != Kind::Latency) {
                assert_eq!(shards.keys().collect::<Vec<_>>(), ["0/3", "1/3", "2/3"], "{} at {at}", row.name);
            }
            let values = shards.into_iter().flatten().map(|(_, value)| *value);
            let whole = if row.kind == Kind::Latency {
                values.reduce(f64::max)
            } else {
                values.reduce(|sum, value| sum + value)
            };
            assert_eq!(whole, truth.metrics.get(row.name).copied(), "{} at {at}", row.name);
            sum_of_all += whole.unwrap_or(0.0);
        }
        if row.kind == Kind::Counter {
            assert_eq!(Some(sum_of_all), newest.cumulative.get(row.name).copied(), "{}", row.name);
        }
    }
    assert!(newest.cumulative["addReqCount"] > 100.0, "hardly anything happened");
    for helper in helpers {
        helper.end().await;
    }
}

#[test(flavor = "multi_thread")]
async fn shards_that_start_at_any_time_have_their_rounds_together() {
    let mut world = World::start(scenario()).await;
    let mut early = world.helper(&["--shard", "0/2"]).await;
    assert_eq!(early.round().await.at.0, START_MS);
    world.advance_by(Duration::from_secs(17), &[&early]).await;
    let mut late = world.helper(&["--shard", "1/2"]).await;
    world.advance_by(Duration::from_secs(13), &[&early, &late]).await;
    assert_eq!(late.round().await.at.0, START_MS + 30_000, "it waited for the others");
    assert_eq!(early.round().await.at.0, START_MS + 30_000);
    for helper in [early, late] {
        helper.end().await;
    }
}

#[test(flavor = "multi_thread")]
async fn nothing_of_other_shards_is_kept() {
    let mut world = World::start(scenario()).await;
    let mut helpers = helpers(&mut world, 3).await;
    round(&mut helpers).await;
    advance(&mut world, &helpers).await;
    round(&mut helpers).await;
    let nodes: BTreeSet<String> = world
        .sim
        .cluster()
        .kube()
        .pods()
        .iter()
        .filter_map(|pod| pod.node_name.as_deref().map(str::to_owned))
        .collect();
    assert_eq!(nodes.len(), 60);
    let mut pods = 0;
    for (index, helper) in helpers.iter().enumerate() {
        let shard: Shard = format!("{index}/3").parse().unwrap();
        let own = nodes.iter().filter(|node| shard.owns(Some(node))).count();
        assert!((10..=30).contains(&own), "{own} of 60 nodes in {shard}");
        let (targets, kept) = helper.index.targets();
        assert_eq!((targets.len(), kept, helper.index.labelled_nodes()), (own, own, own), "{shard}");
        assert!(targets.iter().all(|(_, target)| target.labels.zone.is_some()));
        pods += kept;
    }
    assert_eq!(pods, nodes.len());
    for helper in helpers {
        helper.end().await;
    }
}

#[test(flavor = "multi_thread")]
async fn a_shard_without_nodes_says_so() {
    let mut world = World::start(scenario()).await;
    let pods = world.sim.cluster().kube().pods();
    let empty = Shard::all(1000).find(|shard| !pods.iter().any(|pod| shard.owns(pod.node_name.as_deref()))).unwrap();
    let mut helper = world.helper(&["--shard", &empty.to_string()]).await;
    helper.round().await;
    helper.wait_all_sent().await;
    for name in ["nodesExpected", "nodesScraped"] {
        assert_eq!(published(&world, name)[&START_MS].get(&empty.to_string()), Some(&0.0), "{name}");
    }
    assert!(published(&world, "assignIPAddresses").is_empty(), "nothing was measured");
    helper.end().await;
}

#[test(flavor = "multi_thread")]
async fn another_number_of_shards_counts_nothing_twice() {
    let mut world = World::start(scenario()).await;
    let mut truth = None;
    for of in [3, 4, 1] {
        let mut helpers = helpers(&mut world, of).await;
        round(&mut helpers).await;
        for _ in 0..3 {
            advance(&mut world, &helpers).await;
            round(&mut helpers).await;
        }
        for helper in helpers {
            helper.wait_all_sent().await;
            helper.end().await;
        }
        truth = Some(world.truth(0).await);
    }
    // The world stood still while the helpers changed, so nothing is missing either.
    let truth = truth.unwrap();
    for row in CATALOGUE.iter().filter(|row| row.kind == Kind::Counter) {
        let sum: f64 = published(&world, row.name).values().flat_map(BTreeMap::values).sum();
        assert_eq!(Some(sum), truth.cumulative.get(row.name).copied(), "{}", row.name);
    }
    let layouts: BTreeSet<String> =
        published(&world, "nodesScraped").values().flat_map(BTreeMap::keys).cloned().collect();
    assert_eq!(layouts.len(), 8, "{layouts:?}");
}

#[test(flavor = "multi_thread")]
async fn each_shard_elects_among_its_own_replicas() {
    let mut world = World::start(scenario()).await;
    let election = ["--leader-election", "true", "--lease-duration", "5s", "--lease-name", "helper", "--shard"];
    let mut helpers = Vec::new();
    for shard in ["0/2", "1/2"] {
        helpers.push(world.helper(&[&election[..], &[shard]].concat()).await);
    }
    // With one lease for both, one of them would never come to a round.
    for helper in &mut helpers {
        helper.round().await;
        helper.wait_all_sent().await;
    }
    let (_, leases) = world.sim.cluster().kube().list(ObjectKind::Lease, None);
    let leases: BTreeSet<String> = leases.iter().map(|lease| lease.object.meta().name.to_string()).collect();
    assert_eq!(leases, BTreeSet::from(["helper-0-of-2".to_owned(), "helper-1-of-2".to_owned()]));
    for helper in helpers {
        helper.end().await;
    }
}
