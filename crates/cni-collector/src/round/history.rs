//! The last outcome of each node: which nodes to scrape, in which order, by which path, and what to report.

use std::collections::HashMap;

use cni_metrics_core::model::{FailureKind, PodUid};

use super::back_off::{self, RepeatedFailure, RoundTime};
use super::report::Report;
use super::scraped::{Scraped, Targets};
use crate::discover::Pod;
use crate::scrape::{Fallback, Path, ScrapeError};

/// A node that the API server could not reach is asked directly from then on; in one of this number of rounds the proxy is
/// tried again, in a different one for each node, so that never all of them wait for it together.
const PROBE_EVERY: u64 = 20;

/// What is read of a page whose predecessor was large and of no use: a very large node's page, which has some 100 KB, still
/// fits. Now and then it is read as far as any other ([`FullRead`]).
const REDUCED_PAGE_BYTES: usize = 128 << 10;

/// Rounds from one such full read to the next: first this many or half of them, then twice as many each time that the page
/// was of no use again, up to the most. A node recovers with its next page, unless that has more than
/// [`REDUCED_PAGE_BYTES`]: then with the next full read.
const FULL_READ_EVERY: u64 = 20;
const FULL_READ_EVERY_AT_MOST: u64 = 640;

/// By pod UID.
#[derive(Debug, Default)]
pub(super) struct History {
    nodes: HashMap<PodUid, Past>,
    /// Nodes seen so far; spreads the probes.
    seen: u64,
    /// The round in which a probe got through: fallbacks that are older are given up at once.
    reopened_in: u64,
}

#[derive(Debug, Default)]
struct Past {
    slot: u64,
    last: Last,
    standing: NodeHealth,
    ever_answered: bool,
    bad_lines: bool,
    /// Its last page was large and of no use.
    wastes: Option<FullRead>,
    /// It has failed in the same way since, and by itself.
    repeated: Option<Box<RepeatedFailure>>,
    /// Since when the node is asked directly, and why.
    fallback: Option<(u64, Fallback)>,
    /// The API server could not reach the node, and has not done so since.
    blocked: Option<Fallback>,
    seen_in: u64,
}

/// When a page that was large and of no use is read in full again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FullRead {
    due: u64,
    every: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Last {
    #[default]
    Unknown,
    Answered,
    /// With the HTTP status where there was one: another status is another cause.
    Failed(FailureKind, Option<u16>),
    /// The API server was unreachable, which shows nothing about the node.
    NotAsked,
}

/// What the node did when it was last given its time; one whose turn did not come keeps its standing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum NodeHealth {
    #[default]
    New,
    Good,
    Bad,
}

impl History {
    /// Asked directly at once this round.
    pub(super) fn takes_fallback(&self, uid: &PodUid, round: u64) -> bool {
        let Some(past) = self.nodes.get(uid) else { return false };
        let reopened = |since: u64| since < self.reopened_in;
        past.fallback.is_some_and(|(since, _)| !reopened(since))
            && !round.saturating_add(past.slot).is_multiple_of(PROBE_EVERY)
    }

    /// Smaller goes first: nodes that answered, then new ones, then those that failed, which take turns. Slow nodes so
    /// never keep others from being asked, and none of them is always the last.
    pub(super) fn order(&self, uid: &PodUid, round: u64) -> (u8, u64) {
        let Some(past) = self.nodes.get(uid) else { return (1, PROBE_EVERY) };
        let turn = round.saturating_add(past.slot) % PROBE_EVERY;
        match past.standing {
            NodeHealth::Good if past.fallback.is_none() || turn != 0 => (0, 0),
            NodeHealth::Good | NodeHealth::New => (1, turn),
            NodeHealth::Bad => (2, turn),
        }
    }

    /// Enough nodes answered in the last round for the others to be left out now and then ([`History::left_out`]).
    pub(super) fn enough_answered(&self, targets: &Targets) -> bool {
        let last = |pod: &Pod| self.nodes.get(&pod.uid).map(|past| past.last);
        let answered = targets.iter().filter(|(pod, _)| last(pod) == Some(Last::Answered)).count();
        back_off::are_enough(answered, targets.len())
    }

    /// Why the node is not asked in this round, where it failed in the same way in the rounds before.
    pub(super) fn left_out(&self, pod: &Pod, now: RoundTime) -> Option<ScrapeError> {
        self.nodes.get(&pod.uid)?.repeated.as_ref()?.leaves_out(pod, now)
    }

    /// Has answered before.
    pub(super) fn ever_answered(&self, uid: &PodUid) -> bool {
        self.nodes.get(uid).is_some_and(|past| past.ever_answered)
    }

    /// How much of the node's page is worth reading this round, where that is less than of others'.
    pub(super) fn page_limit(&self, uid: &PodUid, round: u64) -> Option<usize> {
        let full_read = self.nodes.get(uid)?.wastes?;
        (round < full_read.due).then_some(REDUCED_PAGE_BYTES)
    }

    /// In the last round the connection to the node, or the API server's to it, broke.
    pub(super) fn was_reset(&self, uid: &PodUid) -> bool {
        self.nodes.get(uid).is_some_and(|past| matches!(past.last, Last::Failed(FailureKind::ConnectionReset, _)))
    }

    /// In the last round the API server, or the node in its name, said that the pod is gone.
    pub(super) fn said_not_found(&self, uid: &PodUid) -> bool {
        let last = self.nodes.get(uid).map(|past| past.last);
        matches!(last, Some(Last::Failed(FailureKind::NotFound | FailureKind::BadStatus, Some(404))))
    }

    /// Notes a scrape's outcome and reports what is new about it. Neither a node's first answer is news, nor the silence
    /// of one that is not expected to answer yet. One that was not asked is as it was.
    pub(super) fn note(&mut self, now: RoundTime, pod: &Pod, expected: bool, scraped: &Scraped, report: &mut Report) {
        let round = now.number;
        let seen = &mut self.seen;
        let past = self.nodes.entry(pod.uid.clone()).or_insert_with(|| {
            *seen += 1;
            Past { slot: *seen % PROBE_EVERY, ..Past::default() }
        });
        past.seen_in = round;
        if let Err(error) = &scraped.outcome
            && let ScrapeError::NotAsked { .. } = error.as_ref()
        {
            past.left_out(pod, error, report);
            return;
        }
        past.repeats(pod, scraped, expected, now);
        match &scraped.outcome {
            Ok(()) => past.answered(pod, report),
            Err(error) => match error.as_ref() {
                ScrapeError::ApiServer(reason) => {
                    report.not_asked(pod, reason);
                    past.last = Last::NotAsked;
                }
                // It said why when it was read further.
                ScrapeError::StillTooLarge { .. } => {}
                error if expected || past.ever_answered => past.failed(pod, error, report),
                _ => {}
            },
        }
        let wastes_still = scraped
            .outcome
            .as_ref()
            .is_err_and(|error| scraped.is_waste || error.kind() == FailureKind::TooLarge || past.wastes.is_some());
        past.wastes = wastes_still.then(|| FullRead::after(past.wastes, round, past.slot));
        past.lines(pod, scraped.line_errors.as_deref(), report);
        if past.way(round, scraped) {
            self.reopened_in = round;
        }
    }

    /// Nodes that the API server cannot reach, by what it did: said so, or was silent.
    pub(super) fn blocked(&self) -> (u64, u64) {
        let count = |what: Fallback| self.nodes.values().filter(|past| past.blocked == Some(what)).count() as u64;
        (count(Fallback::Unreachable), count(Fallback::Silent))
    }

    /// Drops the nodes that are not listed any more.
    pub(super) fn forget_others(&mut self, round: u64) {
        self.nodes.retain(|_, past| past.seen_in == round);
    }
}

impl FullRead {
    /// After a page of no use. Each node has its own place between half of the rounds and all of them, so that pages that
    /// went bad together are not read together.
    fn after(last: Option<Self>, round: u64, slot: u64) -> Self {
        let every = match last {
            Some(last) if round < last.due => return last,
            Some(last) => last.every.saturating_mul(2).min(FULL_READ_EVERY_AT_MOST),
            None => FULL_READ_EVERY,
        };
        let earlier = every.saturating_mul(slot.min(PROBE_EVERY)) / (2 * PROBE_EVERY);
        Self { due: round.saturating_add(every - earlier), every }
    }
}

impl Past {
    fn answered(&mut self, pod: &Pod, report: &mut Report) {
        if matches!(self.last, Last::Failed(..)) {
            report.answered(pod);
        }
        self.last = Last::Answered;
        self.standing = NodeHealth::Good;
        self.ever_answered = true;
    }

    fn failed(&mut self, pod: &Pod, error: &ScrapeError, report: &mut Report) {
        let failed = Last::Failed(error.kind(), error.status());
        if self.last != failed {
            report.failed(pod, error);
        }
        self.last = failed;
        if is_the_nodes_own(error.kind()) {
            self.standing = NodeHealth::Bad;
        }
    }

    /// Counts failures of the same kind in a row.
    fn repeats(&mut self, pod: &Pod, scraped: &Scraped, expected: bool, now: RoundTime) {
        match &scraped.outcome {
            Ok(()) => self.repeated = None,
            Err(error) if !can_repeat(error.kind()) => {
                if let Some(repeated) = &mut self.repeated {
                    repeated.passed(now);
                }
            }
            Err(error) if expected || self.ever_answered => {
                let repeated = RepeatedFailure::after(self.repeated.as_deref(), error.kind(), pod, now);
                self.repeated = Some(Box::new(repeated));
            }
            Err(_) => {}
        }
    }

    fn left_out(&mut self, pod: &Pod, error: &ScrapeError, report: &mut Report) {
        if self.repeated.as_mut().is_some_and(|repeated| repeated.is_news()) {
            report.left_out(pod, error);
        }
    }

    fn lines(&mut self, pod: &Pod, errors: Option<&str>, report: &mut Report) {
        if let Some(errors) = errors
            && !self.bad_lines
        {
            report.bad_lines(pod, errors);
        }
        self.bad_lines = errors.is_some();
    }

    /// Keeps which way leads to the node; true if a node that was asked directly is reached through the API server
    /// again.
    fn way(&mut self, round: u64, scraped: &Scraped) -> bool {
        match (&scraped.outcome, scraped.path) {
            (Ok(()), Some(Path::Proxy)) => {
                self.blocked = None;
                return self.fallback.take().is_some();
            }
            (Ok(()), _) => {
                if let Some(why) = scraped.fallback {
                    self.fallback = Some((round, why));
                    self.blocked = Some(why).filter(|why| *why != Fallback::ApiServer);
                }
            }
            (Err(error), _) => {
                self.blocked = error.blocked().or(self.blocked);
                // Failing directly is no reason to go on so.
                self.fallback = None;
            }
        }
        false
    }
}

/// The node was given its time and did not use it. What the API server, the helper or the end of the round kept from it
/// shows nothing about it.
fn is_the_nodes_own(kind: FailureKind) -> bool {
    match kind {
        FailureKind::Timeout
        | FailureKind::ConnectRefused
        | FailureKind::ConnectionReset
        | FailureKind::NoRoute
        | FailureKind::NoPodIp
        | FailureKind::ProxyUnavailable
        | FailureKind::RateLimitedByNode
        | FailureKind::NotFound
        | FailureKind::BadStatus
        | FailureKind::TooLarge
        | FailureKind::BadPage => true,
        FailureKind::ApiServerUnreachable
        | FailureKind::RateLimitedByApiServer
        | FailureKind::Forbidden
        | FailureKind::Stopped
        | FailureKind::Deadline
        | FailureKind::OutOfFiles => false,
    }
}

/// A failure for which a node is asked less often. One without an address costs no request, and is asked as soon as it has
/// one.
fn can_repeat(kind: FailureKind) -> bool {
    is_the_nodes_own(kind) && kind != FailureKind::NoPodIp
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
