//! Every state of the spool, the lease and CloudWatch together: no event is published twice, and none is lost without
//! being counted or named. `docs/ha.md` shows the same list that is run here.
//!
//! Each cell lives three lives on a virtual clock. The first sends, then meets the cell's CloudWatch, and is killed. The
//! second finds the cell's spool, has the cell's lease and the same CloudWatch, and is killed too. The third has
//! everything as it should be and sends what is left. The helper around the sink is played: it turns one agent's counter
//! into increases from its baseline, and takes its baseline from the spool where that may be used.

use std::collections::BTreeMap;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cni_metrics_core::model::{Snapshot, UnixMillis, Values};
use cni_publish::cloudwatch::{CloudWatchSettings, CloudWatchSink, MetricClient, PutError};
use cni_publish::delivery::buffer::{Kept, Point};
use cni_publish::delivery::spool;
use cni_publish::stats::DropReason;
use cni_publish::{Published, Publisher, Selection, SinkStats};
use cni_runtime::clock::Clock;
use cni_runtime::gate::{Leadership, ManualLease};
use cni_testkit::wait;
use cni_types::catalogue::{Kind, Metric, MetricSet};
use tokio::sync::watch;
use tokio::time::Instant;

const START: UnixMillis = UnixMillis(1_767_225_600_000);
const INTERVAL: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_hours(1);
const COUNTER: Metric = Metric::AddReqCount;
const GAUGE: Metric = Metric::AssignIpAddresses;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    Absent,
    Fresh,
    Stale,
    Damaged,
    Unwritable,
    Hanging,
    Foreign,
    Full,
}

/// What becomes of the second life's lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lease {
    NeverHeld,
    Held,
    LapsedUnseen,
    HeldByAnother,
    ClockAhead,
}

/// What CloudWatch does with the second life's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Up,
    Throttled,
    Down,
    Refusing,
    NoAnswer,
}

/// What a start finds, what it does with it, where that is counted. `points` and `baselines`: whether they are used.
struct DiskRow {
    disk: Disk,
    name: &'static str,
    does: &'static str,
    shown_by: &'static str,
    points: bool,
    baselines: bool,
}

const DISKS: [DiskRow; 8] = [
    DiskRow {
        disk: Disk::Absent,
        name: "absent",
        does: "counters start with new baselines, as at a first start. If someone removed a file, its data points and the events since then are lost",
        shown_by: "nothing",
        points: false,
        baselines: false,
    },
    DiskRow {
        disk: Disk::Fresh,
        name: "fresh",
        does: "data points are sent with their own times; counters continue from the baselines; of a request that was in progress, only the gauges are sent",
        shown_by: "`points_dropped_total{reason=\"in_doubt\"}`",
        points: true,
        baselines: true,
    },
    DiskRow {
        disk: Disk::Stale,
        name: "stale: older than ten intervals",
        does: "data points are sent with their own times; the baselines are not used, and a log line names the time span whose events are not published",
        shown_by: "`the saved counters are not used`",
        points: true,
        baselines: false,
    },
    DiskRow {
        disk: Disk::Damaged,
        name: "damaged, or of a later version",
        does: "set aside as `points.spool.damaged-*` or `.newer-*`; counters start with new baselines",
        shown_by: "`points_dropped_total{reason=\"spool_unusable\"}`, with the number of data points from the file's header if that is readable",
        points: false,
        baselines: false,
    },
    DiskRow {
        disk: Disk::Unwritable,
        name: "unwritable",
        does: "its content is not used; delivery continues without a spool and without claims; a kill loses unsent data points. A later start that can write again uses the file as it is: see below",
        shown_by: "`sink_in_trouble` 1, `SPOOL_DIR cannot be written`",
        points: false,
        baselines: false,
    },
    DiskRow {
        disk: Disk::Hanging,
        name: "hanging",
        does: "as unwritable, after 4 s; the end of the program does not wait for it",
        shown_by: "`sink_in_trouble` 1, `did not answer within`",
        points: false,
        baselines: false,
    },
    DiskRow {
        disk: Disk::Foreign,
        name: "foreign: of another namespace, cluster id or shard",
        does: "set aside as `points.spool.foreign-*`; counters start with new baselines, or continue from the saved ones if only the namespace differs",
        shown_by: "`points_dropped_total{reason=\"spool_unusable\"}`",
        points: false,
        baselines: false,
    },
    DiskRow {
        disk: Disk::Full,
        name: "full",
        does: "data points and baselines are used as with a fresh file; the old file is removed before any of its content is sent; from then on a kill loses unsent data points",
        shown_by: "`sink_in_trouble` 1, `spool not written`",
        points: true,
        baselines: true,
    },
];

const LEASES: [(Lease, &str, &str, &str); 5] = [
    (
        Lease::NeverHeld,
        "never held",
        "nothing is sent; data points wait in the buffer and in the spool",
        "`cni_metrics_helper_leader` 0, `points_buffered`",
    ),
    (Lease::Held, "held, or no election", "data points are sent", "`points_sent_total`"),
    (
        Lease::LapsedUnseen,
        "lapsed, and no one else held it",
        "data points wait, and all of them are sent when the lease is held again",
        "`points_buffered`",
    ),
    (
        Lease::HeldByAnother,
        "lapsed and held by another",
        "data points that the other replica has published according to the lease are left out here; the rest is sent",
        "`points_dropped_total{reason=\"published_by_another\"}`",
    ),
    (
        Lease::ClockAhead,
        "the other replica's clock is ahead",
        "rounds measured before its claim was seen are left out; later rounds are sent",
        "the same, and `lie ahead of this one's clock`",
    ),
];

const SERVICES: [(Service, &str, &str, &str); 5] = [
    (Service::Up, "up", "each data point arrives once, with its round's time", "`points_sent_total`"),
    (
        Service::Throttled,
        "throttled",
        "data points wait and are sent again; a `Retry-After` is limited to five minutes",
        "`cloudwatch_requests_total{result=\"throttled\"}`",
    ),
    (
        Service::Down,
        "down: no connection, or an error as answer",
        "data points wait and are sent again",
        "`cloudwatch_requests_total{result=\"network\"}` or `\"unavailable\"`",
    ),
    (
        Service::Refusing,
        "refusing every request",
        "data points wait: refused data points are kept as long as no request is accepted",
        "`cloudwatch_requests_total{result=\"rejected\"}`",
    ),
    (
        Service::NoAnswer,
        "accepting without an answer",
        "the counters of that request are never sent again, its gauges are; then one round per request, without counters if possible, until an answer comes",
        "`points_dropped_total{reason=\"in_doubt\"}`, `cloudwatch_requests_total{result=\"no_answer\"}`",
    ),
];

#[test]
fn the_documentation_shows_what_is_run_here() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ha.md")).unwrap();
    let spools = DISKS.iter().map(|row| (row.name, row.does, row.shown_by));
    let leases = LEASES.iter().map(|(_, name, does, shown_by)| (*name, *does, *shown_by));
    let services = SERVICES.iter().map(|(_, name, does, shown_by)| (*name, *does, *shown_by));
    for (name, does, shown_by) in spools.chain(leases).chain(services) {
        let line = format!("| {name} | {does} | {shown_by} |");
        assert!(page.contains(&line), "docs/ha.md lacks:\n{line}");
    }
}

/// What the service has taken: a point's key to how often, and in how many of these it gave no answer.
type Taken = Arc<Mutex<BTreeMap<(i64, Metric), (u64, u64)>>>;

struct StandIn {
    is: Arc<Mutex<Service>>,
    taken: Taken,
}

impl MetricClient for StandIn {
    async fn put(&self, points: Vec<Point>) -> Result<(), PutError> {
        wait::sleep_as_input_async(Duration::from_millis(80)).await;
        let is = *self.is.lock().unwrap();
        if matches!(is, Service::Up | Service::NoAnswer) {
            let mut taken = self.taken.lock().unwrap();
            for point in &points {
                let (times, unanswered) = taken.entry((point.at.0, point.row.metric)).or_default();
                *times += 1;
                *unanswered += u64::from(is == Service::NoAnswer);
            }
        }
        match is {
            Service::Up => Ok(()),
            Service::Throttled => {
                Err(PutError::Throttled { retry_after: Some(Duration::MAX), detail: "Rate exceeded".to_owned() })
            }
            Service::Down => Err(PutError::Network("connection refused".to_owned())),
            Service::Refusing => Err(PutError::Rejected("InvalidParameterValue".to_owned())),
            Service::NoAnswer => Err(PutError::NoAnswer("timeout".to_owned())),
        }
    }
}

/// Events on the cluster up to now: one a second, seen from the whole of a round.
fn events(at: UnixMillis) -> i64 {
    (at.0 - START.0) / 1000
}

struct Cell {
    disk: Disk,
    lease: Lease,
    has_election: bool,
    dir: PathBuf,
    clock: Clock,
    is: Arc<Mutex<Service>>,
    taken: Taken,
    /// Each round's points, and the events that its counter covers.
    measured: BTreeMap<i64, Option<(i64, i64)>>,
    counted: BTreeMap<DropReason, u64>,
    /// Points that were only in the memory of a process that was killed, or in a file that was removed.
    lost_by_name: u64,
    counted_again: u64,
}

/// One process.
struct Life {
    publisher: Publisher,
    stats: watch::Receiver<SinkStats>,
    appointment: Option<ManualLease>,
    baseline: Option<i64>,
    rounds: u64,
}

impl Cell {
    fn settings(&self, cluster_id: &str) -> CloudWatchSettings {
        let only = [COUNTER, GAUGE].map(|metric| metric.row().name.to_owned());
        CloudWatchSettings {
            namespace: "Kubernetes".to_owned(),
            cluster_id: cluster_id.parse().unwrap(),
            shard: None,
            selection: Selection::new(MetricSet::Standard, &only, &[]).unwrap(),
            resolution_seconds: 60,
            flush_every: 2 * INTERVAL,
            buffer_bytes: 1 << 20,
            spool_dir: Some(self.dir.clone()),
        }
    }

    async fn start(&mut self, cluster_id: &str) -> Life {
        let settings = self.settings(cluster_id);
        let opened = spool::open(&settings.spool(), &self.clock).await;
        let (appointment, leadership) = if self.has_election {
            let (appointment, leadership) = Leadership::manual(true);
            (Some(appointment), leadership)
        } else {
            (None, Leadership::always())
        };
        // As the program does: with an election another replica may have counted on.
        let saved = opened.baselines().filter(|_| !self.has_election);
        let baseline = saved.map(|bytes| i64::from_le_bytes((*bytes).try_into().unwrap()));
        let mut publisher = Publisher::new();
        let sink = StandIn { is: Arc::clone(&self.is), taken: Arc::clone(&self.taken) };
        publisher.add(Box::new(CloudWatchSink::new(settings, sink, self.clock.clone(), leadership, opened)));
        let stats = publisher.stats_receivers().remove(0);
        Life { publisher, stats, appointment, baseline, rounds: 0 }
    }

    /// One round, and the time until the next.
    async fn round(&mut self, life: &mut Life) {
        self.publish(life);
        self.clock.sleep(INTERVAL).await;
        assert_eq!(life.stats.borrow().lost_rounds, 0, "{:?} holds delivery", self.disk);
    }

    fn publish(&mut self, life: &mut Life) {
        let at = self.clock.now();
        let mut metrics = Values::default();
        metrics.set(GAUGE, Some(7.0));
        let covers = life.baseline.map(|from| (from, events(at)));
        metrics.set(COUNTER, covers.map(|(from, to)| (to - from) as f64));
        life.baseline = Some(events(at));
        self.measured.insert(at.0, covers);
        let snapshot = Snapshot { duration_ms: 1, metrics, ..Snapshot::empty(life.rounds, at) };
        let counters = (!self.has_election).then(|| Arc::from(events(at).to_le_bytes().to_vec()));
        life.publisher.publish(Published { snapshot: Arc::new(snapshot), counters, conclusion: None });
        life.rounds += 1;
    }

    fn set(&self, service: Service) {
        *self.is.lock().unwrap() = service;
    }

    fn book(&mut self, life: &Life) {
        for (reason, points) in &life.stats.borrow().dropped_points {
            *self.counted.entry(*reason).or_default() += points;
        }
    }

    /// The process is gone from one moment to the next, in the middle of a request if it sends any.
    async fn kill(&mut self, mut life: Life, keeps: bool) {
        self.publish(&mut life);
        self.clock.sleep(Duration::from_millis(40)).await;
        self.book(&life);
        if !keeps {
            // Of a full volume: what an earlier run left stays true while nothing is sent.
            let left = if self.disk == Disk::Full { spool::look(&self.dir).unwrap() } else { None };
            let points = |rounds: &[Kept]| rounds.iter().map(|kept| kept.values.len() as u64).sum::<u64>();
            let kept = left.as_ref().map_or(0, |left| points(&left.rounds));
            self.lost_by_name += life.stats.borrow().buffered_points - kept;
            // Its claim is still in it, and the next start counts it once more.
            self.counted_again += left.map_or(0, |left| points(&left.in_doubt));
        }
        drop(life);
        tokio::task::yield_now().await;
    }

    async fn run(&mut self, service: Service) {
        let ours = "prod";
        let first_id = if self.disk == Disk::Foreign { "other" } else { ours };
        let mut life = self.start(first_id).await;
        life.lead();
        for _ in 0..4 {
            self.round(&mut life).await;
        }
        self.set(service);
        for _ in 0..4 {
            self.round(&mut life).await;
        }
        self.kill(life, self.disk != Disk::Absent).await;

        let obstacle = self.lay().await;
        let mut life = self.start(ours).await;
        let row = DISKS.iter().find(|row| row.disk == self.disk).unwrap();
        assert_eq!(life.baseline.is_some(), row.baselines && !self.has_election);
        let restored = life.stats.borrow().buffered_points;
        assert!(service == Service::Up || (restored > 0) == row.points, "{restored} points of the earlier run");
        self.second_life(&mut life).await;
        let has_spool = !matches!(self.disk, Disk::Unwritable | Disk::Hanging | Disk::Full);
        let in_trouble = life.stats.borrow().trouble.is_some();
        assert!(has_spool || in_trouble, "sink_in_trouble 1");
        self.kill(life, has_spool).await;
        obstacle.clear();

        self.set(Service::Up);
        let mut life = self.start(ours).await;
        life.lead();
        for _ in 0..4 {
            self.round(&mut life).await;
        }
        self.clock.sleep(4 * INTERVAL).await;
        assert_eq!(life.stats.borrow().buffered_points, 0, "all is sent in the end");
        let stats = life.stats.clone();
        life.publisher.drain(Duration::from_secs(20)).await;
        for (reason, points) in &stats.borrow().dropped_points {
            *self.counted.entry(*reason).or_default() += points;
        }
    }

    async fn second_life(&mut self, life: &mut Life) {
        let began = self.clock.now();
        match self.lease {
            Lease::NeverHeld => {}
            Lease::Held => life.lead(),
            Lease::LapsedUnseen | Lease::HeldByAnother | Lease::ClockAhead => life.lead_for(INTERVAL),
        }
        for number in 0..6 {
            self.round(life).await;
            if number == 3 && !matches!(self.lease, Lease::NeverHeld | Lease::Held) {
                match self.lease {
                    Lease::HeldByAnother => life.others_published(UnixMillis(began.0 + 60_000)),
                    Lease::ClockAhead => life.others_published(UnixMillis(began.0 + 1_800_000)),
                    _ => {}
                }
                life.lead();
            }
        }
    }

    /// Puts the spool into the cell's state.
    async fn lay(&mut self) -> Obstacle {
        let file = self.dir.join("points.spool");
        match self.disk {
            Disk::Fresh | Disk::Foreign => {}
            Disk::Absent => std::fs::remove_file(&file).unwrap(),
            Disk::Stale => self.clock.sleep(20 * INTERVAL).await,
            Disk::Damaged => {
                let mut bytes = std::fs::read(&file).unwrap();
                bytes[100] ^= 1;
                std::fs::write(&file, bytes).unwrap();
            }
            Disk::Unwritable => {
                // A file in the folder's place stops root too.
                let away = self.dir.with_extension("away");
                std::fs::rename(&self.dir, &away).unwrap();
                std::fs::write(&self.dir, b"not a folder").unwrap();
                return Obstacle::InPlace { dir: self.dir.clone(), away };
            }
            Disk::Hanging => {
                // Opening a FIFO for writing waits until someone reads.
                let fifo = self.dir.join("points.probe");
                let kind = rustix::fs::FileType::Fifo;
                rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, rustix::fs::Mode::from_raw_mode(0o600), 0).unwrap();
                return Obstacle::Fifo(fifo);
            }
            Disk::Full => return Obstacle::full(&self.dir),
        }
        Obstacle::None
    }

    /// Nothing twice, and nothing lost that is not counted or named.
    fn check(&self) {
        let taken = self.taken.lock().unwrap();
        let mut covered: Vec<(i64, i64)> = Vec::new();
        // What was only ever taken without an answer is also in what was counted or lost by name.
        let (mut arrived, mut arrived_unanswered) = (0, 0);
        for ((at, metric), (times, unanswered)) in taken.iter() {
            arrived += 1;
            arrived_unanswered += u64::from(times == unanswered);
            if metric.row().kind == Kind::Counter {
                assert_eq!(*times, 1, "the counter of {at} arrived {times} times");
                covered.push(self.measured[at].unwrap());
            }
        }
        covered.sort_unstable();
        let repeated: i64 = covered.windows(2).map(|pair| (pair[0].1.min(pair[1].1) - pair[1].0).max(0)).sum();
        if self.may_repeat() {
            // The one cell of docs/ha.md: what came after the last good write.
            assert!(repeated <= 6 * 30, "{repeated} events twice");
        } else {
            assert_eq!(repeated, 0, "events twice: {covered:?}");
        }
        let measured: u64 = self.measured.values().map(|covers| 1 + u64::from(covers.is_some())).sum();
        let counted: u64 = self.counted.values().sum();
        assert_eq!(
            measured,
            arrived + counted - arrived_unanswered + self.lost_by_name - self.counted_again,
            "{measured} points measured, {arrived} arrived, {:?} counted, {} lost by name, {arrived_unanswered} of these \
             arrived without an answer",
            self.counted,
            self.lost_by_name
        );
    }

    /// Without an election baselines are used; a start that could not write left an earlier run's file as it was.
    fn may_repeat(&self) -> bool {
        matches!(self.disk, Disk::Unwritable | Disk::Hanging) && !self.has_election
    }
}

impl Life {
    fn lead(&mut self) {
        self.lead_for(HOUR);
    }

    fn lead_for(&mut self, time: Duration) {
        if let Some(appointment) = &self.appointment {
            appointment.appoint(Some(Instant::now() + time));
        }
    }

    fn others_published(&self, until: UnixMillis) {
        if let Some(appointment) = &self.appointment {
            appointment.others_published(until);
        }
    }
}

/// What is in the way of the spool until it is cleared.
enum Obstacle {
    None,
    InPlace { dir: PathBuf, away: PathBuf },
    Fifo(PathBuf),
    Full(PathBuf),
}

impl Obstacle {
    /// The probe goes to a device that is full, and the next file cannot be made; what is there can be removed.
    fn full(dir: &Path) -> Self {
        symlink("/dev/full", dir.join("points.probe")).unwrap();
        let beside = dir.join("points.spool.new");
        std::fs::create_dir(&beside).unwrap();
        Self::Full(beside)
    }

    fn clear(self) {
        match self {
            Self::None => {}
            Self::InPlace { dir, away } => {
                std::fs::remove_file(&dir).unwrap();
                std::fs::rename(&away, &dir).unwrap();
            }
            Self::Fifo(fifo) => {
                let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
                let reader = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(&fifo).unwrap();
                // The thread of the killed process lets go of the folder.
                let lock = std::fs::File::open(fifo.with_file_name("points.lock")).unwrap();
                lock.lock().unwrap();
                drop((reader, lock));
            }
            Self::Full(beside) => std::fs::remove_dir(beside).unwrap(),
        }
    }
}

/// The cells of one state of the disk, each on a thread and a clock of its own.
fn cells(disk: Disk) {
    let elections = |lease| if lease == Lease::Held { vec![true, false] } else { vec![true] };
    let cells = LEASES.iter().flat_map(|(lease, ..)| elections(*lease).into_iter().map(|has| (*lease, has)));
    let cells: Vec<_> =
        cells.flat_map(|(lease, has)| SERVICES.iter().map(move |(service, ..)| (lease, has, *service))).collect();
    assert_eq!(cells.len(), 30);
    let threads = cells.into_iter().map(|(lease, has_election, service)| {
        let name = format!("{disk:?}, {lease:?} (election: {has_election}), {service:?}");
        let thread = std::thread::Builder::new().name(name.clone());
        let run = move || {
            let folder = cni_testkit::temporary_folder();
            let dir = folder.path().join("spool");
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let mut cell = Cell {
                    disk,
                    lease,
                    has_election,
                    dir,
                    clock: Clock::scaled(START, 1.0),
                    is: Arc::new(Mutex::new(Service::Up)),
                    taken: Taken::default(),
                    measured: BTreeMap::new(),
                    counted: BTreeMap::new(),
                    lost_by_name: 0,
                    counted_again: 0,
                };
                cell.run(service).await;
                cell.check();
            });
        };
        (name, thread.spawn(run).unwrap())
    });
    let threads: Vec<_> = threads.collect();
    let failed: Vec<String> =
        threads.into_iter().filter_map(|(name, thread)| thread.join().is_err().then_some(name)).collect();
    assert!(failed.is_empty(), "{} cells failed: {failed:#?}", failed.len());
}

#[test]
fn an_absent_spool() {
    cells(Disk::Absent);
}

#[test]
fn a_fresh_spool() {
    cells(Disk::Fresh);
}

#[test]
fn a_stale_spool() {
    cells(Disk::Stale);
}

#[test]
fn a_damaged_spool() {
    cells(Disk::Damaged);
}

#[test]
fn an_unwritable_spool() {
    cells(Disk::Unwritable);
}

#[test]
fn a_hanging_spool() {
    cells(Disk::Hanging);
}

#[test]
fn a_foreign_spool() {
    cells(Disk::Foreign);
}

#[test]
fn a_full_spool() {
    cells(Disk::Full);
}
