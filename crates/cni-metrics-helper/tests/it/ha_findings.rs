//! Open findings over a take-over and over a restart: the replica that concludes next keeps their beginning, and logs none of them
//! as opened again.

use std::path::Path;

use cni_collector::discover::connect::{ConnectSettings, connect};
use cni_collector::lead::FINDINGS;
use cni_runtime::clock::Clock;
use cni_sim::scenario::Scenario;
use cni_testkit::wait;
use cni_testkit::world::page::wait_leader;
use cni_testkit::world::{Helper, World, text};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::{Value, json};

const LIMIT: std::time::Duration = std::time::Duration::from_mins(1);
const FULL: &str = "max-pods-too-high";

/// Four nodes with more pods than addresses: they refuse requests in every round.
async fn world() -> World {
    let text = "name: full\nwarm_up: 20m\nsubnets: [{ name: a, cidr: 10.0.0.0/16, zone: zone-a }]\n\
                node_groups: [{ name: all, count: 4, subnet: a, instance_type: m5.large, max_pods: 58 }]\n\
                workload: [{ pods_per_node: 40, churn_per_minute: 0 }]\n";
    World::start(Scenario::parse(text, "full.yaml").unwrap()).await
}

/// The lines about findings so far.
fn lines() -> Vec<String> {
    let log = cni_testkit::log::captured();
    log.lines().filter(|line| line.contains("finding")).map(str::to_owned).collect()
}

fn lines_with(part: &str) -> usize {
    lines().iter().filter(|line| line.contains(part)).count()
}

/// What is kept of the open findings.
async fn kept(world: &World) -> Option<Value> {
    let kubeconfig = Some(world.sim.kubeconfig_path().to_path_buf());
    let clients = connect(&ConnectSettings { kubeconfig, ..ConnectSettings::default() }, &Clock::wall()).await.unwrap();
    let leases: Api<Lease> = Api::namespaced(clients.watch, "default");
    let lease = leases.get("cni-metrics-helper").await.unwrap();
    let text = lease.metadata.annotations.and_then(|annotations| annotations.get(FINDINGS).cloned())?;
    Some(serde_json::from_str(&text).unwrap())
}

fn file(folder: &Path) -> Option<Value> {
    let text = std::fs::read_to_string(folder.join("findings.json")).ok()?;
    Some(serde_json::from_str(&text).unwrap())
}

/// Rounds of these helpers, each of which measures.
async fn rounds(world: &mut World, helpers: &mut [&mut Helper], number: usize) {
    for _ in 0..number {
        let all: Vec<&Helper> = helpers.iter().map(|helper| &**helper).collect();
        world.advance(&all).await;
        for helper in helpers.iter_mut() {
            helper.round().await;
        }
    }
}

#[test]
async fn a_successor_goes_on_with_what_its_leader_had_found() {
    cni_testkit::log::capture();
    let flags = ["--leader-election", "true", "--lease-duration", "5s", "--lease-namespace", "default"];
    let flags = [&flags[..], &["--standby-scrape", "true", "--admin-address", "127.0.0.1:0"]].concat();
    let mut world = world().await;
    let mut first = world.helper(&flags).await;
    wait_leader(&first, true).await;
    first.round().await;
    let mut second = world.helper(&flags).await;
    second.round().await;
    rounds(&mut world, &mut [&mut first, &mut second], 4).await;
    assert_eq!(lines_with(&format!("finding open at start: critical {FULL} (group all)")), 1, "{:#?}", lines());
    assert_eq!(lines().len(), 1, "the replica that stands by concludes nothing: {:#?}", lines());
    // The next renewal of the lease has it.
    let mut before = Value::Null;
    for _ in 0..600 {
        before = kept(&world).await.unwrap_or_default();
        if before["findings"] != Value::Null {
            break;
        }
        wait::pause_async().await;
    }
    let finding = &before["findings"][0];
    assert_eq!((&finding["id"], &finding["scope"]), (&json!(FULL), &json!("all")), "{before:#}");
    first.kill().await;

    rounds(&mut world, &mut [&mut second], 2).await;
    assert_eq!(lines().len(), 1, "no replica leads: {:#?}", lines());
    wait_leader(&second, true).await;
    rounds(&mut world, &mut [&mut second], 14).await;
    assert_eq!(lines_with("1 open finding goes on from the lease"), 1, "{:#?}", lines());
    assert_eq!(lines().len(), 2, "neither opened again nor closed: {:#?}", lines());
    for _ in 0..600 {
        let after = kept(&world).await.unwrap();
        if after["at"] != before["at"] {
            assert_eq!(after["findings"], before["findings"], "it is as old as before");
            break;
        }
        wait::pause_async().await;
    }
    second.end().await;
}

#[test]
async fn a_lapse_of_the_lease_that_no_one_used_tells_each_finding_once() {
    cni_testkit::log::capture();
    let flags = ["--leader-election", "true", "--lease-duration", "5s", "--lease-namespace", "default"];
    let flags = [&flags[..], &["--admin-address", "127.0.0.1:0"]].concat();
    let mut world = world().await;
    let mut helper = world.helper(&flags).await;
    wait_leader(&helper, true).await;
    helper.round().await;
    rounds(&mut world, &mut [&mut helper], 2).await;
    assert_eq!(lines().len(), 1, "{:#?}", lines());
    let fault = world.inject("api-server: { kind: deny, verb: update, resource: leases }");
    wait_leader(&helper, false).await;
    // Longer than a finding lasts that is not seen any more.
    rounds(&mut world, &mut [&mut helper], 12).await;
    assert_eq!(lines().len(), 1, "it does not lead: {:#?}", lines());
    world.clear(fault);
    wait_leader(&helper, true).await;
    rounds(&mut world, &mut [&mut helper], 2).await;
    assert_eq!(lines().len(), 1, "neither opened again nor closed: {:#?}", lines());
    helper.end().await;
}

/// A helper on a folder, for some rounds.
async fn run(world: &mut World, folder: &Path, number: usize) {
    let mut helper = world.helper(&["--spool-dir", text(folder)]).await;
    helper.round().await;
    rounds(world, &mut [&mut helper], number).await;
    helper.wait_all_sent().await;
    helper.end().await;
}

#[test]
async fn a_restart_goes_on_with_what_is_kept_in_the_spools_folder() {
    cni_testkit::log::capture();
    let mut world = world().await;
    let folder = cni_testkit::temporary_folder();
    let start = |lines: &[String]| lines.iter().filter(|line| line.contains("finding open at start")).count();
    run(&mut world, folder.path(), 4).await;
    assert_eq!(start(&lines()), 1, "{:#?}", lines());
    let has_one = || file(folder.path()).is_some_and(|kept| kept["findings"][0]["id"] == FULL);
    wait::until_async("the file is written", LIMIT, has_one).await;
    let before = file(folder.path()).unwrap();

    world.advance(&[]).await;
    run(&mut world, folder.path(), 14).await;
    assert_eq!(lines_with("1 open finding goes on from SPOOL_DIR"), 1, "{:#?}", lines());
    assert_eq!(lines().len(), 2, "neither opened again nor closed: {:#?}", lines());
    assert_eq!(file(folder.path()).unwrap()["findings"], before["findings"], "it is as old as before");

    // Damaged: it is named, and nothing is known of before.
    std::fs::write(folder.path().join("findings.json"), "{").unwrap();
    world.advance(&[]).await;
    run(&mut world, folder.path(), 2).await;
    assert_eq!((lines_with("are not used: it is damaged"), start(&lines())), (1, 2), "{:#?}", lines());

    // Without a folder nothing is known either.
    world.advance(&[]).await;
    let mut helper = world.helper(&[]).await;
    helper.round().await;
    rounds(&mut world, &mut [&mut helper], 2).await;
    helper.end().await;
    assert_eq!(start(&lines()), 3, "{:#?}", lines());
}

#[test]
async fn without_findings_refusals_are_told_as_such() {
    cni_testkit::log::capture();
    let mut world = world().await;
    let mut helper = world.helper(&["--insight", "off"]).await;
    helper.round().await;
    rounds(&mut world, &mut [&mut helper], 2).await;
    helper.end().await;
    assert_eq!(lines(), Vec::<String>::new());
    let log = cni_testkit::log::captured();
    let told =
        log.lines().filter(|line| line.contains("WARN") && line.contains("for a pod address refused on 4 of 4 nodes"));
    assert_eq!(told.count(), 1, "{log}");
}
