//! Prometheus: the newest round under `/metrics`, on a listener of its own.
//!
//! The sink reads every round (a reader of only the newest one would lose the increases of those it skipped), adds up
//! the nodes' counters, and serves pages from that. Gauges disappear once no round has finished for three intervals:
//! a gap in a graph is true, a value held for ever is not. Until the cluster's id is known, the page has only what carries no
//! name of the cluster: the Go helper's own gauges.

mod findings;
pub mod names;
pub mod page;
pub mod server;
pub mod text;
pub mod totals;

use std::future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;

use self::page::Exposed;
use self::server::Serving;
use crate::messages::Published;
use crate::sink::Sink;
use crate::stats::Stats;
use cni_aws::identity::ClusterIdReader;
use cni_runtime::clock::Clock;
use cni_types::shard::Shard;

/// Intervals without a finished round after which gauges are withdrawn.
const STALE_INTERVALS: u32 = 3;

/// How Prometheus is served.
#[derive(Debug, Clone)]
pub struct PrometheusSettings {
    /// Where to listen.
    pub address: SocketAddr,
    /// Whether the `cni_node_*` series are exposed.
    pub node_series: bool,
    /// Whose id is the label `cluster` of every `cni_*` series: until it is known, there is none of them. `None` is no label.
    pub cluster: Option<ClusterIdReader>,
    /// Which part of the cluster the sums are of, if not all.
    pub shard: Option<Shard>,
    /// Time between rounds.
    pub interval: Duration,
}

/// Why Prometheus cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("PROMETHEUS_ADDRESS {address}: cannot listen there: {reason}")]
pub struct PrometheusError {
    /// Where.
    pub address: SocketAddr,
    /// What the system says.
    pub reason: std::io::Error,
}

/// Serves the newest round.
pub struct PrometheusSink {
    stats: Stats,
    address: SocketAddr,
    newest: watch::Sender<Option<Arc<Exposed>>>,
    /// Answers requests while it is polled; dropping it closes the listener.
    server: BoxFuture<'static, ()>,
}

impl PrometheusSink {
    /// Listens from now on, and answers once it is started.
    pub async fn bind(settings: PrometheusSettings, clock: Clock) -> Result<Self, PrometheusError> {
        let address = settings.address;
        let fail = |reason| PrometheusError { address, reason };
        let listener = crate::listen::bind(address).await.map_err(fail)?;
        let address = crate::listen::shown(address, &listener).map_err(fail)?;
        let (newest, pages) = watch::channel(None::<Arc<Exposed>>);
        let serving = Serving {
            newest: pages,
            clock,
            stale_after: settings.interval * STALE_INTERVALS,
            node_series: settings.node_series,
            cluster: settings.cluster,
            shard: settings.shard,
        };
        let server = Box::pin(server::serve(listener, serving));
        Ok(Self { stats: Stats::new("prometheus"), address, newest, server })
    }

    /// Where it listens, which differs from the setting if that left the port open.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Sink for PrometheusSink {
    fn stats(&self) -> &Stats {
        &self.stats
    }

    fn accept(&mut self, round: Published) -> BoxFuture<'_, ()> {
        let at = round.snapshot.at;
        self.newest.send_modify(|newest| {
            *newest = Some(Arc::new(Exposed::after(newest.as_deref(), round)));
        });
        self.stats.delivered(0, at);
        Box::pin(future::ready(()))
    }

    fn work(&mut self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            self.server.as_mut().await;
            self.server = Box::pin(future::pending());
            Err("its listener has ended".to_owned())
        })
    }

    fn stop(&mut self, _by: Instant) -> BoxFuture<'_, ()> {
        self.server = Box::pin(future::pending());
        Box::pin(future::ready(()))
    }
}
