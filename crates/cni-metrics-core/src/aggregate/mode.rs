//! When the helper started, and what counters are published as.

use crate::model::UnixMillis;

/// When the helper started: what decides whether a node's first page is its whole story or only a baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HelperStart {
    /// By the helper's own clock.
    pub clock: UnixMillis,
    /// By the API server's clock, which also stamps the pods' creation; `None` where it could not be learned.
    pub api_server: Option<UnixMillis>,
}

/// What counters are published as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CounterMode {
    /// The increase since the node's previous good scrape.
    Increase,
    /// Each node's own value since its process started, for a single look with no round before it.
    Totals,
}
