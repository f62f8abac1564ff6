//! Prometheus: the newest round under `/metrics`, on a listener of its own.
//!
//! The task reads every round (a reader of only the newest one would lose the increases of those it skipped), adds up
//! the nodes' counters, and serves pages from that. Gauges disappear once no round has finished for three intervals:
//! a gap in a graph is true, a value held for ever is not. Until the cluster's id is known, the page has only what carries no
//! name of the cluster: the Go helper's own gauges.

pub mod names;
pub mod page;
pub mod server;
pub mod text;
pub mod totals;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use self::page::Exposed;
use self::server::Serving;
use super::{Intake, Publisher};
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

/// Adds the sink; returns where it listens (which differs from the setting if that left the port open).
pub async fn spawn(
    publisher: &mut Publisher,
    settings: PrometheusSettings,
    clock: Clock,
) -> Result<SocketAddr, PrometheusError> {
    let address = settings.address;
    let fail = |reason| PrometheusError { address, reason };
    let listener = crate::listen::bind(address).await.map_err(fail)?;
    let bound = crate::listen::shown(address, &listener).map_err(fail)?;
    publisher.spawn("prometheus", |intake| run(intake, listener, settings, clock));
    Ok(bound)
}

async fn run(mut intake: Intake, listener: TcpListener, settings: PrometheusSettings, clock: Clock) {
    let (newest, pages) = watch::channel(None::<Arc<Exposed>>);
    let serving = Serving {
        newest: pages,
        clock,
        stale_after: settings.interval * STALE_INTERVALS,
        node_series: settings.node_series,
        cluster: settings.cluster,
        shard: settings.shard,
    };
    let server = server::serve(listener, serving);
    tokio::pin!(server);
    loop {
        tokio::select! {
            round = intake.rounds.next() => {
                let Some(round) = round else { return };
                let at = round.snapshot.at;
                newest.send_modify(|newest| {
                    *newest = Some(Arc::new(Exposed::after(newest.as_deref(), round.snapshot)));
                });
                intake.stats.change(|stats| {
                    stats.rounds += 1;
                    stats.last_success = Some(at);
                });
            }
            () = &mut server => return,
        }
    }
}
