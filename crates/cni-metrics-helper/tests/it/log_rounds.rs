//! The log of the started program: a line per round, with numbers that programs can read.

use std::path::Path;
use std::time::Duration;

use cni_sim::scenario::Scenario;
use cni_sim::sim::{Sim, SimOptions};
use cni_testkit::process::Process;
use serde_json::Value;

const LIMIT: Duration = Duration::from_mins(2);

/// The first line of the third round, and all lines before it.
async fn third_round(variables: &[(&str, &str)]) -> (String, Vec<String>) {
    third_round_of(Scenario::calm(2), variables).await
}

async fn third_round_of(scenario: Scenario, variables: &[(&str, &str)]) -> (String, Vec<String>) {
    let sim = Sim::start(SimOptions::new(scenario)).await.unwrap();
    let mut command = Process::command(Path::new(env!("CARGO_BIN_EXE_cni-metrics-helper")));
    command.env_clear().envs(sim.env()).arg("run");
    command.envs([("AWS_CLUSTER_ID", "log"), ("METRIC_UPDATE_INTERVAL", "1"), ("ADMIN_ADDRESS", "off")]);
    command.envs([("AWS_EC2_METADATA_DISABLED", "true")]).envs(variables.iter().copied());
    let process = Process::spawn("cni-metrics-helper", &mut command);
    let seen = tokio::task::spawn_blocking(move || {
        let is_third = |line: &str| line.contains("round 3:").then(|| line.to_owned());
        (process.wait_from(0, LIMIT, "the third round", is_third), process.lines())
    });
    let seen = seen.await.unwrap();
    sim.stop().await;
    seen
}

#[test(flavor = "multi_thread")]
async fn values_are_numbers_in_the_object_of_the_rounds_line() {
    let (line, lines) = third_round(&[("LOG_FORMAT", "json")]).await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert!(line["message"].as_str().unwrap().starts_with("round 3: 2/2 nodes in "), "{line}");
    assert_eq!((&line["nodesScraped"], &line["level"]), (&Value::from(2), &Value::from("INFO")), "{line}");
    assert!(line["assignIPAddresses"].is_u64() && line["addReqCount"].is_u64(), "{line}");
    let first = lines.iter().find(|line| line.contains("round 1:")).unwrap();
    assert!(first.contains("assignIPAddresses") && !first.contains("addReqCount"), "not measured, so absent: {first}");
    assert!(!lines.iter().any(|line| line.contains("Produce")), "{lines:?}");
}

#[test(flavor = "multi_thread")]
async fn a_findings_values_are_in_the_object_of_its_line() {
    let text = "name: old\nsubnets: [{ name: a, cidr: 10.0.0.0/16, zone: zone-a }]\n\
                node_groups: [{ name: all, count: 2, subnet: a, instance_type: m5.large, agent: legacy, agent_version: v1.12.6 }]\n";
    let scenario = Scenario::parse(text, "old.yaml").unwrap();
    let (_, lines) = third_round_of(scenario, &[("LOG_FORMAT", "json"), ("SHARD", "0/1")]).await;
    let findings: Vec<Value> =
        lines.iter().filter(|line| line.contains("finding ")).map(|line| serde_json::from_str(line).unwrap()).collect();
    let [line] = &findings[..] else { panic!("{lines:#?}") };
    let text = |key: &str| line[key].as_str().unwrap();
    let message = "finding open at start: info agent-too-old (the cluster): ";
    assert!(text("message").starts_with(message) && text("message").contains("2 nodes of this shard"), "{line}");
    assert_eq!((text("level"), text("id"), text("severity")), ("INFO", "agent-too-old", "info"));
    assert_eq!((text("scope"), line["nodes"].as_u64(), text("shard")), ("the cluster", Some(2), "0/1"), "{line}");
    assert_eq!(text("explain"), "cni-metrics-helper explain agent-too-old");
    assert!(text("examples").contains(", "), "{line}");
}

#[test(flavor = "multi_thread")]
async fn without_cloudwatch_the_lines_are_the_originals() {
    let (line, lines) = third_round(&[("USE_CLOUDWATCH", "false"), ("USE_PROMETHEUS", "false")]).await;
    assert!(!line.contains("assignIPAddresses"), "{line}");
    assert!(
        lines.iter().any(|line| line.contains("Produce GAUGE metrics: nodesScraped, value: 2.000000")),
        "{lines:?}"
    );
    let (line, _) = third_round(&[("USE_CLOUDWATCH", "false"), ("LOG_METRICS", "no")]).await;
    assert!(line.contains(" nodesScraped=2"), "{line}");
}
