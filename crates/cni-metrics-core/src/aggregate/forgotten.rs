//! Pods that left the list so long ago that their counters were forgotten.
//!
//! A mark of each stays: when it was last scraped. Without it a pod that was created after the helper and comes back would
//! seem new, and its events would count twice.

use std::collections::HashMap;

use super::fnv;
use crate::model::{PodUid, Target, UnixMillis};

/// How many pods are marked; beyond it the older half shares one mark.
pub(super) const MARKS: usize = 16_384;

/// The marks.
#[derive(Debug, Default)]
pub(super) struct Forgotten {
    /// The last good scrape, by a hash of the pod's UID.
    pub(super) marks: HashMap<u64, UnixMillis>,
    /// The latest of the marks that were given up: a pod no younger than this may have been among them.
    pub(super) given_up: Option<UnixMillis>,
}

impl Forgotten {
    /// Marks a pod.
    pub(super) fn note(&mut self, uid: &PodUid, last_scraped_at: UnixMillis) {
        self.marks.insert(fnv(uid.as_str()), last_scraped_at);
    }

    /// Gives up the older marks if there are too many.
    pub(super) fn shrink(&mut self) {
        if self.marks.len() <= MARKS {
            return;
        }
        let mut times: Vec<UnixMillis> = self.marks.values().copied().collect();
        times.sort_unstable();
        let Some(middle) = times.get(times.len() / 2).copied() else { return };
        self.marks.retain(|_, at| *at > middle);
        self.given_up = self.given_up.max(Some(middle));
    }

    /// When a pod that is not remembered was last scraped at the latest; `None` if it never was. Its mark ends here.
    pub(super) fn take(&mut self, target: &Target) -> Option<UnixMillis> {
        // Creation is stamped in whole seconds by another clock, and always comes before the first scrape.
        let may_be_given_up = |given_up: &UnixMillis| target.created_at.is_none_or(|created| created <= *given_up);
        let mark = self.marks.remove(&fnv(target.uid.as_str()));
        mark.or_else(|| self.given_up.filter(may_be_given_up))
    }
}
