//! The composition root: builds every part in dependency order, runs the round loop, and drains.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cni_metrics_core::aggregate::CounterMode;
use cni_metrics_core::model::Snapshot;
use thiserror::Error;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::admin::{Admin, AdminError, AdminParts};
use crate::clock::Clock;
use crate::config::{CloudWatchConfig, Config, ElectionConfig};
use crate::discover::connect::{Clients, ConnectError, connect};
use crate::discover::{Discovery, IndexReader};
use crate::identity::{
    self, FALLBACK_CLUSTER_ID, Identity, IdentityError, IdentityLimits, IdentityReader, IdentitySettings,
};
use crate::lead::{Election, LeadSettings, Leadership};
use crate::publish::cloudwatch::{AwsCloudWatch, CloudWatchSettings, CloudWatchSettingsError, spool};
use crate::publish::prometheus::{PrometheusError, PrometheusSettings};
use crate::publish::{Published, Publisher, Selection, SinkStats, cloudwatch as to_cloudwatch, log, prometheus};
use crate::round::{RoundParts, Rounds};
use crate::scrape::Scraper;
use crate::self_stats::SelfStats;
use crate::shard::Shard;
use crate::shutdown::Shutdown;

/// CloudWatch gets the points of so many rounds in one request, as the Go helper sends them.
const FLUSH_INTERVALS: u32 = 2;

/// Giving the lease back has so long.
const RESIGNATION: Duration = Duration::from_secs(1);

/// What is left of the time to end when all is done.
const END_RESERVE: Duration = Duration::from_millis(500);

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
    /// Health cannot be served.
    #[error(transparent)]
    Admin(#[from] AdminError),
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
    leadership: Leadership,
    election: Option<Election>,
    admin: Option<Admin>,
    /// Whom it publishes for; `None` without CloudWatch.
    identity: Option<IdentityReader>,
    /// Counters of an earlier process, until the first rounds go on from them.
    baselines: Option<Arc<[u8]>>,
}

impl App {
    /// Builds all parts. The watches, the election, the listeners and the sinks' tasks run from here on; rounds begin with
    /// [`App::run`].
    pub async fn build(config: Config, aws: AwsSource, clock: Clock, shutdown: Shutdown) -> Result<Self, AppError> {
        let clients = connect(&config.connect).await?;
        let discovery = Discovery::spawn(&clients.watch, &config.discover, &shutdown);
        let identity = match (&config.cloudwatch, aws) {
            (None, _) => None,
            (Some(_), AwsSource::Given(identity)) => Some(identity::given(*identity)),
            (Some(_), AwsSource::Environment) => Some(identify(&config, &discovery, &shutdown).await?),
        };
        let (election, leadership) = match &config.election {
            None => (None, Leadership::always()),
            Some(election) => {
                let candidacy = candidacy(election, config.shard(), &clients);
                let (election, leadership) = Election::stand(clients.watch.clone(), candidacy);
                (Some(election), leadership)
            }
        };
        let mut publisher = publisher(&config, &clock, &leadership).await?;
        let mut baselines = None;
        if let (Some(cloudwatch), Some(identity)) = (&config.cloudwatch, &identity) {
            baselines = add_cloudwatch(&mut publisher, &config, cloudwatch, identity, &clock)?;
        }
        let stats = SelfStats::default();
        let parts = AdminParts {
            stats: stats.clone(),
            sinks: publisher.stats_receivers(),
            discovery: discovery.clone(),
            identity: identity.clone(),
            leadership: leadership.clone(),
            interval: config.interval,
            clock: clock.clone(),
        };
        let admin = admin(config.admin, parts).await?;
        Ok(Self {
            // Another replica may have counted on since then: what it published must not be published again.
            baselines: baselines.filter(|_| !leadership.is_elected()),
            config,
            clock,
            shutdown,
            discovery,
            clients,
            publisher,
            snapshots: watch::Sender::new(None),
            stats,
            leadership,
            election,
            admin,
            identity,
        })
    }

    /// The newest snapshot, as rounds end.
    pub fn snapshots(&self) -> SnapshotReader {
        self.snapshots.subscribe()
    }

    /// The pods as the watch last showed them.
    pub fn index(&self) -> IndexReader {
        IndexReader::clone(&self.discovery.index)
    }

    /// The sinks' figures.
    pub fn sinks(&self) -> Vec<watch::Receiver<SinkStats>> {
        self.publisher.stats_receivers()
    }

    /// Where health is served, if it is.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Admin::address)
    }

    /// Waits until something has failed that the program cannot do without: a watch, or the search for the region. Tells what.
    pub fn broken(&self) -> impl Future<Output = String> + Send + use<> {
        let (discovery, identity) = (self.discovery.clone(), self.identity.clone());
        async move {
            let identity = async {
                match identity {
                    Some(identity) => identity::failed(identity).await.to_string(),
                    None => std::future::pending().await,
                }
            };
            tokio::select! { watch = discovery.failed() => watch, identity = identity => identity }
        }
    }

    /// Runs round after round until the end, sends what is queued, and gives the lease back.
    pub async fn run(mut self) {
        if self.synced().await {
            while self.may_measure().await {
                self.rounds().await;
            }
        }
        let reserve = if self.election.is_some() { RESIGNATION + END_RESERVE } else { END_RESERVE };
        self.publisher.drain(self.shutdown.grace_left().saturating_sub(reserve)).await;
        if let Some(election) = self.election {
            election.resign(RESIGNATION).await;
        }
        info!("stopped");
    }

    /// Waits for the first complete list of pods; false if the end came first.
    async fn synced(&mut self) -> bool {
        let mut synced = self.discovery.index.synced();
        let mut shutdown = self.shutdown.clone();
        loop {
            self.stats.turned(self.stands_by());
            tokio::select! {
                () = shutdown.ended() => return false,
                synced = synced.wait_for(|synced| *synced) => return synced.is_ok(),
                () = self.clock.sleep(self.config.interval) => warn!("still waiting for the first list of pods"),
            }
        }
    }

    /// Waits until it is this replica's turn; false if the end came first.
    async fn may_measure(&mut self) -> bool {
        let mut shutdown = self.shutdown.clone();
        while !self.is_turn() {
            self.stats.turned(true);
            tokio::select! {
                biased;
                () = shutdown.ended() => return false,
                () = self.leadership.gained() => {}
                () = self.clock.sleep(self.config.interval) => {}
            }
        }
        !shutdown.is_ended()
    }

    /// This replica measures now: it leads, or stays warm.
    fn is_turn(&self) -> bool {
        self.leadership.is_leading() || self.config.election.as_ref().is_some_and(|election| election.standby_scrape)
    }

    fn stands_by(&self) -> bool {
        !self.leadership.is_leading()
    }

    /// Rounds with one memory: until the end, or until another leads.
    async fn rounds(&mut self) {
        let mut rounds = Rounds::new(self.parts()).await;
        // Replicas tick together, so that a round of one is a round of all, and shards' sums are of one moment.
        let mut ticks = if self.leadership.is_elected() || self.config.shard().is_some() {
            self.clock.aligned_ticks(self.config.interval)
        } else {
            self.clock.ticks(self.config.interval)
        };
        let limit = self.clock.limit(self.config.round_limit());
        let mut shutdown = self.shutdown.clone();
        loop {
            self.stats.turned(self.stands_by());
            let tick = tokio::select! { biased; () = shutdown.ended() => return, tick = ticks.next() => tick };
            if !self.is_turn() {
                return;
            }
            if tick.late {
                self.stats.late();
                warn!("the round before took longer than the interval of {} s", self.config.interval.as_secs());
            }
            self.stats.turned(self.stands_by());
            let (snapshot, figures) = rounds.run(tick.at, limit, &self.shutdown).await;
            self.stats.round(&snapshot, figures);
            let counters = self.keeps_baselines().then(|| rounds.baselines());
            self.publisher.publish(Published { snapshot: Arc::clone(&snapshot), counters });
            // Kept for readers only: at 100,000 nodes a snapshot has 25 MB.
            if self.snapshots.receiver_count() > 0 {
                self.snapshots.send_replace(Some(snapshot));
            }
        }
    }

    fn keeps_baselines(&self) -> bool {
        let spools = self.config.cloudwatch.as_ref().is_some_and(|cloudwatch| cloudwatch.spool_dir.is_some());
        spools && !self.leadership.is_elected()
    }

    fn parts(&mut self) -> RoundParts {
        RoundParts {
            index: IndexReader::clone(&self.discovery.index),
            scraper: Arc::new(Scraper::new(self.clients.scrape.clone(), self.config.scrape.clone())),
            api: self.clients.scrape.clone(),
            clock: self.clock.clone(),
            counters: CounterMode::Increase,
            looked_for: self.config.looked_for(),
            baselines: self.baselines.take(),
        }
    }
}

/// What this process stands for election with. Its name is that of the pod; what follows tells its restarts apart.
/// Each shard has a lease of its own.
fn candidacy(election: &ElectionConfig, shard: Option<Shard>, clients: &Clients) -> LeadSettings {
    let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    let pod =
        variable("POD_NAME").or_else(|| variable("HOSTNAME")).or_else(host).unwrap_or_else(|| "helper".to_owned());
    LeadSettings {
        namespace: election.namespace.clone().unwrap_or_else(|| clients.watch.default_namespace().to_owned()),
        name: shard.map_or_else(|| election.name.clone(), |shard| shard.suffixed(&election.name)),
        identity: format!("{pod}-{:08x}", fastrand::u32(..)),
        duration: election.duration,
        is_warm: election.standby_scrape,
    }
}

async fn admin(address: Option<SocketAddr>, parts: AdminParts) -> Result<Option<Admin>, AdminError> {
    let Some(address) = address else { return Ok(None) };
    let admin = Admin::serve(address, parts).await?;
    info!("serving health on http://{}/livez, /readyz and /metrics", admin.address());
    Ok(Some(admin))
}

/// Every sink that is switched on; the log always is.
async fn publisher(config: &Config, clock: &Clock, leadership: &Leadership) -> Result<Publisher, AppError> {
    let mut publisher = Publisher::led_by(leadership.clone());
    log::spawn(&mut publisher, Selection::all());
    if let Some(settings) = config.prometheus {
        let settings = PrometheusSettings {
            address: settings.address,
            node_series: settings.node_metrics,
            shard: config.shard(),
            interval: config.interval,
        };
        let address = prometheus::spawn(&mut publisher, settings, clock.clone()).await?;
        info!("serving Prometheus metrics on http://{address}/metrics");
    }
    Ok(publisher)
}

/// Begins to ask every source in the contract's order.
async fn identify(
    config: &Config,
    discovery: &Discovery,
    shutdown: &Shutdown,
) -> Result<IdentityReader, IdentityError> {
    let settings = IdentitySettings {
        aws_cluster_id: config.cluster_id.clone().unwrap_or_default(),
        aws_region: config.region.clone().unwrap_or_default(),
        fallback: config.cluster_id_fallback,
        limits: IdentityLimits::default(),
    };
    identity::resolve(&settings, discovery.evidence(), shutdown).await
}

/// Adds the sink, which keeps rounds until it knows whom it publishes for; returns the counters that an earlier process
/// left.
fn add_cloudwatch(
    publisher: &mut Publisher,
    config: &Config,
    cloudwatch: &CloudWatchConfig,
    identity: &IdentityReader,
    clock: &Clock,
) -> Result<Option<Arc<[u8]>>, AppError> {
    let known = identity.borrow().known();
    let settings = CloudWatchSettings {
        namespace: cloudwatch.namespace.clone(),
        cluster_id: known.as_ref().map_or(FALLBACK_CLUSTER_ID, |identity| &identity.cluster_id.value).to_owned(),
        shard: config.shard(),
        selection: cloudwatch.selection.clone(),
        resolution_seconds: u32::from(cloudwatch.resolution_seconds),
        flush_every: config.interval * FLUSH_INTERVALS,
        buffer_bytes: cloudwatch.buffer_bytes as u64,
        spool_dir: cloudwatch.spool_dir.clone(),
    };
    settings.check().map_err(AppError::CloudWatch)?;
    let restored = settings.spool_dir.as_deref().map(|dir| spool::restore(dir, clock));
    // Counters of another cluster, or of another share of it, are of no use to this one. While the name is not known, those
    // of any name count: they are kept by the pods' UIDs, which no other cluster has.
    let ours = restored.as_ref().filter(|restored| match &known {
        Some(_) => restored.is_of(&settings),
        None => restored.is_of(&CloudWatchSettings { cluster_id: restored.cluster_id.clone(), ..settings.clone() }),
    });
    let baselines = ours.and_then(|restored| restored.counters.as_deref().map(Arc::from));
    match known {
        Some(identity) => {
            let sink = AwsCloudWatch::new(&identity.sdk, &settings);
            to_cloudwatch::spawn(publisher, settings, sink, clock.clone(), restored);
        }
        None => to_cloudwatch::spawn_when_known(publisher, settings, identity.clone(), clock.clone(), restored),
    }
    Ok(baselines)
}
