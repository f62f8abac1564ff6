//! Pods that left the list so long ago that their counters were forgotten.
//!
//! A mark of each stays: when it was last scraped. Without it a pod that was created after the helper and comes back would
//! seem new, and its events would count twice.

use std::collections::HashMap;

use super::fnv;
use crate::model::{PodUid, Target, UnixMillis};

/// How many pods are marked; beyond it the older half shares one mark.
pub(super) const MARKS: usize = 16_384;

/// What is known of a forgotten pod.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mark {
    /// The round of its last good scrape.
    pub(super) last_scraped_at: UnixMillis,
    /// The start of its process then, by its node's clock.
    pub(super) process_start_seconds: Option<f64>,
}

/// The marks.
#[derive(Debug, Default)]
pub(super) struct Forgotten {
    /// By a hash of the pod's UID.
    pub(super) marks: HashMap<u64, Mark>,
    /// The latest of the marks that were given up: a pod no younger than this may have been among them.
    pub(super) given_up: Option<UnixMillis>,
}

impl Forgotten {
    /// Marks a pod.
    pub(super) fn note(&mut self, uid: &PodUid, mark: Mark) {
        self.marks.insert(fnv(uid.as_str()), mark);
    }

    /// Gives up the older marks if there are too many.
    pub(super) fn shrink(&mut self) {
        if self.marks.len() <= MARKS {
            return;
        }
        let mut times: Vec<UnixMillis> = self.marks.values().map(|mark| mark.last_scraped_at).collect();
        times.sort_unstable();
        let Some(middle) = times.get(times.len() / 2).copied() else { return };
        self.marks.retain(|_, mark| mark.last_scraped_at > middle);
        self.given_up = self.given_up.max(Some(middle));
    }

    /// The mark of a pod that is not remembered; `None` if it was never scraped. Its mark ends here. What was given up was
    /// scraped before the round of `at`, whatever the helper's clock showed then.
    pub(super) fn take(&mut self, target: &Target, at: UnixMillis) -> Option<Mark> {
        let given_up = || {
            let last_scraped_at = self.given_up?.min(at);
            // Creation is stamped in whole seconds by another clock, and always comes before the first scrape.
            let may_be_given_up = target.created_at.is_none_or(|created| created <= last_scraped_at);
            may_be_given_up.then_some(Mark { last_scraped_at, process_start_seconds: None })
        };
        let mark = self.marks.remove(&fnv(target.uid.as_str()));
        mark.or_else(given_up)
    }
}
