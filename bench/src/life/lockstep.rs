//! The helper of this process and a simulated cluster in lockstep: a round is run while the cluster stands still, then
//! both clocks move on. The cluster is a process of its own, so that whatever grows here is the helper's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use cni_collector::discover::IndexReader;
use cni_metrics_core::model::UnixMillis;
use cni_metrics_helper::app::{App, AwsSource, RunError, SnapshotReader};
use cni_metrics_helper::demo::simulated;
use cni_publish::SinkStats;
use cni_runtime::clock::{Clock, ClockDriver};
use cni_runtime::shutdown::{Shutdown, Trigger};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::findings::Findings;
use super::ledger::Ledger;
use super::scenario::scenario;
use super::script::{Action, PERIOD, actions, kind};
use crate::process::memory;
use crate::progress::say;
use crate::simulator::{Simulator, wall_ms};

/// From round to round, in the cluster's time.
const INTERVAL_MS: i64 = 30_000;

/// Back-offs and flushes are cut by this; time limits on sockets are not.
const SPEED: f64 = 600.0;

/// A round, a start, an end or the delivery of all points that takes longer hangs.
const LIMIT: Duration = Duration::from_mins(2);

/// A watch that does not follow within this time is cut off by a fault.
const WATCH_LIMIT: Duration = Duration::from_millis(60);

/// The shortest lease, so that a lapse takes little time.
const LEASE: Duration = Duration::from_secs(5);

/// A helper whose lease has lapsed goes on measuring. One that does not is waited for this long in each round.
const LAPSED_ROUND_LIMIT: Duration = Duration::from_secs(5);

/// Faults of the API server other than a lapse end after this at the latest, whatever number of rounds they were to last:
/// on a slow machine they must not become one.
const API_FAULT_LIMIT: Duration = Duration::from_secs(1);

/// After this long without a round the helper may have lost its lease although nothing was meant to make it: the machine
/// is busy. Then both clocks move on, as they do in life.
const STALL: Duration = Duration::from_secs(15);

/// Helpers are restarted in this part of the rounds only; the last of them runs through all others.
const RESTARTS_SHARE: u64 = 4;

/// A third of a run passes in rounds that wait for nodes that are gone. With less time than this, pages of a busy machine
/// are timed out while they are delivered, and then differ from the truth.
const SCRAPE_TIMEOUT: &str = "1s";

/// Rounds between two lines of progress.
const PROGRESS: u64 = 1_000;

/// The helper closes a connection that it does not use within 300 ms here; on a busy machine later.
const HEAP_REST: Duration = Duration::from_secs(1);
const HEAP_LIMIT: Duration = Duration::from_secs(10);

/// Panics of any thread of this process.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// A helper of this process.
struct Helper {
    snapshots: SnapshotReader,
    index: IndexReader,
    cloudwatch: watch::Receiver<SinkStats>,
    trigger: Trigger,
    running: JoinHandle<Result<(), RunError>>,
    /// Rounds of it so far.
    rounds: u64,
    /// Points that it has dropped and that are accounted for.
    dropped: u64,
    /// It follows another one, and has not read a page of every node yet.
    is_catching_up: bool,
}

/// What a round should have shown, as the simulator says it.
#[derive(Debug, Deserialize)]
struct RoundTruth {
    /// By published name.
    metrics: BTreeMap<String, f64>,
    /// By series of a counter that has labels.
    breakdown: BTreeMap<String, u64>,
}

/// A fault that holds.
#[derive(Debug, Clone, Copy)]
struct ActiveFault {
    number: u64,
    /// The round in which it ends.
    until: u64,
    /// When it ends at the latest, by this machine's clock.
    limit: Option<Instant>,
}

struct Life<'a> {
    simulator: Simulator,
    env: Vec<(String, String)>,
    spool: &'a Path,
    runtime: &'a Runtime,
    clock: Clock,
    driver: ClockDriver,
    now_ms: i64,
    /// Wall time from which pages belong to the next round.
    cut_ms: i64,
    /// When counting began: by this machine's clock, and by the cluster's.
    began: (i64, i64),
    /// Faults that hold.
    faults: Vec<ActiveFault>,
    /// The helper's watch showed the cluster as it was when the round began.
    watch_followed: bool,
    ledger: Ledger,
    findings: Findings,
    live_heap: fn() -> usize,
}

/// Lives `rounds` rounds and judges them. `live_heap` says how many bytes of this process are allocated now.
pub(crate) fn lockstep(program: &Path, out: &Path, rounds: u64, live_heap: fn() -> usize) -> anyhow::Result<String> {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        before(panic);
    }));
    let spool = out.join("spool");
    // What an earlier run left is of another cluster.
    let _absent = std::fs::remove_dir_all(&spool);
    std::fs::create_dir_all(&spool)?;
    let scenario = scenario(out)?;
    // The helper runs on one thread, as it does when it is started; the driver on another.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let simulator = Simulator::of_scenario(program, &scenario)?;
    let report = runtime.block_on(async {
        let mut life = Life::new(simulator, &spool, &runtime, live_heap)?;
        let began = Instant::now();
        let outcome = life.all(rounds).await;
        let panics = PANICS.load(Ordering::Relaxed);
        let report = life.findings.report(&life.ledger, rounds, began.elapsed(), panics);
        outcome.with_context(|| report.clone())?;
        ensure!(life.findings.verdict(&life.ledger, rounds, panics), "{report}");
        Ok(report)
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    report
}

impl<'a> Life<'a> {
    fn new(
        simulator: Simulator,
        spool: &'a Path,
        runtime: &'a Runtime,
        live_heap: fn() -> usize,
    ) -> anyhow::Result<Self> {
        let status = simulator.control("GET", "/state", "")?;
        let now_ms = status.get("now_ms").and_then(Value::as_i64).context("the cluster does not say its time")?;
        let start_ms = (now_ms / INTERVAL_MS + 1) * INTERVAL_MS;
        simulator.control("POST", "/advance", &json!({ "to_ms": start_ms }).to_string())?;
        let (clock, driver) = Clock::driven(UnixMillis(start_ms), SPEED);
        let env = simulator.env().iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let began = (wall_ms(), start_ms);
        Ok(Self {
            simulator,
            env,
            spool,
            runtime,
            clock,
            driver,
            now_ms: start_ms,
            cut_ms: began.0,
            began,
            faults: Vec::new(),
            watch_followed: true,
            ledger: Ledger::default(),
            findings: Findings::new(),
            live_heap,
        })
    }

    async fn all(&mut self, rounds: u64) -> anyhow::Result<()> {
        let mut helper = self.start().await?;
        self.measured(&mut helper).await?;
        let mut progress = Instant::now();
        for round in 1..=rounds {
            let mut is_new = false;
            let round_began = Instant::now();
            self.end_faults(round)?;
            for action in actions(round, round <= rounds / RESTARTS_SHARE) {
                match action {
                    Action::Fault(spec, lasts) => {
                        let is_api = spec.get("fault").and_then(|fault| fault.get("api-server")).is_some();
                        self.inject(&spec, round + lasts, is_api.then(|| Instant::now() + API_FAULT_LIMIT))?;
                    }
                    Action::Calm => self.end_faults(u64::MAX)?,
                    Action::Lapse => self.lapse(&mut helper).await?,
                    Action::Restart => {
                        helper = self.restart(helper).await?;
                        is_new = true;
                    }
                    Action::Pass(intervals) => {
                        self.now_ms += INTERVAL_MS.saturating_mul(i64::try_from(intervals).unwrap_or(0));
                    }
                    Action::Measure => self.measure(&mut helper, round).await?,
                }
            }
            if !is_new {
                self.advance(&helper).await?;
            }
            self.measured(&mut helper).await?;
            self.findings.rounds = round;
            self.findings.took(round_began.elapsed());
            if round > rounds / 2 {
                let resident = memory(std::process::id())?.resident_bytes as f64;
                self.findings.resident.add(round, resident);
                let least = self.findings.least_resident.entry((round - 1) / PERIOD).or_insert(f64::INFINITY);
                *least = least.min(resident);
            }
            if round % PROGRESS == 0 {
                let took = progress.elapsed().as_secs_f64();
                say(&format!("round {round}: {:.1} ms per round", took * 1_000.0 / PROGRESS as f64));
                progress = Instant::now();
            }
        }
        self.end_faults(u64::MAX)?;
        self.measure(&mut helper, rounds).await?;
        self.end(helper).await
    }

    async fn start(&mut self) -> anyhow::Result<Helper> {
        let spool = self.spool.display().to_string();
        let lease = format!("{}s", LEASE.as_secs());
        let interval = (INTERVAL_MS / 1_000).to_string();
        let flags = [
            ["--interval", &interval],
            ["--scrape-timeout", SCRAPE_TIMEOUT],
            ["--leader-election", "true"],
            ["--lease-duration", &lease],
            ["--lease-namespace", "kube-system"],
            ["--spool-dir", &spool],
        ];
        let config = simulated::config(&self.env, flags.as_flattened())?;
        let identity = AwsSource::Given(Box::new(simulated::identity(&self.env, "long-life")?));
        let (trigger, shutdown) = Shutdown::manual();
        let building = self.runtime.spawn(App::build(config, identity, self.clock.clone(), shutdown));
        let app = timeout(LIMIT, building).await.context("the helper did not start")???;
        let named = |stats: &watch::Receiver<SinkStats>| stats.borrow().name == "cloudwatch";
        let cloudwatch = app.sinks().into_iter().find(named).context("no sink for CloudWatch")?;
        let (snapshots, index) = (app.snapshots(), app.index());
        let running = self.runtime.spawn(app.run());
        Ok(Helper { snapshots, index, cloudwatch, trigger, running, rounds: 0, dropped: 0, is_catching_up: false })
    }

    /// Ends the helper as SIGTERM does; what it could not send is in the spool or counted.
    async fn end(&mut self, helper: Helper) -> anyhow::Result<()> {
        helper.trigger.end();
        timeout(LIMIT, helper.running).await.context("the helper did not end")?.context("the helper panicked")??;
        let dropped = helper.cloudwatch.borrow().dropped().saturating_sub(helper.dropped);
        self.ledger.dropped_later(dropped);
        self.take()
    }

    /// Another helper in its place, an interval later: two rounds of one moment would be two points.
    async fn restart(&mut self, helper: Helper) -> anyhow::Result<Helper> {
        self.end(helper).await?;
        self.move_on().await?;
        self.findings.restarts += 1;
        let helper = self.start().await?;
        Ok(Helper { is_catching_up: true, ..helper })
    }

    /// The API server is away until the lease has run out. The nodes are in direct reach all the time.
    async fn lapse(&mut self, helper: &mut Helper) -> anyhow::Result<()> {
        self.inject(&json!({"fault": {"api-server": {"kind": "down"}}}), u64::MAX - 1, None)?;
        let until = Instant::now() + LEASE + LEASE / 2;
        while Instant::now() < until {
            self.move_on().await?;
            if timeout(LAPSED_ROUND_LIMIT, helper.snapshots.changed()).await.is_ok() {
                helper.snapshots.mark_changed();
                self.measured(helper).await?;
                // The lapse is to be long, and its rounds few: they are all kept until it is over.
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        self.end_faults(u64::MAX)?;
        self.findings.lapses += 1;
        Ok(())
    }

    fn inject(&mut self, spec: &Value, until: u64, limit: Option<Instant>) -> anyhow::Result<()> {
        let answer = self.simulator.control("POST", "/faults", &json!({ "set": [spec] }).to_string())?;
        *self.findings.faults.entry(kind(spec)).or_default() += 1;
        let number = answer.get("numbers").and_then(|numbers| numbers.get(0)).and_then(Value::as_u64);
        self.faults.push(ActiveFault { number: number.context("a fault without a number")?, until, limit });
        Ok(())
    }

    /// Ends the faults that last until this round, or until an earlier one, or whose time is over.
    fn end_faults(&mut self, round: u64) -> anyhow::Result<()> {
        let now = Instant::now();
        let is_over = |fault: &ActiveFault| fault.until <= round || fault.limit.is_some_and(|limit| limit <= now);
        let (over, on): (Vec<ActiveFault>, Vec<ActiveFault>) = self.faults.iter().copied().partition(is_over);
        self.faults = on;
        if !over.is_empty() {
            let numbers: Vec<u64> = over.into_iter().map(|fault| fault.number).collect();
            self.simulator.control("POST", "/faults", &json!({ "clear": numbers }).to_string())?;
        }
        Ok(())
    }

    /// Moves the cluster on by one interval, waits until the helper's watch shows it, then moves the helper's clock.
    async fn advance(&mut self, helper: &Helper) -> anyhow::Result<()> {
        self.now_ms += INTERVAL_MS;
        self.simulator.control("POST", "/advance", &json!({ "to_ms": self.now_ms }).to_string())?;
        self.watch_followed = self.watch_settled(helper, WATCH_LIMIT).await?;
        self.cut().await;
        Ok(())
    }

    /// The same where no helper is there to follow.
    async fn move_on(&mut self) -> anyhow::Result<()> {
        self.now_ms += INTERVAL_MS;
        self.watch_followed = true;
        self.simulator.control("POST", "/advance", &json!({ "to_ms": self.now_ms }).to_string())?;
        self.cut_clock().await;
        Ok(())
    }

    /// Nothing of what happened so far falls into the round that begins now, and the round begins.
    async fn cut(&mut self) {
        tokio::time::sleep(Duration::from_millis(2)).await;
        self.cut_ms = wall_ms();
        self.driver.set(UnixMillis(self.now_ms));
    }

    /// The round begins; pages that were handed over since the last comparison belong to it.
    async fn cut_clock(&mut self) {
        tokio::time::sleep(Duration::from_millis(2)).await;
        self.driver.set(UnixMillis(self.now_ms));
    }

    /// Whether the helper sees the agents that there are, at the latest after `limit`.
    async fn watch_settled(&self, helper: &Helper, limit: Duration) -> anyhow::Result<bool> {
        let agents: BTreeSet<String> = serde_json::from_value(self.simulator.control("GET", "/agents", "")?)?;
        let give_up = Instant::now() + limit;
        loop {
            let shown: BTreeSet<String> =
                helper.index.targets().0.iter().map(|(pod, _)| pod.name.to_string()).collect();
            if shown == agents {
                return Ok(true);
            }
            if Instant::now() >= give_up {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits for the round of this moment and enters it, and what CloudWatch took meanwhile, into the ledger.
    async fn measured(&mut self, helper: &mut Helper) -> anyhow::Result<()> {
        self.round_came(helper).await?;
        let snapshot = helper.snapshots.borrow_and_update().clone().context("a round without a snapshot")?;
        helper.rounds += 1;
        // Rounds are milliseconds apart here: a sink that gets no processor for a few of them must not lose any.
        let rounds = helper.rounds;
        let read = helper.cloudwatch.wait_for(|stats| stats.rounds + stats.lost_rounds >= rounds);
        timeout(LIMIT, read).await.context("the sink does not read")?.context("the sink ended")?;
        let RoundTruth { metrics: mut truth, breakdown } = self.truth(snapshot.coverage.scraped).await?;
        // A helper that cannot see the API server cannot know which agents there are, be it that its watch caught up since.
        if !self.watch_followed || !self.watch_settled(helper, Duration::ZERO).await? {
            truth.insert("nodesExpected".to_owned(), snapshot.coverage.expected as f64);
        }
        self.ledger.broken_down(&snapshot, &breakdown, helper.is_catching_up);
        if helper.is_catching_up {
            self.ledger.accept_new_baselines(&snapshot, &mut truth);
            helper.is_catching_up = !snapshot.coverage.failed.is_empty();
        }
        self.findings.measured(&snapshot);
        self.ledger.measured(&snapshot, truth);
        self.take()?;
        self.simulator.control("POST", "/forget", "")?;
        self.cut_ms = wall_ms();
        Ok(())
    }

    /// Waits for a round; where none comes although none was prevented, both clocks move on.
    async fn round_came(&mut self, helper: &mut Helper) -> anyhow::Result<()> {
        let give_up = Instant::now() + LIMIT;
        while Instant::now() < give_up {
            match timeout(STALL, helper.snapshots.changed()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(_)) => bail!("the helper ended"),
                Err(_) => {
                    self.findings.stalls += 1;
                    self.end_faults(0)?;
                    self.move_on().await?;
                }
            }
        }
        bail!("no round in {} s; the helper is stuck", LIMIT.as_secs())
    }

    /// What CloudWatch took since the last time.
    fn take(&mut self) -> anyhow::Result<()> {
        let data = self.simulator.control("POST", "/cloudwatch/take", "")?;
        self.ledger.arrived(data.as_array().context("/cloudwatch/take is not a list")?);
        Ok(())
    }

    /// What the round should have shown. A page counts once its socket has taken the last byte, which may be a moment
    /// after the helper has read it.
    async fn truth(&self, pages_read: u64) -> anyhow::Result<RoundTruth> {
        let give_up = Instant::now() + Duration::from_secs(2);
        loop {
            let (from, to, (start, api)) = (self.cut_ms, wall_ms(), self.began);
            let path =
                format!("/truth?from={from}&to={to}&collector_start={start}&collector_start_api={api}&nodes=false");
            let truth = self.simulator.control("GET", &path, "")?;
            let pages = truth.get("deliveries").and_then(Value::as_u64).unwrap_or_default();
            if pages >= pages_read || Instant::now() >= give_up {
                return Ok(serde_json::from_value(truth)?);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The least live heap until the helper has closed the connections that it does not use: until it falls no more.
    async fn heap_at_rest(&self) -> usize {
        let began = Instant::now();
        let (mut least, mut fell) = ((self.live_heap)(), began);
        while fell.elapsed() < HEAP_REST && began.elapsed() < HEAP_LIMIT {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let heap = (self.live_heap)();
            if heap < least {
                (least, fell) = (heap, Instant::now());
            }
        }
        least
    }

    /// Once everything is sent, what is held is what is needed. At the end of a period, connections that are not used are
    /// closed first: how many there are, and what is left of them, depends on the order in which pages came.
    async fn measure(&mut self, helper: &mut Helper, round: u64) -> anyhow::Result<()> {
        let sent = helper.cloudwatch.wait_for(|stats| stats.buffered_points == 0);
        let sent = timeout(LIMIT, sent).await.map(|stats| stats.map(|stats| stats.dropped()));
        let dropped =
            sent.context("data points are not sent although CloudWatch has no fault")?.context("the sink ended")?;
        self.take()?;
        self.ledger.settle(dropped.saturating_sub(helper.dropped));
        helper.dropped = dropped;
        ensure!(
            self.watch_settled(helper, LIMIT).await?,
            "the watch does not show the agents although there is no fault"
        );
        let mut heap = (self.live_heap)();
        if (round + 1).is_multiple_of(PERIOD) {
            heap = self.heap_at_rest().await;
            self.findings.heap.insert(round, heap);
        }
        let resident = memory(std::process::id())?.resident_bytes;
        say(&format!("round {round}: live heap {heap} bytes, RSS {} KiB", resident / 1_024));
        Ok(())
    }
}
