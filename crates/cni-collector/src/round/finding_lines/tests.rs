use cni_insight::catalogue::FindingId;
use cni_insight::finding::{Certainty, FindingEvent, Remedy, Scope, ScopeKind, Turn};

use super::*;
use crate::captured::captured_log;

const ROUND_MS: i64 = 30_000;

fn finding(id: FindingId, scope: &str, severity: Severity, nodes: usize) -> Finding {
    Finding {
        identity: Identity { id, scope: Scope { kind: ScopeKind::Pool, name: scope.into() } },
        severity,
        certainty: Certainty::Certain,
        since_ms: 0,
        last_seen_ms: 0,
        nodes,
        examples: vec!["node-1".to_owned(), "node-2".to_owned()],
        says: "2 nodes have refused requests.".to_owned(),
        evidence: Vec::new(),
        remedy: vec![Remedy { says: "Add a subnet.".to_owned(), command: Some("aws ec2 do".to_owned()) }],
        lacks: Vec::new(),
        is_muted: false,
    }
}

fn dry(severity: Severity, nodes: usize) -> Finding {
    finding(FindingId::SubnetExhausted, "zone-a/all", severity, nodes)
}

/// Rounds, and what is logged of their findings.
#[derive(Default)]
struct World {
    lines: FindingLines,
    at_ms: i64,
}

impl World {
    fn of(&mut self, conclusion: &Conclusion) -> Vec<String> {
        self.at_ms += ROUND_MS;
        let (subscriber, log) = captured_log();
        tracing::subscriber::with_default(subscriber, || self.lines.round(conclusion, self.at_ms));
        log.lines()
    }

    fn round(&mut self, findings: Vec<Finding>) -> Vec<String> {
        self.of(&Conclusion { findings, ..Conclusion::default() })
    }
}

#[track_caller]
fn has(lines: &[String], parts: &[&str]) {
    assert_eq!(lines.len(), 1, "{lines:?}");
    for part in parts {
        assert!(lines[0].contains(part), "{part:?} is not in {lines:?}");
    }
}

#[test]
fn a_finding_is_told_when_it_opens_and_closes_with_all_that_helps() {
    let mut world = World::default();
    let lines = world.round(vec![dry(Severity::Critical, 2)]);
    has(
        &lines,
        &[
            "WARN",
            "finding opened: critical subnet-exhausted (pool zone-a/all): 2 nodes have refused requests. Add a subnet.",
            "id=\"subnet-exhausted\"",
            "scope=\"pool zone-a/all\"",
            "severity=\"critical\"",
            "certainty=\"certain\"",
            "nodes=2",
            "examples=\"node-1, node-2\"",
            "command=\"aws ec2 do\"",
            "explain=\"cni-metrics-helper explain subnet-exhausted\"",
        ],
    );
    assert!(!lines[0].contains("shard"));
    for _ in 0..100 {
        assert_eq!(world.round(vec![dry(Severity::Critical, 5)]), Vec::<String>::new());
    }
    let lines = world.round(Vec::new());
    has(&lines, &["INFO", "finding closed: subnet-exhausted (pool zone-a/all) after 3060 s, on up to 5 nodes"]);
    assert_eq!(world.round(Vec::new()), Vec::<String>::new());
}

#[test]
fn the_level_is_that_of_the_severity_and_a_shard_is_named() {
    let conclusion = Conclusion {
        findings: vec![
            finding(FindingId::NodeFull, "a", Severity::Warning, 1),
            finding(FindingId::PoolGrowing, "b", Severity::Info, 1),
        ],
        shard: "1/3".parse().ok(),
        ..Conclusion::default()
    };
    let lines = World::default().of(&conclusion);
    let levels: Vec<&str> = lines.iter().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(levels, ["WARN", "INFO"], "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("shard=\"1/3\"")), "{lines:?}");
}

#[test]
fn worse_is_told_at_once_and_better_once_it_stays_better() {
    let mut world = World::default();
    world.round(vec![dry(Severity::Warning, 2)]);
    has(&world.round(vec![dry(Severity::Critical, 2)]), &["WARN", "finding changed severity", "critical"]);
    for _ in 0..20 {
        // Better for less than five minutes, again and again.
        for severity in [Severity::Warning, Severity::Warning, Severity::Critical] {
            assert_eq!(world.round(vec![dry(severity, 2)]), Vec::<String>::new());
        }
    }
    let lines: Vec<String> = (0..11).flat_map(|_| world.round(vec![dry(Severity::Info, 2)])).collect();
    has(&lines, &["INFO", "finding changed severity", "info"]);
}

#[test]
fn it_is_told_again_when_it_spreads_and_every_hour_unless_it_is_only_info() {
    let mut world = World::default();
    world.round(vec![dry(Severity::Critical, 2), finding(FindingId::PoolGrowing, "b", Severity::Info, 1)]);
    let both = |nodes| vec![dry(Severity::Critical, nodes), finding(FindingId::PoolGrowing, "b", Severity::Info, 90)];
    assert_eq!(world.round(both(5)), Vec::<String>::new());
    has(&world.round(both(6)), &["WARN", "finding on more nodes", "nodes=6"]);
    assert_eq!(world.round(both(2)), Vec::<String>::new());
    assert_eq!(world.round(both(17)), Vec::<String>::new());
    let later: Vec<(usize, String)> =
        (4..=244).flat_map(|round| world.round(both(6)).into_iter().map(move |line| (round, line))).collect();
    let rounds: Vec<usize> = later.iter().map(|(round, _)| *round).collect();
    assert_eq!(rounds, [121, 241], "an hour is 120 rounds: {later:?}");
    assert!(later.iter().all(|(_, line)| line.contains("WARN") && line.contains("finding still open")), "{later:?}");
    // A clock that is set back by a day delays the next one by no more than an hour.
    world.at_ms -= 86_400_000;
    let lines: Vec<String> = (0..121).flat_map(|_| world.round(both(6))).collect();
    has(&lines, &["finding still open"]);
}

#[test]
fn what_is_muted_or_waited_for_is_not_told() {
    let mut world = World::default();
    let muted = Finding { is_muted: true, ..dry(Severity::Critical, 2) };
    assert_eq!(world.round(vec![muted]), Vec::<String>::new());
    assert_eq!(world.round(Vec::new()), Vec::<String>::new());

    let open =
        OpenFinding { identity: dry(Severity::Critical, 1).identity, severity: Severity::Critical, since_ms: -60_000 };
    let mut world = World { lines: FindingLines::go_on_from(std::slice::from_ref(&open), 0), at_ms: 0 };
    let waiting = Conclusion { awaited: vec![open.identity.clone()], ..Conclusion::default() };
    assert_eq!(world.of(&waiting), Vec::<String>::new());
    assert_eq!(world.round(vec![dry(Severity::Critical, 9)]), Vec::<String>::new(), "another process has told it");
    has(&world.round(vec![dry(Severity::Critical, 27)]), &["finding on more nodes"]);
    has(&world.round(Vec::new()), &["finding closed", "after 180 s, on up to 27 nodes"]);
    // One that never showed is over too.
    let mut world = World { lines: FindingLines::go_on_from(&[open], 0), at_ms: 0 };
    has(&world.round(Vec::new()), &["finding closed", "not seen since this process concludes"]);
}

#[test]
fn what_was_there_before_the_start_is_told_as_that() {
    let one = dry(Severity::Critical, 1);
    let event =
        FindingEvent { identity: one.identity.clone(), severity: one.severity, turn: Turn::Opened, is_at_start: true };
    let conclusion = Conclusion { findings: vec![one], events: vec![event], ..Conclusion::default() };
    has(&World::default().of(&conclusion), &["WARN", "finding open at start: critical subnet-exhausted"]);
}

#[test]
fn the_lines_of_a_round_are_few_and_say_how_many_are_not_named() {
    let many = |severity, number: usize| -> Vec<Finding> {
        (0..number)
            .map(|pool| finding(FindingId::SubnetExhausted, &format!("zone/{severity}-{pool:03}"), severity, 1))
            .collect()
    };
    let mut world = World::default();
    let all = [many(Severity::Critical, 8), many(Severity::Warning, 12), many(Severity::Info, 50)].concat();
    let lines = world.round(all);
    assert_eq!(lines.len(), 11, "{lines:#?}");
    assert!(lines[10].contains("more findings opened, changed or last: 10 warning, 50 info;"), "{lines:#?}");
    let lines = world.round(Vec::new());
    assert_eq!(lines.len(), 11, "{lines:#?}");
    assert!(lines[10].contains("60 more findings closed"), "{lines:#?}");
    // Of those that are only info, three.
    let lines = world.round(many(Severity::Info, 50));
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert!(lines[3].contains("47 info"), "{lines:#?}");
}

#[test]
fn what_a_conclusion_leaves_out_is_not_over_and_is_not_remembered_for_ever() {
    let mut world = World::default();
    world.round(vec![dry(Severity::Warning, 1)]);
    let full = Conclusion { left_out: 1, ..Conclusion::default() };
    assert_eq!(world.of(&full), Vec::<String>::new());
    assert_eq!(world.round(vec![dry(Severity::Warning, 1)]), Vec::<String>::new());
    for round in 0..100 {
        let findings = (0..200).map(|pool| finding(FindingId::NodeFull, &format!("{round}-{pool}"), Severity::Info, 1));
        world.of(&Conclusion { findings: findings.collect(), left_out: 1, ..Conclusion::default() });
        assert!(world.lines.told.len() <= REMEMBERED);
    }
}

#[test]
fn texts_of_nodes_act_on_nothing_and_are_cut() {
    let hostile = Finding {
        says: format!("\u{1b}[31m\n{}", "x".repeat(100_000)),
        examples: vec!["\u{202e}\r\n".repeat(10_000)],
        remedy: vec![Remedy { says: "\n".repeat(100_000), command: Some("\u{7}".repeat(100_000)) }],
        ..finding(FindingId::NodeFull, &"\u{1b}".repeat(100_000), Severity::Critical, 1)
    };
    let mut world = World::default();
    for lines in [world.round(vec![hostile]), world.round(Vec::new())] {
        has(&lines, &["finding"]);
        assert!(lines[0].len() < 20_000 && !lines[0].contains(char::is_control), "{}", lines[0].len());
    }
}
