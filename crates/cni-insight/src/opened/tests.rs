use cni_types::shard::Shard;

use crate::catalogue::FindingId;
use crate::finding::{Conclusion, Identity, OpenFinding, Scope, ScopeKind, Severity, Turn};
use crate::insight::Insight;
use crate::mute::Mutes;
use crate::play::{Node, Play, error, found};

const OLD: i64 = 1_700_000_000_000;

fn dry() -> Node {
    Node::new("dry").pool(18.0, 18.0, 27).refusing(2.0).counting(error(
        "AssignPrivateIpAddresses",
        "InsufficientFreeAddressesInSubnet",
        1.0,
    ))
}

fn identity(id: FindingId, kind: ScopeKind, name: &str) -> Identity {
    Identity { id, scope: Scope { kind, name: name.into() } }
}

fn exhausted() -> Identity {
    identity(FindingId::SubnetExhausted, ScopeKind::Pool, "zone-a/general")
}

fn turns(conclusion: &Conclusion) -> Vec<(FindingId, Turn, bool)> {
    conclusion.events.iter().map(|event| (event.identity.id, event.turn, event.is_at_start)).collect()
}

/// A successor of a process that left these open.
fn successor(open: Vec<OpenFinding>) -> Play {
    let mut play = Play::every(30);
    play.insight = Insight::new(Mutes::default()).going_on_from(open);
    play
}

#[test]
fn what_another_left_open_is_neither_opened_again_nor_closed_before_it_can_show() {
    let left = OpenFinding { identity: exhausted(), severity: Severity::Critical, since_ms: OLD };
    let mut play = successor(vec![left.clone()]);
    assert_eq!(play.insight.open_findings(), std::slice::from_ref(&left));
    // The first page of a node shows no increase.
    let first = play.round(&[Node::new("dry")]);
    assert_eq!((turns(&first), first.findings.len(), first.awaited), (Vec::new(), 0, vec![exhausted()]));
    let second = play.round(&[dry()]);
    assert_eq!((turns(&second), second.awaited.len()), (Vec::new(), 0));
    let finding = found(&second, FindingId::SubnetExhausted);
    assert_eq!((finding.since_ms, finding.severity), (OLD, Severity::Critical));
    assert_eq!(play.insight.open_findings(), [left]);
}

#[test]
fn what_another_left_open_and_no_evidence_shows_is_over_after_its_time() {
    for (id, rounds) in [(FindingId::SubnetFragmented, 11), (FindingId::NodeFull, 15), (FindingId::PoolOutOfStep, 61)] {
        let identity = identity(id, ScopeKind::Group, "general");
        let left = OpenFinding { identity: identity.clone(), severity: Severity::Warning, since_ms: OLD };
        let mut play = successor(vec![left]);
        let closed = (1..=rounds).find(|_| {
            let conclusion = play.round(&[Node::new("calm")]);
            assert_eq!(conclusion.findings, []);
            let is_closed = turns(&conclusion) == [(id, Turn::Closed, false)];
            assert_eq!(conclusion.awaited.is_empty(), is_closed, "{id}");
            is_closed
        });
        assert_eq!(closed, Some(rounds), "{id}");
        assert_eq!(play.insight.open_findings(), []);
    }
}

#[test]
fn what_lasted_before_lasts_on_until_this_process_has_watched_long_enough() {
    let identity = identity(FindingId::WarmTargetsZero, ScopeKind::Cluster, "");
    let nodes = || ["a", "b"].map(|name| Node::new(name).refusing(2.0).env("WARM_ENI_TARGET", "0"));
    let severity = |conclusion: &Conclusion| found(conclusion, FindingId::WarmTargetsZero).severity;
    let mut fresh = Play::every(30);
    assert_eq!(severity(&fresh.round(&nodes())), Severity::Info, "it must last");
    let mut play = successor(vec![OpenFinding { identity, severity: Severity::Critical, since_ms: OLD }]);
    for round in 0..20 {
        assert_eq!(severity(&play.round(&nodes())), Severity::Critical, "round {round}");
    }
}

#[test]
fn only_what_is_there_when_nothing_is_known_of_before_is_open_at_start() {
    let opened = |play: &mut Play, calm_rounds: usize| {
        (0..calm_rounds).for_each(|_| drop(play.round(&[Node::new("dry")])));
        turns(&play.round(&[dry()]))
    };
    for (calm_rounds, is_at_start) in [(0, true), (1, true), (2, false)] {
        let expected = [(FindingId::SubnetExhausted, Turn::Opened, is_at_start)];
        assert_eq!(opened(&mut Play::every(30), calm_rounds), expected);
        let expected = [(FindingId::SubnetExhausted, Turn::Opened, false)];
        assert_eq!(opened(&mut successor(Vec::new()), calm_rounds), expected, "nothing was open");
    }
}

#[test]
fn the_worst_is_kept_first_and_what_is_muted_last() {
    let mut play = Play::every(30);
    play.insight = Insight::new(Mutes::parse("subnet-exhausted").unwrap());
    let mut silent = Node::new("quiet").silent("timeout");
    silent.group = Some("other");
    let mut last = Conclusion::default();
    for _ in 0..8 {
        last = play.round(&[dry(), silent.clone(), Node::new("old").old()]);
    }
    assert_eq!(last.findings.len(), 3, "{last:#?}");
    let kept: Vec<FindingId> = play.insight.open_findings().into_iter().map(|open| open.identity.id).collect();
    assert_eq!(kept, [FindingId::AgentSilent, FindingId::AgentTooOld, FindingId::SubnetExhausted]);
}

#[test]
fn a_shard_speaks_of_its_own_nodes() {
    let nodes = [dry(), Node { name: "other".to_owned(), ..dry() }];
    let mut play = Play::every(30);
    let shard: Shard = "1/3".parse().unwrap();
    play.insight = Insight::new(Mutes::default()).of_shard(Some(shard));
    let conclusion = play.round(&nodes);
    assert_eq!(conclusion.shard, Some(shard));
    let says = &found(&conclusion, FindingId::SubnetExhausted).says;
    assert!(says.starts_with("2 nodes of zone-a/general of this shard have refused"), "{says}");
    let all = Play::every(30).round(&nodes);
    assert!(!found(&all, FindingId::SubnetExhausted).says.contains("shard") && all.shard.is_none());
    // One node is one node.
    let one = play.round(&nodes[..1]);
    assert!(!found(&one, FindingId::SubnetExhausted).says.contains("shard"));
}
