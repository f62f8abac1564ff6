//! What the protocol promises for a whole node.

use cni_testkit::original::Original;
use serde_json::json;

use super::Node;

#[test]
#[ignore = "needs Go: run .ci/run"]
fn calls_have_their_arguments_times_and_results() {
    let mut node = Node::boot(
        3,
        4,
        &json!({"WARM_IP_TARGET": "1"}),
        &json!({"latency_ms": 100, "latencies_ms": {"AssignPrivateIpAddresses": 700}}),
    );
    let call = node.calls_of(0, "AssignPrivateIpAddresses")[0].clone();
    assert_eq!(call["arguments"], json!({"eni": "eni-00000001", "count": 1, "prefixes": 0}));
    assert_eq!(call["result"], json!({"v4": ["10.0.0.5"], "prefixes": []}));
    assert_eq!(call["end_us"].as_i64().zip(call["start_us"].as_i64()).map(|(end, start)| end - start), Some(700_000));
    assert_eq!(node.add(0).as_deref(), Some("10.0.0.5"));
    assert_eq!(node.add(1), None);
    node.pass(4.0);
    assert_eq!(node.calls_of(0, "AssignPrivateIpAddresses").len(), 2);
    assert_eq!(node.original.view.store["stats"]["v4"]["assigned"], 1);
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn a_report_is_the_whole_state_that_changes_add_up_to() {
    let mut node = Node::boot(3, 6, &json!({}), &json!({"log_imds": true}));
    let live = node.fill(4);
    node.del(1);
    node.pass(45.0);
    let merged = node.original.view.clone();
    node.original.view = cni_testkit::original::View::default();
    let answer = node.ask(&json!({"report": {}}));
    assert_eq!(format!("{:?}", node.original.view), format!("{merged:?}"));
    let veths = answer["world"]["veths"].as_array().map_or(0, Vec::len);
    let entries = answer["world"]["entries"].as_array().cloned().unwrap_or_default();
    assert_eq!((veths, entries.len()), (live.len() - 1, live.len() - 1), "{answer}");
    assert!(entries.iter().any(|entry| entry["pod"] == "default/c0"), "{entries:?}");
    let answer = node.ask(&json!({"pass": 65_000}));
    let macs = answer["imds"].as_array().into_iter().flatten().find(|read| read["path"] == "network/interfaces/macs");
    assert!(
        macs.is_some_and(|read| read["text"].as_str().is_some_and(|text| text.contains("02:00:00:00:00:01/"))),
        "{answer}"
    );
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn the_same_seed_gives_the_same_pauses() {
    let first = deletes(&json!({"seed": 7}));
    assert!(first.len() > 4, "{first:?}");
    assert_eq!(first, deletes(&json!({"seed": 7})));
    assert_ne!(first, deletes(&json!({"seed": 8})));
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn without_jitter_each_pause_is_its_base() {
    let starts = deletes(&json!({"jitter": false}));
    let pauses: Vec<_> = starts.windows(2).map(|pair| (pair[1] - pair[0]) / 1000 - 150).collect();
    assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000]);
}

/// When the original tries to delete an ENI that it could not attach, and fails, in microseconds.
fn deletes(more: &serde_json::Value) -> Vec<i64> {
    let mut node = Node::boot(3, 4, &json!({}), more);
    node.fault("DeleteNetworkInterface", "UnauthorizedOperation");
    node.fault("AttachNetworkInterface", "UnauthorizedOperation");
    node.add(0);
    node.pass(60.0);
    node.calls_of(0, "DeleteNetworkInterface").iter().filter_map(|call| call["start_us"].as_i64()).collect()
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn commands_that_cannot_be_understood_say_why() {
    let mut original = Original::node();
    assert!(original.refused(&json!({"pass": 1})).contains("begin with boot"));
    for (boot, part) in [
        (json!({"limits": {"enis": 3}}), "both absent"),
        (json!({"settings": {"ENABLE_MULTI_NIC": "true"}}), "one network card"),
        (json!({"subnets": [{"id": "a", "cidr": "10.0.0.0"}]}), "IPv4 block of /8 to /26"),
        (json!({"latencies_ms": {"RunInstances": 1}}), "no EC2 operation"),
        (json!({"enis": [{"device": 1}]}), "primary ENI"),
        (json!({"enis": [{"subnet": "subnet-x"}]}), "there is no subnet"),
        (json!({"enis": [{"size": 1}]}), "size"),
        (json!({"node": {"provider_id": "aws:///zone/sagemaker/cluster/hyperpod-a-i-1"}}), "SageMaker"),
        (json!({"seeds": 1}), "fields: settings, limits"),
    ] {
        let error = original.refused(&json!({ "boot": boot }));
        assert!(error.contains(part), "no {part:?} in {error:?}");
    }
    original.ask(&json!({"boot": {}}));
    for (command, part) in [
        (json!({"fly": 1}), "commands: add, boot"),
        (json!({"add": ""}), "CONTAINER"),
        (json!({"add": {"pod": "a/b"}}), "CONTAINER"),
        (json!({"del": {"key": "c1", "why": ""}}), "fields: key, pod"),
        (json!({"fault": {"op": "Assign", "code": "X"}}), "operations: AssignIpv6Addresses"),
        (json!({"fault": {"op": "CreateTags", "fate": "lost"}}), "refused, not-sent or unknown"),
        (json!({"fault": {"op": "CreateTags", "fate": "refused"}}), "has a code"),
        (json!({"fault": {"op": "CreateTags", "code": "X", "times": 0}}), "1 or more"),
        (json!({"imds": {"what": "macs"}}), "given together"),
        (json!({"imds": {"what": "macs", "state": "off"}}), "up, down or missing"),
        (json!({"world": {"lose_eni": "eni-9"}}), "ENIs: eni-00000001"),
        (json!({"world": {"lose_eni": "eni-00000001"}}), "primary"),
        (json!({"world": {"lose_eni": "a", "reuse": []}}), "one of: attach, create"),
        (json!({"world": {"lose_cidr": {"eni": "eni-00000001", "cidr": "10.9.9.9/32"}}}), "is not on"),
        (json!({"world": {"give_cidr": {"eni": "eni-00000001", "cidr": "10.9.0.0/24"}}}), "/32, /28"),
        (json!({"kube": {"fail": {"call": "list pods"}}}), "get node"),
        (json!({"host": {"add_veth": "p1"}}), "NAMESPACE/NAME"),
        (json!({"wait_ready": -5}), "0 to 1e9"),
    ] {
        let error = original.refused(&command);
        assert!(error.contains(part), "no {part:?} in {error:?} to {command}");
    }
    assert_eq!(original.ask(&json!({"wait_ready": 60_000}))["life"]["state"], "ready");
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn a_start_that_fails_ends_the_life_with_the_reason() {
    let mut original = Original::node();
    original.ask(&json!({"boot": {"settings": {"ENABLE_IPv6": "true"}}}));
    let answer = original.ask(&json!({"wait_ready": 60_000}));
    assert_eq!(answer["life"]["state"], "ended", "{answer}");
    assert!(
        answer["life"]["error"].as_str().is_some_and(|error| error.contains("configuration is not valid")),
        "{answer}"
    );
    let answer = original.ask(&json!({"add": "c1"}));
    assert_eq!(answer["replies"][0]["success"], false);
    original.ask(&json!({"restart": {"settings": {"ENABLE_IPv6": null}}}));
    assert_eq!(original.ask(&json!({"wait_ready": 60_000}))["life"]["state"], "ready");
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn an_ipv6_node_gets_one_prefix() {
    let settings = json!({"ENABLE_IPv4": "false", "ENABLE_IPv6": "true", "ENABLE_PREFIX_DELEGATION": "true"});
    let subnets = json!([{"id": "subnet-a", "cidr": "10.0.0.0/16", "cidr6": "2001:db8:0:1::/64", "free": 1000}]);
    let mut node = Node::boot(3, 4, &settings, &json!({ "subnets": subnets }));
    assert_eq!(node.calls_of(0, "AssignIpv6Addresses").len(), 1);
    let answer = node.ask(&json!({"add": "c1"}));
    let address = answer["replies"][0]["addresses"][0]["v6"].as_str().unwrap_or_default();
    assert!(address.starts_with("2001:db8:0:1:"), "{answer}");
    assert_eq!(node.original.view.store["stats"]["v6"]["assigned"], 1);
    assert_eq!(node.count("awscni_ec2api_req_count{fn=\"DescribeSubnets\"}"), 2, "before and in the set-up");
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn an_add_can_wait_while_time_passes() {
    let mut node = Node::boot(3, 4, &json!({}), &json!({"imds_latency_ms": 2000}));
    let answer = node.ask(&json!({"add": {"key": "c1", "background": true}}));
    assert_eq!(answer["replies"], json!(null));
    let answer = node.ask(&json!({"pass": 2000}));
    assert_eq!(answer["replies"][0]["success"], true, "{answer}");
    node.ask(&json!({"terminate": {}}));
    assert_eq!(node.ask(&json!({"pass": 1000}))["life"]["state"], "terminating");
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn a_later_history_of_a_process_has_nothing_of_the_former() {
    let commands = [
        json!({"boot": {"limits": {"enis": 2, "ips": 5}, "settings": {"WARM_IP_TARGET": "2", "DISABLE_LEAKED_ENI_CLEANUP": "true"}}}),
        json!({"wait_ready": 60_000}),
        json!({"add": "c1"}),
        json!({"pass": 100_000}),
        json!({"del": "c1"}),
        json!({"fault": {"op": "UnassignPrivateIpAddresses", "code": "UnauthorizedOperation", "times": 1}}),
        json!({"pass": 50_000}),
        json!({"report": {}}),
    ];
    let play = |original: &mut Original| {
        let answers: Vec<_> = commands.iter().map(|command| original.ask(command)).collect();
        // Go's map chooses the address.
        let mut metrics = original.view.metrics.clone();
        metrics.retain(|series, _| !series.contains("per_cidr"));
        let calls: Vec<_> =
            answers.iter().flat_map(|answer| answer["calls"].as_array().cloned().unwrap_or_default()).collect();
        let times: Vec<_> =
            calls.iter().map(|call| (call["op"].clone(), call["start_us"].clone(), call["end_us"].clone())).collect();
        (times, metrics)
    };
    let mut original = Original::node();
    let first = play(&mut original);
    // A history that leaves everything behind: pods, faults, counters, settings, limits, a call and an ADD in flight.
    original.ask(
        &json!({"boot": {"limits": {"enis": 3, "ips": 10}, "settings": {"WARM_ENI_TARGET": "2", "MAX_ENI": "3"}}}),
    );
    original.ask(&json!({"wait_ready": 60_000}));
    (0..12).for_each(|pod| drop(original.ask(&json!({"add": format!("x{pod}")}))));
    original.ask(&json!({"fault": {"op": "DescribeSubnets", "fate": "not-sent", "hold_ms": 1_000_000}}));
    original.ask(&json!({"imds": {"latency_ms": 5000}}));
    original.ask(&json!({"add": {"key": "x99", "background": true}}));
    original.ask(&json!({"pass": 4000}));
    let second = play(&mut original);
    assert_eq!(format!("{first:#?}"), format!("{second:#?}"));
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn a_node_without_an_api_server_starts_after_half_a_minute_and_learns_its_size_later() {
    let mut original = Original::node();
    original.ask(&json!({"boot": {"api_server": false, "node": {"max_pods": 29}}}));
    let answer = original.ask(&json!({"wait_ready": 120_000}));
    assert_eq!((&answer["life"]["state"], &answer["life"]["max_pods"]), (&json!("ready"), &json!(110)), "{answer}");
    assert!(answer["life"]["ready_us"].as_i64().is_some_and(|ready| ready > 30_000_000), "{answer}");
    original.ask(&json!({"kube": {"api_server": true}}));
    let answer = original.ask(&json!({"pass": 6000}));
    assert_eq!(answer["life"]["max_pods"], 29, "{answer}");
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn custom_networking_makes_enis_in_the_subnet_of_the_nodes_eni_config() {
    let settings = json!({"AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG": "true"});
    let more = json!({
        "subnets": [{"id": "subnet-a", "cidr": "10.0.0.0/16", "free": 1000}, {"id": "subnet-b", "cidr": "10.1.0.0/16", "free": 1000}],
        "node": {"eni_config": "zone-a"}, "eni_configs": {"zone-a": {"subnet": "subnet-b", "groups": ["sg-7"]}},
    });
    let mut node = Node::boot(3, 6, &settings, &more);
    let made = &node.calls_of(0, "CreateNetworkInterface")[0]["arguments"];
    assert_eq!((&made["subnet"], &made["groups"]), (&json!("subnet-b"), &json!(["sg-7"])), "{made}");
    assert!(node.add(0).is_some_and(|address| address.starts_with("10.1.")));
}
