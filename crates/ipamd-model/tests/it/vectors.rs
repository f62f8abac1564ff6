//! Settled nodes: the published tables, the prose examples, and the integration tests' expectations.

use cni_types::limits;
use ipamd_model::plan::{MaxPodsQuestion, NodePlan, NodeQuestion, Warning, settle};
use ipamd_model::settings::Settings;

fn plan(instance_type: &str, env: &[(&str, &str)], pods: u32) -> NodePlan {
    let settings = Settings::from_env(env.iter().copied().chain([("ENABLE_IPv4", "true")]));
    let limits = limits::find(instance_type).unwrap();
    settle(&NodeQuestion { limits, settings, pods, max_pods: 10_000, host_network_pods: 2 }).unwrap()
}

fn list(text: &str) -> Vec<u32> {
    text.split(',').filter_map(|number| number.parse().ok()).collect()
}

#[test]
fn the_published_tables_hold() {
    let names = ["WARM_ENI_TARGET", "WARM_PREFIX_TARGET", "WARM_IP_TARGET", "MINIMUM_IP_TARGET"];
    let rows = include_str!("../data/pool_vectors.txt").lines().filter(|line| !line.starts_with('#'));
    let mut checked = 0;
    for row in rows {
        let words: Vec<_> = row.split(' ').collect();
        let mut env: Vec<_> = names.into_iter().zip(words[1..5].iter().copied()).filter(|(_, v)| *v != "-").collect();
        let prefix = words[0] == "p";
        if prefix {
            env.push(("ENABLE_PREFIX_DELEGATION", "true"));
        }
        let plan = plan("t3.small", &env, words[5].parse().unwrap());
        let numbers: Vec<u32> = words[6..10].iter().map(|word| word.parse().unwrap()).collect();
        assert_eq!(vec![plan.enis, plan.total_ips, plan.prefixes, plan.unused], numbers, "{row}");
        let per_eni = if prefix { &plan.prefixes_per_eni } else { &plan.ips_per_eni };
        assert_eq!(*per_eni, list(words[11]), "{row}");
        assert_eq!(plan.pods_per_eni, list(words[12]), "{row}");
        assert_eq!(plan.pods_per_prefix, list(words[13]), "{row}");
        let free = plan.pods_per_prefix.iter().filter(|pods| **pods == 0).count();
        assert_eq!(free, words[10].parse::<usize>().unwrap(), "{row}");
        checked += 1;
    }
    assert_eq!(checked, 22);
}

#[test]
fn a_warm_ip_target_keeps_exactly_that_many_free() {
    for pods in [0, 1, 7, 20] {
        assert_eq!(plan("m5.large", &[("WARM_IP_TARGET", "5")], pods).unused, 5);
    }
}

#[test]
fn a_pod_in_a_prefix_makes_the_next_one_needed() {
    let env = [("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_IP_TARGET", "16")];
    assert_eq!(plan("m5.large", &env, 0).prefixes, 1);
    assert_eq!(plan("m5.large", &env, 1).prefixes, 2);
}

#[test]
fn a_minimum_saves_what_a_warm_target_would_double() {
    assert_eq!(plan("m5.4xlarge", &[("WARM_IP_TARGET", "30")], 30).total_ips, 60);
    let both = [("WARM_IP_TARGET", "2"), ("MINIMUM_IP_TARGET", "30")];
    assert_eq!(plan("m5.4xlarge", &both, 30).total_ips, 32);
    let recommended = [("WARM_IP_TARGET", "2"), ("MINIMUM_IP_TARGET", "12")];
    for (pods, total) in [(0, 12), (10, 12), (11, 13)] {
        assert_eq!(plan("m5.4xlarge", &recommended, pods).total_ips, total);
    }
}

#[test]
fn a_minimum_alone_freezes_the_pool() {
    let plan = plan("m5.large", &[("MINIMUM_IP_TARGET", "6")], 9);
    assert_eq!((plan.total_ips, plan.assigned), (6, 6));
    assert!(plan.warnings.contains(&Warning::MinimumFreezesPool { minimum: 6 }));
    assert!(plan.warnings.contains(&Warning::PodsWithoutAddress { pods: 3 }));
}

#[test]
fn comments_of_the_agent_hold_where_they_are_not_out_of_date() {
    assert_eq!(plan("m4.4xlarge", &[("WARM_IP_TARGET", "1")], 9).total_ips, 10);
    let both = [("WARM_IP_TARGET", "1"), ("MINIMUM_IP_TARGET", "12")];
    assert_eq!(plan("m4.4xlarge", &both, 9).total_ips, 12);
}

#[test]
fn idle_nodes_have_the_enis_their_targets_ask_for() {
    assert_eq!(plan("m5.large", &[("WARM_ENI_TARGET", "3"), ("MAX_ENI", "2")], 0).enis, 2);
    assert_eq!(plan("m5.large", &[("WARM_ENI_TARGET", "3")], 0).enis, 3);
    assert_eq!(plan("m5.large", &[("WARM_ENI_TARGET", "2")], 0).enis, 2);
}

#[test]
fn idle_nodes_have_the_addresses_their_targets_ask_for() {
    for (warm, minimum, total) in [("2", "0", 2), ("16", "0", 16), ("0", "2", 2), ("0", "16", 16), ("6", "10", 10)] {
        let env = [("WARM_IP_TARGET", warm), ("MINIMUM_IP_TARGET", minimum)];
        assert_eq!(plan("m5.xlarge", &env, 0).total_ips, total);
    }
}

#[test]
fn idle_prefix_nodes_have_the_prefixes_their_targets_ask_for() {
    for (warm, minimum) in [("2", "0"), ("16", "0"), ("0", "2"), ("0", "16"), ("6", "10")] {
        for warm_prefix in ["0", "1", "2"] {
            let env = [
                ("ENABLE_PREFIX_DELEGATION", "true"),
                ("WARM_IP_TARGET", warm),
                ("MINIMUM_IP_TARGET", minimum),
                ("WARM_PREFIX_TARGET", warm_prefix),
            ];
            assert_eq!(plan("m5.xlarge", &env, 0).prefixes, 1, "{env:?}");
        }
    }
    let env = [("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "2")];
    assert_eq!(plan("m5.xlarge", &env, 0).prefixes, 2);
}

#[test]
fn custom_networking_leaves_the_primary_empty() {
    let plan = plan("m5.large", &[("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true")], 18);
    assert_eq!((plan.enis, plan.ips_per_eni.as_slice()), (3, [0, 9, 9].as_slice()));
    assert_eq!(plan.assigned, 18);
}

#[test]
fn growth_stops_at_the_nodes_pod_capacity() {
    let limits = limits::find("m5.large").unwrap();
    let settings = Settings::manifest_with([("ENABLE_PREFIX_DELEGATION", "true")]);
    let plan = settle(&NodeQuestion { limits, settings, pods: 40, max_pods: 29, host_network_pods: 2 }).unwrap();
    assert_eq!((plan.total_ips, plan.assigned), (32, 32));
    assert!(plan.warnings.contains(&Warning::GrowthCapped { max_pods: 29 }));
    assert!(plan.warnings.contains(&Warning::PodsBeyondMaxPods { pods: 40, host_network_pods: 2, max_pods: 29 }));
}

/// The published formulas: ENIs x slots + 2, times 16 with prefixes, one ENI less with custom
/// networking, `MAX_ENI`, and the recommended caps either side of 30 vCPUs.
#[test]
fn max_pods_follow_the_published_formulas() {
    let question = |instance_type: &str, vcpus| MaxPodsQuestion {
        limits: limits::find(instance_type).unwrap(),
        prefix_delegation: false,
        pod_eni: false,
        host_network_pods: 2,
        custom_networking: false,
        max_eni: None,
        vcpus,
        capped: true,
    };
    let large = question("m5.large", 2).answer();
    assert_eq!((large.max_pods, large.by_slots), (3 * 9 + 2, 29));
    let prefixes = MaxPodsQuestion { prefix_delegation: true, ..question("m5.large", 2) };
    assert_eq!((prefixes.answer().max_pods, prefixes.answer().by_slots), (110, 3 * 9 * 16 + 2));
    assert_eq!(MaxPodsQuestion { capped: false, ..prefixes }.answer().max_pods, 434);
    let custom = MaxPodsQuestion { custom_networking: true, ..question("m5.large", 2) };
    assert_eq!(custom.answer().max_pods, 2 * 9 + 2);
    let fewer = MaxPodsQuestion { max_eni: Some(2), ..question("m5.large", 2) };
    assert_eq!(fewer.answer().max_pods, 20);
    let big = |vcpus| question("m5.24xlarge", vcpus).answer().max_pods;
    assert_eq!([big(30), big(31)], [110, 250]);
}
