//! What each node last did, so that a change is told once and a known detour is taken at once.

use std::collections::HashMap;

use cni_metrics_core::model::{FailureKind, PodUid};

use super::Scraped;
use super::report::Report;
use crate::discover::Pod;

/// Rounds for which a node that the API server could not reach is asked directly before the proxy is tried again.
const DETOUR_ROUNDS: u64 = 20;

/// By pod UID.
#[derive(Debug, Default)]
pub(super) struct History {
    nodes: HashMap<PodUid, Past>,
}

#[derive(Debug, Default)]
struct Past {
    /// `None` is an answer.
    failure: Option<FailureKind>,
    bad_lines: bool,
    detour_until: u64,
    seen_in: u64,
}

impl History {
    /// The API server lately could not reach this node.
    pub(super) fn takes_detour(&self, uid: &PodUid, round: u64) -> bool {
        self.nodes.get(uid).is_some_and(|past| round < past.detour_until)
    }

    /// Notes a scrape's outcome and reports what is new about it. A node's first answer is no news; its first failure
    /// is.
    pub(super) fn note(&mut self, round: u64, pod: &Pod, scraped: &Scraped, report: &mut Report) {
        let past = self.nodes.entry(pod.uid.clone()).or_default();
        past.seen_in = round;
        let failure = scraped.outcome.as_ref().err();
        let kind = failure.map(super::ScrapeError::kind);
        if kind != past.failure {
            match failure {
                Some(error) => report.failed(pod, error),
                None => report.answered(pod),
            }
            past.failure = kind;
        }
        let bad_lines = scraped.line_errors.is_some();
        if bad_lines && !past.bad_lines {
            Report::bad_lines(pod, scraped.line_errors.as_deref().unwrap_or_default());
        }
        past.bad_lines = bad_lines;
        match &scraped.detour {
            Some(_) if round < past.detour_until => report.still_detoured(),
            Some(reason) => {
                past.detour_until = round + DETOUR_ROUNDS;
                report.detoured(pod, reason);
            }
            None => past.detour_until = 0,
        }
    }

    /// Drops the nodes that are not listed any more.
    pub(super) fn forget_others(&mut self, round: u64) {
        self.nodes.retain(|_, past| past.seen_in == round);
    }
}
