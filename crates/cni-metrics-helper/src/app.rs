//! The composition root: builds every part in dependency order, runs the round loop, and drains.

use std::sync::Arc;
use std::time::Duration;

use cni_metrics_core::aggregate::CounterMode;
use cni_metrics_core::model::Snapshot;
use thiserror::Error;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::config::{CloudWatchConfig, Config};
use crate::discover::connect::{Clients, ConnectError, connect};
use crate::discover::{Discovery, IndexReader, cluster_names};
use crate::identity::{self, ClusterHints, Identity, IdentityError, IdentitySettings};
use crate::publish::cloudwatch::{AwsCloudWatch, CloudWatchSettings, CloudWatchSettingsError, spool};
use crate::publish::prometheus::{PrometheusError, PrometheusSettings};
use crate::publish::{Publisher, Selection, cloudwatch as to_cloudwatch, log, prometheus};
use crate::round::{RoundParts, Rounds};
use crate::scrape::Scraper;
use crate::self_stats::SelfStats;
use crate::shutdown::{GRACE, Shutdown};

/// CloudWatch gets the points of so many rounds in one request, as the Go helper sends them.
const FLUSH_INTERVALS: u32 = 2;

/// The newest snapshot, for whoever reads it.
pub type SnapshotReader = watch::Receiver<Option<Arc<Snapshot>>>;

/// Why the program cannot start.
#[derive(Debug, Error)]
pub enum AppError {
    /// No way to the API server.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Nobody to publish as.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// CloudWatch would refuse every request.
    #[error("CloudWatch would refuse this: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    CloudWatch(Vec<CloudWatchSettingsError>),
    /// The Prometheus page cannot be served.
    #[error(transparent)]
    Prometheus(#[from] PrometheusError),
}

/// Where region, cluster id and AWS clients come from.
#[derive(Debug)]
pub enum AwsSource {
    /// Variables, profile, instance, cluster: the contract's order.
    Environment,
    /// Given by the caller: the demo points them at its simulated services.
    Given(Box<Identity>),
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
    pub async fn build(config: Config, aws: AwsSource, clock: Clock, shutdown: Shutdown) -> Result<Self, AppError> {
        let clients = connect(&config.connect).await?;
        let discovery = Discovery::spawn(&clients.watch, &config.discover, &shutdown);
        let mut publisher = publisher(&config, &clock).await?;
        if let Some(cloudwatch) = &config.cloudwatch {
            let identity = match aws {
                AwsSource::Given(identity) => *identity,
                AwsSource::Environment => identify(&config, &clients).await?,
            };
            add_cloudwatch(&mut publisher, &config, cloudwatch, &identity, &clock)?;
        }
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
        let mut ticks = self.clock.ticks(self.config.interval);
        let limit = self.clock.limit(self.config.round_limit());
        let mut shutdown = self.shutdown.clone();
        loop {
            let late = tokio::select! { biased; () = shutdown.ended() => return, late = ticks.next() => late };
            if late {
                self.stats.late();
                warn!("the round before took longer than the interval of {} s", self.config.interval.as_secs());
            }
            self.stats.turned(false);
            let (snapshot, figures) = rounds.run(limit, &self.shutdown).await;
            self.stats.round(&snapshot, figures);
            self.publisher.publish(Arc::clone(&snapshot));
            self.snapshots.send_replace(Some(snapshot));
        }
    }

    fn parts(&self) -> RoundParts {
        RoundParts {
            index: IndexReader::clone(&self.discovery.index),
            scraper: Arc::new(Scraper::new(self.clients.scrape.clone(), self.config.scrape.clone())),
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

/// Asks every source in the contract's order; the cluster itself only where nobody said its name.
async fn identify(config: &Config, clients: &Clients) -> Result<Identity, IdentityError> {
    let hints = if config.cluster_id.is_some() {
        ClusterHints::default()
    } else {
        let own_node = std::env::var("NODE_NAME").ok();
        let names = cluster_names(&clients.scrape, &config.discover, own_node.as_deref()).await;
        ClusterHints {
            eksctl_cluster_name: names.eksctl_label,
            aws_node_cluster_name: names.agent_variable,
            instance_id: names.instance_id,
        }
    };
    let settings = IdentitySettings {
        aws_cluster_id: config.cluster_id.clone().unwrap_or_default(),
        aws_region: config.region.clone().unwrap_or_default(),
    };
    identity::resolve(&settings, hints).await
}

fn add_cloudwatch(
    publisher: &mut Publisher,
    config: &Config,
    cloudwatch: &CloudWatchConfig,
    identity: &Identity,
    clock: &Clock,
) -> Result<(), AppError> {
    let settings = CloudWatchSettings {
        namespace: cloudwatch.namespace.clone(),
        cluster_id: identity.cluster_id.value.clone(),
        selection: cloudwatch.selection.clone(),
        resolution_seconds: u32::from(cloudwatch.resolution_seconds),
        flush_every: config.interval * FLUSH_INTERVALS,
        buffer_bytes: cloudwatch.buffer_bytes as u64,
        spool_dir: cloudwatch.spool_dir.clone(),
    };
    settings.check().map_err(AppError::CloudWatch)?;
    let restored = settings.spool_dir.as_deref().map(|dir| spool::restore(dir, clock));
    let sink = AwsCloudWatch::new(&identity.sdk, &settings);
    to_cloudwatch::spawn(publisher, settings, sink, clock.clone(), restored);
    Ok(())
}
