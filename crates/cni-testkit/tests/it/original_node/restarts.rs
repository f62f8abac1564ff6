//! Restarts: what a new process finds, and what becomes of the addresses of live pods.

use serde_json::json;

use super::Node;

fn restart(node: &mut Node) -> serde_json::Value {
    node.ask(&json!({"restart": {}}));
    node.ask(&json!({"wait_ready": 600_000}))
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn ac_throttled_restart_keeps_the_addresses_of_live_pods() {
    let mut node = Node::boot(3, 6, &json!({}), &json!({}));
    let live = node.fill(6);
    let enis = node.enis().len();
    node.fault("DescribeSubnets", "RequestLimitExceeded");
    let from = node.calls.len();
    let answer = restart(&mut node);
    assert_eq!((&answer["life"]["state"], &answer["life"]["number"]), (&json!("ready"), &json!(2)), "{answer}");
    let told = node.events.iter().filter(|event| event["reason"] == "SubnetExclusionCheckFailed").count();
    assert_eq!(told, enis, "{:?}", node.events);
    node.heal("DescribeSubnets");
    node.pass(90.0);
    assert_eq!(node.original.view.counter("assigned"), 6);
    assert_eq!(node.duplicates(&live, 8), 0);
    assert_eq!(node.calls_of(from, "DetachNetworkInterface").len(), 0);
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn ac_imds_flap_gives_addresses_of_live_pods_to_others() {
    let mut node = Node::boot(3, 6, &json!({}), &json!({}));
    let live = node.fill(7);
    let owners = node.owners();
    let victim = live.values().filter_map(|address| owners.get(address)).find(|eni| *eni != "eni-00000001").cloned();
    node.pass(55.0);
    node.ask(&json!({"imds": {"hide_enis": [victim]}}));
    node.pass(70.0);
    assert_eq!(node.count("awscni_force_removed_enis"), 1);
    node.ask(&json!({"imds": {"hide_enis": []}}));
    node.pass(75.0);
    assert!(node.duplicates(&live, 8) > 0);
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn a_restart_is_a_new_process_on_the_same_instance() {
    let mut node = Node::boot(3, 10, &json!({"WARM_IP_TARGET": "2"}), &json!({}));
    let live = node.fill(3);
    let before = node.original.view.at_us;
    assert!(node.count("awscni_add_ip_req_count") >= 3);
    // An assign that is under way is cut off and has no effect.
    node.ask(&json!({"targets": {"warm_ip": 3}}));
    node.ask(&json!({"fault": {"op": "AssignPrivateIpAddresses", "fate": "not-sent", "hold_ms": 60_000, "times": 1}}));
    node.pass(20.0);
    node.ask(&json!({"host": {"drop_veth": "default/c2"}}));
    let answer = node.ask(&json!({"restart": {"settings": {"WARM_IP_TARGET": "4"}, "down_ms": 1500}}));
    let cut = answer["calls"].as_array().and_then(|calls| calls.last()).cloned().unwrap_or_default();
    assert_eq!((&cut["op"], &cut["error"]["fate"]), (&json!("AssignPrivateIpAddresses"), &json!("cut")), "{answer}");
    assert_eq!(answer["life"]["began_us"], json!(before + 21_500_000));
    assert_eq!(node.count("awscni_add_ip_req_count"), 0, "counters begin again");
    let answer = node.ask(&json!({"wait_ready": 60_000}));
    assert_eq!(answer["life"]["state"], "ready", "{answer}");
    assert_eq!(node.original.view.counter("assigned"), 2, "the pod without a link is not restored");
    assert_eq!(node.original.view.store["stats"]["v4"]["total"], 6, "the new target holds");
    let kept = node.original.view.enis["eni-00000001"]["v4"].to_string();
    assert!(kept.contains(&live[&0]) && kept.contains("default/c0"), "{kept}");
}
