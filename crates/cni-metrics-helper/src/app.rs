//! The composition root: builds every part in dependency order, runs the round loop, and drains.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cni_insight::finding::Conclusion;
use cni_metrics_core::aggregate::CounterMode;
use cni_metrics_core::model::{Snapshot, UnixMillis};
use thiserror::Error;
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::admin::{Admin, AdminError, AdminParts};
use crate::config::{CloudWatchConfig, Config, ElectionConfig};
use cni_aws::identity::{
    self, ClusterIdReader, Identity, IdentityError, IdentityLimits, IdentityReader, IdentitySettings,
};
use cni_collector::discover::connect::{Clients, ConnectError, connect};
use cni_collector::discover::{Discovery, IndexReader};
use cni_collector::keeper::{FindingsFile, Keeper};
use cni_collector::lead::{Election, LeadSettings};
use cni_collector::round::{InsightParts, InsightRun, RoundParts, Rounds};
use cni_collector::scrape::Scraper;
use cni_collector::self_stats::SelfStats;
use cni_publish::cloudwatch::{AwsCloudWatch, CloudWatchSettings, CloudWatchSettingsError, CloudWatchSink};
use cni_publish::delivery::spool;
use cni_publish::log::LogSink;
use cni_publish::prometheus::{PrometheusError, PrometheusSettings, PrometheusSink};
use cni_publish::{Published, Publisher, Selection, Sink, SinkStats};
use cni_runtime::clock::{Clock, Tick, Ticks};
use cni_runtime::gate::Leadership;
use cni_runtime::shutdown::{Shutdown, Stage};
use cni_runtime::supervise::{Supervisor, TaskEnded, caught};
use cni_types::cluster_id::ClusterId;

/// Rounds whose points CloudWatch gets in one request, as the Go helper sends them.
const FLUSH_INTERVALS: u32 = 2;

/// The time limit for releasing the lease; after it the lease runs out by itself.
const LONGEST_RELEASE: Duration = Duration::from_secs(2);

/// What is left of the time to end when all is done.
const LONGEST_RESERVE: Duration = Duration::from_millis(500);

/// A reader of the newest snapshot.
pub type SnapshotReader = watch::Receiver<Option<Arc<Snapshot>>>;

/// What is concluded from the newest round; `None` before the first one, and where no conclusions are drawn.
pub type ConclusionReader = watch::Receiver<Option<Arc<Conclusion>>>;

/// Why the program cannot start.
#[derive(Debug, Error)]
pub enum AppError {
    /// No way to the API server.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Region or cluster id cannot be found out.
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

/// Why the program ends although nothing asked it to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RunError {
    /// A task ended.
    #[error(transparent)]
    Task(#[from] TaskEnded),
    /// A watch has ended, or there is no region to publish to.
    #[error("{0}")]
    Broken(String),
}

fn ended(task: &'static str, reason: String) -> RunError {
    RunError::Task(TaskEnded { task, reason })
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
    conclusions: watch::Sender<Option<Arc<Conclusion>>>,
    stats: SelfStats,
    leadership: Leadership,
    election: Option<Election>,
    admin: Option<Admin>,
    /// Whom it publishes for; `None` where nothing needs to know.
    identity: Option<IdentityReader>,
    /// The id that snapshots have.
    cluster: ClusterIdReader,
    supervisor: Supervisor,
    /// Counters of an earlier process, until the first rounds go on from them.
    baselines: Option<Arc<[u8]>>,
    /// Where open findings are kept for the next process.
    keeper: Keeper,
    /// Rounds that were run with memories that are given up.
    rounds_before: u64,
}

impl App {
    /// Builds all parts. The watches, the election, the listeners and the sinks' tasks run from here on; rounds begin with
    /// [`App::run`].
    pub async fn build(config: Config, aws: AwsSource, clock: Clock, shutdown: Shutdown) -> Result<Self, AppError> {
        let clients = connect(&config.connect, &clock).await?;
        let discovery = Discovery::spawn(&clients.watch, &config.discover, &shutdown);
        let identity = match aws {
            _ if !needs_identity(&config) => None,
            AwsSource::Given(identity) => Some(identity::given(*identity)),
            AwsSource::Environment => Some(identify(&config, &discovery, &shutdown).await?),
        };
        let cluster = cluster(&config, identity.as_ref());
        let supervisor = Supervisor::default();
        let (election, leadership) = match &config.election {
            None => (None, Leadership::always()),
            Some(election) => {
                let candidacy = candidacy(election, &config, &clients, &clock);
                let (election, leadership) = Election::stand(clients.watch.clone(), candidacy, &supervisor);
                (Some(election), leadership)
            }
        };
        let (publisher, baselines) = publisher(&config, &cluster, &clock, &leadership, identity.as_ref()).await?;
        let keeper = keeper(&config, &leadership).await;
        let stats = SelfStats::default();
        let parts = AdminParts {
            stats: stats.clone(),
            sinks: publisher.stats_receivers(),
            discovery: discovery.clone(),
            identity: identity.clone(),
            cluster: if config.cluster_label { cluster.clone() } else { ClusterIdReader::NotAsked },
            prometheus_waits: config.prometheus.is_some() && config.cluster_label,
            leadership: leadership.clone(),
            interval: config.interval,
            clock: clock.clone(),
        };
        let admin = admin(config.admin, parts, &supervisor).await?;
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
            conclusions: watch::Sender::new(None),
            stats,
            leadership,
            election,
            admin,
            identity,
            cluster,
            supervisor,
            keeper,
            rounds_before: 0,
        })
    }

    /// The newest snapshot, as rounds end.
    pub fn snapshots(&self) -> SnapshotReader {
        self.snapshots.subscribe()
    }

    /// What is concluded from each round, set before the round's snapshot.
    pub fn conclusions(&self) -> ConclusionReader {
        self.conclusions.subscribe()
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

    /// Runs round after round until the end, sends what is queued, and gives the lease back. An error is a part that ended
    /// although nothing asked it to; what is queued is sent all the same.
    pub async fn run(mut self) -> Result<(), RunError> {
        let broken = self.broken();
        let outcome = tokio::select! {
            error = broken => Err(error),
            measured = caught(self.measure()) => match measured {
                Ok(()) if self.shutdown.is_asked() => Ok(()),
                Ok(()) => Err(ended("round loop", "it returned before it was asked to".to_owned())),
                Err(reason) => Err(ended("round loop", reason)),
            },
        };
        if let Err(error) = &outcome {
            error!("{error}; sending what is queued, then the program ends with an error");
            self.shutdown.failed();
        }
        let (release, reserve) = (self.shutdown.grace() / 10, self.shutdown.grace() / 20);
        let release = if self.election.is_some() { release.min(LONGEST_RELEASE) } else { Duration::ZERO };
        self.shutdown.enter(Stage::Draining);
        let left = self.shutdown.grace_left();
        self.publisher.drain(left.saturating_sub(release + reserve.min(LONGEST_RESERVE))).await;
        if let Some(election) = self.election {
            self.shutdown.enter(Stage::Releasing);
            election.release(release).await;
        }
        self.shutdown.enter(Stage::Ending);
        info!("stopped");
        outcome
    }

    /// Waits until something has failed that the program cannot do without.
    fn broken(&self) -> impl Future<Output = RunError> + Send + use<> {
        let (supervisor, mut sinks) = (self.supervisor.clone(), self.publisher.watch_sinks());
        let (discovery, identity) = (self.discovery.clone(), self.identity.clone());
        async move {
            let identity = async {
                match identity {
                    Some(identity) => identity::failed(identity).await.to_string(),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                task = supervisor.failed() => RunError::Task(task),
                sink = sinks.failed() => ended(sink.name, sink.reason),
                watch = discovery.failed() => RunError::Broken(watch),
                identity = identity => RunError::Broken(identity),
            }
        }
    }

    async fn measure(&mut self) {
        if self.synced().await {
            self.shutdown.enter(Stage::Measuring);
            self.turns().await;
        }
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

    /// Round after round, where and as long as it is this replica's turn. What lasts between rounds also lasts over a lapse
    /// of the lease in which no other replica was seen to hold it.
    async fn turns(&mut self) {
        let mut memory: Option<Memory> = None;
        let mut shutdown = self.shutdown.clone();
        loop {
            let stale =
                memory.as_ref().is_some_and(|memory| !self.is_warm() && memory.tenure != self.leadership.tenure());
            if stale {
                // Another replica counts from now on, or may have.
                self.rounds_before = memory.take().map_or(0, |memory| memory.rounds.number());
            }
            if !self.may_measure(memory.is_some()) {
                if !self.wait_for_turn(&mut shutdown).await {
                    return;
                }
                continue;
            }
            let current = match &mut memory {
                Some(memory) => memory,
                none => none.insert(self.begin().await),
            };
            self.beat(current.tenure);
            let tick = tokio::select! {
                biased;
                () = shutdown.ended() => return,
                // What replaces this memory begins at once, so that it has a baseline by the next tick.
                () = self.leadership.tenure_ended(current.tenure), if !self.is_warm() => continue,
                tick = current.ticks.next() => tick,
            };
            self.round(current, tick).await;
        }
    }

    /// Waits until it may be this replica's turn; false if the end came first.
    async fn wait_for_turn(&mut self, shutdown: &mut Shutdown) -> bool {
        // It is ready to lead: nothing else is missing.
        self.leadership.turned();
        self.stats.turned(true);
        tokio::select! {
            biased;
            () = shutdown.ended() => return false,
            () = self.leadership.gained() => {}
            () = self.clock.sleep(self.config.interval) => {}
        }
        !shutdown.is_ended()
    }

    /// This replica measures now: it leads, stays warm, or has only lost the lease for lack of an answer.
    fn may_measure(&self, has_memory: bool) -> bool {
        self.leadership.is_leading() || self.is_warm() || (has_memory && self.leadership.is_held())
    }

    /// It measures also while another leads.
    fn is_warm(&self) -> bool {
        self.config.election.as_ref().is_none_or(|election| election.standby_scrape)
    }

    fn stands_by(&self) -> bool {
        !self.leadership.is_leading()
    }

    /// The loop turned.
    fn beat(&self, tenure: u64) {
        self.stats.turned(self.stands_by());
        if self.leadership.is_leading() && tenure == self.leadership.tenure() {
            self.leadership.lapse_is_over();
        }
    }

    /// Begins with fresh baselines.
    async fn begin(&mut self) -> Memory {
        let tenure = self.leadership.tenure();
        let parts = self.parts();
        let rounds = Rounds::new(parts).await.after(self.rounds_before).without_summary();
        // Replicas tick together, so that a round of one is a round of all, and shards' sums are of one moment.
        let ticks = if self.leadership.is_elected() || self.config.shard().is_some() {
            self.clock.aligned_ticks(self.config.interval)
        } else {
            self.clock.ticks(self.config.interval)
        };
        let gap_from = self.leadership.last_of_others().filter(|_| !self.is_warm());
        Memory { rounds, ticks, tenure, gap_from }
    }

    /// One round, measured, counted and handed to the sinks.
    async fn round(&mut self, memory: &mut Memory, tick: Tick) {
        let led = self.leadership.is_leading();
        if !self.may_measure(true) || (!self.is_warm() && memory.tenure != self.leadership.tenure()) {
            return;
        }
        if tick.late {
            self.stats.late();
            warn!(
                "the previous round took longer than the interval of {} s: this one starts late",
                self.config.interval.as_secs()
            );
        }
        self.stats.turned(self.stands_by());
        let limit = self.clock.limit(self.config.round_limit());
        let (snapshot, figures) = memory.rounds.run(tick.at, limit, &self.shutdown).await;
        self.stats.round(&snapshot, figures);
        self.leadership.turned();
        // The tenure is that of the baselines: it may have ended while the round ran.
        if !(led && self.leadership.is_leading() && memory.tenure == self.leadership.tenure()) {
            self.leadership.measured_in_lapse(memory.tenure, snapshot.round, snapshot.at);
        }
        if let Some(from) = memory.gap_from.take() {
            log_gap(from, snapshot.at);
        }
        let counters = self.keeps_baselines().then(|| memory.rounds.baselines());
        // Only the replica that publishes concludes.
        let conclusion = memory.rounds.conclusion().filter(|_| self.leadership.is_leading());
        if self.conclusions.receiver_count() > 0 {
            self.conclusions.send_replace(conclusion.clone());
        }
        self.publisher.publish(Published { snapshot: Arc::clone(&snapshot), counters, conclusion });
        // Kept for readers only: at 100,000 nodes a snapshot has 25 MB.
        if self.snapshots.receiver_count() > 0 {
            self.snapshots.send_replace(Some(snapshot));
        }
    }

    fn keeps_baselines(&self) -> bool {
        let spools = self.config.cloudwatch.as_ref().is_some_and(|cloudwatch| cloudwatch.spool_dir.is_some());
        spools && !self.leadership.is_elected()
    }

    /// What conclusions need: the log, Prometheus and the demo read them.
    fn insight(&self) -> Option<Arc<InsightParts>> {
        let insight = self.config.insight.clone()?;
        let run = InsightRun { leadership: self.leadership.clone(), keeper: self.keeper.clone() };
        Some(InsightParts::new(insight.mutes, self.config.shard(), &self.discovery, Some(run)))
    }

    fn parts(&mut self) -> RoundParts {
        RoundParts {
            cluster: self.cluster.clone(),
            index: IndexReader::clone(&self.discovery.index),
            scraper: Arc::new(Scraper::new(self.clients.scrape.clone(), self.config.scrape.clone(), &self.clock)),
            api: self.clients.scrape.clone(),
            clock: self.clock.clone(),
            interval: self.config.interval,
            counters: CounterMode::Increase,
            looked_for: self.config.looked_for(),
            baselines: self.baselines.take(),
            insight: self.insight(),
        }
    }
}

/// What lasts from one round to the next.
struct Memory {
    rounds: Rounds,
    ticks: Ticks,
    /// Whose baselines they are: of this tenure as leader.
    tenure: u64,
    /// The last round of the leader before us, until the gap since then was logged.
    gap_from: Option<UnixMillis>,
}

/// A replica that does not measure while another leads begins with fresh baselines.
fn log_gap(from: UnixMillis, to: UnixMillis) {
    let seconds = to.0.saturating_sub(from.0) / 1000;
    if seconds > 0 {
        warn!(
            "the replica that led before published its last round {seconds} s before this one's first (Unix time {} ms to {} \
             ms): no replica publishes the events between them; STANDBY_SCRAPE=true avoids this",
            from.0, to.0
        );
    }
}

/// What this process stands for election with. Its name is that of the pod; what follows tells its restarts apart.
/// Each shard has a lease of its own.
fn candidacy(election: &ElectionConfig, config: &Config, clients: &Clients, clock: &Clock) -> LeadSettings {
    let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    let pod = config.pod_name.as_deref().map(str::to_owned).or_else(host).unwrap_or_else(|| "helper".to_owned());
    LeadSettings {
        namespace: election.namespace.clone().unwrap_or_else(|| clients.watch.default_namespace().to_owned()),
        name: config.shard().map_or_else(|| election.name.clone(), |shard| shard.suffixed(&election.name)),
        identity: format!("{pod}-{:08x}", fastrand::u32(..)),
        duration: election.duration,
        is_warm: election.standby_scrape,
        interval: config.interval,
        clock: clock.clone(),
    }
}

/// Where open findings are kept for the next process: with an election in the lease, else in `SPOOL_DIR` where that is set.
async fn keeper(config: &Config, leadership: &Leadership) -> Keeper {
    if config.insight.is_none() {
        return Keeper::Nowhere;
    }
    if leadership.is_elected() {
        return Keeper::Lease(leadership.clone());
    }
    match config.cloudwatch.as_ref().and_then(|cloudwatch| cloudwatch.spool_dir.as_deref()) {
        Some(folder) => Keeper::File(Arc::new(FindingsFile::open(folder).await)),
        None => Keeper::Nowhere,
    }
}

async fn admin(
    address: Option<SocketAddr>,
    parts: AdminParts,
    supervisor: &Supervisor,
) -> Result<Option<Admin>, AdminError> {
    let Some(address) = address else { return Ok(None) };
    let admin = Admin::serve(address, parts, supervisor).await?;
    info!("serving health on http://{}/livez, /readyz and /metrics", admin.address());
    Ok(Some(admin))
}

/// Starts every sink that is switched on, in this order; the log always is. Also returns the counters that an earlier
/// process left, where they may be used.
async fn publisher(
    config: &Config,
    cluster: &ClusterIdReader,
    clock: &Clock,
    leadership: &Leadership,
    identity: Option<&IdentityReader>,
) -> Result<(Publisher, Option<Arc<[u8]>>), AppError> {
    let mut publisher = Publisher::new();
    publisher.add(Box::new(LogSink::new(Selection::all(), leadership.clone(), config.log_metrics)));
    if let Some(settings) = config.prometheus {
        let settings = PrometheusSettings {
            address: settings.address,
            node_series: settings.node_metrics,
            cluster: config.cluster_label.then(|| cluster.clone()),
            shard: config.shard(),
            interval: config.interval,
        };
        let sink = PrometheusSink::bind(settings, clock.clone()).await?;
        info!("serving Prometheus metrics on http://{}/metrics", sink.address());
        publisher.add(Box::new(sink));
    }
    let mut baselines = None;
    if let (Some(settings), Some(identity)) = (&config.cloudwatch, identity) {
        let (sink, earlier) = cloudwatch(config, settings, identity, clock, leadership).await?;
        publisher.add(sink);
        baselines = earlier;
    }
    Ok((publisher, baselines))
}

/// CloudWatch needs a region and the cluster's id, Prometheus the id for its label.
fn needs_identity(config: &Config) -> bool {
    config.cloudwatch.is_some() || (config.prometheus.is_some() && config.cluster_label)
}

/// The cluster's id: the search's, else what was set.
fn cluster(config: &Config, identity: Option<&IdentityReader>) -> ClusterIdReader {
    match (identity, &config.cluster_id) {
        (Some(identity), _) => ClusterIdReader::Search(identity.clone()),
        (None, Some(id)) => ClusterIdReader::Known(id.clone()),
        (None, None) => ClusterIdReader::NotAsked,
    }
}

/// Begins to ask every source in the contract's order.
async fn identify(
    config: &Config,
    discovery: &Discovery,
    shutdown: &Shutdown,
) -> Result<IdentityReader, IdentityError> {
    let settings = IdentitySettings {
        aws_cluster_id: config.cluster_id.clone(),
        aws_region: config.region.clone().unwrap_or_default(),
        needs_region: config.cloudwatch.is_some(),
        fallback: config.cluster_id_fallback,
        environment: Arc::clone(&config.environment),
        limits: IdentityLimits::default(),
    };
    identity::resolve(&settings, discovery.evidence(), shutdown).await
}

/// The sink, which keeps rounds until it knows whom it publishes for, and the counters that an earlier process left, where
/// they may be used.
async fn cloudwatch(
    config: &Config,
    cloudwatch: &CloudWatchConfig,
    identity: &IdentityReader,
    clock: &Clock,
    leadership: &Leadership,
) -> Result<(Box<dyn Sink>, Option<Arc<[u8]>>), AppError> {
    let known = identity.borrow().known();
    let settings = CloudWatchSettings {
        namespace: cloudwatch.namespace.clone(),
        cluster_id: known.as_ref().map_or_else(ClusterId::fallback, |identity| identity.cluster_id.value.clone()),
        shard: config.shard(),
        selection: cloudwatch.selection.clone(),
        resolution_seconds: u32::from(cloudwatch.resolution_seconds),
        flush_every: config.interval * FLUSH_INTERVALS,
        buffer_bytes: cloudwatch.buffer_bytes as u64,
        spool_dir: cloudwatch.spool_dir.clone(),
    };
    settings.check().map_err(AppError::CloudWatch)?;
    // While the name is not known, counters of any name count: they are kept by the pods' UIDs, which no other cluster has.
    let opened = match &known {
        Some(_) => spool::open(&settings.spool(), clock).await,
        None => spool::open_unnamed(&settings.spool(), clock).await,
    };
    let baselines = opened.baselines();
    let (clock, leadership) = (clock.clone(), leadership.clone());
    let sink = match known {
        Some(identity) => {
            let client = AwsCloudWatch::new(&identity.sdk, &settings);
            CloudWatchSink::new(settings, client, clock, leadership, opened)
        }
        None => CloudWatchSink::when_known(settings, identity.clone(), clock, leadership, opened),
    };
    Ok((Box::new(sink), baselines))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use cni_publish::Stats;
    use cni_sim::scenario::Scenario;
    use cni_sim::sim::{Sim, SimOptions};
    use futures::future::BoxFuture;
    use tokio::time::timeout;

    use super::*;
    use crate::cli::settings::SettingsArgs;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        settings: SettingsArgs,
    }

    const LIMIT: Duration = Duration::from_mins(1);

    async fn app(sim: &Sim) -> (App, cni_runtime::shutdown::Trigger) {
        let kubeconfig = sim.kubeconfig_path().display().to_string();
        let flags = ["test", "--kubeconfig", &kubeconfig, "--interval", "1", "--use-cloudwatch", "false"];
        let flags = Flags::parse_from(flags.into_iter().chain(["--admin-address", "127.0.0.1:0"]));
        let config = Config::read(&flags.settings).unwrap();
        let (trigger, shutdown) = Shutdown::manual();
        let app = App::build(config, AwsSource::Environment, Clock::wall(), shutdown).await.unwrap();
        (app, trigger)
    }

    /// A sink whose task panics.
    struct Fragile(Stats);

    impl Sink for Fragile {
        fn stats(&self) -> &Stats {
            &self.0
        }

        fn accept(&mut self, _round: Published) -> BoxFuture<'_, ()> {
            Box::pin(std::future::ready(()))
        }

        fn work(&mut self) -> BoxFuture<'_, Result<(), String>> {
            let input: Result<u8, _> = "256".parse();
            assert_eq!(input.expect("a byte"), 0);
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test]
    async fn a_task_that_dies_ends_the_program_with_its_name_and_reason() {
        let sim = Sim::start(SimOptions::new(Scenario::calm(1))).await.unwrap();
        let (mut hostile, _trigger) = app(&sim).await;
        hostile.publisher.add(Box::new(Fragile(Stats::new("fragile"))));
        let ended = timeout(LIMIT, hostile.run()).await.unwrap().unwrap_err();
        let text = ended.to_string();
        assert!(
            text.starts_with("task fragile ended unexpectedly: ") && text.contains("a byte: ParseIntError"),
            "{text}"
        );

        let (aborted, _trigger) = app(&sim).await;
        let _dies = aborted.supervisor.spawn("listener of a test", async {});
        let ended = timeout(LIMIT, aborted.run()).await.unwrap().unwrap_err();
        assert_eq!(ended.to_string(), "task listener of a test ended unexpectedly: it returned");

        // The thread that ends the process is gone.
        let (orphan, trigger) = app(&sim).await;
        drop(trigger);
        let ended = timeout(LIMIT, orphan.run()).await.unwrap().unwrap_err();
        assert!(ended.to_string().starts_with("task round loop ended unexpectedly"), "{ended}");

        let (sound, trigger) = app(&sim).await;
        let mut rounds = sound.snapshots();
        let running = tokio::spawn(sound.run());
        timeout(LIMIT, rounds.changed()).await.unwrap().unwrap();
        trigger.end();
        assert_eq!(timeout(LIMIT, running).await.unwrap().unwrap(), Ok(()));
        sim.stop().await;
    }
}
