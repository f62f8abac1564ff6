//! What the answers are made of.

use std::time::Duration;

use tokio::sync::watch;

use cni_aws::identity::{ClusterIdReader, IdentityReader};
use cni_collector::discover::Discovery;
use cni_collector::self_stats::SelfStats;
use cni_publish::SinkStats;
use cni_runtime::clock::Clock;
use cni_runtime::gate::Leadership;

/// What the answers are made of.
#[derive(Debug, Clone)]
pub struct AdminParts {
    /// The round loop's figures.
    pub stats: SelfStats,
    /// The sinks' figures.
    pub sinks: Vec<watch::Receiver<SinkStats>>,
    /// The watches.
    pub discovery: Discovery,
    /// Whom it publishes for; `None` where nothing needs to know.
    pub identity: Option<IdentityReader>,
    /// Whose id is the label `cluster` of the helper's own metrics, once it is known.
    pub cluster: ClusterIdReader,
    /// Prometheus gets no `cni_*` metrics before the cluster's id is known.
    pub prometheus_waits: bool,
    /// Whether this replica publishes.
    pub leadership: Leadership,
    /// Time between rounds.
    pub interval: Duration,
    /// For ages.
    pub clock: Clock,
}

impl AdminParts {
    /// The sinks that something stands in the way of now.
    pub(super) fn troubled_sinks(&self) -> Vec<&'static str> {
        let sinks = self.sinks.iter().map(|sink| sink.borrow());
        sinks.filter(|sink| sink.trouble.is_some()).map(|sink| sink.name).collect()
    }

    pub(super) fn is_synced(&self) -> bool {
        *self.discovery.index.synced().borrow()
    }
}
