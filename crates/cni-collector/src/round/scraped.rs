//! What one target's scrape came to, within a round.

use std::sync::Arc;

use cni_metrics_core::model::Target;

use crate::discover::Pod;
use crate::scrape::{Fallback, Path, ScrapeError};

/// How a target's scrape went. Kept for every node until the round ends, hence small; what the page said is with the
/// aggregate by then.
pub(super) struct Scraped {
    pub(super) outcome: Result<(), Box<ScrapeError>>,
    /// The way by which a page came.
    pub(super) path: Option<Path>,
    pub(super) fallback: Option<Fallback>,
    pub(super) line_errors: Option<Box<str>>,
    /// A large page came, of which nothing could be used.
    pub(super) is_waste: bool,
}

/// What is asked, in the index's order.
pub(super) type Targets = [(Arc<Pod>, Target)];

impl Scraped {
    /// The same with another look at its failure.
    pub(super) fn judged(self, judge: impl FnOnce(ScrapeError) -> ScrapeError) -> Self {
        Self { outcome: self.outcome.map_err(|error| Box::new(judge(*error))), ..self }
    }

    pub(super) fn failed(error: ScrapeError) -> Self {
        Self { outcome: Err(Box::new(error)), path: None, fallback: None, line_errors: None, is_waste: false }
    }
}
