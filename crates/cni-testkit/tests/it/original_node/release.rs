//! Releases, re-adoption, leaked ENIs, and what is subtracted twice.

use serde_json::{Value, json};

use super::Node;

#[test]
#[ignore = "needs Go: run .ci/run"]
fn vanish_pd_subtracts_prefixes_and_addresses_twice() {
    let mut node =
        Node::boot(3, 4, &json!({"WARM_PREFIX_TARGET": "1", "ENABLE_PREFIX_DELEGATION": "true"}), &json!({}));
    for pod in 0..70 {
        node.add(pod);
        if pod % 10 == 9 {
            node.pass(15.0);
        }
    }
    node.pass(70.0);
    let (prefixes, total) = (node.original.view.counter("prefixes"), node.original.view.counter("total"));
    let gone = node.youngest();
    let lost = node.original.view.enis[&gone]["v4"].as_array().map_or(0, Vec::len);
    assert!(lost > 0 && node.original.view.enis.len() == 2, "{:?}", node.original.view.enis);
    node.ask(&json!({"world": {"lose_eni": gone}}));
    node.fault("AssignPrivateIpAddresses", "InternalError");
    node.fault("CreateNetworkInterface", "InternalError");
    node.pass(70.0);
    let lost = i64::try_from(lost).unwrap_or_default();
    assert_eq!(node.original.view.counter("prefixes"), prefixes - 2 * lost, "once per CIDR and once more");
    assert_eq!(node.original.view.counter("total"), total - 2 * 16 * lost);
    assert_eq!(
        node.original.view.store["stats"]["v4"]["total"],
        total - 16 * lost,
        "the statistics count what is there"
    );
    assert_eq!(node.count("awscni_force_removed_enis"), 1);
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn lose_prefix_leaves_its_pods_on_both_gauges() {
    let mut node =
        Node::boot(1, 4, &json!({"WARM_PREFIX_TARGET": "1", "ENABLE_PREFIX_DELEGATION": "true"}), &json!({}));
    node.add(1);
    node.add(2);
    node.pass(70.0);
    node.fault("AssignPrivateIpAddresses", "InternalError");
    for prefix in node.enis()[0]["prefixes"].as_array().into_iter().flatten() {
        node.ask(&json!({"world": {"lose_cidr": {"eni": "eni-00000001", "cidr": prefix}}}));
    }
    node.pass(70.0);
    assert_eq!(node.count("awscni_assigned_ip_addresses"), 0);
    assert_eq!(node.series("assigned_ip_per_eni").into_values().collect::<Vec<_>>(), [2]);
    assert_eq!(node.series("assigned_ip_per_cidr").into_values().sum::<i64>(), 2);
    assert_eq!(node.count("awscni_force_removed_ips"), 2);
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn resurrect_sweeps_an_address_that_ec2_gives_again_within_a_minute() {
    // Without a cool-down, so that it does not matter which of the two addresses the pool releases.
    let settings = json!({"WARM_IP_TARGET": "1", "ENABLE_POD_ENI": "true", "IP_COOLDOWN_PERIOD": "0"});
    let mut node = Node::boot(1, 10, &settings, &json!({}));
    node.add_directly(0);
    node.pass(20.0);
    node.ask(&json!({"del": {"key": "c0", "direct": true}}));
    node.pass(10.0);
    let released = node.calls_of(0, "UnassignPrivateIpAddresses")[0]["arguments"]["v4"][0].clone();
    node.ask(&json!({"world": {"reuse": [released]}}));
    node.add_directly(1);
    node.add_directly(2);
    node.pass(6.0);
    node.add_directly(3);
    let before = node.original.view.counter("total");
    node.pass(8.0);
    assert_eq!(
        node.count("awscni_reconcile_count{fn=\"eniIPPoolReconcileDel\"}"),
        1,
        "{:?}",
        node.series("reconcile_count")
    );
    let swept = node.calls.iter().any(|call| call["result"]["v4"][0] == released);
    assert!(swept, "EC2 gave {released} again");
    let kept = node.original.view.enis["eni-00000001"]["v4"].to_string();
    assert!(!kept.contains(released.as_str().unwrap_or_default()), "{released} is in {kept}; total was {before}");
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn readopt_asks_ec2_once_for_all_addresses_that_differ() {
    let mut node =
        Node::boot(1, 12, &json!({"MINIMUM_IP_TARGET": "10", "DISABLE_LEAKED_ENI_CLEANUP": "true"}), &json!({}));
    node.ask(&json!({"targets": {"minimum_ip": 2, "warm_ip": 2}}));
    node.fault("UnassignPrivateIpAddresses", "UnauthorizedOperation");
    let answer = node.ask(&json!({"pass": 9000}));
    assert_eq!(node.original.view.counter("total"), 2, "they left the store before EC2 refused");
    assert_eq!(answer["life"]["released"].as_object().map(serde_json::Map::len), Some(8), "{answer}");
    let from = node.calls.len();
    for _ in 0..40 {
        node.pass(2.0);
        if node.original.view.counter("total") != 2 {
            break;
        }
    }
    assert_eq!(node.original.view.counter("total"), 10, "all eight are back");
    assert_eq!(node.calls_of(from, "DescribeNetworkInterfaces").len(), 1, "{:?}", &node.calls[from..]);
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn leftover_counts_an_address_as_the_prefix_that_is_over() {
    // Go's map decides what goes: an address in place of a prefix within a few tries.
    let released = (0..60).find_map(|_| {
        let mut node =
            Node::boot(1, 10, &json!({"WARM_PREFIX_TARGET": "1", "ENABLE_PREFIX_DELEGATION": "true"}), &json!({}));
        for last in 1..=3 {
            node.ask(&json!({"world": {"give_cidr": {"eni": "eni-00000001", "cidr": format!("10.9.9.{last}/32")}}}));
        }
        node.pass(70.0);
        assert_eq!(node.original.view.store["stats"]["v4"]["total"], 16, "addresses do not count");
        (0..20).for_each(|pod| drop(node.add(pod)));
        node.pass(70.0);
        (0..20).for_each(|pod| node.del(pod));
        let from = node.calls.len();
        node.pass(12.0);
        let calls = node.calls_of(from, "UnassignPrivateIpAddresses");
        let given = |list: &str| -> usize {
            calls.iter().map(|call| call["arguments"][list].as_array().map_or(0, Vec::len)).sum()
        };
        let (addresses, prefixes) = (given("v4"), given("prefixes"));
        (addresses > 0).then_some((addresses, prefixes))
    });
    assert!(released.is_some(), "never an address in 60 tries");
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn decrease_is_stamped_after_the_release_of_the_eni() {
    let mut node = Node::boot(3, 4, &json!({"WARM_IP_TARGET": "1"}), &json!({}));
    for pod in 0..8 {
        node.add(pod);
        node.pass(15.0);
    }
    node.pass(62.0);
    (1..=7).rev().for_each(|pod| node.del(pod));
    let from = node.calls.len();
    let mut stamped = None;
    for _ in 0..40 {
        let answer = node.ask(&json!({"pass": 5000}));
        stamped = answer["life"]["last_decrease_us"].as_i64();
        if stamped.is_some() && !node.calls_of(from, "DeleteNetworkInterface").is_empty() {
            break;
        }
    }
    let unassigned = node.calls_of(from, "UnassignPrivateIpAddresses")[0]["end_us"].as_i64();
    let deleted = node.calls_of(from, "DeleteNetworkInterface")[0]["end_us"].as_i64();
    assert!(unassigned < deleted && deleted <= stamped, "{unassigned:?} {deleted:?} {stamped:?}");
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn unassign_gone_counts_an_error() {
    let mut node = Node::boot(3, 6, &json!({"MINIMUM_IP_TARGET": "9"}), &json!({}));
    node.pass(80.0);
    node.ask(&json!({"targets": {"minimum_ip": 1, "warm_ip": 1}}));
    let gone = node.youngest();
    node.ask(&json!({"world": {"lose_eni": gone}}));
    node.pass(6.0);
    let series =
        "awscni_aws_api_error_count{api=\"UnassignPrivateIpAddresses\",error=\"InvalidNetworkInterfaceID.NotFound\"}";
    assert_eq!(node.count(series), 1, "{:?}", node.series("error_count"));
    assert_eq!(node.count("awscni_ec2api_error_count{fn=\"UnassignPrivateIpAddresses\"}"), 1);
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn leak_is_judged_by_description_and_time_of_creation() {
    let mut node = Node::boot(3, 4, &json!({}), &json!({"settings": {"DISABLE_LEAKED_ENI_CLEANUP": "true"}}));
    node.pass(30.0);
    let made = |description: &str, created: Option<&str>| -> Value {
        let mut tags = json!({"node.k8s.amazonaws.com/instance_id": "i-1"});
        if let Some(created) = created {
            tags["node.k8s.amazonaws.com/createdAt"] = json!(created);
        }
        json!({"world": {"create": {"description": description, "tags": tags}}})
    };
    let (old, young) = (Some("1999-12-31T23:00:00Z"), Some("2000-01-01T00:00:20Z"));
    let kinds = [
        ("aws-K8S-i-1", old, "deleted"),
        ("aws-K8S-i-other", old, "deleted"),
        ("mine", old, "left alone"),
        ("aws-K8S-i-1", None, "tagged"),
        ("aws-K8S-i-1", young, "left alone"),
        ("aws-K8S-i-1", Some("yesterday"), "tagged and deleted"),
    ];
    let mut ids = Vec::new();
    for (description, created, _) in kinds {
        node.ask(&made(description, created));
        ids.push(node.youngest());
    }
    let from = node.calls.len();
    node.ask(&json!({"leak_scan": {}}));
    for (id, (description, created, wanted)) in ids.iter().zip(kinds) {
        let tagged = node.calls_of(from, "CreateTags").iter().any(|call| call["arguments"]["resources"][0] == *id);
        let deleted = node.calls_of(from, "DeleteNetworkInterface").iter().any(|call| call["arguments"]["eni"] == *id);
        let did = match (tagged, deleted) {
            (true, true) => "tagged and deleted",
            (true, false) => "tagged",
            (false, true) => "deleted",
            (false, false) => "left alone",
        };
        assert_eq!(did, wanted, "{description} created {created:?}");
    }
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn an_eni_that_is_not_attached_any_more_stalls_its_release() {
    let mut node = Node::boot(3, 4, &json!({"WARM_ENI_TARGET": "1"}), &json!({}));
    node.add(0);
    node.pass(200.0);
    let gone = node.youngest();
    node.del(0);
    // The metadata service still shows it, so that no reconcile takes it out of the store first.
    node.ask(&json!({"imds": {"lag_ms": 150_000}}));
    node.ask(&json!({"world": {"detach": gone}}));
    node.pass(300.0);
    let tries = node.calls_of(0, "DetachNetworkInterface");
    assert_eq!(tries.len(), 12);
    assert!(
        tries.iter().all(|call| call["error"]["fate"] == "not-sent" && call["arguments"] == json!({})),
        "{tries:?}"
    );
    assert_eq!(node.count("awscni_ec2api_error_count{fn=\"DetachNetworkInterface\"}"), 12);
    assert_eq!(node.count("awscni_ipamd_error_count{fn=\"decreaseIPPoolFreeENIFailed\"}"), 1);
    assert!(node.series("aws_api_error_count{api=\"Detach").is_empty());
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn revisit_costs_one_look_up_for_an_address_that_was_given_back_long_ago() {
    for again in [true, false] {
        let settings = json!({"WARM_IP_TARGET": "1", "IP_COOLDOWN_PERIOD": "0", "DISABLE_LEAKED_ENI_CLEANUP": "true"});
        let mut node = Node::boot(1, 10, &settings, &json!({}));
        node.add(0);
        node.pass(20.0);
        node.del(0);
        node.pass(610.0);
        let released = node.calls_of(0, "UnassignPrivateIpAddresses")[0]["arguments"]["v4"][0].clone();
        if again {
            node.ask(&json!({"world": {"reuse": [released]}}));
        }
        let from = node.calls.len();
        node.add(1);
        node.pass(100.0);
        assert_eq!(
            node.calls_of(from, "DescribeNetworkInterfaces").len(),
            usize::from(again),
            "{:?}",
            &node.calls[from..]
        );
    }
}

#[test]
#[ignore = "needs Go: run .ci/run"]
fn addresses_and_prefixes_are_reconciled_apart() {
    let mut node = Node::boot(1, 10, &json!({"WARM_IP_TARGET": "1", "DISABLE_LEAKED_ENI_CLEANUP": "true"}), &json!({}));
    node.pass(10.0);
    let from = node.calls.len();
    for cidr in ["10.9.9.1/32", "10.9.8.0/28"] {
        node.ask(&json!({"world": {"give_cidr": {"eni": "eni-00000001", "cidr": cidr}}}));
    }
    for _ in 0..40 {
        node.pass(2.0);
        if !node.calls_of(from, "DescribeNetworkInterfaces").is_empty() {
            break;
        }
    }
    assert_eq!(node.calls_of(from, "DescribeNetworkInterfaces").len(), 2, "{:?}", &node.calls[from..]);
    let adopted = node.original.view.enis["eni-00000001"]["v4"].to_string();
    assert!(adopted.contains("10.9.9.1/32") && adopted.contains("10.9.8.0/28"), "{adopted}");
}
