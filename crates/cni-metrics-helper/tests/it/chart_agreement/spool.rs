//! The room that the chart reckons for a spool is what the program needs.

use std::time::{Duration, Instant};

use cni_sim::scenario::Scenario;
use cni_testkit::wait;

use super::documents::{documented, guide};
use super::features::Features;
use super::program::{Session, Told};
use crate::helm::{CHART, repository};

/// The chart's allowance for the counters' baselines is for this many nodes.
const NODES_OF_THE_ALLOWANCE: u64 = 100_000;
/// What a spool holds beside baselines when all points are sent: names, and a round that is not sent yet.
const REST_BYTES: u64 = 8192;

fn allowance() -> u64 {
    let helpers = std::fs::read_to_string(repository().join(CHART).join("templates/_helpers.tpl")).unwrap();
    let (_, rest) = helpers.split_once("{{- define \"cni-metrics-helper.baselineBytes\" -}}").unwrap();
    rest.split_once("{{-").unwrap().0.parse().unwrap()
}

#[test(flavor = "multi_thread")]
async fn the_baselines_of_a_spool_are_within_the_charts_allowance() {
    let folder = cni_testkit::temporary_folder();
    let mut scenario = Scenario::named("churn").unwrap();
    for group in &mut scenario.node_groups {
        group.count = group.count.saturating_mul(8);
    }
    let features = Features { via: "auto", node_labels: true, election: false, shards: 1, insight: "basic" };
    let spool_dir = ("SPOOL_DIR", folder.path().to_str().unwrap());
    let session = Session::start_in(scenario, features, documented(features), &[spool_dir]).await;
    session.wait_for(&Told::Line("round 4: ".to_owned()), "a few rounds").await;
    let nodes = session.nodes();
    assert!(nodes >= 60, "{nodes}");
    let file = folder.path().join("points.spool");
    let deadline = Instant::now() + Duration::from_mins(1);
    let mut largest = 0;
    // The file grows with the first rounds: every node has a baseline once its first page was read.
    while largest < nodes * 100 {
        assert!(Instant::now() < deadline, "{largest} bytes for {nodes} nodes: no baselines");
        largest = largest.max(std::fs::metadata(&file).map_or(0, |file| file.len()));
        wait::pause_async().await;
    }
    let per_node = largest.saturating_sub(REST_BYTES) / nodes;
    let allowed = allowance() / NODES_OF_THE_ALLOWANCE;
    assert!(per_node <= allowed, "{per_node} bytes per node, {allowed} allowed");
}

#[test]
fn the_guide_says_the_sum() {
    let mebibytes = allowance() >> 20;
    let least = 2 * (64 + mebibytes);
    let sum = format!("2 × (64 MiB + {mebibytes} MiB) = {least} MiB");
    assert!(guide("install.md").contains(&sum), "{sum}");
    let values = std::fs::read_to_string(repository().join(CHART).join("values.yaml")).unwrap();
    assert!(values.contains(&format!("2 x (CLOUDWATCH_BUFFER + {mebibytes}Mi) at least, {least}Mi with the default")));
}
