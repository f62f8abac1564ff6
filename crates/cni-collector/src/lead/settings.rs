//! How the election is held: what the operator sets, and its fixed times and shares.

use std::time::Duration;

use cni_runtime::clock::Clock;

/// How the election is held.
#[derive(Debug, Clone)]
pub struct LeadSettings {
    /// The lease's namespace: the helper's own.
    pub namespace: String,
    /// The lease's name.
    pub name: String,
    /// Unique to this process.
    pub identity: String,
    /// How long a lease lasts without renewal.
    pub duration: Duration,
    /// This replica measures while it does not lead, so that rounds which another has published must be left out.
    pub is_warm: bool,
    /// Time between rounds.
    pub interval: Duration,
    /// What rounds are dated with.
    pub clock: Clock,
}

impl LeadSettings {
    /// A replica whose loop has not turned for this long leaves the lease to others.
    pub(super) fn stuck_after(&self) -> Duration {
        (self.clock.limit(self.interval) * STUCK_INTERVALS).max(self.duration * 2)
    }
}

/// The share of the duration in which a leader may publish after a renewal.
pub(super) const PUBLISH_SHARE: f64 = 2.0 / 3.0;

/// The lease is read this number of times within its duration.
pub(super) const LOOKS_PER_LEASE: u32 = 8;

/// The longest `LEASE_DURATION` there is: a longer one in a lease is not of this program, and not waited for.
pub(super) const LONGEST_LEASE: Duration = Duration::from_mins(5);

/// Clocks of machines in one cluster differ by this at most; beyond it and an interval, a published-until is not believed.
pub(super) const MAX_CLOCK_SKEW: Duration = Duration::from_secs(10);

/// Intervals in which the round loop must have turned once for the replica to lead.
const STUCK_INTERVALS: u32 = 3;

/// The annotation that says up to which round, Unix milliseconds, everything is published or about to be.
pub const PUBLISHED_UNTIL: &str = "cni-metrics-helper/published-until";

/// The annotation in which a leader keeps its open findings for its successor: see `docs/ha.md`.
pub const FINDINGS: &str = "cni-metrics-helper/findings";
