//! Every built-in scenario plays half an hour and shows what it is there to show.
#![expect(clippy::float_cmp, reason = "the figures are whole numbers")]

use std::sync::Arc;

use cni_sim::api_server::Backend;
use cni_sim::cluster::{Answer, PodKey, SimulatedCluster, Via};
use cni_sim::fault::{ApiFault, CloudWatchFault, ImdsFault};
use cni_sim::kube_store::{Kind, PodPhase};
use cni_sim::scenario::{BUILT_IN, Scenario};
use cni_sim::truth::NodeNumbers;
use cni_sim::truth::numbers::{COUNTERS, Gauge};

const START_MS: i64 = 1_772_352_000_000;
const MINUTE_MS: i64 = 60_000;

fn cluster(name: &str) -> Arc<SimulatedCluster> {
    SimulatedCluster::new(&Scenario::named(name).unwrap(), 1, START_MS).unwrap()
}

fn at_minute(cluster: &SimulatedCluster, minute: i64) {
    cluster.advance_to(START_MS + minute * MINUTE_MS);
}

fn counter(numbers: &NodeNumbers, name: &str) -> f64 {
    numbers.counters[COUNTERS.iter().position(|known| *known == name).unwrap()].unwrap()
}

fn gauge(numbers: &NodeNumbers, gauge: Gauge) -> f64 {
    numbers.gauge(gauge).unwrap()
}

/// The serving agents' numbers by the node group's name.
fn by_group(cluster: &SimulatedCluster) -> Vec<(String, PodKey, NodeNumbers)> {
    let group_of = |pod: &PodKey| {
        let pod = cluster.kube().pod(&pod.into()).unwrap();
        let node = cluster.kube().node(pod.node_name.as_ref().unwrap()).unwrap();
        node.meta.label("eks.amazonaws.com/nodegroup").unwrap().to_owned()
    };
    cluster.numbers().into_iter().map(|(pod, numbers)| (group_of(&pod), pod, numbers)).collect()
}

fn sum(cluster: &SimulatedCluster, group: &str, value: impl Fn(&NodeNumbers) -> f64) -> f64 {
    by_group(cluster).iter().filter(|(name, ..)| name == group).map(|(.., numbers)| value(numbers)).sum()
}

/// Addresses: what EC2 lent is what the nodes' ENIs hold.
fn assert_conserved(cluster: &SimulatedCluster) {
    let lent: Vec<u32> = cluster.status().subnets.iter().map(|subnet| subnet.lent).collect();
    assert_eq!(lent, cluster.held_by_nodes(), "{}", cluster.scenario().name);
    for subnet in cluster.status().subnets {
        assert!(subnet.free + subnet.lent + 5 <= subnet.size, "{subnet:?}");
    }
}

#[test]
fn every_built_in_scenario_plays_and_conserves_addresses() {
    for (name, _) in BUILT_IN {
        let cluster = cluster(name);
        assert_eq!(cluster.status().serving, cluster.scenario().nodes(), "{name}: every agent is up after the warm-up");
        for minute in 1..=30 {
            at_minute(&cluster, minute);
            assert_conserved(&cluster);
        }
        assert!(cluster.status().serving > 0, "{name}");
    }
}

#[test]
fn calm_is_calm() {
    let cluster = cluster("calm");
    at_minute(&cluster, 30);
    for (.., numbers) in by_group(&cluster) {
        assert_eq!(gauge(&numbers, Gauge::Assigned), 12.0);
        for name in ["awsAPIErr", "awsUtilErr", "ipamdErr", "podENIErr", "forceRemoveENI", "ec2ApiErrCount"] {
            assert_eq!(counter(&numbers, name), 0.0, "{name}");
        }
    }
}

#[test]
fn a_dry_subnet_refuses_pods_on_its_nodes_only() {
    let cluster = cluster("subnet-exhaustion");
    at_minute(&cluster, 5);
    let grows = |name: &'static str| {
        let before = sum(&cluster, "general-a", |numbers| counter(numbers, name));
        (name, before)
    };
    let before: Vec<_> = ["awsAPIErr", "ec2ApiErrCount", "ipamdErr", "noAvailableIPAddresses"].map(grows).into();
    let refused_b = sum(&cluster, "general-b", |numbers| counter(numbers, "noAvailableIPAddresses"));
    at_minute(&cluster, 15);
    for (name, before) in before {
        let now = sum(&cluster, "general-a", |numbers| counter(numbers, name));
        assert!(now > before, "{name}: {before} then {now}");
        // At the end of the growth a node may be refused once or twice while its pool follows.
        if name != "noAvailableIPAddresses" {
            assert_eq!(sum(&cluster, "general-b", |numbers| counter(numbers, name)), 0.0, "{name}");
        }
    }
    assert_eq!(sum(&cluster, "general-b", |numbers| counter(numbers, "noAvailableIPAddresses")), refused_b);
    let page = cluster.peek(&by_group(&cluster)[0].1).unwrap();
    let pages: Vec<_> = by_group(&cluster).iter().map(|(_, pod, _)| cluster.peek(pod).unwrap()).collect();
    let named = |page: &bytes::Bytes| String::from_utf8_lossy(page).contains("InsufficientFreeAddressesInSubnet");
    assert!(pages.iter().any(named), "no page names the error, for instance {page:?}");
    // After the fault pods get their addresses.
    at_minute(&cluster, 49);
    let assigned = sum(&cluster, "general-a", |numbers| gauge(numbers, Gauge::Assigned));
    assert_eq!(assigned, 5.0 * 48.0);
}

#[test]
fn fragmentation_starves_prefixes_while_addresses_are_free() {
    let cluster = cluster("fragmentation");
    at_minute(&cluster, 10);
    let subnet = &cluster.status().subnets[0];
    assert_eq!(subnet.free_prefixes, 0);
    assert!(subnet.free > 100, "{subnet:?}");
    assert!(sum(&cluster, "prefix", |numbers| counter(numbers, "awsAPIErr")) > 0.0);
    assert!(sum(&cluster, "prefix", |numbers| counter(numbers, "noAvailableIPAddresses")) > 0.0);
    let pages = by_group(&cluster);
    let text = String::from_utf8(cluster.peek(&pages[0].1).unwrap().to_vec()).unwrap();
    assert!(text.contains("InsufficientCidrBlocks"), "{text}");
}

#[test]
fn throttling_counts_errors_and_ends() {
    let cluster = cluster("throttling");
    at_minute(&cluster, 20);
    let during = throttled(&cluster);
    assert!(during > 20.0, "{during}");
    // What was under way when the throttling ended has given up by now. (Its aftermath, such as addresses that EC2
    // still holds for an ENI that has forgotten them, may bring other errors later.)
    at_minute(&cluster, 25);
    let after = throttled(&cluster);
    at_minute(&cluster, 30);
    assert_eq!(throttled(&cluster), after);
}

/// Calls that EC2 throttled, over all agents, as their pages count them.
fn throttled(cluster: &SimulatedCluster) -> f64 {
    let pages =
        cluster.numbers().into_iter().map(|(pod, _)| String::from_utf8(cluster.peek(&pod).unwrap().to_vec()).unwrap());
    let count = |page: String| -> f64 {
        let errors = page.lines().filter(|line| line.starts_with("awscni_aws_api_error_count{"));
        let throttled = errors.filter(|line| line.contains("RequestLimitExceeded"));
        throttled.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
    };
    pages.map(count).sum()
}

#[test]
fn a_missing_right_stops_one_group() {
    let cluster = cluster("missing-iam");
    at_minute(&cluster, 10);
    let errors = |group| sum(&cluster, group, |numbers| counter(numbers, "awsAPIErr"));
    assert!(errors("locked") > 0.0);
    assert_eq!(errors("general"), 0.0);
    let enis = |group| sum(&cluster, group, |numbers| gauge(numbers, Gauge::EniAllocated));
    assert!(enis("locked") < enis("general"), "{} {}", enis("locked"), enis("general"));
}

#[test]
fn leaked_addresses_come_back_with_a_restart() {
    let cluster = cluster("leaked-ips");
    at_minute(&cluster, 24);
    let assigned = || sum(&cluster, "general", |numbers| gauge(numbers, Gauge::Assigned));
    let running = cluster.status().pods as f64;
    assert_eq!(running, 48.0);
    assert!(assigned() > running + 20.0, "{} assigned for {running} pods", assigned());
    at_minute(&cluster, 28);
    assert_eq!(assigned(), 48.0);
}

#[test]
fn lost_nodes_are_noticed_deleted_and_replaced() {
    let cluster = cluster("node-loss");
    let nodes = || cluster.kube().count(Kind::Node);
    assert_eq!(nodes(), 12);
    cluster.advance_to(START_MS + 2 * MINUTE_MS + 1_000);
    // Instances are gone, the API server still shows their pods as Running.
    assert_eq!((cluster.status().nodes, nodes()), (10, 12));
    let lost = |pod: &PodKey| matches!(cluster.serve(pod, Via::Proxy), Answer::Dropped);
    let pods: Vec<PodKey> = agents(&cluster);
    assert_eq!(pods.iter().filter(|pod| lost(pod)).count(), 2);
    cluster.advance_to(START_MS + 3 * MINUTE_MS);
    let ready = |cluster: &SimulatedCluster| cluster.kube().pods().iter().filter(|pod| pod.ready()).count();
    assert_eq!(ready(&cluster), 10);
    at_minute(&cluster, 7);
    assert_eq!((cluster.status().nodes, cluster.status().serving, nodes()), (12, 12, 12));
    assert_eq!(agents(&cluster).iter().filter(|pod| lost(pod)).count(), 0);
    at_minute(&cluster, 9);
    assert_eq!(sum(&cluster, "stable", |numbers| counter(numbers, "forceRemoveENI")), 1.0);
    at_minute(&cluster, 14);
    assert_eq!(nodes(), 15);
}

fn agents(cluster: &SimulatedCluster) -> Vec<PodKey> {
    let pods = cluster.kube().pods();
    let agents = pods.iter().filter(|pod| pod.meta.label("k8s-app") == Some("aws-node"));
    agents.map(|pod| PodKey::new(&*pod.meta.namespace, &*pod.meta.name)).collect()
}

#[test]
fn restarted_agents_begin_at_zero_and_are_refused_meanwhile() {
    let cluster = cluster("restart-heavy");
    let start_of = |cluster: &SimulatedCluster| -> Vec<i64> {
        cluster.numbers().iter().map(|(_, n)| n.process_start_ms).collect()
    };
    let before = start_of(&cluster);
    at_minute(&cluster, 7);
    let changed = start_of(&cluster).iter().zip(&before).filter(|(now, before)| now != before).count();
    assert_eq!(changed, 4, "a third of nine, rounded up");
    let restarts: u32 = cluster.kube().pods().iter().map(|pod| pod.containers[0].restarts).sum();
    assert!((4..=8).contains(&restarts), "{restarts}");
    cluster.advance_to(START_MS + 20 * MINUTE_MS + 1_900);
    assert!(agents(&cluster).iter().any(|pod| matches!(cluster.serve(pod, Via::Direct), Answer::Refused)));
    assert!(cluster.kube().pods().iter().all(|pod| pod.phase == PodPhase::Running));
    at_minute(&cluster, 22);
    assert!(cluster.numbers().iter().all(|(_, n)| n.process_start_ms >= START_MS + 20 * MINUTE_MS));
}

#[test]
fn pages_go_wrong_in_every_way() {
    let cluster = cluster("slow-nodes");
    at_minute(&cluster, 2);
    let answers: Vec<Answer> = agents(&cluster).iter().map(|pod| cluster.serve(pod, Via::Proxy)).collect();
    let count = |fits: fn(&Answer) -> bool| answers.iter().filter(|answer| fits(answer)).count();
    assert_eq!(count(|answer| matches!(answer, Answer::Dropped)), 2, "the fenced group");
    assert_eq!(count(|answer| matches!(answer, Answer::Page { .. })), 10, "the healthy group");
    assert_eq!(count(|answer| matches!(answer, Answer::SlowPage { .. })), 2);
    assert_eq!(count(|answer| matches!(answer, Answer::Hang)), 2);
    assert_eq!(count(|answer| matches!(answer, Answer::EndlessSlow)), 1);
    assert_eq!(count(|answer| matches!(answer, Answer::Reset)), 1);
    assert_eq!(count(|answer| matches!(answer, Answer::Refused)), 1);
    assert_eq!(count(|answer| matches!(answer, Answer::Status { code: 200, .. })), 3, "garbage, HTML, nothing");
    assert_eq!(count(|answer| matches!(answer, Answer::Truncated { .. })), 1);
    assert_eq!(count(|answer| matches!(answer, Answer::Huge { .. })), 1);
    assert_eq!(count(|answer| matches!(answer, Answer::GzipBomb { .. })), 1);
    assert_eq!(count(|answer| matches!(answer, Answer::Status { code: 503, .. })), 1);
    let direct: Vec<Answer> = agents(&cluster).iter().map(|pod| cluster.serve(pod, Via::Direct)).collect();
    assert!(!direct.iter().any(|answer| matches!(answer, Answer::Dropped)), "direct scraping reaches the fenced ones");
    at_minute(&cluster, 12);
    let healthy =
        agents(&cluster).iter().filter(|pod| matches!(cluster.serve(pod, Via::Direct), Answer::Page { .. })).count();
    assert_eq!(healthy, 26);
}

#[test]
fn services_fail_on_schedule() {
    let cluster = cluster("api-server-trouble");
    assert_eq!(cluster.api_fault(), ApiFault::None);
    at_minute(&cluster, 2);
    assert!(matches!(cluster.api_fault(), ApiFault::Status { code: 429, retry_after_s: Some(2), .. }));
    cluster.advance_to(START_MS + 8 * MINUTE_MS + 10_000);
    assert_eq!(cluster.api_fault(), ApiFault::Down);
    at_minute(&cluster, 9);
    assert_eq!(cluster.api_fault(), ApiFault::None);
    let cluster = self::cluster("cloudwatch-outage");
    at_minute(&cluster, 60);
    assert_eq!(cluster.cloudwatch_fault(), CloudWatchFault::Down);
    let cluster = self::cluster("imds-trouble");
    at_minute(&cluster, 5);
    assert_eq!(cluster.imds_fault(), ImdsFault::Hang);
    assert!(sum(&cluster, "deaf", |numbers| counter(numbers, "awsAPIErr")) > 0.0);
    assert_eq!(sum(&cluster, "general", |numbers| counter(numbers, "awsAPIErr")), 0.0);
    at_minute(&cluster, 11);
    assert_eq!(cluster.imds_fault(), ImdsFault::None);
}

#[test]
fn modes_show_their_own_figures() {
    let cluster = cluster("prefix");
    at_minute(&cluster, 20);
    assert!(sum(&cluster, "warm-prefix", |numbers| gauge(numbers, Gauge::Prefixes)) >= 12.0);
    let cluster = self::cluster("ipv6");
    for (group, _, numbers) in by_group(&cluster) {
        assert_eq!(numbers.ipv6, group == "six");
        assert_eq!(gauge(&numbers, Gauge::Total) >= 281_474_976_710_656.0, group == "six");
    }
    let cluster = self::cluster("custom-networking");
    assert_eq!(cluster.status().subnets[0].lent, 8, "only primary addresses in the nodes' subnet");
    assert!(cluster.kube().pods().iter().any(|pod| pod.pod_ip.is_some_and(|ip| ip.to_string().starts_with("100.64."))));
}

#[test]
fn old_agents_show_quantiles_and_agents_before_1_19_1_gauges() {
    let cluster = cluster("mixed-version");
    at_minute(&cluster, 5);
    for (group, pod, _) in by_group(&cluster) {
        let text = String::from_utf8(cluster.peek(&pod).unwrap().to_vec()).unwrap();
        assert_eq!(text.contains("quantile=\"0.99\""), group == "old", "{group}");
        assert_eq!(text.contains("# TYPE awscni_add_ip_req_count gauge"), group != "current", "{group}");
        let reads =
            text.lines().find_map(|line| line.strip_prefix("awscni_aws_api_latency_ms_count{api=\"GetMetadata\""));
        let count = reads.and_then(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok());
        assert_eq!(count.is_some_and(|count| count > 30.0), group == "old", "{group}: {reads:?}");
    }
}
