//! What lasts of a finding: since when it is open and how bad it is. Its nodes and figures are of the newest round.

use std::collections::BTreeMap;

use crate::catalogue::FindingId;
use crate::finding::{FindingEvent, Identity, OpenFinding, Severity, Turn};
use crate::grouped::Group;
use crate::memory::{Moment, WINDOW_MS};

/// Restarts and passes of reconciliation count for this long, milliseconds.
const LONG_WINDOW_MS: i64 = 1_800_000;

/// Within this number of rounds everything that was there before shows: refusals take a second page.
const ROUNDS_OF_START: u64 = 2;

/// Every finding that is open.
#[derive(Debug, Default)]
pub(crate) struct OpenFindings {
    open: BTreeMap<Identity, Opened>,
    /// What was open before the first round is known.
    knows_before: bool,
}

/// A finding that lasts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opened {
    pub(crate) since_ms: i64,
    pub(crate) last_seen_ms: i64,
    pub(crate) severity: Severity,
    from: From,
}

/// Who opened it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    /// This process.
    Here,
    /// An earlier one, with this severity; evidence of this process has not shown it yet, or has.
    Another { severity: Severity, is_shown: bool },
}

impl OpenFindings {
    /// What an earlier process left.
    pub(crate) fn left_by_another(open: Vec<OpenFinding>) -> Self {
        let opened = open.into_iter().map(|OpenFinding { identity, severity, since_ms }| {
            let from = From::Another { severity, is_shown: false };
            (identity, Opened { since_ms, last_seen_ms: since_ms, severity, from })
        });
        Self { open: opened.collect(), knows_before: true }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = OpenFinding> {
        self.open.iter().map(|(identity, opened)| OpenFinding {
            identity: identity.clone(),
            severity: opened.severity,
            since_ms: opened.since_ms,
        })
    }

    /// The evidence of this round shows the finding.
    pub(crate) fn seen(
        &mut self,
        identity: &Identity,
        group: &Group,
        (at_ms, now, round): (i64, Moment, u64),
        events: &mut Vec<FindingEvent>,
    ) -> Opened {
        let severity = group.severity(identity.id);
        let is_at_start = !self.knows_before && round <= ROUNDS_OF_START;
        let opened = self.open.entry(identity.clone()).or_insert_with(|| {
            events.push(FindingEvent { identity: identity.clone(), severity, turn: Turn::Opened, is_at_start });
            Opened { since_ms: at_ms, last_seen_ms: at_ms, severity, from: From::Here }
        });
        opened.severity = severity;
        if let From::Another { severity: before, is_shown } = &mut opened.from {
            *is_shown = true;
            // This process has not watched it for long enough to know that it lasts; the earlier one had.
            if now.now_ms <= lasts_ms(identity.id, now) {
                opened.severity = severity.min(*before);
            }
        }
        if group.is_seen {
            opened.last_seen_ms = at_ms;
        }
        *opened
    }

    /// Closes those that were not seen in this round. Returns those that an earlier process left, and that are waited for.
    pub(crate) fn close_others(
        &mut self,
        is_seen: impl Fn(&Identity) -> bool,
        now: Moment,
        events: &mut Vec<FindingEvent>,
    ) -> Vec<Identity> {
        let mut awaited = Vec::new();
        self.open.retain(|identity, opened| {
            if is_seen(identity) {
                return true;
            }
            let is_awaited = matches!(opened.from, From::Another { is_shown: false, .. });
            if is_awaited && now.now_ms <= lasts_ms(identity.id, now) {
                awaited.push(identity.clone());
                return true;
            }
            let (identity, severity) = (identity.clone(), opened.severity);
            events.push(FindingEvent { identity, severity, turn: Turn::Closed, is_at_start: false });
            false
        });
        awaited
    }
}

/// How long a process must watch to see that there is none of this kind, milliseconds: for as long as its evidence counts, and until it
/// would be found.
fn lasts_ms(id: FindingId, now: Moment) -> i64 {
    let of_kind = match id {
        FindingId::AgentRestarting | FindingId::PoolOutOfStep => LONG_WINDOW_MS,
        _ => WINDOW_MS,
    };
    // A node is silent after some rounds, however long they are.
    of_kind.max(now.interval_ms.saturating_mul(10)).max(id.hold().ms.saturating_add(WINDOW_MS))
}

#[cfg(test)]
mod tests;
