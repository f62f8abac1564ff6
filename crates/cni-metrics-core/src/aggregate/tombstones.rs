//! Pods that left the list so long ago that their counters are no longer kept.
//!
//! Of each such pod a tombstone stays: when it was last scraped. Without it, a pod that was created after the helper's start
//! and comes back would seem new, and its events would count twice.

use std::collections::HashMap;

use cni_types::hash::fnv1a;

use crate::model::{PodUid, Target, UnixMillis};

/// The maximum number of tombstones of any cluster.
pub(super) const MOST_TOMBSTONES: usize = 16_384;
/// The maximum number of a cluster with no more nodes than this; a larger one has one for each node. In a small cluster
/// tombstones would otherwise take more memory after some months than all of its nodes.
const MOST_OF_A_SMALL_CLUSTER: usize = 2_048;

/// What is known of a pod that was deleted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tombstone {
    /// The round of its last good scrape.
    pub(super) last_scraped_at: UnixMillis,
    /// The start of its process then, by its node's clock.
    pub(super) process_start_seconds: Option<f64>,
}

/// The tombstones.
#[derive(Debug, Default)]
pub(super) struct Tombstones {
    /// By a hash of the pod's UID.
    pub(super) entries: HashMap<u64, Tombstone>,
    /// The latest of the entries that were given up: a pod no younger than this may have been among them.
    pub(super) given_up: Option<UnixMillis>,
}

impl Tombstones {
    /// Adds a pod's tombstone.
    pub(super) fn note(&mut self, uid: &PodUid, entry: Tombstone) {
        self.entries.insert(fnv1a(uid.as_str().as_bytes()), entry);
    }

    /// Drops the older half if there are more than a cluster of this number of nodes may have: those share one time then.
    pub(super) fn shrink(&mut self, nodes: usize) {
        if self.entries.len() <= nodes.clamp(MOST_OF_A_SMALL_CLUSTER, MOST_TOMBSTONES) {
            return;
        }
        let mut times: Vec<UnixMillis> = self.entries.values().map(|entry| entry.last_scraped_at).collect();
        times.sort_unstable();
        let Some(middle) = times.get(times.len() / 2).copied() else { return };
        self.entries.retain(|_, entry| entry.last_scraped_at > middle);
        self.given_up = self.given_up.max(Some(middle));
    }

    /// The entry of a pod that is not remembered; `None` if it was never scraped. Its entry ends here. What was given up was
    /// scraped before the round of `at`, whatever the helper's clock showed then.
    pub(super) fn take(&mut self, target: &Target, at: UnixMillis) -> Option<Tombstone> {
        let given_up = || {
            let last_scraped_at = self.given_up?.min(at);
            // Creation is stamped in whole seconds by another clock, and always comes before the first scrape.
            let may_be_given_up = target.created_at.is_none_or(|created| created <= last_scraped_at);
            may_be_given_up.then_some(Tombstone { last_scraped_at, process_start_seconds: None })
        };
        let entry = self.entries.remove(&fnv1a(target.uid.as_str().as_bytes()));
        entry.or_else(given_up)
    }
}
