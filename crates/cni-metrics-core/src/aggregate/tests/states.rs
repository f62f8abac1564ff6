//! What a node is found to be, and how many addresses it can use.

use super::*;
use crate::agent::PoolSettings;
use cni_types::node_state::{NodeState, NodeStates};

const PLAIN: PoolSettings = PoolSettings { custom_networking: false, pod_eni: false };

fn page(ip_max: f64, eni_max: f64, held: f64, assigned: f64) -> Page {
    Page::old()
        .with(Family::IpMax, ip_max)
        .with(Family::EniMax, eni_max)
        .with(Family::TotalIpAddresses, held)
        .with(Family::AssignedIpAddresses, assigned)
        .with(Family::NoAvailableIpAddresses, 0.0)
}

fn with(pool: Option<PoolSettings>, instance_type: &str) -> Helper {
    let labels = NodeLabels { instance_type: Some(instance_type.into()), ..NodeLabels::default() };
    Helper { agent: AgentFacts { pool, ..AgentFacts::default() }, labels: Arc::new(labels), ..helper() }
}

/// The only node's states and its usable addresses after one more round with this page.
fn look(helper: &mut Helper, page: Page) -> (Vec<&'static str>, Option<u32>) {
    let node = &helper.round(vec![("u", Ok(page))]).nodes[0];
    (node.states.iter().map(NodeState::label).collect(), node.usable_ip_addresses)
}

#[test]
fn usable_addresses_are_those_of_all_interfaces_that_pods_can_use() {
    let usable = |pool, instance_type: &str, ip_max, eni_max| {
        look(&mut with(pool, instance_type), page(ip_max, eni_max, 1.0, 0.0)).1
    };
    let (custom, pod_eni) =
        (PoolSettings { custom_networking: true, ..PLAIN }, PoolSettings { pod_eni: true, ..PLAIN });
    let both = PoolSettings { custom_networking: true, pod_eni: true };
    assert_eq!(usable(Some(PLAIN), "m5.large", 27.0, 3.0), Some(27));
    assert_eq!(usable(Some(custom), "m5.large", 27.0, 3.0), Some(18), "none of the primary interface");
    assert_eq!(usable(Some(pod_eni), "m5.large", 27.0, 3.0), Some(18), "none of the trunk");
    assert_eq!(usable(Some(both), "m5.large", 27.0, 3.0), Some(9));
    assert_eq!(usable(Some(pod_eni), "t3.small", 9.0, 3.0), Some(9), "the type cannot have a trunk");
    assert_eq!(usable(Some(pod_eni), "x9.huge", 9.0, 3.0), Some(6), "an unknown type may have one");
    assert_eq!(usable(Some(custom), "m5.large", 432.0, 3.0), Some(288), "prefixes");
    assert_eq!(usable(Some(both), "t2.nano", 2.0, 1.0), Some(0));
    assert_eq!(usable(Some(custom), "m5.large", 27.0, 0.0), None, "the page does not say how many interfaces");
    assert_eq!(usable(None, "m5.large", 27.0, 3.0), None, "settings that are not known are not off");
    let several_cards = AgentFacts { multi_nic: true, pool: Some(PLAIN), version: None };
    let mut several_cards = Helper { agent: several_cards, ..helper() };
    assert_eq!(look(&mut several_cards, page(27.0, 3.0, 27.0, 27.0)), (vec!["ok"], None));
}

#[test]
fn a_node_is_full_by_what_it_can_use_and_not_by_ip_max() {
    let custom = Some(PoolSettings { custom_networking: true, ..PLAIN });
    assert_eq!(look(&mut with(custom, "t2.medium"), page(15.0, 3.0, 10.0, 10.0)), (vec!["full"], Some(10)));
    let plain = || with(Some(PLAIN), "t2.medium");
    assert_eq!(look(&mut plain(), page(15.0, 3.0, 10.0, 10.0)), (vec!["ok"], Some(15)), "its pool can grow");
    assert_eq!(look(&mut plain(), page(15.0, 3.0, 15.0, 15.0)).0, ["full"]);
    assert_eq!(look(&mut plain(), page(15.0, 3.0, 15.0, 9.0)).0, ["ok"], "all interfaces are attached, and not needed");
    assert_eq!(look(&mut with(None, "t2.medium"), page(15.0, 3.0, 15.0, 15.0)).0, ["full"], "none can use more");
    assert_eq!(look(&mut with(None, "t2.medium"), page(15.0, 3.0, 10.0, 10.0)).0, ["ok"]);
    assert_eq!(look(&mut plain(), page(0.0, 3.0, 0.0, 0.0)).0, ["ok"], "an agent that has not begun");
    let ipv6 = page(0.0, 3.0, crate::model::IPV6_PREFIX_ADDRESSES, 17.0);
    assert_eq!(look(&mut plain(), ipv6), (vec!["ok"], None));
}

#[test]
fn addresses_in_cool_down_do_not_hide_a_full_node() {
    let mut helper = with(Some(PLAIN), "t2.medium");
    let mut states = |assigned, refused| {
        look(&mut helper, page(15.0, 3.0, 15.0, assigned).with(Family::NoAvailableIpAddresses, refused)).0
    };
    assert_eq!(states(15.0, 0.0), ["full"]);
    for _ in 0..3 {
        assert_eq!(states(12.0, 0.0), ["full"], "all were assigned in one of the last four rounds");
    }
    assert_eq!(states(12.0, 0.0), ["ok"]);
    assert_eq!(states(12.0, 5.0), ["refusing", "full"]);
    assert_eq!(states(12.0, 5.0), ["full"], "it refused in one of the last two rounds");
    assert_eq!(states(12.0, 5.0), ["ok"]);
}

#[test]
fn a_node_that_refuses_and_can_still_grow_is_not_full() {
    let mut helper = with(Some(PLAIN), "t2.medium");
    let mut states =
        |refused| look(&mut helper, page(15.0, 3.0, 10.0, 10.0).with(Family::NoAvailableIpAddresses, refused)).0;
    assert_eq!(states(900.0), ["ok"], "refused at some time before the first round");
    assert_eq!(states(901.0), ["refusing"]);
    assert_eq!(states(901.0), ["ok"]);
}

#[test]
fn rounds_without_an_answer_pass_too() {
    let mut helper = with(Some(PLAIN), "t2.medium");
    assert_eq!(look(&mut helper, page(15.0, 3.0, 15.0, 15.0)).0, ["full"]);
    for _ in 0..3 {
        let silent = helper.round(vec![("u", Err(FailureKind::Timeout))]);
        assert_eq!(silent.nodes[0].states, NodeStates::from_iter([NodeState::Silent]));
        assert_eq!(silent.nodes[0].usable_ip_addresses, None, "it did not answer");
        assert_eq!(silent.coverage.states.get(NodeState::Silent), 1);
    }
    assert_eq!(look(&mut helper, page(15.0, 3.0, 15.0, 12.0)).0, ["ok"]);
}

#[test]
fn a_single_look_knows_totals_and_not_what_is_refused_now() {
    let aggregator = Aggregator::new(helper().aggregator.start, CounterMode::Totals);
    let mut once = Helper { aggregator, ..with(Some(PLAIN), "t2.medium") };
    let refused = |page: Page| page.with(Family::NoAvailableIpAddresses, 7.0);
    assert_eq!(look(&mut once, refused(page(15.0, 3.0, 10.0, 10.0))).0, ["ok"]);
    assert_eq!(look(&mut once, refused(page(15.0, 3.0, 15.0, 15.0))).0, ["full"]);
}

#[test]
fn each_state_of_a_node_is_counted() {
    let mut helper = with(Some(PLAIN), "t2.medium");
    let good = || page(15.0, 3.0, 15.0, 15.0);
    helper.round(["a", "b", "c", "d"].map(|uid| (uid, Ok(good()))).into());
    let refusing = good().with(Family::NoAvailableIpAddresses, 2.0);
    let odd = page(15.0, -3.0, 12.0, 2.0).damaged(Family::IpamdErrorCount, 1.0);
    let calm = page(15.0, 3.0, 15.0, 1.0);
    let round =
        helper.round(vec![("a", Ok(refusing)), ("b", Ok(odd)), ("c", Err(FailureKind::NoRoute)), ("e", Ok(calm))]);
    let counts: Vec<(&str, u64)> = round.coverage.states.iter().map(|(state, nodes)| (state.label(), nodes)).collect();
    let expected = [("ok", 1), ("refusing", 1), ("full", 1), ("implausible", 1), ("damaged", 1), ("silent", 1)];
    assert_eq!(counts, expected);
}
