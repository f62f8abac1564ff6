//! One round of the program that is measured.

use std::time::{Duration, Instant};

use crate::simulator::Burst;

/// A round as it ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    pub(crate) burst: Burst,
    /// From its first request until the program was idle again.
    pub(crate) seconds: f64,
    /// When the simulator's clock was last moved before it, Unix milliseconds.
    pub(crate) simulator_ms: i64,
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    /// The program's CPU time when it had ended.
    pub(crate) cpu: Duration,
    pub(crate) at: Instant,
    /// What the simulator used from the end of its own move to the end of the round.
    pub(crate) simulator_used: Duration,
    /// How much of that time the program was idle.
    pub(crate) simulator_waited: Duration,
}
