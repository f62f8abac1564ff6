//! The table as text for `docs/insight.md`.

use std::fmt::Write as _;

use cni_types::version::AgentVersion;

use super::cell::{Cell, INTERVALS_S, Knowledge, VERSIONS, Worth};
use super::rows::worth;
use crate::catalogue::FindingId;
use crate::evidence::Source;

/// What a finding is worth with each kind of knowledge.
type Worths = [Option<Worth>; Knowledge::ALL.len()];
/// The same by the time between rounds, equal ones together.
type ByInterval = Vec<(Vec<i64>, Worths)>;

/// The table, in Markdown.
pub fn markdown() -> String {
    let mut text = "| finding | holds | agents | rounds |".to_owned();
    for knowledge in Knowledge::ALL {
        push(&mut text, format_args!(" {} |", knowledge.name()));
    }
    push(&mut text, format_args!("\n|---|---|---|---|{}\n", "---|".repeat(Knowledge::ALL.len())));
    for id in FindingId::ALL {
        rows_of(id, &mut text);
    }
    text
}

/// Writing to a string cannot fail.
fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(arguments);
}

/// A line for each run of versions and each group of intervals with the same worth.
fn rows_of(id: FindingId, text: &mut String) {
    let mut runs: Vec<(Vec<AgentVersion>, ByInterval)> = Vec::new();
    for version in VERSIONS {
        let parts = by_interval(id, version);
        match runs.last_mut() {
            Some((versions, known)) if *known == parts => versions.push(version),
            _ => runs.push((vec![version], parts)),
        }
    }
    let mut is_first = true;
    for (versions, parts) in runs {
        for (intervals, worths) in parts {
            let (name, hold) =
                if is_first { (format!("[{id}](findings.md#{id})"), hold(id)) } else { Default::default() };
            is_first = false;
            push(text, format_args!("| {name} | {hold} | {} | {} |", agents(&versions), rounds(&intervals)));
            for worth in worths {
                push(text, format_args!(" {} |", worth.map_or_else(|| "?".to_owned(), in_words)));
            }
            text.push('\n');
        }
    }
}

fn by_interval(id: FindingId, version: AgentVersion) -> ByInterval {
    let mut parts: ByInterval = Vec::new();
    for interval_s in INTERVALS_S {
        let worths = Knowledge::ALL.map(|knowledge| worth(id, Cell { version, interval_s, knowledge }));
        match parts.iter_mut().find(|(_, known)| *known == worths) {
            Some((intervals, _)) => intervals.push(interval_s),
            None => parts.push((vec![interval_s], worths)),
        }
    }
    parts
}

fn hold(id: FindingId) -> String {
    let hold = id.hold();
    let time = match hold.ms {
        ms if ms >= 3_600_000 => format!("{} h", ms / 3_600_000),
        ms if ms >= 600_000 => format!("{} min", ms / 60_000),
        ms => format!("{} s", ms / 1000),
    };
    match (hold.rounds, hold.ms) {
        (rounds, 0) => format!("{rounds} page"),
        (1, _) => time,
        (rounds, _) => format!("{time} and {rounds} pages"),
    }
}

fn agents(versions: &[AgentVersion]) -> String {
    let name = |version: AgentVersion| version.to_string().trim_start_matches('v').to_owned();
    match versions {
        all if all.len() == VERSIONS.len() => "all".to_owned(),
        [one] => name(*one),
        [first, .., last] => format!("{} to {}", name(*first), name(*last)),
        [] => String::new(),
    }
}

fn rounds(intervals: &[i64]) -> String {
    if intervals.len() == INTERVALS_S.len() {
        return "all".to_owned();
    }
    let seconds: Vec<String> = intervals.iter().map(i64::to_string).collect();
    format!("{} s", seconds.join(", "))
}

fn in_words(worth: Worth) -> String {
    let names = |lacks: &[Source]| lacks.iter().map(|source| source.name()).collect::<Vec<_>>().join(", ");
    match worth {
        Worth::Certain => "certain".to_owned(),
        Worth::Likely(lacks) => format!("likely: {}", names(lacks)),
        Worth::NotPossible { instead: None, .. } => "not possible".to_owned(),
        Worth::NotPossible { instead: Some(id), lacks: [] } => format!("not possible; {id}"),
        Worth::NotPossible { instead: Some(id), lacks } => format!("not possible; {id}: {}", names(lacks)),
    }
}
