//! Findings over time: scopes, hold and clear times, and what is remembered.

use cni_types::random::Random;

use super::*;
use crate::evidence::NodeStatus;
use crate::finding::{Certainty, ScopeKind};
use crate::finding::{Severity, Turn};
use crate::play::{Node, Play, error, found, named};

const EXHAUSTED: &str = "InsufficientFreeAddressesInSubnet";

fn exhausted(name: &str) -> Node {
    Node::new(name).pool(18.0, 18.0, 27).refusing(3.0).counting(error("AssignPrivateIpAddresses", EXHAUSTED, 2.0))
}

fn full(name: &str) -> Node {
    Node::new(name).pool(27.0, 27.0, 27).refusing(5.0).max_pods(58)
}

/// Each finding's id, scope and number of nodes.
fn listed(conclusion: &Conclusion) -> Vec<(FindingId, &str, usize)> {
    let all = conclusion.findings.iter();
    all.map(|finding| (finding.identity.id, &*finding.identity.scope.name, finding.nodes)).collect()
}

#[test]
fn two_causes_at_once_are_two_findings_each_with_its_nodes() {
    let mut play = Play::every(30);
    let nodes = [exhausted("a"), exhausted("b"), exhausted("c"), full("d"), full("e"), Node::new("f")];
    play.round(&nodes.clone().map(|node| node.refusing(0.0)));
    let conclusion = play.round(&nodes);
    let expected = [(FindingId::SubnetExhausted, "zone-a/general", 3), (FindingId::MaxPodsTooHigh, "general", 2)];
    assert_eq!(listed(&conclusion), expected);
    assert_eq!(found(&conclusion, FindingId::SubnetExhausted).examples, ["a", "b", "c"]);
    assert_eq!(found(&conclusion, FindingId::MaxPodsTooHigh).examples, ["d", "e"]);
}

#[test]
fn one_cause_in_two_zones_is_two_findings_and_of_a_role_one() {
    let other = |node: Node| Node { zone: Some("zone-b"), ..node };
    let mut play = Play::every(30);
    let denied = |name| {
        Node::new(name).pool(18.0, 18.0, 27).refusing(1.0).counting(error(
            "CreateNetworkInterface",
            "UnauthorizedOperation",
            1.0,
        ))
    };
    let conclusion = play.round(&[exhausted("a"), other(exhausted("b"))]);
    let expected =
        [(FindingId::SubnetExhausted, "zone-a/general", 1), (FindingId::SubnetExhausted, "zone-b/general", 1)];
    assert_eq!(listed(&conclusion), expected);
    let conclusion = Play::every(30).round(&[denied("a"), other(denied("b"))]);
    assert_eq!(listed(&conclusion), [(FindingId::IamPermissionMissing, "general", 2)]);
}

#[test]
fn it_opens_and_closes_once_and_keeps_its_beginning() {
    let mut play = Play::every(30);
    let quiet = || [Node::new("a").pool(18.0, 18.0, 27)];
    play.round(&quiet());
    let first = play.round(&[exhausted("a")]);
    assert_eq!(first.events.len(), 1);
    assert_eq!((first.events[0].turn, first.events[0].severity), (Turn::Opened, Severity::Critical));
    let since = first.findings[0].since_ms;
    assert_eq!(since, play.facts.at_ms);
    let mut closed_after = None;
    for round in 1..20_i64 {
        let conclusion = play.round(&quiet());
        for finding in &conclusion.findings {
            assert_eq!((finding.since_ms, finding.last_seen_ms), (since, since), "round {round}");
            assert!(conclusion.events.is_empty());
        }
        if conclusion.findings.is_empty() && closed_after.is_none() {
            assert_eq!(conclusion.events[0].turn, Turn::Closed);
            closed_after = Some(round * 30);
        }
    }
    assert_eq!(closed_after, Some(330), "after 300 s without refusals");
}

#[test]
fn a_finding_does_not_outlive_its_nodes() {
    let mut play = Play::every(30);
    assert_eq!(play.round(&[exhausted("a"), Node::new("b")]).findings.len(), 1);
    let conclusion = play.round(&[Node::new("b")]);
    assert_eq!((conclusion.findings.len(), conclusion.events.len(), play.insight.known_nodes()), (0, 1, 1));
}

#[test]
fn a_page_after_a_gap_opens_nothing_alone() {
    let mut play = Play::every(30);
    play.round(&[Node::new("a").pool(18.0, 18.0, 27)]);
    play.facts.at_ms += 600_000;
    assert_eq!(named(&play.round(&[exhausted("a")])), []);
    assert_eq!(named(&play.round(&[exhausted("a")])), [(FindingId::SubnetExhausted, Severity::Critical)]);
}

#[test]
fn what_must_last_is_info_for_two_minutes_at_every_interval_and_critical_for_several_nodes() {
    let throttled = |name: &str| {
        Node::new(name).pool(18.0, 18.0, 27).refusing(2.0).counting(error(
            "CreateNetworkInterface",
            "RequestLimitExceeded",
            1.0,
        ))
    };
    for (seconds, rounds) in [(10, 10), (30, 4), (60, 2)] {
        let mut play = Play::every(seconds);
        play.round(&["a", "b"].map(|name| throttled(name).refusing(0.0)));
        let mut severities = Vec::new();
        for _ in 0..=rounds {
            severities.push(play.round(&["a", "b"].map(throttled)).findings[0].severity);
        }
        let info = severities.iter().take_while(|severity| **severity == Severity::Info).count();
        // From the first page with refusals to the first that says more.
        let waited = i64::try_from(info).unwrap() * seconds;
        assert!((60..=110).contains(&waited), "every {seconds} s: {severities:?}");
        assert_eq!(severities.last(), Some(&Severity::Critical));
    }
    // One node alone is a warning until ten minutes have passed.
    let mut play = Play::every(30);
    play.round(&[throttled("a").refusing(0.0)]);
    let severities: Vec<Severity> = (0..24).map(|_| play.round(&[throttled("a")]).findings[0].severity).collect();
    let count = |wanted| severities.iter().filter(|severity| **severity == wanted).count();
    assert_eq!((count(Severity::Info), count(Severity::Warning)), (3, 17));
}

#[test]
fn an_identity_stays_when_evidence_comes_and_goes() {
    let mut play = Play::every(30);
    play.round(&[full("a").refusing(0.0)]);
    let before = play.round(&[full("a")]);
    play.facts.sources = crate::evidence::Sources::default();
    let without = play.round(&[Node { is_ready: None, ..full("a") }]);
    assert_eq!(before.findings[0].identity, without.findings[0].identity);
    assert_eq!((before.findings[0].certainty, without.findings[0].certainty), (Certainty::Certain, Certainty::Likely));
    assert!(without.events.is_empty());
}

#[test]
fn muted_findings_are_listed_last_and_counted_nowhere() {
    let mut play = Play::every(30);
    play.insight = Insight::new(Mutes::parse("subnet-exhausted:zone-a/general").unwrap());
    let conclusion = play.round(&[exhausted("a"), exhausted("b"), full("c")]);
    assert_eq!(listed(&conclusion)[1].0, FindingId::SubnetExhausted);
    assert!(conclusion.findings[1].is_muted);
    assert_eq!(conclusion.count(Severity::Critical), 1);
}

#[test]
fn every_refused_request_is_counted_under_one_cause() {
    let mut play = Play::every(30);
    let mut expected = 0.0;
    for round in 0..40_i64 {
        play.facts.at_ms += if round == 20 { 500_000 } else { 0 };
        let nodes = [exhausted("a"), full("b"), Node::new("c").pool(18.0, 18.0, 27).refusing((round % 3) as f64)];
        expected += 8.0 + (round % 3) as f64;
        let conclusion = play.round(&nodes);
        let sum: f64 = conclusion.refused_by_cause.iter().map(|(_, number)| number).sum();
        assert!((sum - expected).abs() < 0.5, "round {round}: {sum} of {expected}");
    }
}

#[test]
fn the_order_of_the_nodes_leaves_no_trace() {
    let nodes: Vec<Node> = (0..9)
        .map(|number| if number % 2 == 0 { exhausted(&format!("n{number}")) } else { full(&format!("n{number}")) })
        .collect();
    let (mut one, mut other) = (Play::every(30), Play::every(30));
    for round in 0..5 {
        let mut turned = nodes.clone();
        turned.rotate_left(round);
        turned.reverse();
        assert_eq!(one.round(&nodes), other.round(&turned));
    }
}

#[test]
fn labels_that_are_not_known_make_no_finding_disappear() {
    let blank =
        |node: Node| Node { zone: None, group: None, instance_type: None, status: None, has_agent: false, ..node };
    let conclusion = Play::every(30).round(&[blank(exhausted("a")), blank(full("b"))]);
    let found: Vec<_> = listed(&conclusion).into_iter().map(|(id, name, _)| (id, name)).collect();
    assert_eq!(found, [(FindingId::SubnetExhausted, "unknown/unknown"), (FindingId::NodeFull, "unknown")]);
}

/// A node that does what a seed says: it may be healthy, or in any trouble.
fn random_node(random: &mut Random, name: &str) -> Node {
    let held = random.below(40) as f64;
    let mut node = Node::new(name).pool((random.below(41) as f64).min(held), held, 27);
    (node.page.requests, node.page.refused) = (Some(random.below(9) as f64), Some(random.below(4) as f64));
    node.page.in_progress = Some(random.below(2) as f64);
    node.page.forced_enis = Some((random.below(40) / 39) as f64);
    node.restarts = u32::try_from(random.below(3)).unwrap();
    node.status =
        Some(NodeStatus { max_pods: Some(58), is_cordoned: random.below(5) == 0, is_ready: Some(random.below(9) > 0) });
    let codes = [EXHAUSTED, "RequestLimitExceeded", "UnauthorizedOperation", "Odd", ""];
    if random.below(2) == 0 {
        let code = codes[usize::try_from(random.below(5)).unwrap()];
        node = node.counting(error("CreateNetworkInterface", code, random.below(3) as f64));
    }
    if random.below(8) == 0 { node.silent("timeout") } else { node }
}

#[test]
fn ten_thousand_rounds_with_jumps_silence_and_shrinkage_leave_what_is_there() {
    let mut random = Random::new(7);
    let mut play = Play::every(30);
    for round in 0..10_000_u64 {
        // The clock is set, either way; the cluster shrinks and grows.
        match random.below(50) {
            0 => play.facts.at_ms = play.facts.at_ms.saturating_sub(86_400_000),
            1 => play.facts.at_ms = play.facts.at_ms.saturating_add(86_400_000),
            2 => play.facts.at_ms = i64::MAX - 60_000,
            3 => play.facts.at_ms = i64::MIN + 60_000,
            _ => {}
        }
        play.facts.at_ms = play.facts.at_ms.clamp(i64::MIN, i64::MAX - 60_000);
        let nodes = usize::try_from(if round % 100 < 50 { 6 } else { random.below(3) }).unwrap();
        let nodes: Vec<Node> = (0..nodes).map(|number| random_node(&mut random, &format!("n{number}"))).collect();
        let conclusion = play.round(&nodes);
        assert_eq!(play.insight.known_nodes(), nodes.len());
        assert_eq!(play.insight.open_findings().len(), conclusion.findings.len());
        for finding in &conclusion.findings {
            assert!(finding.nodes > 0 && !finding.says.is_empty() && !finding.remedy.is_empty(), "{finding:?}");
        }
        for past in play.insight.nodes.values() {
            let Some(rare) = &past.rare else { continue };
            assert!(
                rare.marks.len() <= 8 && rare.incidents().restarts.len() <= 8 && rare.incidents().passes.len() <= 8
            );
        }
    }
    let last = play.round(&[]);
    assert_eq!((last.findings.len(), play.insight.known_nodes(), play.insight.open_findings().len()), (0, 0, 0));
}

/// Nodes that work: pods come and go, the pool grows, nodes join and are lost, an agent restarts twice.
#[test]
fn quiet_worlds_have_no_finding_above_info() {
    for seed in 0..5 {
        let mut random = Random::new(seed);
        let mut play = Play::every(30);
        let mut held = [18.0_f64; 6];
        for round in 0..1_000_u64 {
            let lost = (round / 37) % 6;
            let nodes: Vec<Node> = (0..6_u64)
                .filter(|number| *number != lost || round % 37 > 5)
                .map(|number| {
                    let place = usize::try_from(number).unwrap();
                    let is_burst = random.below(60) == 0 && held[place] < 27.0;
                    held[place] = if is_burst {
                        27.0
                    } else if random.below(200) == 0 {
                        18.0
                    } else {
                        held[place]
                    };
                    let assigned = (random.below(18) as f64).min(held[place]);
                    let node = Node::new(&format!("n{number}-{}", if number == lost { round / 37 } else { 0 }));
                    let node = node.pool(assigned, held[place], 27).refusing(if is_burst { 2.0 } else { 0.0 });
                    let restarts = u32::from(round > 300) + u32::from(round > 330);
                    let node = node.counting(error(
                        "DeleteNetworkInterface",
                        "InvalidParameterValue",
                        (random.below(30) / 29) as f64,
                    ));
                    Node { restarts: if number == 1 { restarts } else { 0 }, ..node }
                })
                .collect();
            let conclusion = play.round(&nodes);
            let loud: Vec<_> = conclusion.findings.iter().filter(|finding| finding.severity < Severity::Info).collect();
            assert!(loud.is_empty(), "seed {seed}, round {round}: {loud:#?}");
        }
    }
}

#[test]
fn a_calm_node_costs_little_to_remember() {
    assert!(size_of::<NodeMemory>() <= 96, "{}", size_of::<NodeMemory>());
    let mut play = Play::every(30);
    for _ in 0..50 {
        play.round(&[Node::new("a")]);
    }
    assert!(play.insight.nodes[&NodeKey::of("a")].rare.is_none());
    // What was remembered of a trouble is dropped once it is over.
    play.round(&[exhausted("a")]);
    assert!(play.insight.nodes[&NodeKey::of("a")].rare.is_some());
    for _ in 0..30 {
        play.round(&[Node::new("a").pool(10.0, 18.0, 27)]);
    }
    assert!(play.insight.nodes[&NodeKey::of("a")].rare.is_none());
}

#[test]
fn every_finding_has_a_scope_and_words_of_its_own() {
    for id in FindingId::ALL {
        let scope = crate::finding::Scope { kind: id.facts().scope, name: "x".into() };
        let identity = Identity { id, scope };
        let mut group = Group::default();
        group.nodes = 2;
        let says = wording::sentence(&identity, &group);
        assert!(says.ends_with('.') && says.len() > 30, "{id}: {says}");
        assert!(!wording::remedies(id, &group).is_empty(), "{id}");
        assert!(id.facts().scope != ScopeKind::Node, "{id}");
    }
}
