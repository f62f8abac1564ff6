//! Starts that end, wait, or find less than they expect.

use cni_testkit::original::Original;
use serde_json::{Value, json};

use super::{Node, whole};

/// Boots a node, applies what is broken from the first moment, and waits for the end of the start.
fn start(boot: &Value, broken: &[Value]) -> (Original, Value) {
    let mut original = Original::node();
    original.ask(&json!({ "boot": boot }));
    for command in broken {
        original.ask(command);
    }
    let answer = original.ask(&json!({"wait_ready": 3_600_000}));
    (original, answer)
}

fn v6() -> Value {
    json!({
        "settings": {"ENABLE_IPv4": "false", "ENABLE_IPv6": "true", "ENABLE_PREFIX_DELEGATION": "true"},
        "subnets": [{"id": "subnet-a", "cidr": "10.0.0.0/16", "cidr6": "2001:db8:0:1::/64", "free": 1000}],
        "jitter": false,
    })
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn an_ipv6_node_that_may_not_describe_subnets_does_not_start() {
    let fault = json!({"fault": {"op": "DescribeSubnets", "code": "UnauthorizedOperation"}});
    let (_, answer) = start(&v6(), std::slice::from_ref(&fault));
    let error = answer["life"]["error"].as_str().unwrap_or_default();
    assert!(error.starts_with("checking to exclude configured subnet, error: "), "{answer}");
    let (_, answer) = start(&json!({}), &[fault]);
    assert_eq!(answer["life"]["state"], "ready", "an IPv4 node does: {answer}");
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn an_ipv6_node_without_a_prefix_heals_itself_within_minutes() {
    let fault = json!({"fault": {"op": "AssignIpv6Addresses", "code": "InternalError"}});
    let (mut original, answer) = start(&v6(), &[fault]);
    assert_eq!(answer["life"]["state"], "ready", "{answer}");
    let refused = original.ask(&json!({"add": "c1"}));
    assert_eq!(refused["replies"][0]["success"], false, "{refused}");
    original.ask(&json!({"fault": {"op": "AssignIpv6Addresses"}}));
    original.ask(&json!({"pass": 400_000}));
    let placed = original.ask(&json!({"add": "c1"}));
    assert_eq!(placed["replies"][0]["success"], true, "{placed}");
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn an_address_list_that_cannot_be_read_ends_the_start() {
    let (_, answer) = start(&json!({}), &[]);
    assert_eq!(answer["life"]["state"], "ready");
    let mut original = Original::node();
    original.ask(&json!({"boot": {"imds_latency_ms": 100}}));
    original.ask(&json!({"imds": {"what": "local-ipv4s", "state": "missing"}}));
    let answer = original.ask(&json!({"wait_ready": 600_000}));
    let error = answer["life"]["error"].as_str().unwrap_or_default();
    assert!(error.contains("DescribeAllENIs: No IPv4 and IPv6 addresses found"), "{answer}");
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn custom_networking_and_pod_enis_need_a_cninode() {
    let boot = json!({
        "settings": {"AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG": "true", "ENABLE_POD_ENI": "true"},
        "node": {"eni_config": "zone-a"}, "eni_configs": {"zone-a": {"subnet": "subnet-a", "groups": ["sg-1"]}},
    });
    let (original, answer) = start(&boot, &[]);
    assert!(answer["life"]["error"].as_str().is_some_and(|error| error.contains("not found")), "{answer}");
    assert_eq!(whole(original.view.metric("awscni_pod_eni_error_count{fn=\"nodeInit\"}")), 1);
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn a_start_that_needs_the_api_server_waits_in_one_process() {
    let mut original = Original::node();
    original.ask(&json!({"boot": {"api_server": false, "settings": {"ENABLE_POD_ENI": "true"}}}));
    let answer = original.ask(&json!({"wait_ready": 90_000}));
    assert_eq!(answer["life"]["state"], "starting", "{answer}");
    original.ask(&json!({"kube": {"api_server": true}}));
    let answer = original.ask(&json!({"wait_ready": 60_000}));
    assert_eq!((&answer["life"]["state"], &answer["life"]["number"]), (&json!("ready"), &json!(1)), "{answer}");
    let took =
        "awscni_ipamd_startup_duration_seconds_sum{failure_reason=\"\",success=\"true\",with_api_server=\"true\"}";
    assert!(original.view.metric(took) > 90.0, "{:?}", original.view.metrics);
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn an_eni_that_only_the_metadata_service_knows_is_left_out_of_the_start() {
    let mut node = Node::boot(3, 4, &json!({"DISABLE_LEAKED_ENI_CLEANUP": "true"}), &json!({"jitter": false}));
    node.add(0);
    node.pass(120.0);
    let gone = node.youngest();
    // The metadata service is two minutes behind.
    node.ask(&json!({"imds": {"lag_ms": 110_000}}));
    node.ask(&json!({"world": {"lose_eni": gone}}));
    let from = node.calls.len();
    node.ask(&json!({"restart": {}}));
    let answer = node.ask(&json!({"wait_ready": 600_000}));
    assert_eq!(answer["life"]["state"], "ready", "{answer}");
    let looks = node.calls_of(from, "DescribeNetworkInterfaces");
    assert_eq!(looks[0]["error"]["code"], "InvalidNetworkInterfaceID.NotFound", "{looks:?}");
    assert_eq!(looks[1]["arguments"]["enis"], json!(["eni-00000001"]), "{looks:?}");
    let out_of_sync = node.series("api=\"IMDSMetaDataOutOfSync\"");
    assert_eq!(out_of_sync.into_values().collect::<Vec<_>>(), [1]);
    assert!(!node.original.view.enis.contains_key(&gone));
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn without_ec2_the_tags_and_kinds_of_enis_are_unknown() {
    let tags = json!({"node.k8s.amazonaws.com/no_manage": "true"});
    let more = json!({"enis": [{}, {"device": 1, "tags": tags, "ips": ["10.0.9.1", "10.0.9.2"]}]});
    let node = Node::boot(3, 4, &json!({"ENABLE_IMDS_ONLY_MODE": "true"}), &more);
    assert!(node.calls.iter().all(|call| call["op"] == "DescribeSubnets"), "{:?}", node.calls);
    assert_eq!(node.original.view.enis.len(), 2);
    let node = Node::boot(3, 4, &json!({}), &more);
    assert_eq!(node.original.view.enis.len(), 1, "with EC2 it is not managed");
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn the_watcher_of_security_groups_changes_each_eni_once() {
    let mut node = Node::boot(3, 4, &json!({}), &json!({"jitter": false}));
    node.add(0);
    node.pass(45.0);
    let from = node.calls.len();
    node.ask(&json!({"world": {"groups": ["sg-9"]}}));
    node.pass(90.0);
    let changed = node.calls_of(from, "ModifyNetworkInterfaceAttribute");
    assert_eq!(changed.len(), node.original.view.enis.len(), "{changed:?}");
    assert!(changed.iter().all(|call| call["arguments"]["groups"] == json!(["sg-9"])), "{changed:?}");
}
