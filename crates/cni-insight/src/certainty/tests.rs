//! Every cell of the table, played: the pages that agents of that version would show for that trouble, and what is named.

mod look_alikes;
mod worlds;

use super::*;
use crate::catalogue::FindingId;
use crate::evidence::Source;
use crate::evidence::{SourceState, Sources};
use crate::finding::{Certainty, Conclusion, Finding, Severity};
use crate::play::{Node, Play};

use worlds::{Span, shown, world};

/// How long a trouble is watched beyond its hold time, seconds: longer than any rule remembers errors.
const WATCHED_S: i64 = 400;
/// What ends by itself is watched for a shorter time, seconds.
const WATCHED_SHORTLY_S: i64 = 180;
/// Rounds after the hold time in which the finding must have been named.
const LATE: i64 = 2;

fn play(cell: Cell) -> Play {
    let mut play = Play::every(cell.interval_s);
    let present = SourceState::Present { age_ms: 0 };
    play.facts.sources = match cell.knowledge {
        Knowledge::Cluster => Sources {
            agent_pods: present,
            nodes: present,
            eni_configs: present,
            cni_nodes: present,
            daemon_set: present,
        },
        Knowledge::Basic => Sources { agent_pods: present, nodes: present, ..Sources::default() },
        Knowledge::WithoutNodes => {
            Sources { agent_pods: present, nodes: SourceState::NotGranted, ..Sources::default() }
        }
        Knowledge::PagesOnly => Sources::default(),
    };
    play
}

/// What is found apart from the age of the agents, which is there for as long as they are old.
fn found(conclusion: &Conclusion, id: FindingId) -> Vec<&Finding> {
    let is_meant = |finding: &&Finding| id == FindingId::AgentTooOld || finding.identity.id != FindingId::AgentTooOld;
    conclusion.findings.iter().filter(is_meant).collect()
}

/// What is made of a trouble's nodes.
type Changed = fn(Node, Span) -> Node;

/// Rounds that are played of a long hold time, its last: before them, nothing changes.
const PLAYED: i64 = 40;
/// Longer hold times are cut short, milliseconds.
const LONG_MS: i64 = 3_600_000;

/// Plays the trouble, changed, for a number of rounds, and looks at each conclusion.
fn watch((id, change): (FindingId, Changed), cell: Cell, rounds: i64, mut look: impl FnMut(i64, &Conclusion)) {
    let mut play = play(cell);
    let quiet = ["a", "b"].map(|name| shown(Node::new(name), cell));
    play.round(&quiet);
    play.round(&quiet);
    let left_out = if id.hold().ms > LONG_MS { id.hold().rounds_of(cell.interval_s * 1000) - PLAYED } else { 0 };
    for round in 1..=rounds {
        if (2..=left_out).contains(&round) {
            play.facts.at_ms += play.facts.interval_ms;
            continue;
        }
        let span = Span { from: (round - 1) * cell.interval_s, to: round * cell.interval_s };
        let nodes: Vec<Node> = world(id, cell, span).into_iter().map(|node| change(shown(node, cell), span)).collect();
        look(round, &play.round(&nodes));
    }
}

fn unchanged(node: Node, _: Span) -> Node {
    node
}

fn rounds_until(id: FindingId, cell: Cell) -> i64 {
    id.hold().rounds_of(cell.interval_s * 1000) + LATE
}

fn names_all(finding: &Finding, lacks: &[Source]) -> bool {
    lacks.iter().all(|source| finding.lacks.contains(source))
}

/// What was concluded, in short.
fn in_short(conclusion: &Conclusion) -> String {
    let all = conclusion.findings.iter();
    let words: Vec<String> = all
        .map(|finding| {
            let Finding { identity, severity, certainty, lacks, nodes, .. } = finding;
            format!("{} {severity} {} lacks {lacks:?} at {nodes} nodes", identity.id, certainty.name())
        })
        .collect();
    words.join("; ")
}

/// Named alone within two rounds of its hold time, with figures and a remedy, and so to the end.
fn is_named(id: FindingId, cell: Cell, (certainty, lacks): (Certainty, &[Source]), wrong: &mut Vec<String>) {
    let until = rounds_until(id, cell);
    let watched = if id == FindingId::PoolGrowing { WATCHED_SHORTLY_S } else { WATCHED_S };
    watch((id, unchanged), cell, until + watched / cell.interval_s, |round, conclusion| {
        let all = found(conclusion, id);
        let is_early = |finding: &&Finding| finding.identity.id == id || finding.severity == Severity::Info;
        let is_it = |finding: &Finding| {
            let facts = (finding.identity.id, finding.certainty, finding.severity, finding.nodes);
            let is_whole = !finding.evidence.is_empty() && !finding.remedy.is_empty();
            facts == (id, certainty, id.facts().severity, 2) && names_all(finding, lacks) && is_whole
        };
        let is_right = match all.as_slice() {
            [finding] if round >= until => is_it(finding),
            all => round < until && all.iter().all(is_early),
        };
        if !is_right {
            wrong.push(format!("{id} in round {round} of {cell:?}: {}", in_short(conclusion)));
        }
    });
}

/// Never named; what is named in its place says what it lacks.
fn is_not_named(id: FindingId, cell: Cell, (instead, lacks): (Option<FindingId>, &[Source]), wrong: &mut Vec<String>) {
    let until = rounds_until(id, cell).max(instead.map_or(0, |other| rounds_until(other, cell)));
    watch((id, unchanged), cell, until + WATCHED_S / cell.interval_s, |round, conclusion| {
        let all = found(conclusion, instead.unwrap_or(id));
        let ids: Vec<FindingId> = all.iter().map(|finding| finding.identity.id).collect();
        let is_doubted = instead.is_none_or(|other| !other.facts().is_cause)
            || all.iter().all(|finding| finding.certainty == Certainty::Likely);
        let is_right = round < until
            || (ids == instead.into_iter().collect::<Vec<_>>()
                && all.iter().all(|finding| names_all(finding, lacks))
                && is_doubted);
        if !is_right || conclusion.findings.iter().any(|finding| finding.identity.id == id) {
            wrong.push(format!("not {id} in round {round} of {cell:?}: {}", in_short(conclusion)));
        }
    });
}

#[test]
fn every_cell_is_worth_what_the_table_says() {
    let mut wrong = Vec::new();
    for id in FindingId::ALL {
        for cell in cells() {
            match worth(id, cell) {
                Some(Worth::Certain) => is_named(id, cell, (Certainty::Certain, &[]), &mut wrong),
                Some(Worth::Likely(lacks)) => is_named(id, cell, (Certainty::Likely, lacks), &mut wrong),
                Some(Worth::NotPossible { instead, lacks }) => is_not_named(id, cell, (instead, lacks), &mut wrong),
                None => wrong.push(format!("{id} has no row")),
            }
        }
    }
    // The first of each finding says enough.
    wrong.dedup_by_key(|text| text.split(" in round").next().map(str::to_owned));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_finding_has_one_row_and_can_be_found_somewhere() {
    let ids: Vec<FindingId> = rows::ROWS.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, FindingId::ALL);
    for id in FindingId::ALL {
        let is_possible = |cell| worth(id, cell).is_some_and(|worth| !matches!(worth, Worth::NotPossible { .. }));
        assert!(cells().any(is_possible), "{id}");
    }
    assert!(VERSIONS.is_sorted() && INTERVALS_S.is_sorted() && Knowledge::ALL.is_sorted());
}

const PAGE: &str = include_str!("../../../../docs/insight.md");

#[test]
fn the_page_has_the_table() {
    let (_, rest) = PAGE.split_once("<!-- begin table -->\n\n").expect("a beginning");
    let (table, _) = rest.split_once("\n<!-- end table -->").expect("an end");
    assert!(table == markdown(), "docs/insight.md has another table; the code's is:\n{}<end>", markdown());
}
