//! Findings that are open, as text for the next process that goes on from them: in an annotation of the lease, or in a file.
//!
//! `{"version":1,"at":MS,"cluster":ID|null,"shard":"i/n"|null,"cut":N,"findings":[{"id","kind","scope","severity","since":MS}]}`, the
//! worst first. A text of another cluster or shard, of a later version, damaged or old is not used.

use cni_insight::catalogue::FindingId;
use cni_insight::finding::{Identity, OpenFinding, Scope, ScopeKind, Severity};
use cni_metrics_core::summary::counted;
use cni_metrics_core::text::excerpt;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing::{info, warn};

/// The longest text: the annotations of an object have room for 256 KiB together.
pub(super) const MOST_BYTES: usize = 16 << 10;
/// A longer text is not read.
const MOST_READ_BYTES: usize = 4 * MOST_BYTES;
/// Text older than this says nothing of now, milliseconds, or ten intervals where they are longer.
const STALE_MS: i64 = 600_000;
const STALE_INTERVALS: i64 = 10;
/// Clocks of one cluster's machines differ by no more than this and an interval, milliseconds.
const SKEW_MS: i64 = 10_000;
/// The longest name of a scope: two label values and a slash are 127 bytes.
const MOST_NAME_BYTES: usize = 512;
const VERSION: u32 = 1;

/// Whose findings they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Origin<'a> {
    /// The cluster, where it is known.
    pub(super) cluster: Option<&'a str>,
    /// The shard, written `i/n`.
    pub(super) shard: Option<&'a str>,
}

/// What an earlier process left.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Earlier {
    /// Its age, milliseconds.
    pub(super) age_ms: i64,
    pub(super) open: Vec<OpenFinding>,
    /// Findings that it had no room for.
    pub(super) cut: u64,
    /// Findings that this program does not know, or that are no findings.
    pub(super) ignored: u64,
    /// How far the writer's clock was ahead of ours, milliseconds; 0 for a usual difference.
    pub(super) ahead_ms: i64,
}

/// Why it is not used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Unusable {
    #[error("it is damaged: {0}")]
    Damaged(String),
    #[error("it has {0} bytes; at most {MOST_READ_BYTES} are read")]
    TooLong(usize),
    #[error("it was written by another version of this program (format {0})")]
    Version(u64),
    #[error("it is of {what} {theirs}, and this is {ours}")]
    Foreign { what: &'static str, theirs: String, ours: String },
    #[error("it was written {0} s ago")]
    Stale(i64),
}

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    at: i64,
    cluster: Option<&'a str>,
    shard: Option<&'a str>,
    cut: usize,
    findings: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    id: &'static str,
    kind: &'static str,
    scope: &'a str,
    severity: &'static str,
    since: i64,
}

#[derive(Deserialize)]
struct Version {
    version: u64,
}

#[derive(Deserialize)]
struct Read {
    at: i64,
    cluster: Option<String>,
    shard: Option<String>,
    #[serde(default)]
    cut: u64,
    findings: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct ReadRow {
    id: String,
    kind: String,
    scope: String,
    severity: String,
    since: i64,
}

/// Findings as text of at most [`MOST_BYTES`], the first ones first. What there is no room for is counted in it.
pub(super) fn write(open: &[OpenFinding], at_ms: i64, origin: Origin<'_>) -> String {
    let bytes_of = |open| serde_json::to_string(&row(open)).map_or(0, |text| text.len() + 1);
    // Room for the beginning: all but the names are numbers.
    let names = origin.cluster.map_or(0, |name| 6 * name.len()) + origin.shard.map_or(0, str::len);
    let mut left = MOST_BYTES.saturating_sub(200 + names);
    let fits = open.iter().take_while(|open| {
        let bytes = bytes_of(open);
        let fits = bytes <= left;
        left = left.saturating_sub(bytes);
        fits
    });
    let number = fits.count();
    let (kept, cut) = open.split_at(number);
    let Origin { cluster, shard } = origin;
    let findings = kept.iter().map(row).collect();
    let written = Written { version: VERSION, at: at_ms, cluster, shard, cut: cut.len(), findings };
    // Numbers and texts have a form as JSON.
    serde_json::to_string(&written).unwrap_or_default()
}

fn row(open: &OpenFinding) -> Row<'_> {
    let Identity { id, scope } = &open.identity;
    let (kind, severity) = (scope.kind.name(), open.severity.name());
    Row { id: id.name(), kind, scope: &scope.name, severity, since: open.since_ms }
}

/// What a text says to the process of this origin, at this time by its clock.
pub(super) fn read(text: &str, now_ms: i64, interval_ms: i64, origin: Origin<'_>) -> Result<Earlier, Unusable> {
    if text.len() > MOST_READ_BYTES {
        return Err(Unusable::TooLong(text.len()));
    }
    let damaged = |error: serde_json::Error| Unusable::Damaged(excerpt(error.to_string().as_bytes(), 200));
    let Version { version } = serde_json::from_str(text).map_err(damaged)?;
    if version != u64::from(VERSION) {
        return Err(Unusable::Version(version));
    }
    let read: Read = serde_json::from_str(text).map_err(damaged)?;
    for (what, theirs, ours) in [("cluster", &read.cluster, origin.cluster), ("shard", &read.shard, origin.shard)] {
        // A cluster that is not known yet is no other one; not to be sharded is.
        let is_known = what == "shard" || (theirs.is_some() && ours.is_some());
        if is_known && theirs.as_deref() != ours {
            let name = |name: Option<&str>| excerpt(name.unwrap_or("none").as_bytes(), MOST_NAME_BYTES);
            return Err(Unusable::Foreign { what, theirs: name(theirs.as_deref()), ours: name(ours) });
        }
    }
    let age_ms = now_ms.saturating_sub(read.at);
    if age_ms > STALE_MS.max(interval_ms.saturating_mul(STALE_INTERVALS)) {
        return Err(Unusable::Stale(age_ms / 1000));
    }
    let ahead_ms = age_ms.saturating_neg();
    let ahead_ms = if ahead_ms > interval_ms.saturating_add(SKEW_MS) { ahead_ms } else { 0 };
    let rows = read.findings.len();
    let open: Vec<OpenFinding> = read.findings.into_iter().filter_map(|row| finding(row, now_ms)).collect();
    let ignored = (rows - open.len()) as u64;
    Ok(Earlier { age_ms: age_ms.max(0), open, cut: read.cut, ignored, ahead_ms })
}

/// A finding that this program knows. One that would begin in the future begins now.
fn finding(row: serde_json::Value, now_ms: i64) -> Option<OpenFinding> {
    let ReadRow { id, kind, scope, severity, since } = serde_json::from_value(row).ok()?;
    let id = FindingId::by_name(&id)?;
    let kind =
        ScopeKind::ALL.into_iter().find(|known| known.name() == kind).filter(|kind| *kind == id.facts().scope)?;
    let severity = Severity::ALL.into_iter().find(|known| known.name() == severity)?;
    if scope.len() > MOST_NAME_BYTES || (kind == ScopeKind::Cluster) != scope.is_empty() {
        return None;
    }
    let identity = Identity { id, scope: Scope { kind, name: scope.into() } };
    Some(OpenFinding { identity, severity, since_ms: since.min(now_ms) })
}

/// Says what goes on, and what does not.
pub(super) fn log(read: &Result<Earlier, Unusable>, place: &str) {
    let Earlier { age_ms, open, cut, ignored, ahead_ms } = match read {
        Ok(earlier) => earlier,
        Err(why) => {
            return warn!(
                "the open findings that the process before kept in {place} are not used: {why}; what is open now is \
                 logged as open at start"
            );
        }
    };
    let findings = counted(open.len() as u64, "open finding goes on", "open findings go on");
    info!("{findings} from {place}, kept {} s ago", age_ms / 1000);
    if *cut > 0 {
        info!(
            "the process before had {} for which there was no room in {place}: they are logged as opened again",
            counted(*cut, "open finding", "open findings")
        );
    }
    if *ignored > 0 {
        warn!(
            "{} in {place} cannot be read by this version, and count as not open",
            counted(*ignored, "open finding", "open findings")
        );
    }
    if *ahead_ms > 0 {
        warn!(
            "the process before kept its open findings in {place} at a time {} s ahead of this machine's clock: check the \
             clocks of the replicas' nodes; findings that began later than now begin now",
            ahead_ms / 1000
        );
    }
}

#[cfg(test)]
mod tests;
