//! The time in which what is remembered is judged.

use std::num::NonZeroI64;

use crate::evidence::Counting;

/// Errors and growth explain refusals for this long, milliseconds: an agent that EC2 refused addresses asks again after two
/// minutes, and one that waits for an ENI to appear after three.
pub(crate) const WINDOW_MS: i64 = 300_000;

/// A node in one round, in the time of [`crate::insight`], which never goes back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// Milliseconds.
    pub(crate) now_ms: i64,
    /// From round to round, milliseconds; at least 1.
    pub(crate) interval_ms: i64,
    /// What the counters count.
    pub(crate) counting: Counting,
}

/// A time of the engine, which is never 0, so that none takes no room.
pub(crate) type Stamp = Option<NonZeroI64>;
