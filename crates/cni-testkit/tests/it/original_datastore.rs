//! The original's store, driven step by step: what the protocol promises, and what the original is known to do.

use cni_testkit::original::Original;
use serde_json::{Value, json};

/// A store with one ENI and addresses 10.0.0.2 … on it.
fn store(prefixes: bool, cidrs: &[&str]) -> Original {
    let mut original = Original::datastore();
    original.ask(&json!({"new": {"prefixes": prefixes}}));
    original.ask(&json!({"add_eni": {"eni": "eni-1", "primary": true, "table": 254, "subnet": "subnet-a"}}));
    for cidr in cidrs {
        original.ask(&json!({"add_cidr": {"eni": "eni-1", "cidr": cidr, "prefix": !cidr.ends_with("/32")}}));
    }
    original
}

fn class(answer: &Value) -> &str {
    answer["failed"]["class"].as_str().unwrap_or("it did not fail")
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn an_address_is_owned_then_cools_and_is_given_out_again() {
    let mut original = store(false, &["10.0.0.2/32"]);
    let answer = original.ask(&json!({"assign": {"key": "c1", "pod": "default/p1", "interfaces": 1}}));
    assert_eq!(answer["result"], json!({"ip": "10.0.0.2", "device": 0, "table": 254}));
    original.ask(&json!({"pass": 1000}));
    let answer = original.ask(&json!({"unassign": {"key": "aws-cni/c1/eth0"}}));
    assert_eq!(answer["result"], json!({"ip": "10.0.0.2", "eni": "eni-1", "device": 0, "interfaces": 1, "table": 254}));
    let address = json!({"ip": "10.0.0.2", "assigned_us": 0, "freed_us": 1_000_000});
    assert_eq!(
        original.view.enis["eni-1"],
        json!({
            "id": "eni-1", "created_us": 0, "device": 0, "primary": true, "trunk": false, "efa": false, "excluded": false,
            "table": 254, "subnet": "subnet-a",
            "v4": [{"cidr": "10.0.0.2/32", "prefix": false, "addresses": [address]}], "v6": [],
        })
    );
    // The cool-down is inclusive: at exactly 30 s the address is not free yet.
    let answer = original.ask(&json!({"pass": {"ms": 30_000}}));
    assert_eq!(answer["store"]["stats"]["v4"], json!({"total": 1, "prefixes": 0, "assigned": 0, "cooling": 1}));
    let answer = original.ask(&json!({"assign": {"key": "c2"}}));
    assert_eq!(class(&answer), "no-address", "{answer}");
    assert_eq!(answer["metrics"], json!({"changed": {"awscni_no_available_ip_addresses": 1}, "gone": []}));
    original.ask(&json!({"pass": 0.001}));
    let answer = original.ask(&json!({"assign": {"key": "c2"}}));
    assert_eq!(answer["result"]["ip"], "10.0.0.2", "{answer}");
    assert_eq!(answer["at_us"], 31_000_001);
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn errors_of_the_original_have_their_classes() {
    let mut original = store(false, &["10.0.0.2/32"]);
    original.ask(&json!({"assign": {"key": "c1"}}));
    for (command, wanted) in [
        (json!({"add_eni": {"eni": "eni-1"}}), "duplicate-eni"),
        (json!({"remove_eni": {"eni": "eni-9"}}), "unknown-eni"),
        (json!({"add_cidr": {"eni": "eni-9", "cidr": "10.0.0.9/32"}}), "unknown-eni"),
        (json!({"cidrs": {"eni": "eni-9"}}), "unknown-eni"),
        (json!({"exclude": {"eni": "eni-9"}}), "unknown-eni"),
        (json!({"add_cidr": {"eni": "eni-1", "cidr": "10.0.0.2/32"}}), "cidr-exists"),
        (json!({"del_cidr": {"eni": "eni-1", "cidr": "10.0.0.9/32"}}), "unknown-cidr"),
        (json!({"del_cidr": {"eni": "eni-1", "cidr": "10.0.0.2/32"}}), "cidr-in-use"),
        (json!({"remove_eni": {"eni": "eni-1"}}), "eni-in-use"),
        (json!({"assign": {"key": "c2"}}), "no-address"),
        (json!({"assign": {"key": "c2", "family": 6}}), "prefixes-off"),
        (json!({"unassign": {"key": "c9"}}), "unknown-pod"),
        (json!({"restore": {"version": "vpc-cni-ipam/0"}}), "checkpoint-version"),
        (json!({"restore": {"fail": "input/output error"}}), "checkpoint"),
        (json!({"restore": {"entries": [{"key": "c5", "ipv4": "10.0.0.2"}]}}), "cidr-exists"),
    ] {
        let answer = original.ask(&command);
        assert_eq!(class(&answer), wanted, "{command}: {answer}");
        assert_eq!(original.view.counter("assigned"), 1, "{command} changed the store");
    }
    original.ask(&json!({"checkpoint": {"fail": "no space left on device"}}));
    let answer = original.ask(&json!({"unassign": {"key": "c1"}}));
    assert_eq!((class(&answer), &answer["failed"]["text"]), ("checkpoint", &json!("no space left on device")));
    original.ask(&json!({"checkpoint": {}}));
    assert_eq!(class(&original.ask(&json!({"unassign": {"key": "c1"}}))), "it did not fail");
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn commands_that_cannot_be_understood_say_why_and_change_nothing() {
    let mut original = Original::datastore();
    let before_new = original.refused(&json!({"pass": 1}));
    assert!(before_new.contains("begin with new"), "{before_new}");
    original.ask(&json!({"new": {}}));
    for (command, parts) in [
        (json!({"fly": {}}), &["no such command", "add_eni"][..]),
        (json!([]), &["one JSON object with one key"]),
        (json!({"assign": {}, "pass": 1}), &["one JSON object with one key"]),
        (json!({"assign": {"keys": "c1"}}), &["assign", "keys", "fields: key, pod, interfaces, family"]),
        (json!({"assign": {"key": "a/b"}}), &["NETWORK/CONTAINER/INTERFACE"]),
        (json!({"assign": {"key": "c1", "pod": "p1"}}), &["NAMESPACE/NAME"]),
        (json!({"assign": {"key": "c1", "family": 5}}), &["4 or 6"]),
        (json!({"add_cidr": {"eni": "eni-1", "cidr": "10.0.0.2"}}), &["10.0.0.7/32"]),
        (json!({"add_cidr": {"eni": "eni-1", "cidr": "10.0.0.2/28"}}), &["10.0.0.0/28 is the block"]),
        (json!({"pass": -1}), &["0 to 1e9"]),
        (json!({"pass": null}), &["missing"]),
        (json!({"targets": {}}), &["ips_per_eni"]),
        (json!({"restore": {"entries": [{"key": "c1", "ipv4": "host"}]}}), &["no address"]),
    ] {
        let error = original.refused(&command);
        for part in parts {
            assert!(error.contains(part), "no {part:?} in {error:?} to {command}");
        }
    }
    original.ask(&json!({"report": {}}));
    assert_eq!((original.view.at_us, original.view.enis.len()), (0, 0));
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn an_eni_with_pods_that_is_removed_by_force_is_subtracted_twice() {
    let mut original = store(true, &[]);
    original.ask(&json!({"add_eni": {"eni": "eni-2", "device": 1, "table": 2}}));
    for (eni, cidr) in [("eni-1", "10.1.0.0/28"), ("eni-2", "10.1.0.16/28"), ("eni-2", "10.1.0.32/28")] {
        original.ask(&json!({"add_cidr": {"eni": eni, "cidr": cidr, "prefix": true}}));
    }
    for pod in 0..20 {
        original.ask(&json!({"assign": {"key": format!("c{pod}")}}));
    }
    assert_eq!((original.view.counter("total"), original.view.counter("prefixes")), (48, 3));
    original.ask(&json!({"remove_eni": {"eni": "eni-2", "force": true}}));
    assert_eq!((original.view.counter("total"), original.view.counter("prefixes")), (48 - 2 * 32, 3 - 2 * 2));
    assert!(!original.view.metrics.contains_key("awscni_assigned_ip_per_eni{eni=\"eni-2\"}"));
    // The statistics know better, the gauges do not.
    assert_eq!(original.view.store["stats"]["v4"]["total"], 16);
    assert_eq!(original.view.metric("awscni_force_removed_enis").to_bits(), 1_f64.to_bits());
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn a_checkpoint_is_restored_without_pods_that_have_no_link() {
    let mut original = store(false, &["10.0.0.2/32", "10.0.0.3/32", "10.0.0.4/32"]);
    let entries = json!([
        {"key": "aws-cni/c1/eth0", "ipv4": "10.0.0.2", "pod": "default/p1", "interfaces": 1, "assigned_us": -5_000_000},
        {"key": "c2", "ipv4": "10.0.0.3", "pod": "default/p2", "interfaces": 1, "assigned_us": -5_000_000},
        {"key": "aws-cni/c3/eth0", "ipv4": "10.0.0.4", "assigned_us": -5_000_000},
    ]);
    let answer = original.ask(&json!({"restore": {"entries": entries, "veths": ["default/p1"]}}));
    assert_eq!(answer["failed"], Value::Null, "{answer}");
    let written = original.ask(&json!({"written": {}}));
    assert_eq!(written["result"]["entries"], json!([entries[0], entries[2]]), "without metadata there is no check");
    assert_eq!(original.view.counter("assigned"), 2);
    assert_eq!(original.view.metric("awscni_assigned_ip_per_cidr{cidr=\"10.0.0.4/32\"}").to_bits(), 1_f64.to_bits());
    assert!(!original.view.metrics.contains_key("awscni_assigned_ip_per_cidr{cidr=\"10.0.0.3/32\"}"));
    // An address of the checkpoint that is not in the store is dropped; no file is a new node.
    let answer = original.ask(&json!({"restore": {"entries": [{"key": "c9", "ipv4": "10.9.9.9"}]}}));
    assert_eq!((answer["failed"].clone(), original.view.counter("assigned")), (Value::Null, 2));
    assert_eq!(original.ask(&json!({"restore": {"missing": true}}))["failed"], Value::Null);
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn the_pool_manager_judges_a_store_by_its_targets() {
    let mut original = store(false, &["10.0.0.2/32", "10.0.0.3/32", "10.0.0.4/32"]);
    original.ask(&json!({"assign": {"key": "c1"}}));
    let answer = original.ask(&json!({"targets": {"warm_ip": 5, "minimum_ip": 4, "ips_per_eni": 9}}));
    let wanted = json!({
        "short": 3, "over": 0, "ip_targets": true, "short_prefixes": 0, "prefix_target": false, "too_low": true,
        "too_high": false, "to_allocate": 3, "extra_enis": true, "room": true,
    });
    assert_eq!(answer["result"], wanted);
    let answer = original.ask(&json!({"targets": {"warm_eni": 1, "ips_per_eni": 9, "max_pods": 3, "max_enis": 1}}));
    assert_eq!((&answer["result"]["too_low"], &answer["result"]["room"]), (&json!(false), &json!(false)), "{answer}");
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn a_new_history_begins_with_nothing() {
    let mut original = store(false, &["10.0.0.2/32"]);
    original.ask(&json!({"assign": {"key": "c1"}}));
    original.ask(&json!({"assign": {"key": "c2"}}));
    original.ask(&json!({"pass": 5}));
    original.ask(&json!({"new": {"prefixes": true, "cooldown_s": 0}}));
    assert_eq!((original.view.at_us, original.view.enis.len(), original.view.counter("total")), (0, 0, 0));
    assert!(original.view.metrics.values().all(|value| *value == 0.0), "{:?}", original.view.metrics);
    assert_eq!(original.view.metrics.len(), 7, "no vectors: {:?}", original.view.metrics);
}
