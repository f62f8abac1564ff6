//! A scripted CloudWatch and rounds whose every value is known, for the delivery tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cni_metrics_core::model::{Snapshot, UnixMillis, Values};
use cni_publish::cloudwatch::{CloudWatchSettings, CloudWatchSink, MetricClient, PutError};
use cni_publish::delivery::buffer::Point;
use cni_publish::delivery::spool::Opened;
use cni_publish::selection::ROWS;
use cni_publish::{Publisher, Selection, SinkStats};
use cni_runtime::clock::Clock;
use cni_runtime::gate::{Leadership, ManualLease};
use cni_testkit::wait;
use cni_types::catalogue::{Kind, METRICS, MetricSet};
use tokio::sync::watch;

/// 2026-01-01, when these tests' clocks start.
pub(crate) const START: UnixMillis = UnixMillis(1_767_225_600_000);
pub(crate) const INTERVAL: Duration = Duration::from_secs(30);
pub(crate) const FLUSH: Duration = Duration::from_mins(1);

/// From a request to its answer.
pub(crate) const TAKES: Duration = Duration::from_millis(80);
/// Of the pauses between requests.
pub(super) const SEED: u64 = 15;

type Decide = Box<dyn Fn(UnixMillis, &[Point]) -> Result<(), PutError> + Send + Sync>;

/// One request as the service saw it; with its points if it was accepted.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) at: UnixMillis,
    pub(crate) points: Vec<Point>,
    pub(crate) accepted: bool,
}

#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Attempt>>>);

impl Log {
    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn accepted(&self) -> Vec<Attempt> {
        self.attempts().into_iter().filter(|attempt| attempt.accepted).collect()
    }

    /// Accepted points by time and metric; fails on a point that arrived twice or with a wrong value.
    pub(crate) fn delivered(&self) -> BTreeMap<(i64, usize), UnixMillis> {
        let mut delivered = BTreeMap::new();
        for attempt in self.accepted() {
            for point in &attempt.points {
                let metric = point.row.metric as usize;
                assert_eq!(point.value, value(point.at, metric), "wrong value of {} at {:?}", point.row.name, point.at);
                let twice = delivered.insert((point.at.0, metric), attempt.at);
                assert!(twice.is_none(), "{} of {:?} arrived twice", point.row.name, point.at);
            }
        }
        delivered
    }
}

pub(crate) struct Scripted {
    clock: Clock,
    takes: Duration,
    decide: Decide,
    log: Log,
}

impl Scripted {
    pub(crate) fn new(
        clock: &Clock,
        log: &Log,
        decide: impl Fn(UnixMillis, &[Point]) -> Result<(), PutError> + Send + Sync + 'static,
    ) -> Self {
        Self { clock: clock.clone(), takes: TAKES, decide: Box::new(decide), log: log.clone() }
    }

    /// A service that never answers.
    pub(crate) fn hanging(clock: &Clock, log: &Log) -> Self {
        Self { takes: Duration::from_hours(1_000_000), ..Self::new(clock, log, |_, _| Ok(())) }
    }
}

impl MetricClient for Scripted {
    async fn put(&self, points: Vec<Point>) -> Result<(), PutError> {
        assert!(!points.is_empty() && points.len() <= 1000, "{} data in a request", points.len());
        wait::sleep_as_input_async(self.takes).await;
        let at = self.clock.now();
        let result = (self.decide)(at, &points);
        let accepted = result.is_ok();
        // What was not accepted is not looked at again, and would be gigabytes in two weeks of outage.
        let points = if accepted { points } else { Vec::new() };
        self.log.0.lock().unwrap().push(Attempt { at, points, accepted });
        result
    }
}

/// The value of a metric in the round of this time: different for every pair.
pub(crate) fn value(at: UnixMillis, metric: usize) -> f64 {
    (at.0 - START.0) as f64 + metric as f64 / 64.0
}

pub(crate) fn snapshot(round: u64, at: UnixMillis) -> Arc<Snapshot> {
    let mut metrics = Values::default();
    for row in &ROWS {
        metrics.set(row.metric, Some(value(at, row.metric as usize)));
    }
    Arc::new(Snapshot { duration_ms: 100, metrics, ..Snapshot::empty(round, at) })
}

pub(crate) fn settings() -> CloudWatchSettings {
    CloudWatchSettings {
        namespace: "Kubernetes".to_owned(),
        cluster_id: "prod".parse().unwrap(),
        shard: None,
        selection: Selection::new(MetricSet::Standard, &[], &[]).unwrap(),
        resolution_seconds: 60,
        flush_every: FLUSH,
        buffer_bytes: 64 << 20,
        spool_dir: None,
    }
}

/// A helper reduced to its clock, its publisher and what the service saw.
pub(crate) struct Bench {
    pub(crate) clock: Clock,
    pub(crate) log: Log,
    pub(crate) publisher: Publisher,
    pub(crate) stats: watch::Receiver<SinkStats>,
    pub(crate) published: Vec<UnixMillis>,
}

impl Bench {
    pub(crate) fn new(
        settings: CloudWatchSettings,
        decide: impl Fn(UnixMillis, &[Point]) -> Result<(), PutError> + Send + Sync + 'static,
    ) -> Self {
        Self::seeded(SEED, settings, decide)
    }

    /// With pauses that this number determines.
    pub(crate) fn seeded(
        seed: u64,
        settings: CloudWatchSettings,
        decide: impl Fn(UnixMillis, &[Point]) -> Result<(), PutError> + Send + Sync + 'static,
    ) -> Self {
        let clock = Clock::scaled(START, 1.0);
        let log = Log::default();
        let sink = Scripted::new(&clock, &log, decide);
        Self::of(seed, Leadership::always(), settings, sink, clock, log, Opened::none())
    }

    /// One of several replicas: warm, and not leading at first.
    pub(crate) fn elected(
        settings: CloudWatchSettings,
        decide: impl Fn(UnixMillis, &[Point]) -> Result<(), PutError> + Send + Sync + 'static,
    ) -> (ManualLease, Self) {
        let clock = Clock::scaled(START, 1.0);
        let log = Log::default();
        let sink = Scripted::new(&clock, &log, decide);
        Self::elected_with(settings, sink, clock, log, Opened::none())
    }

    pub(crate) fn with(settings: CloudWatchSettings, sink: Scripted, clock: Clock, log: Log, opened: Opened) -> Self {
        Self::with_seed(SEED, settings, sink, clock, log, opened)
    }

    /// The same with pauses that this number determines.
    pub(crate) fn with_seed(
        seed: u64,
        settings: CloudWatchSettings,
        sink: Scripted,
        clock: Clock,
        log: Log,
        opened: Opened,
    ) -> Self {
        Self::of(seed, Leadership::always(), settings, sink, clock, log, opened)
    }

    /// One of several replicas, with a spool.
    pub(crate) fn elected_with(
        settings: CloudWatchSettings,
        sink: Scripted,
        clock: Clock,
        log: Log,
        opened: Opened,
    ) -> (ManualLease, Self) {
        let (appointment, leadership) = Leadership::manual(true);
        (appointment, Self::of(SEED, leadership, settings, sink, clock, log, opened))
    }

    fn of(
        seed: u64,
        leadership: Leadership,
        settings: CloudWatchSettings,
        sink: Scripted,
        clock: Clock,
        log: Log,
        opened: Opened,
    ) -> Self {
        let mut publisher = Publisher::new();
        publisher.add(Box::new(CloudWatchSink::new(settings, sink, clock.clone(), leadership, opened).seeded(seed)));
        let stats = publisher.stats_receivers().remove(0);
        Self { clock, log, publisher, stats, published: Vec::new() }
    }

    /// Publishes a round per interval for this duration.
    pub(crate) async fn run(&mut self, duration: Duration, interval: Duration) {
        let rounds = duration.as_millis() / interval.as_millis();
        for _ in 0..rounds {
            self.publish();
            self.clock.sleep(interval).await;
        }
    }

    pub(crate) fn publish(&mut self) {
        let at = self.clock.now();
        self.published.push(at);
        self.publisher.publish(snapshot(self.published.len() as u64, at));
    }

    pub(crate) fn stats(&self) -> SinkStats {
        self.stats.borrow().clone()
    }

    /// Every point that was measured.
    pub(crate) fn measured(&self) -> Vec<(i64, usize)> {
        self.published.iter().flat_map(|at| (0..METRICS).map(|metric| (at.0, metric))).collect()
    }

    /// What was measured and did not arrive.
    pub(crate) fn missing(&self) -> Vec<(i64, usize)> {
        let delivered = self.log.delivered();
        self.measured().into_iter().filter(|point| !delivered.contains_key(point)).collect()
    }
}

pub(crate) fn after(duration: Duration) -> UnixMillis {
    UnixMillis(START.0 + i64::try_from(duration.as_millis()).unwrap())
}

pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap()
}

pub(crate) fn down() -> PutError {
    PutError::Network("connection refused".to_owned())
}

pub(crate) fn throttled(retry_after: Option<Duration>) -> PutError {
    PutError::Throttled { retry_after, detail: "Rate exceeded".to_owned() }
}

/// How many metrics count events.
pub(crate) fn counters() -> usize {
    ROWS.iter().filter(|row| row.kind == Kind::Counter).count()
}
