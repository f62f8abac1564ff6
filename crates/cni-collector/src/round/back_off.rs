//! How often a node that keeps failing is scraped.
//!
//! A node that fails in the same way round after round is asked in every second round, later in every fourth. Nodes that
//! hang, or send large pages of no use, then cost a fraction of what they would cost in every round. A hash of the pod's UID
//! decides which rounds these are, so that nodes that fail together are not asked together. A good answer, a failure of
//! another kind, a restart of the agent and another pod end it. Nothing here waits; time is an argument and its arithmetic
//! saturates.

use std::time::Duration;

use cni_metrics_core::model::{FailureKind, UnixMillis};
use cni_types::hash::fnv1a;

use crate::discover::Pod;
use crate::scrape::ScrapeError;

/// After this number of failed rounds in a row a node is asked in one of the second number of rounds.
const STEPS: [(u64, u64); 2] = [(16, 4), (4, 2)];

/// The longest time from one request to the next, in the rounds' own time. Where two rounds are further apart, each of them
/// asks.
const LONGEST_GAP: Duration = Duration::from_mins(2);

/// All nodes are asked unless one in this number answered in the round before: where nearly all fail, the cause is not
/// theirs, and its end must be seen at once.
const ANSWERING_SHARE: usize = 4;

/// What of a round decides who is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct RoundTime {
    /// The round's number.
    pub(super) number: u64,
    /// Its timestamp.
    pub(super) at: UnixMillis,
    /// From one round to the next, by the clock of `at`.
    pub(super) interval: Duration,
}

/// A node's failures in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RepeatedFailure {
    kind: FailureKind,
    /// From the first failed round to the last one in which it was asked; without rounds that say nothing of it.
    rounds: u64,
    /// The last round in which it was not left out, and when that was.
    turn_in: u64,
    turn_at: UnixMillis,
    /// Of the agent, as the pod's status said then.
    restarts: u32,
    /// That round's outcome shows nothing about the node, so the next round scrapes it.
    is_open: bool,
    is_reported: bool,
}

impl RepeatedFailure {
    /// What is known after the node was asked and failed.
    pub(super) fn after(last: Option<&Self>, kind: FailureKind, pod: &Pod, now: RoundTime) -> Self {
        let again = last.filter(|last| is_same_way(last.kind, kind) && last.restarts == pod.restarts);
        let rounds = again.map_or(1, |last| last.rounds.saturating_add(now.number.saturating_sub(last.turn_in).max(1)));
        Self {
            kind,
            rounds,
            turn_in: now.number,
            turn_at: now.at,
            restarts: pod.restarts,
            is_open: false,
            is_reported: again.is_some_and(|last| last.is_reported),
        }
    }

    /// A round whose outcome shows nothing about the node, such as one in which the API server was out of reach.
    pub(super) fn passed(&mut self, now: RoundTime) {
        (self.turn_in, self.turn_at, self.is_open) = (now.number, now.at, true);
    }

    /// Why the node is not asked in this round, unless it is.
    pub(super) fn leaves_out(&self, pod: &Pod, now: RoundTime) -> Option<ScrapeError> {
        let retry_in = self.due_in(pod, now);
        (retry_in > 0).then_some(ScrapeError::NotAsked { last: self.kind, rounds: self.rounds, retry_in })
    }

    /// True once: it is left out for the first time.
    pub(super) fn is_news(&mut self) -> bool {
        !std::mem::replace(&mut self.is_reported, true)
    }

    /// In how many rounds the node is asked, 0 for this one.
    fn due_in(&self, pod: &Pod, now: RoundTime) -> u64 {
        let every = self.every(now.interval);
        if every <= 1 || self.is_open || self.restarts != pod.restarts {
            return 0;
        }
        let waits = now.at.0.checked_sub(self.turn_at.0).and_then(|waited| u64::try_from(waited).ok());
        let next = waits.map(|waited| waited.saturating_add(millis(now.interval)));
        // After a clock was set back it is unknown how long the node has waited.
        if next.is_none_or(|next| next > millis(LONGEST_GAP)) {
            return 0;
        }
        let by_gap = self.turn_in.saturating_add(every).saturating_sub(now.number);
        let by_slot = match now.number.wrapping_add(slot(pod)) % every {
            0 => 0,
            since => every - since,
        };
        by_gap.min(by_slot)
    }

    /// It is asked in one of this number of rounds.
    fn every(&self, interval: Duration) -> u64 {
        let step = STEPS.iter().find(|(rounds, _)| self.rounds >= *rounds).map_or(1, |(_, every)| *every);
        step.min(millis(LONGEST_GAP) / millis(interval).max(1))
    }
}

/// Enough nodes answered in the last round for the others' failures to be their own.
pub(super) fn are_enough(answered: usize, targets: usize) -> bool {
    answered.saturating_mul(ANSWERING_SHARE) >= targets
}

/// A page of no use may be read in full, or up to a limit only, and then fails as one or the other.
fn is_same_way(a: FailureKind, b: FailureKind) -> bool {
    let is_useless = |kind| matches!(kind, FailureKind::TooLarge | FailureKind::BadPage);
    a == b || (is_useless(a) && is_useless(b))
}

/// The node's place among the rounds. The hash's upper half: its lowest bits depend on those of each byte only.
fn slot(pod: &Pod) -> u64 {
    fnv1a(pod.uid.as_str().as_bytes()) >> 32
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
