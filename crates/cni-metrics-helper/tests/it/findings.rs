//! What is concluded of simulated clusters, over sockets: one cluster per cause, several causes at once, and what `once` and
//! `inspect` say of it.

use std::collections::BTreeSet;

use cni_sim::api_server::Rule;
use cni_sim::kube_store::{Expect, Kind, ObjectKey};
use cni_sim::scenario::Scenario;
use cni_sim::sim::SimOptions;

use super::demo::{demo, helper, loud};
use super::once_look::Cluster;

/// Groups of nodes and their workload. A group's nodes are in a large subnet of their zone.
fn scenario(groups: &[&str], workload: &str, faults: &[&str]) -> String {
    let list = |lines: &[&str]| lines.iter().map(|line| format!("  - {{ {line} }}\n")).collect::<Vec<_>>().concat();
    let faults = if faults.is_empty() { String::new() } else { format!("faults:\n{}", list(faults)) };
    format!(
        "name: cause\nwarm_up: 20m\nsubnets:\n  - {{ name: a, cidr: 10.0.0.0/16, zone: zone-a }}\n  \
         - {{ name: b, cidr: 10.1.0.0/16, zone: zone-b }}\n  - {{ name: pods, cidr: 100.64.0.0/18, zone: zone-a }}\n  \
         - {{ name: small, cidr: 10.2.0.0/26, zone: zone-a }}\n\
         node_groups:\n{}workload:\n  - {{ {workload} }}\n{faults}",
        list(groups)
    )
}

/// What the demo of a scenario says.
fn play(text: &str, rounds: &str) -> serde_json::Value {
    let folder = cni_testkit::temporary_folder();
    let path = folder.path().join("scenario.yaml");
    std::fs::write(&path, text).unwrap();
    demo(&["--scenario", path.to_str().unwrap(), "--rounds", rounds])
}

fn assert_found(name: &str, json: &serde_json::Value, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(|finding| (*finding).to_owned()).collect();
    assert_eq!(loud(json), expected, "{name}: {:#}", json["findings"]);
}

#[test]
fn each_cause_is_named_alone() {
    let full = "pods_per_node: 40, churn_per_minute: 0";
    let quick = "pods_per_node: 22, churn_per_minute: 24";
    for (name, group, workload, expected) in [
        ("more pods than addresses", "instance_type: m5.large, max_pods: 58", full, "max-pods-too-high all"),
        (
            "custom networking",
            "instance_type: t2.medium, pod_subnet: pods, max_pods: 17",
            "pods_per_node: 15, churn_per_minute: 0",
            "max-pods-too-high all",
        ),
        (
            "a small node by MAX_ENI",
            "instance_type: m5.xlarge, max_pods: 58, env: { MAX_ENI: 2 }",
            full,
            "max-eni-setting all",
        ),
        (
            "a minimum without a warm target",
            "instance_type: m5.large, env: { MINIMUM_IP_TARGET: 12 }",
            "pods_per_node: 20, churn_per_minute: 0",
            "minimum-without-warm ",
        ),
        ("pods of short life", "instance_type: m5.large", quick, "cooldown-on-full-node all"),
        (
            "a small warm pool",
            "instance_type: m5.4xlarge, env: { WARM_IP_TARGET: 2 }",
            "pods_per_node: 20, churn_per_minute: 24",
            "warm-pool-too-small all",
        ),
    ] {
        let json = play(&scenario(&[&format!("name: all, count: 4, subnet: a, {group}")], workload, &[]), "8");
        assert_found(name, &json, &[expected]);
        let finding = &json["findings"][0];
        assert_eq!(finding["nodes"], 4, "{name}: {finding:#}");
        assert!(finding["remedy"].as_array().is_some_and(|remedies| !remedies.is_empty()), "{name}");
    }
}

/// The lines between the rounds name every finding that is above info in any of them.
#[test]
fn calm_and_churn_have_no_finding_above_info_in_any_round() {
    for name in ["calm", "churn"] {
        let output = helper(&["demo", "--scenario", name, "--rounds", "40"]).output().unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && shown.contains("\nfindings: "), "{shown}");
        assert!(!shown.contains("  finding: "), "{name}: {shown}");
    }
}

#[test]
fn refusals_of_old_agents_are_inferred() {
    let group =
        "name: all, count: 4, subnet: a, instance_type: m5.large, agent: legacy, agent_version: v1.12.6, max_pods: 40";
    let json = play(&scenario(&[group], "pods_per_node: 36, churn_per_minute: 0", &[]), "8");
    assert_found("old agents", &json, &["max-pods-too-high all"]);
    assert_eq!(json["findings"][0]["certainty"], "likely");
    assert!(json["findings"].as_array().unwrap().iter().any(|finding| finding["id"] == "agent-too-old"));
}

#[test]
fn two_causes_in_one_zone_and_in_two_are_told_apart() {
    let full = "name: full, count: 3, instance_type: m5.large, max_pods: 58";
    let dry = "name: dry, count: 2, instance_type: m5.xlarge, max_pods: 58, subnet: small";
    for zone in ["a", "b"] {
        let groups = [format!("{full}, subnet: {zone}"), dry.to_owned()];
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        let json = play(&scenario(&groups, "pods_per_node: 45, churn_per_minute: 0", &[]), "6");
        assert_found(zone, &json, &["max-pods-too-high full", "subnet-exhausted zone-a/dry"]);
        let nodes = |id: &str| {
            let all = json["findings"].as_array().unwrap();
            all.iter().find(|finding| finding["id"] == id).map(|finding| finding["nodes"].clone())
        };
        assert_eq!((nodes("max-pods-too-high"), nodes("subnet-exhausted")), (Some(3.into()), Some(2.into())), "{zone}");
    }
}

#[test]
fn a_look_says_what_one_page_shows_and_an_increase_says_more() {
    let group = "name: all, count: 2, subnet: a, instance_type: m5.large, max_pods: 58";
    let text = scenario(&[group], "pods_per_node: 40, churn_per_minute: 0", &[]);
    let cluster = Cluster::of(SimOptions::new(Scenario::parse(&text, "full.yaml").unwrap()));
    let findings = |json: &serde_json::Value| -> Vec<(String, String, String)> {
        let all = json["findings"].as_array().unwrap().iter();
        let word = |finding: &serde_json::Value, key: &str| finding[key].as_str().unwrap().to_owned();
        all.map(|finding| (word(finding, "id"), word(finding, "certainty"), word(finding, "severity"))).collect()
    };
    let found = |words: [&str; 3]| words.map(str::to_owned).into();
    let one = cluster.json(&[]);
    assert_eq!(findings(&one), [found(["max-pods-too-high", "likely", "warning"])]);
    assert!(one["findings"][0]["lacks"].as_array().unwrap().contains(&"second_page".into()), "{one}");
    let two = cluster.json(&["--for", "5s"]);
    assert_eq!(findings(&two), [found(["max-pods-too-high", "certain", "critical"])]);
    assert_eq!(two["findings"][0]["lacks"], serde_json::json!([]));
    // Under the tables, with what to do; the exit code says only whether nodes answered.
    let output = cluster.once(&[]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for part in [
        "\nfindings: 1 warning\n\nwarning max-pods-too-high (group all)\n",
        "$ cni-metrics-helper plan max-pods --instance-type m5.large",
    ] {
        assert!(shown.contains(part), "{part:?} in {shown}");
    }
    // Switched off: one, and all.
    let muted = cluster.json(&["--findings-mute", "max-pods-too-high:all"]);
    assert_eq!(muted["findings"][0]["muted"], true);
    assert_eq!(cluster.json(&["--insight", "off"]).get("findings"), None);
}

#[test]
fn a_saved_page_says_what_a_second_would_add() {
    let folder = cni_testkit::temporary_folder();
    let path = folder.path().join("node.prom");
    std::fs::write(&path, include_str!("../../../cni-metrics-core/tests/data/agent_v1.18.6.prom")).unwrap();
    let inspect = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cni-metrics-helper"));
        let output = command.arg("inspect").arg(&path).args(arguments).env_clear().output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let json: serde_json::Value = serde_json::from_str(&inspect(&["-o", "json"])).unwrap();
    let finding = &json["findings"][0];
    assert_eq!((&finding["id"], &finding["certainty"]), (&"subnet-exhausted".into(), &"likely".into()), "{finding:#}");
    assert_eq!(finding["lacks"], serde_json::json!(["second_page", "subnets"]));
    let shown = inspect(&[]);
    let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains("this would tell: a second page (once --for 60s, or run)"), "{shown}");
}

/// Of each: its severity and the number of its nodes.
#[test]
fn settings_without_effect_are_info_and_named_alone() {
    let prefixes = "env: { ENABLE_PREFIX_DELEGATION: true, WARM_PREFIX_TARGET: 1";
    for (name, group, expected) in [
        (
            "a warm ENI target",
            "instance_type: m5.large, env: { WARM_ENI_TARGET: 3, WARM_IP_TARGET: 4 }",
            "warm-eni-target-ignored",
        ),
        (
            "less than a prefix",
            &format!("instance_type: m5.large, max_pods: 110, {prefixes}, WARM_IP_TARGET: 4 }}"),
            "warm-ip-target-costs-prefix",
        ),
        ("prefixes and few pods", &format!("instance_type: m5.large, max_pods: 29, {prefixes} }}"), "max-pods-too-low"),
        ("no prefixes", &format!("instance_type: m4.large, max_pods: 20, {prefixes} }}"), "prefixes-unsupported"),
    ] {
        let groups = [&*format!("name: all, count: 3, subnet: a, {group}")];
        let json = play(&scenario(&groups, "pods_per_node: 6, churn_per_minute: 0", &[]), "6");
        let found: Vec<_> = json["findings"].as_array().unwrap().iter().map(|finding| &finding["id"]).collect();
        assert_eq!(found, [expected], "{name}: {:#}", json["findings"]);
        let finding = &json["findings"][0];
        assert_eq!((&finding["severity"], &finding["nodes"]), (&"info".into(), &3.into()), "{name}");
        assert_eq!(finding["certainty"], "certain", "{name}");
    }
}

#[test]
fn with_more_evidence_a_missing_eniconfig_is_found_and_named() {
    let group = "name: all, count: 2, subnet: a, instance_type: m5.large, pod_subnet: pods";
    let text = scenario(&[group], "pods_per_node: 4, churn_per_minute: 0", &[]);
    let cluster = Cluster::of(SimOptions::new(Scenario::parse(&text, "custom.yaml").unwrap()));
    let ids = |arguments: &[&str]| -> Vec<String> {
        let json = cluster.json(arguments);
        let all = json["findings"].as_array().unwrap().iter();
        all.map(|finding| format!("{} {} {}", finding["id"], finding["certainty"], finding["lacks"]).replace('"', ""))
            .collect()
    };
    assert_eq!((ids(&[]), ids(&["--insight", "cluster"])), (Vec::new(), Vec::new()), "there is one");
    let access = cluster.sim().api_server().access();
    let kube = cluster.sim().cluster().kube();
    let key = ObjectKey::new("", "pods");
    kube.delete(Kind::EniConfig, &key, Expect::Present).unwrap();
    assert_eq!(ids(&[]), Vec::<String>::new(), "basic does not read them");
    assert_eq!(ids(&["--insight", "cluster"]), ["custom-networking-without-eniconfig certain []"]);
    let says = cluster.json(&["--insight", "cluster"])["findings"][0]["says"].to_string();
    assert!(says.contains("there is no ENIConfig pods"), "{says}");
    // A right that is missing leaves the finding out, and the round as it is.
    access.deny(Rule::new("list", "eniconfigs"));
    let round = cluster.json(&["--insight", "cluster"]);
    assert_eq!((&round["findings"], &round["coverage"]["scraped"]), (&serde_json::json!([]), &2.into()), "{round:#}");
}

/// Where everything is as it should be, more evidence finds nothing more.
#[test]
fn calm_clusters_have_no_finding_with_more_evidence() {
    for group in ["pod_subnet: pods", "env: { ENABLE_POD_ENI: true }"] {
        let group = format!("name: all, count: 2, subnet: a, instance_type: m5.large, {group}");
        let text = scenario(&[&group], "pods_per_node: 4, churn_per_minute: 0", &[]);
        let cluster = Cluster::of(SimOptions::new(Scenario::parse(&text, "calm.yaml").unwrap()));
        assert_eq!(cluster.json(&["--insight", "cluster"])["findings"], serde_json::json!([]), "{group}");
    }
}
