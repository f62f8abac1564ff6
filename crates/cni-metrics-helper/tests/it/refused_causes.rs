//! Why pods get no address, one simulated cluster per cause of `docs/metrics.md`: what the nodes' states say, and what the log
//! says when requests are refused and no findings are drawn (`INSIGHT=off`).

use cni_metrics_core::model::Snapshot;
use cni_sim::scenario::Scenario;
use cni_testkit::world::World;
use cni_types::catalogue::Metric;
use cni_types::node_state::NodeState;

const ROUNDS: usize = 8;

/// A group of four nodes in a large subnet, with twenty minutes behind them.
fn scenario(group: &str, workload: &str) -> Scenario {
    let text = format!(
        "name: cause\nwarm_up: 20m\n\
         subnets: [{{ name: a, cidr: 10.0.0.0/16, zone: eu-central-1a }}, {{ name: pods, cidr: 100.64.0.0/18, zone: eu-central-1a }}]\n\
         node_groups: [{{ name: all, count: 4, subnet: a, {group} }}]\nworkload: [{{ {workload} }}]\n"
    );
    Scenario::parse(&text, "cause.yaml").unwrap()
}

/// Rounds of a cluster, and the log's lines about refused requests.
async fn play(scenario: Scenario) -> (Vec<std::sync::Arc<Snapshot>>, Vec<String>) {
    cni_testkit::log::capture();
    let mut world = World::start(scenario).await;
    let mut helper = world.helper(&["--insight", "off"]).await;
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        if round > 0 {
            world.advance(&[&helper]).await;
        }
        rounds.push(helper.round().await);
    }
    helper.end().await;
    let log = cni_testkit::log::captured();
    let lines =
        log.lines().filter(|line| line.contains("WARN") && line.contains("refused on")).map(str::to_owned).collect();
    (rounds, lines)
}

fn all_are(snapshot: &Snapshot, state: NodeState, is_in_it: bool) -> bool {
    snapshot.nodes.iter().all(|node| node.states.contains(state) == is_in_it)
}

fn assert_warned(lines: &[String], cause: &str) {
    assert!(!lines.is_empty() && lines.iter().all(|line| line.contains(cause)), "{cause:?} in {lines:#?}");
}

#[test]
async fn with_custom_networking_a_node_is_full_below_ip_max() {
    let group = "instance_type: t2.medium, pod_subnet: pods, max_pods: 17";
    let (rounds, lines) = Box::pin(play(scenario(group, "pods_per_node: 15, churn_per_minute: 0"))).await;
    let last = rounds.last().unwrap();
    for node in &last.nodes {
        let value = |metric| node.values.get(metric);
        assert_eq!(value(Metric::MaxIpAddresses), Some(15.0));
        assert_eq!((value(Metric::AssignIpAddresses), value(Metric::TotalIpAddresses)), (Some(10.0), Some(10.0)));
        assert_eq!(node.usable_ip_addresses, Some(10));
    }
    assert!(all_are(last, NodeState::Full, true) && all_are(last, NodeState::Refusing, true));
    assert_eq!(last.metrics.get(Metric::AwsApiErr), Some(0.0));
    assert_warned(&lines, "4 nodes are full");
    assert_warned(&lines, "cni-metrics-helper plan max-pods");
}

#[test]
async fn with_security_groups_for_pods_the_trunks_addresses_are_not_usable() {
    let group = "instance_type: m5.large, max_pods: 29, env: { ENABLE_POD_ENI: true }";
    let (rounds, lines) = Box::pin(play(scenario(group, "pods_per_node: 22, churn_per_minute: 0"))).await;
    let last = rounds.last().unwrap();
    assert!(last.nodes.iter().all(|node| node.usable_ip_addresses == Some(18)), "{:?}", last.nodes);
    assert!(all_are(last, NodeState::Full, true) && all_are(last, NodeState::Refusing, true));
    assert_warned(&lines, "4 nodes are full");
}

#[test]
async fn on_a_full_node_addresses_that_cool_down_look_free() {
    let group = "instance_type: m5.large";
    let (rounds, lines) = Box::pin(play(scenario(group, "pods_per_node: 22, churn_per_minute: 24"))).await;
    let last = rounds.last().unwrap();
    assert!(all_are(last, NodeState::Full, true) && all_are(last, NodeState::Refusing, true));
    for node in &last.nodes {
        let value = |metric| node.values.get(metric).unwrap();
        assert!(value(Metric::AssignIpAddresses) < value(Metric::TotalIpAddresses), "{node:?}");
        assert_eq!(node.usable_ip_addresses, Some(27));
    }
    assert_warned(&lines, "full (all addresses that pods can use are assigned or cooling down)");
}

#[test]
async fn a_minimum_without_a_warm_target_is_frozen_and_such_a_node_is_not_full() {
    let group = "instance_type: m5.large, env: { MINIMUM_IP_TARGET: 12 }";
    let (rounds, lines) = Box::pin(play(scenario(group, "pods_per_node: 20, churn_per_minute: 0"))).await;
    let last = rounds.last().unwrap();
    assert!(last.nodes.iter().all(|node| node.values.get(Metric::TotalIpAddresses) == Some(12.0)), "{:?}", last.nodes);
    assert!(all_are(last, NodeState::Full, false) && all_are(last, NodeState::Refusing, true));
    assert_eq!(last.metrics.get(Metric::AwsApiErr), Some(0.0));
    assert_warned(&lines, "raise the warm targets");
}

#[test]
async fn a_warm_pool_that_is_too_small_for_the_rate_of_new_pods_shows_no_other_sign() {
    let group = "instance_type: m5.4xlarge, env: { WARM_IP_TARGET: 2 }";
    let (rounds, lines) = Box::pin(play(scenario(group, "pods_per_node: 20, churn_per_minute: 24"))).await;
    let refusing =
        rounds.iter().flat_map(|round| &round.nodes).filter(|node| node.states.contains(NodeState::Refusing));
    assert!(refusing.clone().count() > 0, "no node refuses");
    for node in refusing {
        assert!(!node.states.contains(NodeState::Full), "{node:?}");
    }
    assert_warned(&lines, "raise the warm targets");
}

#[test]
async fn agents_that_do_not_count_refused_requests_show_them_by_addresses_that_are_all_assigned() {
    let group = "instance_type: m5.large, agent: legacy, agent_version: v1.12.6, max_pods: 40";
    let (rounds, lines) = Box::pin(play(scenario(group, "pods_per_node: 30, churn_per_minute: 0"))).await;
    let last = rounds.last().unwrap();
    assert_eq!(last.metrics.get(Metric::NoAvailableIpAddresses), None, "it is not known, and not 0");
    assert!(
        last.metrics.get(Metric::AddReqCount).is_some_and(|requests| requests > 0.0),
        "the pods ask again and again"
    );
    for node in &last.nodes {
        assert_eq!(node.values.get(Metric::AssignIpAddresses), node.values.get(Metric::TotalIpAddresses));
    }
    assert!(all_are(last, NodeState::Full, true) && all_are(last, NodeState::Refusing, false));
    assert_eq!(lines, Vec::<String>::new());
}

#[test]
async fn a_full_node_that_refuses_nothing_is_full_and_one_that_has_room_is_ok() {
    let (rounds, lines) =
        Box::pin(play(scenario("instance_type: m5.large", "pods_per_node: 27, churn_per_minute: 0"))).await;
    let last = rounds.last().unwrap();
    assert!(all_are(last, NodeState::Full, true) && all_are(last, NodeState::Refusing, false));
    assert_eq!(lines, Vec::<String>::new());

    // A small instance has all its interfaces attached; that alone is no state.
    let (rounds, _) =
        Box::pin(play(scenario("instance_type: m5.large", "pods_per_node: 19, churn_per_minute: 0"))).await;
    let last = rounds.last().unwrap();
    assert!(last.nodes.iter().all(|node| node.values.get(Metric::TotalIpAddresses) == Some(27.0)), "{:?}", last.nodes);
    assert!(all_are(last, NodeState::Ok, true), "{:?}", last.coverage.states);
}

#[test]
async fn the_code_that_ec2_answers_is_named_with_what_helps() {
    for (name, code, remedy) in [
        ("subnet-exhaustion", "InsufficientFreeAddressesInSubnet", "the subnet has no free address"),
        ("fragmentation", "InsufficientCidrBlocks", "the subnet has no free /28 block"),
        ("missing-iam", "UnauthorizedOperation", "attach the policy AmazonEKS_CNI_Policy"),
        ("throttling", "RequestLimitExceeded", "EC2 throttles the account"),
        ("imds-trouble", "IMDSRequestError", "enable the node's instance metadata service"),
    ] {
        let (_, lines) = Box::pin(play(Scenario::named(name).unwrap())).await;
        assert!(lines.iter().any(|line| line.contains(code) && line.contains(remedy)), "{name}: {lines:#?}");
    }
}
