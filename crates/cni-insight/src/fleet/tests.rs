//! Settings, versions and pools of several nodes beside each other.

use crate::catalogue::FindingId as Id;
use crate::evidence::{DaemonSetStatus, Source};
use crate::finding::{Conclusion, Severity, Turn};
use crate::insight::Insight;
use crate::mute::Mutes;
use crate::play::{Node, Play, found, named};

/// Ten nodes, of which this many have the new settings.
fn rolled_out(new: usize) -> Vec<Node> {
    let node = |number: usize| {
        let node = Node::new(&format!("n{number}"));
        if number < new { node.env("WARM_IP_TARGET", "5") } else { node }
    };
    (0..10).map(node).collect()
}

fn last(play: &mut Play, rounds: usize, nodes: &[Node]) -> Conclusion {
    (0..rounds).fold(Conclusion::default(), |_, _| play.round(nodes))
}

#[test]
fn settings_that_differ_are_info_while_an_update_goes_on_and_a_warning_once_it_stands_still() {
    let mut play = Play::every(60);
    play.round(&rolled_out(0));
    // A node in six minutes.
    for new in 1..=7 {
        for _ in 0..6 {
            let conclusion = play.round(&rolled_out(new));
            let loud = named(&conclusion).into_iter().any(|(_, severity)| severity < Severity::Info);
            assert!(!loud, "{new}: {:?}", named(&conclusion));
        }
    }
    let conclusion = play.round(&rolled_out(7));
    let finding = found(&conclusion, Id::SettingsDiffer);
    assert_eq!((finding.severity, finding.nodes, &*finding.identity.scope.name), (Severity::Info, 3, "general"));
    assert_eq!(finding.examples, ["n7", "n8", "n9"]);
    assert!(finding.says.contains("WARM_IP_TARGET (5 and 0)"), "{}", finding.says);
    assert!(finding.lacks.contains(&Source::DaemonSet), "{:?}", finding.lacks);
    let conclusion = last(&mut play, 30, &rolled_out(7));
    assert_eq!(named(&conclusion), [(Id::SettingsDiffer, Severity::Warning)]);
    let conclusion = play.round(&rolled_out(10));
    assert_eq!((named(&conclusion), conclusion.events.len()), (vec![], 1));
    assert_eq!(conclusion.events[0].turn, Turn::Closed);
}

#[test]
fn groups_may_differ_and_nodes_that_join_are_no_progress() {
    let mut play = Play::every(60);
    let nodes = |joined: usize| -> Vec<Node> {
        let mut nodes = rolled_out(2);
        nodes.extend((0..joined).map(|number| Node::new(&format!("joined{number}"))));
        nodes.push(Node { group: Some("batch"), ..Node::new("b").env("WARM_IP_TARGET", "9") });
        nodes
    };
    play.round(&nodes(0));
    let mut conclusion = Conclusion::default();
    for joined in 0..60 {
        conclusion = play.round(&nodes(joined));
    }
    assert_eq!(named(&conclusion), [(Id::SettingsDiffer, Severity::Warning)]);
    assert_eq!(conclusion.findings[0].nodes, 2);
}

#[test]
fn the_daemon_set_is_no_more_missed_once_it_is_read() {
    let mut play = Play::every(60);
    play.facts.daemon_set = Some(DaemonSetStatus { updated: 7, desired: 10, version: None });
    let conclusion = last(&mut play, 70, &rolled_out(7));
    let finding = found(&conclusion, Id::SettingsDiffer);
    assert!(!finding.lacks.contains(&Source::DaemonSet), "{:?}", finding.lacks);
}

#[test]
fn a_version_beside_another_names_both() {
    let mut play = Play::every(60);
    let mut nodes: Vec<Node> = ["a", "b", "c"].map(Node::new).into();
    nodes[2].version = Some(cni_types::version::AgentVersion::new(1, 20, 0));
    let conclusion = last(&mut play, 70, &nodes);
    let finding = found(&conclusion, Id::AgentVersionsDiffer);
    assert!(finding.says.contains("v1.23.2 and v1.20.0") && finding.nodes == 1, "{}", finding.says);
    assert_eq!(finding.examples, ["c"]);
}

/// Two nodes with this number of 400 addresses in use.
fn idle(assigned: f64) -> Vec<Node> {
    ["a", "b"].map(|name| Node::new(name).pool(assigned, 200.0, 232).max_pods(234)).into()
}

#[test]
fn a_pool_that_was_needed_at_any_moment_of_the_day_is_not_oversized() {
    let mut play = Play::every(60);
    let conclusion = last(&mut play, 1441, &idle(20.0));
    let finding = found(&conclusion, Id::WarmPoolOversized);
    assert_eq!((finding.severity, finding.nodes), (Severity::Info, 2));
    assert!(finding.says.contains("360 of 400") && finding.lacks.contains(&Source::Subnets), "{}", finding.says);
    // Once a day the pods need them.
    let mut play = Play::every(60);
    for round in 0..4000 {
        let conclusion = play.round(&idle(if round % 1400 == 0 { 101.0 } else { 20.0 }));
        assert_eq!(named(&conclusion), [], "round {round}");
    }
    // Few addresses are not worth it.
    let mut play = Play::every(60);
    assert_eq!(named(&last(&mut play, 1500, &[Node::new("a").pool(10.0, 100.0, 232).max_pods(234)])), []);
}

#[test]
fn pods_that_wait_for_the_pool_now_and_then_are_info_after_six_hours() {
    let short = |round: usize, each: usize| {
        let node = Node::new("n").pool(18.0, 18.0, 27);
        vec![if round.is_multiple_of(each) { node.refusing(1.0) } else { node }]
    };
    let share = |each: usize, rounds: usize| {
        let mut play = Play::every(60);
        let mut conclusion = Conclusion::default();
        for round in 0..rounds {
            let mut nodes = short(round, each);
            // The pool grows by one, and shrinks again.
            nodes[0].page.held = Some(18.0 + (round % 2) as f64);
            nodes[0].page.assigned = nodes[0].page.held;
            conclusion = play.round(&nodes);
        }
        conclusion
    };
    let conclusion = share(20, 399);
    let finding = found(&conclusion, Id::WarmPoolTooSmall);
    assert_eq!(finding.severity, Severity::Info);
    assert!(finding.says.contains("5.0 %"), "{}", finding.says);
    let is_there = |conclusion: &Conclusion| named(conclusion).iter().any(|(id, _)| *id == Id::WarmPoolTooSmall);
    assert!(!is_there(&share(20, 300)), "not before six hours");
    assert!(!is_there(&share(120, 399)), "one in 120");
}

#[test]
fn findings_of_settings_are_muted_like_others_and_cost_no_memory_per_node() {
    let mut play = Play::every(30);
    play.insight = Insight::new(Mutes::parse("warm-eni-target-ignored,prefixes-unsupported:general").unwrap());
    let nodes: Vec<Node> = (0..300)
        .map(|number| {
            let node = Node::new(&format!("n{number}")).env("WARM_ENI_TARGET", "3").env("WARM_IP_TARGET", "2");
            let node = node.env("ENABLE_PREFIX_DELEGATION", "true").pool(5.0, 9.0, 18).max_pods(20);
            Node { instance_type: Some("m4.large"), ..node }
        })
        .collect();
    let conclusion = last(&mut play, 3, &nodes);
    let muted: Vec<Id> =
        conclusion.findings.iter().filter(|finding| finding.is_muted).map(|one| one.identity.id).collect();
    assert_eq!(muted, [Id::WarmEniTargetIgnored, Id::PrefixesUnsupported]);
    let open: Vec<_> = conclusion.findings.iter().filter(|finding| !finding.is_muted).collect();
    assert_eq!(open.len(), 1);
    assert_eq!((open[0].identity.id, open[0].nodes), (Id::WarmIpTargetCostsPrefix, 300));
    assert!(play.insight.has_only_calm_nodes());
}

#[test]
fn one_look_shows_what_settings_say() {
    let conclusion = Play::single().round(&[Node::new("n").env("WARM_ENI_TARGET", "3").env("MINIMUM_IP_TARGET", "2")]);
    assert_eq!(named(&conclusion), [(Id::WarmEniTargetIgnored, Severity::Info)]);
    assert!(conclusion.findings[0].says.contains("WARM_ENI_TARGET=3 beside MINIMUM_IP_TARGET"));
}

#[test]
fn the_order_of_nodes_with_many_variants_leaves_no_trace() {
    let nodes: Vec<Node> = (0..40)
        .map(|number| Node::new(&format!("n{number}")).env("MINIMUM_IP_TARGET", &(number % 37).to_string()))
        .collect();
    let (mut one, mut other) = (Play::every(60), Play::every(60));
    for round in 0..40 {
        let mut turned = nodes.clone();
        turned.rotate_left(round);
        turned.reverse();
        assert_eq!(one.round(&nodes), other.round(&turned));
    }
    let conclusion = one.round(&nodes);
    assert_eq!(found(&conclusion, Id::SettingsDiffer).nodes, 38);
}

#[test]
fn an_environment_is_known_by_what_is_in_it_and_not_by_where_it_lies() {
    let mut play = Play::every(30);
    // More than are judged once, and each at a place where another may have been.
    for round in 0..3_u32 {
        let nodes: Vec<Node> = (0..60)
            .map(|number| {
                let node = Node::new(&format!("n{number}")).env("MINIMUM_IP_TARGET", &(number % 30 + 1).to_string());
                node.env("WARM_ENI_TARGET", if (number + round).is_multiple_of(3) { "3" } else { "1" })
            })
            .collect();
        let conclusion = play.round(&nodes);
        assert_eq!(found(&conclusion, Id::WarmEniTargetIgnored).nodes, 20);
    }
    // The caller may use a place again within a round.
    let mut round = play.insight.begin(play.facts);
    for number in 0..40_u32 {
        let value = if number.is_multiple_of(4) { "3" } else { "1" };
        let node = Node::new(&format!("m{number}")).env("WARM_IP_TARGET", "2").env("WARM_ENI_TARGET", value);
        Play::observe(&mut round, &node);
    }
    assert_eq!(found(&round.finish(), Id::WarmEniTargetIgnored).nodes, 10);
}
