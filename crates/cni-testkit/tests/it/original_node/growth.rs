//! Growth that meets an ENI that is gone, a silent metadata service, or refusals of EC2.

use serde_json::json;

use super::Node;

#[test]
#[ignore = "needs Go: run .ci/run"]
fn notfound_counts_as_an_error_of_both_kinds() {
    let mut node = Node::boot(3, 4, &json!({"WARM_IP_TARGET": "1"}), &json!({}));
    for pod in 0..4 {
        node.add(pod);
        node.pass(20.0);
    }
    let gone = node.youngest();
    node.ask(&json!({"world": {"lose_eni": gone}}));
    node.add(9);
    node.add(10);
    node.pass(12.0);
    let refused =
        "awscni_aws_api_error_count{api=\"AssignPrivateIpAddresses\",error=\"InvalidNetworkInterfaceID.NotFound\"}";
    assert_eq!(node.count(refused), 4, "{:?}", node.series("error"));
    assert_eq!(node.count("awscni_ec2api_error_count{fn=\"AssignPrivateIpAddresses\"}"), 4);
    assert_eq!(node.count("awscni_ipamd_error_count{fn=\"increaseIPPoolAllocIPAddressesFailed\"}"), 2);
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn wait_imds_polls_twelve_times_and_counts_each() {
    let mut node = Node::boot(3, 4, &json!({}), &json!({}));
    node.add(0);
    node.pass(2.6);
    node.ask(&json!({"imds": {"what": "macs", "state": "down"}}));
    let given_up = "aws_api_latency_ms_count{api=\"waitForENIAndIPsAttached\",error=\"true\"";
    for _ in 0..300 {
        node.pass(1.0);
        if !node.series(given_up).is_empty() {
            break;
        }
    }
    assert_eq!(node.count("awscni_aws_api_error_count{api=\"GetMACs\",error=\"IMDSRequestError\"}"), 12);
    // Twelve polls with eleven pauses of 0.1 s doubling to at most 30 s, each up to 15 % longer.
    let waits = node.series("aws_api_latency_ms_sum{api=\"waitForENIAndIPsAttached\",error=\"true\"");
    let waited = waits.values().sum::<i64>();
    assert!((162_000..=187_000).contains(&waited), "{waits:?}");
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn modify_whose_clean_up_cannot_detach_counts_no_utils_error() {
    let mut node = Node::boot(3, 4, &json!({}), &json!({}));
    node.fault("ModifyNetworkInterfaceAttribute", "UnauthorizedOperation");
    node.fault("DetachNetworkInterface", "UnauthorizedOperation");
    node.add(0);
    node.pass(300.0);
    assert_eq!(node.calls_of(0, "DetachNetworkInterface").len(), 12);
    assert_eq!(node.series("aws_utils_error").len(), 0, "{:?}", node.series("aws_utils_error"));
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn modify_whose_clean_up_cannot_delete_is_told_with_the_error_of_the_delete() {
    let mut node = Node::boot(3, 4, &json!({}), &json!({}));
    node.fault("ModifyNetworkInterfaceAttribute", "UnauthorizedOperation");
    node.fault("DeleteNetworkInterface", "UnauthorizedOperation");
    node.add(0);
    node.pass(360.0);
    let said = node.series("aws_utils_error_count{");
    let clean_up = said.keys().find(|series| series.contains("ENICleanupUponModifyNetworkErr"));
    let text = clean_up.copied().unwrap_or_default();
    let wanted = "FreeENI: failed to free ENI: eni-00000002: unable to delete ENI: operation error EC2: DeleteNetworkInterface, ";
    assert!(text.contains(wanted), "{said:?}");
    let deletes = said.keys().find(|series| series.contains("fn=\"FreeENIDeleteErr\"")).copied().unwrap_or_default();
    assert!(
        deletes.contains("error=\"unable to delete ENI: operation error EC2: DeleteNetworkInterface, "),
        "{said:?}"
    );
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn attach_whose_roll_back_fails_is_told_with_the_error_of_the_attach() {
    let mut node = Node::boot(3, 4, &json!({}), &json!({}));
    node.fault("DescribeInstances", "UnauthorizedOperation");
    node.fault("DeleteNetworkInterface", "UnauthorizedOperation");
    node.add(0);
    node.pass(345.0);
    let said = node.series("aws_utils_error_count{");
    let text = said.keys().find(|series| series.contains("fn=\"AllocENIDeleteErr\"")).copied().unwrap_or_default();
    assert!(
        text.contains("error=\"attachENI: failed to get a free device number: find a free device number for ENI: "),
        "{said:?}"
    );
    assert!(text.contains(": operation error EC2: DescribeInstances, "), "{said:?}");
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn podeni_asks_for_a_trunk_at_the_start_already() {
    let mut node = Node::boot(3, 4, &json!({"WARM_IP_TARGET": "1", "ENABLE_POD_ENI": "true"}), &json!({}));
    let series = "awscni_pod_eni_error_count{fn=\"tryEnableSecurityGroupsForPods\"}";
    assert_eq!(node.count(series), 1);
    node.pass(8.0);
    assert_eq!(node.count(series), 3);
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn a_trunk_is_attached_by_its_controller_after_a_while() {
    let settings = json!({"WARM_IP_TARGET": "1", "ENABLE_POD_ENI": "true"});
    let mut node = Node::boot(3, 4, &settings, &json!({"cninode": true, "trunk_after_ms": 12_000}));
    node.pass(7.0);
    assert_eq!(node.original.view.store["trunk"], "");
    node.pass(30.0);
    let trunk = node.youngest();
    assert_eq!(node.original.view.store["trunk"], json!(trunk));
    assert_eq!(node.series("pod_eni_error").len(), 0);
    assert_eq!(node.original.view.enis[&trunk]["trunk"], true);
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn the_wait_for_an_eni_is_a_sum_of_doubling_pauses() {
    for (lag_ms, waited) in [(0, 0), (50, 100), (250, 300), (1400, 1500), (2000, 3100)] {
        let mut node = Node::boot(
            3,
            4,
            &json!({}),
            &json!({"jitter": false, "imds_lag_ms": lag_ms, "latencies_ms": {"ModifyNetworkInterfaceAttribute": 0}}),
        );
        node.add(0);
        node.pass(15.0);
        let took = node.series("aws_api_latency_ms_sum{api=\"waitForENIAndIPsAttached\",error=\"false\"");
        assert_eq!(took.into_values().collect::<Vec<_>>(), [waited], "{lag_ms} ms behind");
    }
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn a_limit_that_is_reached_is_looked_up_and_counted_only_if_the_look_up_fails() {
    for (fails, wanted) in [(false, 0), (true, 1)] {
        let mut node = Node::boot(1, 10, &json!({"WARM_IP_TARGET": "2"}), &json!({"jitter": false}));
        node.fault("AssignPrivateIpAddresses", "PrivateIpAddressLimitExceeded");
        if fails {
            node.fault("DescribeNetworkInterfaces", "InternalError");
        }
        node.add(0);
        node.pass(4.0);
        assert_eq!(node.count("awscni_ipamd_error_count{fn=\"increaseIPPoolGetENIaddressesFailed\"}"), wanted);
        assert_eq!(node.count("awscni_ipamd_error_count{fn=\"increaseIPPoolAllocIPAddressesFailed\"}"), 0);
    }
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn an_add_without_a_checkpoint_is_refused_and_only_counted_as_a_request() {
    let mut node = Node::boot(3, 4, &json!({}), &json!({}));
    let before = node.original.view.metrics.clone();
    node.ask(&json!({"checkpoint": {"fail": "no space left on device"}}));
    assert_eq!(node.add(0), None);
    let after = &node.original.view.metrics;
    let moved: Vec<_> =
        after.iter().filter(|(series, value)| before.get(*series) != Some(*value)).map(|(series, _)| series).collect();
    assert_eq!(
        moved.iter().filter(|series| !series.contains("per_cidr")).collect::<Vec<_>>(),
        [&"awscni_add_ip_req_count"]
    );
    node.ask(&json!({"checkpoint": {}}));
    assert!(node.add(0).is_some());
    node.ask(&json!({"checkpoint": {"fail": "no space left on device"}}));
    let answer = node.ask(&json!({"del": "c0"}));
    assert_eq!(
        (&answer["replies"][0]["success"], node.original.view.counter("assigned")),
        (&json!(false), 1),
        "{answer}"
    );
}
