//! A leader whose lease lapses and that finds it again, in one process with a simulated cluster that stands still during
//! rounds: nothing is lost or published twice, whichever replica held the lease meanwhile.

#![expect(clippy::float_cmp, reason = "events are whole numbers, which are exact")]

use std::collections::BTreeMap;

use cni_collector::discover::connect::{ConnectSettings, connect};
use cni_metrics_core::model::Snapshot;
use cni_publish::stats::DropReason;
use cni_runtime::clock::Clock;
use cni_sim::scenario::Scenario;
use cni_testkit::world::page::{get, wait_leader, wait_page};
use cni_testkit::world::{Helper, World};
use cni_types::catalogue::{CATALOGUE, Kind};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

const FLAGS: [&str; 8] = [
    "--leader-election",
    "true",
    "--lease-duration",
    "5s",
    "--lease-namespace",
    "default",
    "--admin-address",
    "127.0.0.1:0",
];

async fn leases(world: &World) -> Api<Lease> {
    let kubeconfig = Some(world.sim.kubeconfig_path().to_path_buf());
    let clients = connect(&ConnectSettings { kubeconfig, ..ConnectSettings::default() }, &Clock::wall()).await.unwrap();
    Api::namespaced(clients.watch, "default")
}

async fn rounds(world: &mut World, helper: &mut Helper, number: usize) -> Vec<std::sync::Arc<Snapshot>> {
    let mut measured = Vec::new();
    for _ in 0..number {
        world.advance(&[helper]).await;
        measured.push(helper.round().await);
    }
    measured
}

/// A helper that leads, has published four rounds, and cannot renew its lease any more.
async fn lapsed(world: &mut World) -> (Helper, Vec<std::sync::Arc<Snapshot>>, usize) {
    let mut helper = world.helper(&FLAGS).await;
    let mut measured = vec![helper.round().await];
    measured.extend(rounds(world, &mut helper, 3).await);
    helper.wait_all_sent().await;
    let fault = world.inject("api-server: { kind: deny, verb: update, resource: leases }");
    wait_leader(&helper, false).await;
    let ready = get(helper.admin.unwrap(), "/readyz").await;
    assert!(ready.starts_with("ready, but no replica leads: the lease could not be renewed since 20"), "{ready}");
    (helper, measured, fault)
}

/// Every counter of these rounds was published with the round's own value, once, and in no other round.
fn check_published(world: &World, measured: &[std::sync::Arc<Snapshot>]) -> f64 {
    let published = world.published();
    let mut events = 0.0;
    for row in CATALOGUE.iter().filter(|row| row.kind == Kind::Counter) {
        let expected: BTreeMap<i64, Vec<f64>> = measured
            .iter()
            .filter_map(|snapshot| Some((snapshot.at.0, vec![snapshot.metrics.get(row.metric)?])))
            .collect();
        events += expected.values().flatten().sum::<f64>();
        assert_eq!(published.get(row.name).cloned().unwrap_or_default(), expected, "{}", row.name);
    }
    events
}

#[test(flavor = "multi_thread")]
async fn a_lapse_that_no_one_used_loses_no_event_and_publishes_none_twice() {
    let mut world = World::start(Scenario::named("churn").unwrap()).await;
    let (mut helper, mut measured, fault) = lapsed(&mut world).await;
    let sent = helper.stats("cloudwatch").sent_points;
    measured.extend(rounds(&mut world, &mut helper, 4).await);
    assert_eq!(helper.stats("cloudwatch").sent_points, sent, "nothing is published in the lapse");
    world.clear(fault);
    wait_leader(&helper, true).await;
    measured.extend(rounds(&mut world, &mut helper, 3).await);
    helper.wait_all_sent().await;
    assert_eq!(helper.stats("cloudwatch").dropped(), 0);
    assert_eq!(measured.iter().map(|snapshot| snapshot.round).collect::<Vec<_>>(), (1..=11).collect::<Vec<_>>());
    check_published(&world, &measured);
    let truth = world.truth(0).await;
    let published = world.published();
    for row in CATALOGUE.iter().filter(|row| row.kind == Kind::Counter) {
        let sum: f64 = published.get(row.name).into_iter().flat_map(BTreeMap::values).flatten().sum();
        assert_eq!(sum, truth.cumulative.get(row.name).copied().unwrap_or(0.0), "{}", row.name);
    }
    assert!(truth.cumulative["addReqCount"] > 0.0, "nothing happened that could have been lost");
    helper.end().await;
}

#[test(flavor = "multi_thread")]
async fn what_was_measured_in_a_lapse_that_another_used_is_counted_and_not_published() {
    let mut world = World::start(Scenario::named("churn").unwrap()).await;
    let (mut helper, mut measured, fault) = lapsed(&mut world).await;
    let in_the_lapse = rounds(&mut world, &mut helper, 3).await;
    let waiting = helper.stats("cloudwatch").buffered_points;
    assert!(waiting > 0 && in_the_lapse.iter().any(|snapshot| snapshot.coverage.scraped > 0));
    // Another replica takes the lease (here by a patch, which the fault does not deny), and gives it back.
    let leases = leases(&world).await;
    let name = "cni-metrics-helper";
    let patch = |holder: serde_json::Value, transitions: i32| {
        Patch::Merge(json!({"spec": {"holderIdentity": holder, "leaseTransitions": transitions}}))
    };
    leases.patch(name, &PatchParams::default(), &patch(json!("another"), 1)).await.unwrap();
    let ready = wait_page(&helper, "/readyz", "another").await;
    assert_eq!(ready, "ready: standing by, another leads\n");
    world.clear(fault);
    leases.patch(name, &PatchParams::default(), &patch(serde_json::Value::Null, 1)).await.unwrap();
    wait_leader(&helper, true).await;
    // It begins anew at once, in the very moment of the last round of the lapse.
    measured.push(helper.round().await);
    measured.extend(rounds(&mut world, &mut helper, 3).await);
    helper.wait_all_sent().await;
    assert_eq!(measured.iter().map(|snapshot| snapshot.round).collect::<Vec<_>>(), [1, 2, 3, 4, 8, 9, 10, 11]);
    let events = check_published(&world, &measured);
    assert!(events > 0.0);
    let dropped = helper.stats("cloudwatch").dropped_points;
    assert_eq!(dropped.get(&DropReason::NotLeading), Some(&waiting), "{dropped:?}");
    helper.end().await;
}

#[test(flavor = "multi_thread")]
async fn a_leader_whose_rounds_do_not_turn_releases_the_lease_and_goes_on_once_they_do() {
    let mut world = World::start(Scenario::named("churn").unwrap()).await;
    // Three intervals are less than two lease durations here: after 10 s without a round.
    let flags = [FLAGS.as_slice(), &["--interval", "1"]].concat();
    let mut helper = world.helper(&flags).await;
    let mut measured = vec![helper.round().await];
    measured.extend(rounds(&mut world, &mut helper, 2).await);
    let ready = wait_page(&helper, "/readyz", "no round of this replica").await;
    assert_eq!(ready, "ready, but no replica is known to lead: no round of this replica has completed lately\n");
    let lease = leases(&world).await.get("cni-metrics-helper").await.unwrap().spec.unwrap();
    assert_eq!(lease.holder_identity, None, "another replica can take it at once");
    // The clock goes on: so do the rounds, with the same baselines.
    measured.extend(rounds(&mut world, &mut helper, 1).await);
    wait_leader(&helper, true).await;
    measured.extend(rounds(&mut world, &mut helper, 2).await);
    helper.wait_all_sent().await;
    assert_eq!(helper.stats("cloudwatch").dropped(), 0);
    assert!(check_published(&world, &measured) > 0.0);
    helper.end().await;
}
