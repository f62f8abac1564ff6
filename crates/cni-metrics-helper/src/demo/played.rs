//! One round of the demo and its truth.

use std::sync::Arc;

use cni_insight::finding::Conclusion;
use cni_metrics_core::model::Snapshot;
use cni_sim::truth::RoundTruth;

/// One round as it was published, and as it should have been.
#[derive(Debug)]
pub(super) struct PlayedRound {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) truth: RoundTruth,
    /// What is concluded from it.
    pub(super) conclusion: Option<Arc<Conclusion>>,
}
