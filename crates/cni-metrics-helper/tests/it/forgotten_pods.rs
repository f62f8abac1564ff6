//! Pods that run and that their agents have forgotten, as the helper shows them: fewer addresses assigned than there are pods.

use std::collections::BTreeMap;

use cni_metrics_core::model::Snapshot;
use cni_sim::scenario::Scenario;
use cni_testkit::world::World;
use cni_types::catalogue::Metric;

/// Assigned addresses of the nodes of each group.
fn assigned(snapshot: &Snapshot) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for node in &snapshot.nodes {
        let group = node.labels.node_group.as_deref().unwrap();
        *sums.entry(group.to_owned()).or_default() += node.values.get(Metric::AssignIpAddresses).unwrap();
    }
    sums
}

fn sums(before: f64, after: f64) -> BTreeMap<String, f64> {
    BTreeMap::from([("before".to_owned(), before), ("after".to_owned(), after)])
}

#[test]
async fn pods_that_agents_forgot_are_missing_from_the_assigned_addresses() {
    let mut world = World::start(Scenario::named("forgotten-pods").unwrap()).await;
    let mut helper = world.helper(&[]).await;
    let first = helper.round().await;
    assert_eq!(assigned(&first), sums(80.0, 80.0), "every pod has its address");
    let mut last = first;
    // Six minutes: the agents are back from their restarts, and metadata lists every ENI again.
    for _ in 0..12 {
        world.advance(&[&helper]).await;
        last = helper.round().await;
    }
    let now = assigned(&last);
    helper.end().await;
    assert_eq!(world.sim.cluster().status().pods, 160, "no pod ended");
    assert_eq!(last.metrics.get(Metric::DelReqCount), Some(0.0));
    assert!(now["before"] <= 64.0, "each of four nodes forgot the pods of an ENI: {now:?}");
    assert!((60.0..80.0).contains(&now["after"]), "two of four nodes did: {now:?}");
}
