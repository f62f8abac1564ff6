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
