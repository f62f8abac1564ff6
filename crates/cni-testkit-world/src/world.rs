//! A simulated cluster and helpers in one process: a round is run while the world stands still, then the world moves on.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test stops where its world is not as it was built"
)]

pub mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cni_collector::discover::IndexReader;
use cni_metrics_core::model::{Snapshot, UnixMillis};
use cni_metrics_helper::app::{App, AwsSource, RunError, SnapshotReader};
use cni_metrics_helper::demo::simulated;
use cni_publish::SinkStats;
use cni_runtime::clock::{Clock, ClockDriver};
use cni_runtime::shutdown::{Shutdown, Trigger};
use cni_sim::kube_store::PodPhase;
use cni_sim::scenario::{FaultSpec, Scenario};
use cni_sim::sim::{Sim, SimOptions};
use cni_sim::truth::{RoundTruth, Window};
use cni_types::shard::Shard;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use cni_testkit::wait::{self, Pauses};

/// Between rounds, in the world's time.
pub const INTERVAL: Duration = Duration::from_secs(30);
/// 2026-01-01.
pub const START_MS: i64 = 1_767_225_600_000;
/// What is waited for comes within milliseconds, and much later on a busy machine.
const TIMEOUT: Duration = Duration::from_mins(1);
/// Back-offs and flushes are cut by this: a flush of 60 s takes 0.1 s.
const SPEED: f64 = 600.0;

/// The world, standing still until told.
pub struct World {
    /// The simulated cluster.
    pub sim: Sim,
    /// The helpers' clock.
    pub clock: Clock,
    driver: ClockDriver,
    /// The world's time, milliseconds since 1970.
    pub now_ms: i64,
    /// How far the helpers' clock is from the world's.
    pub clock_off_by_ms: i64,
    /// Wall time up to which pages belong to earlier rounds.
    cut_ms: i64,
    /// The API server has or had a fault that hides pods, so that watches may not show the world as it is.
    hides_pods: bool,
    /// When the first helper started, which is what the truth counts from.
    pub collector_start_ms: i64,
}

/// A helper, running.
pub struct Helper {
    /// Where its admin page is, if it has one.
    pub admin: Option<SocketAddr>,
    snapshots: SnapshotReader,
    /// Rounds waited for.
    rounds: u64,
    /// What its watches show.
    pub index: IndexReader,
    /// Whose nodes it is to see.
    shard: Option<Shard>,
    sinks: Vec<watch::Receiver<SinkStats>>,
    trigger: Trigger,
    running: JoinHandle<Result<(), RunError>>,
}

impl World {
    /// A cluster of this scenario at its first moment.
    pub async fn start(scenario: Scenario) -> Self {
        let options = SimOptions { seed: 7, start_ms: Some(START_MS), ..SimOptions::new(scenario).lockstep() };
        let sim = Sim::start(options).await.unwrap();
        let (clock, driver) = Clock::driven(UnixMillis(START_MS), SPEED);
        let (now_ms, collector_start_ms) = (START_MS, START_MS);
        Self { sim, clock, driver, now_ms, clock_off_by_ms: 0, cut_ms: 0, hides_pods: false, collector_start_ms }
    }

    /// Starts a helper with these flags on top of the usual ones.
    pub async fn helper(&mut self, flags: &[&str]) -> Helper {
        let cluster = self.sim.cluster().scenario().cluster.name.clone();
        self.helper_of(&cluster, flags).await
    }

    /// The same with another cluster id than the world's.
    pub async fn helper_of(&mut self, cluster_id: &str, flags: &[&str]) -> Helper {
        let (trigger, shutdown) = Shutdown::manual();
        let env = self.sim.env();
        let config = simulated::config(&env, flags).unwrap();
        let shard = config.shard();
        let identity = AwsSource::Given(Box::new(simulated::identity(&env, cluster_id).unwrap()));
        let app = App::build(config, identity, self.clock.clone(), shutdown).await.unwrap();
        Helper {
            admin: app.admin_address(),
            snapshots: app.snapshots(),
            rounds: 0,
            index: app.index(),
            shard,
            sinks: app.sinks(),
            trigger,
            running: tokio::spawn(app.run()),
        }
    }

    /// Begins a fault now: the YAML of its kind.
    pub fn inject(&mut self, fault: &str) -> usize {
        self.inject_on("{}", fault)
    }

    /// The same for these nodes only.
    pub fn inject_on(&mut self, target: &str, fault: &str) -> usize {
        let hides_no_pods = ["resource: leases", "resource: pods/proxy"].iter().any(|of| fault.contains(of));
        self.hides_pods |= fault.starts_with("api-server") && !hides_no_pods;
        let spec: FaultSpec = serde_saphyr::from_str(&format!("{{ target: {target}, fault: {{ {fault} }} }}")).unwrap();
        assert_eq!(self.sim.cluster().mistakes(std::slice::from_ref(&spec)), Vec::<String>::new());
        let number = self.sim.cluster().inject(spec);
        self.sim.cluster().advance_to(self.now_ms);
        number
    }

    /// Ends a fault, by the number that `inject` gave.
    pub fn clear(&self, fault: usize) {
        self.sim.cluster().clear(fault);
    }

    /// Moves the world on by one interval, waits until these helpers' watches show it as it is, then moves the clock.
    pub async fn advance(&mut self, helpers: &[&Helper]) {
        self.advance_by(INTERVAL, helpers).await;
    }

    /// The same by any time.
    pub async fn advance_by(&mut self, time: Duration, helpers: &[&Helper]) {
        self.now_ms += i64::try_from(time.as_millis()).unwrap();
        // A page that is handed over in the very millisecond of the cut must not fall between two rounds.
        let cut_ms = self.cut_ms;
        wait::until_async("the wall clock moves on", TIMEOUT, || Clock::wall().now().0 > cut_ms).await;
        let (world, now_ms) = (Arc::clone(self.sim.cluster()), self.now_ms);
        tokio::task::spawn_blocking(move || world.advance_to(now_ms)).await.unwrap();
        for helper in helpers {
            helper.watch_settled(&self.sim, self.hides_pods).await;
        }
        // What the world did on its way here happened before the round.
        let settled_ms = Clock::wall().now().0;
        wait::until_async("the wall clock moves on", TIMEOUT, || Clock::wall().now().0 > settled_ms + 1).await;
        self.cut_ms = Clock::wall().now().0;
        self.driver.set(UnixMillis(self.now_ms + self.clock_off_by_ms));
    }

    /// What a perfect collector would have published of all pages handed over since the last call.
    pub async fn truth(&mut self, pages_read: u64) -> RoundTruth {
        let (give_up, mut pauses) = (Instant::now() + TIMEOUT, Pauses::default());
        loop {
            let to = Clock::wall().now().0;
            let window = Window {
                from: self.cut_ms,
                to,
                collector_start: Some(self.collector_start_ms),
                collector_start_api: None,
            };
            let truth = self.sim.truth().round(window);
            // The world notes a page only once its socket has taken the last byte.
            if truth.deliveries >= pages_read {
                self.cut_ms = to + 1;
                return truth;
            }
            assert!(Instant::now() < give_up, "{} of {pages_read} pages were handed over", truth.deliveries);
            pauses.pause_async().await;
        }
    }

    /// Published name → time → values accepted.
    pub fn published(&self) -> BTreeMap<String, BTreeMap<i64, Vec<f64>>> {
        let mut published: BTreeMap<String, BTreeMap<i64, Vec<f64>>> = BTreeMap::new();
        for datum in self.sim.cloudwatch().data() {
            let series = published.entry(datum.key.name.clone()).or_default();
            series.entry(datum.timestamp_ms).or_default().push(datum.statistics.sum);
        }
        published
    }
}

impl Helper {
    /// Waits for the next round.
    pub async fn round(&mut self) -> Arc<Snapshot> {
        timeout(TIMEOUT, self.snapshots.changed()).await.expect("no round in time").expect("the helper ended");
        self.rounds += 1;
        let snapshot = self.snapshots.borrow_and_update().clone().unwrap();
        // Rounds here are milliseconds apart; a sink that gets no processor for a few of them must not lose any.
        let read = |stats: &SinkStats| stats.rounds + stats.lost_rounds >= self.rounds;
        self.wait_stats("cloudwatch", TIMEOUT, read).await;
        snapshot
    }

    /// Waits until CloudWatch has everything of all rounds so far.
    pub async fn wait_all_sent(&self) {
        let all = |stats: &SinkStats| stats.rounds == self.rounds && stats.buffered_points == 0;
        self.wait_stats("cloudwatch", TIMEOUT, all).await;
    }

    /// Waits until a sink's figures are as wanted.
    pub async fn wait_stats(&self, sink: &str, limit: Duration, wanted: impl Fn(&SinkStats) -> bool) {
        let mut stats = self.stats_of(sink);
        let waited = timeout(limit, stats.wait_for(wanted)).await.map(|seen| drop(seen.unwrap()));
        assert!(waited.is_ok(), "{:?}", stats.borrow());
    }

    /// A sink's figures now.
    pub fn stats(&self, sink: &str) -> SinkStats {
        self.stats_of(sink).borrow().clone()
    }

    fn stats_of(&self, sink: &str) -> watch::Receiver<SinkStats> {
        self.sinks.iter().find(|stats| stats.borrow().name == sink).unwrap().clone()
    }

    /// Waits until the watch shows the world's pods, or where pods are hidden, for a moment.
    async fn watch_settled(&self, sim: &Sim, hides_pods: bool) {
        let limit = if hides_pods { Duration::from_millis(500) } else { TIMEOUT };
        let (give_up, mut pauses) = (Instant::now() + limit, Pauses::default());
        let agents = running_agents(sim, self.shard);
        let shown = || self.index.targets().0.iter().map(|(pod, _)| pod.name.to_string()).collect::<BTreeSet<_>>();
        while shown() != agents {
            if Instant::now() >= give_up {
                assert!(hides_pods, "the watch shows {:?} instead of {agents:?}", shown());
                return;
            }
            pauses.pause_async().await;
        }
    }

    /// Ends it as SIGTERM does.
    pub async fn end(self) {
        self.trigger.end();
        timeout(TIMEOUT, self.running).await.expect("the helper did not end").unwrap().unwrap();
    }

    /// Ends it as SIGKILL does: nothing of it runs any more.
    pub async fn kill(self) {
        self.running.abort();
        assert!(self.running.await.unwrap_err().is_cancelled());
    }

    /// The same; returns what its CloudWatch sink had counted when it ended.
    pub async fn kill_and_count(self) -> SinkStats {
        let mut stats = self.stats_of("cloudwatch");
        self.kill().await;
        let ended = async { while stats.changed().await.is_ok() {} };
        timeout(TIMEOUT, ended).await.expect("the sink's task does not end");
        stats.borrow().clone()
    }
}

fn running_agents(sim: &Sim, shard: Option<Shard>) -> BTreeSet<String> {
    let asked = sim.cluster().kube().pods().into_iter().filter(|pod| {
        let is_agent = pod.meta.labels.iter().any(|(name, value)| (&**name, &**value) == ("k8s-app", "aws-node"));
        let is_ours = shard.is_none_or(|shard| shard.owns(pod.node_name.as_deref()));
        is_ours && is_agent && pod.meta.deletion_ms.is_none() && pod.phase == PodPhase::Running
    });
    asked.map(|pod| pod.meta.name.to_string()).collect()
}

/// A folder's path as a flag wants it.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
