//! Two causes at once, in one zone and in two: each is named, with its own nodes.

use std::collections::BTreeSet;

use super::clusters::pair;
use super::play::{Play, Rights, Round};
use super::rows::{ROWS, Row};

const SEED: u64 = 7;
const INTERVAL_S: i64 = 30;

/// Longer than any cause of these needs.
const ROUNDS: u32 = 30;

/// Causes that last, and that one group can have without the other.
fn can_be_one_of_two(row: &Row) -> bool {
    use cni_insight::catalogue::FindingId as Id;
    let ends = [Id::PoolGrowing, Id::EniQuotaReached, Id::PoolLoopStalled, Id::Ipv6PrefixMissing];
    !row.causes.is_empty() && row.rights == Rights::All && !ends.contains(&row.id) && !row.group.contains("subnet")
}

fn check(first: &Row, second: &Row, zones: (&str, &str)) -> Result<(), String> {
    let scenario = pair((first, zones.0), (second, zones.1));
    let mut play = Play::of(&scenario, (SEED, INTERVAL_S), Rights::All);
    let rounds: Vec<Round> = (0..ROUNDS).map(|_| play.round()).collect();
    let last = rounds.last().ok_or("no round")?;
    let found: BTreeSet<_> = rounds.iter().flat_map(Round::loud).map(|finding| finding.identity.id).collect();
    if found != BTreeSet::from([first.id, second.id]) {
        return Err(format!("found {found:?}"));
    }
    for (row, group) in [(first, "one"), (second, "two")] {
        let nodes = play.nodes_of(Some(group));
        let finding = last.finding(row.id).ok_or_else(|| format!("{} is not there at the end", row.id))?;
        if finding.nodes != nodes.len() || !finding.examples.iter().all(|name| nodes.contains(name)) {
            return Err(format!("{} has {} nodes, {:?} of {nodes:?}", row.id, finding.nodes, finding.examples));
        }
    }
    Ok(())
}

#[test]
fn two_causes_at_once_are_two_findings_with_their_own_nodes() {
    let rows: Vec<&Row> = ROWS.iter().filter(|row| can_be_one_of_two(row)).collect();
    let mut failed = Vec::new();
    for (at, first) in rows.iter().enumerate() {
        // The next cause but those of the same finding.
        let Some(second) = rows.iter().skip(at + 1).chain(&rows).find(|row| row.id != first.id) else { continue };
        for zones in [("a", "c"), ("a", "b")] {
            if let Err(why) = check(first, second, zones) {
                failed.push(format!("{} and {} in {zones:?}: {why}", first.id, second.id));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
