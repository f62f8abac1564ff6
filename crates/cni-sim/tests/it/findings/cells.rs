//! Each finding at intervals of 10, 30 and 60 s and with agents of four versions, where their pages have the evidence: it is named as
//! with the newest agents at 30 s.

use cni_insight::catalogue::FindingId as Id;
use cni_insight::finding::Certainty;

use super::play::Rights;
use super::rows::{ROWS, Row};
use super::shown::play;

const SEED: u64 = 7;
const INTERVALS_S: [i64; 3] = [10, 30, 60];
/// Without the count of refused requests; with it; the last with version 1 of the SDK; the newest.
const VERSIONS: [&str; 4] = ["v1.12.6", "v1.16.4", "v1.19.3", "v1.23.2"];

/// What the evidence of a cell allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    /// The finding is named.
    Named,
    /// It is named, and never certain: refusals are inferred.
    Likely,
    /// There is no such evidence: agents without the setting, or without the counter.
    NotPossible,
}

fn cell(row: &Row, version: &str, interval_s: i64) -> Cell {
    let counts_refusals = version != "v1.12.6";
    if row.id == Id::AgentTooOld {
        return if counts_refusals { Cell::NotPossible } else { Cell::Named };
    }
    if row.id == Id::SubnetExcludedByTag && version < "v1.22" {
        return Cell::NotPossible;
    }
    // Variables that older agents do not have.
    let newer = [("ENABLE_IMDS_ONLY_MODE", "v1.23.2"), ("IP_COOLDOWN_PERIOD", "v1.16.4")];
    if newer.iter().any(|(name, since)| row.group.contains(name) && version < *since) {
        return Cell::NotPossible;
    }
    if counts_refusals || row.id == Id::InstanceMetadataFailing {
        return Cell::Named;
    }
    // What pods are refused says nothing where refusals are not counted.
    if row.id == Id::BranchEniNotProvided {
        return Cell::NotPossible;
    }
    if row.causes.is_empty() {
        return Cell::Named;
    }
    // A node without any address has none that are all assigned.
    if matches!(row.id, Id::ProvisioningDisabled | Id::Ipv6PrefixMissing) {
        return Cell::NotPossible;
    }
    // All addresses stay assigned from page to page, no further apart than an address rests.
    let stays_used_up = !row.workload.contains("churn") && row.id != Id::PoolGrowing;
    if stays_used_up && interval_s <= 30 { Cell::Likely } else { Cell::NotPossible }
}

fn check(row: &Row, version: &'static str, interval_s: i64) -> Result<(), String> {
    let expected = cell(row, version, interval_s);
    if expected == Cell::NotPossible {
        return Ok(());
    }
    let row = &row.with_version(version);
    let played = play(row, (SEED, interval_s));
    played.check(row, interval_s).map_err(|why| format!("{why}\n{}", played.log()))?;
    let last = played.rounds.last().and_then(|round| round.finding(row.id));
    match (expected, last) {
        (Cell::Likely, Some(finding)) if finding.certainty != Certainty::Likely => Err("is certain".to_owned()),
        _ => Ok(()),
    }
}

/// Its cluster does not name versions, and does not take a day.
fn can_be_of_any_version(row: &Row) -> bool {
    !matches!(row.id, Id::AgentTooOld | Id::AgentVersionsDiffer | Id::WarmPoolOversized)
}

/// A share of the cells, so that they run side by side.
fn check_cells(version: &'static str) {
    let mut failed = Vec::new();
    for row in ROWS.iter().filter(|row| row.rights == Rights::All && can_be_of_any_version(row)) {
        for interval_s in INTERVALS_S {
            if let Err(why) = check(row, version, interval_s) {
                failed.push(format!("{} with {version} at {interval_s} s: {why}", row.id));
            }
        }
    }
    let first: Vec<&str> = failed.iter().map(|why| why.lines().next().unwrap_or_default()).collect();
    assert!(failed.is_empty(), "{} cells:\n{}\n\n{}", failed.len(), first.join("\n"), failed.join("\n"));
}

macro_rules! versions {
    ($($test:ident: $place:literal,)+) => {
        $(#[test]
        fn $test() {
            check_cells(VERSIONS[$place]);
        })+
    };
}

versions! {
    agents_that_do_not_count_refused_requests: 0,
    agents_that_count_refused_requests: 1,
    agents_with_the_first_sdk: 2,
    the_newest_agents: 3,
}
