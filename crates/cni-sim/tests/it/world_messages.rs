//! A mistake in a scenario is answered with file, line, key and what is allowed.

use cni_sim::scenario::{BUILT_IN, Scenario};

const GOOD: &str = "\
name: t
subnets:
  - { name: a, cidr: 10.0.0.0/24, zone: z }
node_groups:
  - name: g
    instance_type: m5.large
    count: 2
    subnet: a
";

fn message(text: &str) -> String {
    Scenario::parse(text, "my.yaml").unwrap_err().to_string()
}

fn assert_names(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is missing in:\n{message}");
    }
}

#[test]
fn a_minimal_scenario_is_enough() {
    let scenario = Scenario::parse(GOOD, "my.yaml").unwrap();
    assert_eq!((scenario.nodes(), scenario.faults.len()), (2, 0));
}

#[test]
fn an_unknown_key_is_refused_with_the_known_ones() {
    assert_names(
        &message(&format!("{GOOD}    colour: red\n")),
        &["my.yaml:9", "colour", "instance_type", "pod_subnet"],
    );
    let fault = "faults:\n  - at: 1m\n    fault: { slow-page: { bytes_per_second: 5, first: 1s } }\n";
    assert_names(&message(&format!("{GOOD}{fault}")), &["my.yaml:11", "first", "first_byte_after"]);
}

#[test]
fn an_unknown_fault_is_refused_with_the_known_ones() {
    let fault = "faults:\n  - { at: 1m, fault: explode }\n";
    assert_names(&message(&format!("{GOOD}{fault}")), &["my.yaml:10", "explode", "node-loss", "gzip-bomb"]);
}

#[test]
fn values_out_of_range_name_the_range() {
    assert_names(&message(&GOOD.replace("zone: z", "zone: z, used: 1.5")), &["my.yaml:3", "1.5", "0 to 1"]);
    assert_names(&message(&format!("warm_up: 5\n{GOOD}")), &["my.yaml:1", "\"5\"", "90s"]);
    assert_names(&message(&GOOD.replace("10.0.0.0/24", "10.0.0.0/8")), &["my.yaml:3", "subnets[0].cidr", "/16 to /28"]);
}

#[test]
fn every_dangling_reference_is_listed_at_once() {
    let text = GOOD.replace("subnet: a", "subnet: b").replace("m5.large", "m5.lorge");
    let fault = "faults:\n  - at: 1m\n    target: { group: h }\n    fault: { missing-iam: { action: Nope } }\n";
    let message = message(&format!("{text}{fault}"));
    assert_names(
        &message,
        &[
            "my.yaml:8: node_groups[0].subnet: \"b\" does not exist; valid names: a",
            "my.yaml:6: node_groups[0].instance_type",
            "m5.large",
            "my.yaml:11: faults[0].target.group: \"h\" does not exist; valid names: g",
            "my.yaml:12: faults[0].fault.action",
            "CreateNetworkInterface",
        ],
    );
    assert_eq!(message.lines().count(), 4, "{message}");
}

#[test]
fn an_unknown_name_lists_the_built_in_ones() {
    let message = Scenario::load("clam").unwrap_err().to_string();
    assert_names(&message, &["clam", "calm", "subnet-exhaustion"]);
    assert_names(&Scenario::load("no/such/file.yaml").unwrap_err().to_string(), &["no/such/file.yaml"]);
}

#[test]
fn every_scenario_file_is_built_in_under_its_own_name() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
    let mut files: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    let mut built_in: Vec<String> = BUILT_IN.iter().map(|(name, _)| format!("{name}.yaml")).collect();
    built_in.sort();
    assert_eq!(files, built_in);
    for (name, text) in BUILT_IN {
        assert_eq!(Scenario::parse(text, name).unwrap().name, *name);
    }
}

#[test]
fn an_unknown_variable_of_the_agent_is_refused_with_the_nearest_one() {
    let text = GOOD.replace(
        "count: 2",
        "count: 2\n    env: { WARM_PREFIX_TARGETS: 1,\n      WARM_IP_TARGET: 5, NONSENSE_ALL_OF_IT: x }",
    );
    let message = message(&text);
    assert_names(
        &message,
        &[
            "my.yaml:8: node_groups[0].env: \"WARM_PREFIX_TARGETS\" is not a variable of aws-node; similar: WARM_PREFIX_TARGET",
            "my.yaml:9: node_groups[0].env: \"NONSENSE_ALL_OF_IT\" is not a variable of aws-node",
        ],
    );
    assert_eq!(message.lines().count(), 2, "{message}");
}

#[test]
fn an_unknown_scenario_is_answered_with_the_one_that_was_meant_in_lines_that_fit() {
    let message = Scenario::load("subnet-exhaustoin").unwrap_err().to_string();
    assert_names(&message, &["did you mean \"subnet-exhaustion\"?", "demo --list"]);
    assert!(message.lines().skip(1).all(|line| line.len() <= 80), "{message}");
    let message = Scenario::load("zzz").unwrap_err().to_string();
    assert!(!message.contains("did you mean"), "{message}");
}
