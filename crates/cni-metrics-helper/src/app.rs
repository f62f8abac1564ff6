//! The composition root: builds every part in dependency order, runs the round loop, and drains.

use std::sync::Arc;
use std::time::Duration;

use cni_metrics_core::aggregate::CounterMode;
use cni_metrics_core::model::Snapshot;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::config::Config;
use crate::discover::connect::{Clients, ConnectError, connect};
use crate::discover::{Discovery, IndexReader};
use crate::publish::prometheus::{PrometheusError, PrometheusSettings};
use crate::publish::{Publisher, Selection, log, prometheus};
use crate::round::{RoundParts, Rounds};
use crate::scrape::Scraper;
use crate::self_stats::SelfStats;
use crate::shutdown::{GRACE, Shutdown};

/// The newest snapshot, for whoever reads it.
pub type SnapshotReader = watch::Receiver<Option<Arc<Snapshot>>>;

/// Why the program cannot start.
#[derive(Debug, Error)]
pub enum AppError {
    /// No way to the API server.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The Prometheus page cannot be served.
    #[error(transparent)]
    Prometheus(#[from] PrometheusError),
}

/// The program, built and not yet started.
pub struct App {
    config: Config,
    clock: Clock,
    shutdown: Shutdown,
    discovery: Discovery,
    clients: Clients,
    publisher: Publisher,
    snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    stats: SelfStats,
}

impl App {
    /// Builds all parts. The watches and the sinks' tasks run from here on; rounds begin with [`App::run`].
    pub async fn build(config: Config, clock: Clock, shutdown: Shutdown) -> Result<Self, AppError> {
        let clients = connect(&config.connect).await?;
        let publisher = publisher(&config, &clock).await?;
        let discovery = Discovery::spawn(&clients.watch, &config.discover, &shutdown);
        Ok(Self {
            config,
            clock,
            shutdown,
            discovery,
            clients,
            publisher,
            snapshots: watch::Sender::new(None),
            stats: SelfStats::default(),
        })
    }

    /// The newest snapshot, as rounds end.
    pub fn snapshots(&self) -> SnapshotReader {
        self.snapshots.subscribe()
    }

    /// Runs round after round until the end, then sends what is queued.
    pub async fn run(mut self) {
        if self.synced().await {
            self.rounds().await;
        }
        let left = GRACE.saturating_sub(Duration::from_millis(500));
        self.publisher.drain(left).await;
        info!("stopped");
    }

    /// Waits for the first complete list of pods; false if the end came first.
    async fn synced(&mut self) -> bool {
        let mut synced = self.discovery.index.synced();
        let mut shutdown = self.shutdown.clone();
        loop {
            self.stats.turned(false);
            tokio::select! {
                () = shutdown.ended() => return false,
                synced = synced.wait_for(|synced| *synced) => return synced.is_ok(),
                () = self.clock.sleep(self.config.interval) => warn!("still waiting for the first list of pods"),
            }
        }
    }

    async fn rounds(&mut self) {
        let mut rounds = Rounds::new(self.parts()).await;
        let (interval, limit) = (self.clock.real(self.config.interval), self.clock.real(self.config.round_limit()));
        let mut next = Instant::now();
        while !self.shutdown.is_ended() {
            self.stats.turned(false);
            let (snapshot, figures) = rounds.run(limit, &self.shutdown).await;
            self.stats.round(&snapshot, figures);
            self.snapshots.send_replace(Some(Arc::clone(&snapshot)));
            self.publisher.publish(snapshot);
            next = self.after(next, interval);
            let mut shutdown = self.shutdown.clone();
            tokio::select! { () = shutdown.ended() => {} () = tokio::time::sleep_until(next) => {} }
        }
    }

    /// When the next round begins: one interval after the last one's beginning, or at once where that is past. Missed
    /// rounds are counted, never made up for.
    fn after(&self, last: Instant, interval: Duration) -> Instant {
        let (next, now) = (last + interval, Instant::now());
        if next >= now {
            return next;
        }
        self.stats.late();
        warn!(
            "the round took longer than the interval of {} s; the next one begins at once",
            self.config.interval.as_secs()
        );
        now
    }

    fn parts(&self) -> RoundParts {
        RoundParts {
            index: IndexReader::clone(&self.discovery.index),
            scraper: Scraper::new(self.clients.scrape.clone(), self.config.scrape.clone()),
            api: self.clients.scrape.clone(),
            clock: self.clock.clone(),
            counters: CounterMode::Increase,
            looked_for: self.config.looked_for(),
        }
    }
}

/// Every sink that is switched on; the log always is.
async fn publisher(config: &Config, clock: &Clock) -> Result<Publisher, AppError> {
    let mut publisher = Publisher::new();
    log::spawn(&mut publisher, Selection::all());
    if let Some(settings) = config.prometheus {
        let settings = PrometheusSettings {
            address: settings.address,
            node_series: settings.node_metrics,
            interval: config.interval,
        };
        let address = prometheus::spawn(&mut publisher, settings, clock.clone()).await?;
        info!("serving Prometheus metrics on http://{address}/metrics");
    }
    Ok(publisher)
}
