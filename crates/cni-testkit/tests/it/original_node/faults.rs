//! ENIs that others attach, and what a fault's fate means.

use serde_json::json;

use super::Node;

#[test]
#[ignore = "needs Go: run .ci/run"]
fn efa_only_eni_after_the_start_is_taken_for_an_ordinary_one_and_given_back() {
    let mut node = Node::boot(4, 4, &json!({"WARM_IP_TARGET": "1"}), &json!({}));
    let most = node.count("awscni_eni_max");
    node.ask(&json!({"world": {"attach": {"kind": "efa-only"}}}));
    let efa = node.youngest();
    let from = node.calls.len();
    node.pass(200.0);
    let tagged = node.calls_of(from, "CreateTags");
    assert!(tagged.iter().any(|call| call["arguments"]["resources"][0] == efa), "{tagged:?}");
    let detached = node.calls_of(from, "DetachNetworkInterface");
    assert!(detached.iter().any(|call| call["arguments"]["attachment"] == format!("attach-{efa}")), "{detached:?}");
    assert_eq!(node.count("awscni_eni_max"), most);
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn efa_only_eni_without_a_link_fails_at_each_reconcile() {
    let mut node = Node::boot(4, 4, &json!({"WARM_IP_TARGET": "1", "DISABLE_LEAKED_ENI_CLEANUP": "true"}), &json!({}));
    let most = node.count("awscni_eni_max");
    node.ask(&json!({"world": {"attach": {"kind": "efa-only"}}}));
    let efa = node.youngest();
    node.ask(&json!({"host": {"missing_links": [efa]}}));
    let from = node.calls.len();
    node.pass(200.0);
    let failures = node.count("awscni_ipamd_error_count{fn=\"eniReconcileAdd\"}");
    assert!((2..=3).contains(&failures), "{:?}", node.series("error"));
    assert_eq!(node.calls_of(from, "DescribeNetworkInterfaces").len(), usize::try_from(failures).unwrap_or_default());
    let tagged = node.calls_of(from, "CreateTags");
    assert_eq!(tagged.iter().filter(|call| call["arguments"]["resources"][0] == efa).count(), 1, "{tagged:?}");
    assert_eq!(node.count("awscni_eni_max"), most);
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn a_call_whose_answer_is_lost_has_taken_effect() {
    for (fate, wanted) in [("unknown", true), ("not-sent", false)] {
        let mut node = Node::boot(3, 4, &json!({"WARM_ENI_TARGET": "1"}), &json!({}));
        node.ask(&json!({"fault": {"op": "CreateNetworkInterface", "fate": fate, "times": 1}}));
        node.add(0);
        node.pass(4.0);
        let made = &node.calls_of(0, "CreateNetworkInterface")[0].clone();
        assert_eq!(made["error"]["fate"], fate, "{made}");
        // A second ENI is not there, or is there and known to nobody.
        let enis = node.enis();
        let strays = enis.iter().filter(|eni| eni["attached"] == false && eni["created_us"] == made["end_us"]).count();
        assert_eq!(strays, usize::from(wanted), "{fate}: {enis:?}");
    }
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn a_call_of_the_start_that_takes_too_long_is_given_up_after_ten_seconds() {
    let mut original = cni_testkit::original::Original::node();
    original.ask(&json!({"boot": {}}));
    original.ask(
        &json!({"fault": {"op": "DescribeNetworkInterfaces", "fate": "not-sent", "hold_ms": 3_600_000, "times": 2}}),
    );
    // The first call was under way before the fault.
    let answer = original.ask(&json!({"wait_ready": 60_000}));
    assert_eq!(answer["life"]["state"], "ready", "{answer}");
    let answer = original.ask(&json!({"restart": {}}));
    assert_eq!(answer["life"]["number"], 2, "{answer}");
    let answer = original.ask(&json!({"wait_ready": 60_000}));
    let tries = answer["calls"].as_array().cloned().unwrap_or_default();
    let took = |call: &serde_json::Value| {
        call["end_us"].as_i64().zip(call["start_us"].as_i64()).map(|(end, start)| end - start)
    };
    assert_eq!((took(&tries[0]), took(&tries[1])), (Some(10_000_000), Some(10_000_000)), "{tries:?}");
    assert_eq!(answer["life"]["state"], "ready");
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn an_eni_of_others_takes_room_only_from_the_next_reconcile_on() {
    let mut node = Node::boot(4, 4, &json!({"WARM_IP_TARGET": "1"}), &json!({}));
    let most = node.count("awscni_eni_max");
    node.ask(&json!({"world": {"attach": {"tags": {"node.k8s.amazonaws.com/no_manage": "true"}}}}));
    node.pass(30.0);
    assert_eq!(node.count("awscni_eni_max"), most);
    node.pass(60.0);
    assert_eq!(node.count("awscni_eni_max"), most - 1);
    assert_eq!(node.original.view.enis.len(), 1);
}
