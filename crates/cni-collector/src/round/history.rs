//! What each node last did: whom to ask first, whom to ask directly, and what is news.

use std::collections::HashMap;

use cni_metrics_core::model::{FailureKind, PodUid};

use super::report::Report;
use super::scraped::Scraped;
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
const FULL_READ_EVERY_AT_MOST: u64 = 160;

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
    /// The API server was out of reach, which says nothing of the node.
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
    /// of one that is not expected to answer yet.
    pub(super) fn note(&mut self, round: u64, pod: &Pod, expected: bool, scraped: &Scraped, report: &mut Report) {
        let seen = &mut self.seen;
        let past = self.nodes.entry(pod.uid.clone()).or_insert_with(|| {
            *seen += 1;
            Past { slot: *seen % PROBE_EVERY, ..Past::default() }
        });
        past.seen_in = round;
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
/// says nothing of it.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrape::Limiter;

    fn pod(name: &str) -> Pod {
        Pod {
            uid: PodUid::new(name),
            name: name.into(),
            node: Some(name.into()),
            ip: None,
            running: true,
            deleting: false,
            created_at: None,
            agent: std::sync::Arc::default(),
        }
    }

    fn scraped(outcome: Result<Path, ScrapeError>, fallback: Option<Fallback>) -> Scraped {
        let path = outcome.as_ref().ok().copied();
        Scraped { outcome: outcome.map(|_| ()).map_err(Box::new), path, fallback, line_errors: None, is_waste: false }
    }

    fn timeout() -> ScrapeError {
        ScrapeError::Timeout { after: std::time::Duration::from_secs(5), by_proxy: true }
    }

    #[test]
    fn nodes_that_answer_are_asked_before_those_that_hang_and_those_take_turns() {
        let (mut history, mut report) = (History::default(), Report::new(String::new()));
        history.note(1, &pod("good"), true, &scraped(Ok(Path::Proxy), None), &mut report);
        for name in ["slow-1", "slow-2"] {
            history.note(1, &pod(name), true, &scraped(Err(timeout()), None), &mut report);
        }
        let order = |name: &str, round| history.order(&PodUid::new(name), round);
        assert!(order("good", 2) < order("new", 2) && order("new", 2) < order("slow-1", 2));
        let first = |round| order("slow-1", round) < order("slow-2", round);
        assert!((2..30).any(first) && !(2..30).all(first));
    }

    #[test]
    fn a_fallback_is_probed_now_and_then_and_given_up_by_all_once_one_probe_gets_through() {
        let (mut history, mut report) = (History::default(), Report::new(String::new()));
        let names: Vec<String> = (0..40).map(|number| format!("node-{number}")).collect();
        for name in &names {
            let page = scraped(Ok(Path::Direct), Some(Fallback::Unreachable));
            history.note(1, &pod(name), true, &page, &mut report);
        }
        for round in 2..60 {
            let probes =
                names.iter().filter(|name| !history.takes_fallback(&PodUid::new(name.as_str()), round)).count();
            assert_eq!(probes, 2, "round {round}");
        }
        assert_eq!(history.blocked(), (40, 0));
        history.note(60, &pod("node-7"), true, &scraped(Ok(Path::Proxy), None), &mut report);
        assert!(names.iter().all(|name| !history.takes_fallback(&PodUid::new(name.as_str()), 61)));
        assert_eq!(history.blocked(), (39, 0));
    }

    #[test]
    fn a_page_that_stays_large_and_useless_is_read_in_full_ever_more_rarely_down_to_one_of_160_rounds() {
        let (mut history, mut report) = (History::default(), Report::new(String::new()));
        let names: Vec<String> = (0..20).map(|number| format!("node-{number}")).collect();
        let error = || ScrapeError::TooLarge { limit_bytes: 8 << 20 };
        let mut full = vec![Vec::new(); 20];
        for round in 1..=1_000 {
            for (name, full) in names.iter().zip(&mut full) {
                let page_limit = history.page_limit(&PodUid::new(name.as_str()), round);
                full.extend(page_limit.is_none().then_some(round));
                let error = page_limit.map_or_else(error, |limit_bytes| ScrapeError::StillTooLarge { limit_bytes });
                history.note(round, &pod(name), true, &scraped(Err(error), None), &mut report);
            }
        }
        for rounds in &full {
            let gaps: Vec<u64> = rounds.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!(gaps.iter().all(|gap| (10..=160).contains(gap)) && gaps.is_sorted(), "{rounds:?}");
            assert!((8..=17).contains(&rounds.len()), "{rounds:?}");
        }
        let together = (2..=1_000).map(|round| full.iter().filter(|rounds| rounds.contains(&round)).count()).max();
        assert!(together <= Some(4), "{full:?}");
        let uid = PodUid::new("node-7");
        assert_eq!(history.order(&uid, 1_001).0, 2);
        history.note(1_001, &pod("node-7"), true, &scraped(Ok(Path::Proxy), None), &mut report);
        assert!((1_002..1_400).all(|round| history.page_limit(&uid, round).is_none()));
    }

    #[test]
    fn a_node_whose_connection_broke_is_known_until_its_next_answer() {
        let (mut history, mut report) = (History::default(), Report::new(String::new()));
        let uid = PodUid::new("a");
        assert!(!history.was_reset(&uid));
        history.note(1, &pod("a"), true, &scraped(Err(ScrapeError::Reset(String::new())), None), &mut report);
        assert!(history.was_reset(&uid));
        history.note(2, &pod("a"), true, &scraped(Ok(Path::Proxy), None), &mut report);
        assert!(!history.was_reset(&uid));
    }

    #[test]
    fn only_a_nodes_own_failure_sends_it_to_the_back() {
        let (mut history, mut report) = (History::default(), Report::new(String::new()));
        let uid = PodUid::new("a");
        for error in [ScrapeError::Deadline, ScrapeError::Stopped, ScrapeError::Forbidden(String::new())] {
            history.note(1, &pod("a"), true, &scraped(Err(error), None), &mut report);
            assert!(history.order(&uid, 2).0 < 2);
        }
        let limited =
            ScrapeError::RateLimited { by: Limiter::Node, code: 429, message: String::new(), retry_after: None };
        history.note(2, &pod("a"), true, &scraped(Err(limited), None), &mut report);
        assert_eq!(history.order(&uid, 3).0, 2);
    }

    #[test]
    fn a_pod_that_is_said_to_be_gone_twice_is_remembered() {
        let (mut history, mut report) = (History::default(), Report::new(String::new()));
        let uid = PodUid::new("a");
        assert!(!history.said_not_found(&uid));
        history.note(1, &pod("a"), true, &scraped(Err(ScrapeError::NotFound(String::new())), None), &mut report);
        assert!(history.said_not_found(&uid));
        let status = ScrapeError::BadStatus { code: 404, message: String::new() };
        history.note(2, &pod("a"), true, &scraped(Err(status), None), &mut report);
        assert!(history.said_not_found(&uid));
        history.note(3, &pod("a"), true, &scraped(Ok(Path::Proxy), None), &mut report);
        assert!(!history.said_not_found(&uid));
    }

    #[test]
    fn a_blocked_node_that_fails_otherwise_is_still_blocked() {
        let (mut history, mut report) = (History::default(), Report::new(String::new()));
        history.note(1, &pod("a"), true, &scraped(Ok(Path::Direct), Some(Fallback::Unreachable)), &mut report);
        let refused = ScrapeError::Refused(String::new());
        history.note(2, &pod("a"), true, &scraped(Err(refused), None), &mut report);
        assert_eq!(history.blocked(), (1, 0));
        history.note(3, &pod("a"), true, &scraped(Ok(Path::Proxy), None), &mut report);
        assert_eq!(history.blocked(), (0, 0));
    }
}
