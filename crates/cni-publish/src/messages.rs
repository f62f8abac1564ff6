//! What the publisher sends to the sinks: finished rounds, and orders.

use std::sync::Arc;

use cni_insight::finding::Conclusion;
use cni_metrics_core::model::Snapshot;
use tokio::time::Instant;

/// One finished round, as the sinks get it.
#[derive(Debug, Clone)]
pub struct Published {
    /// What the round concluded.
    pub snapshot: Arc<Snapshot>,
    /// The counters' baselines as they are *after* this round, in a form only their owner reads; `None` where they
    /// are not kept. The spool stores them beside the points of the same round, so that both are always of one age.
    pub counters: Option<Arc<[u8]>>,
    /// What is concluded from the round; `None` where no conclusions are drawn, or another replica draws them.
    pub conclusion: Option<Arc<Conclusion>>,
}

impl From<Arc<Snapshot>> for Published {
    fn from(snapshot: Arc<Snapshot>) -> Self {
        Self { snapshot, counters: None, conclusion: None }
    }
}

/// What the publisher tells every sink.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Orders {
    /// Everything must be over by then.
    pub(super) stop_by: Option<Instant>,
}
