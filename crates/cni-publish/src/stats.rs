//! A sink's figures, for the admin listener and for tests.

use std::collections::BTreeMap;
use std::time::Duration;

use cni_metrics_core::model::UnixMillis;
use tokio::sync::watch;

/// Upper bounds of the request-latency histogram, seconds.
pub const LATENCY_BOUNDS_SECONDS: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Why a point was given up. The label is the metric label, the log field and the key in documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// Not a finite number of at most 2^360.
    BadValue,
    /// More than two weeks old when its turn came.
    TooOld,
    /// More than two hours ahead of the clock.
    InFuture,
    /// The oldest, when the buffer's memory was used up.
    BufferFull,
    /// The service refused this very datum.
    Rejected,
    /// Unsent when the program had to stop, with no spool to keep it.
    Shutdown,
    /// Measured while the lease had lapsed, before another replica was seen to lead.
    NotLeading,
    /// Counts events, and was in a request that was sent and got no answer: CloudWatch may have taken it.
    InDoubt,
    /// Measured here too, and published by another replica.
    PublishedByAnother,
    /// In an earlier run's spool that must not or cannot be used.
    SpoolUnusable,
}

impl DropReason {
    /// All reasons, in the order in which they are shown.
    pub const ALL: [Self; 10] = [
        Self::BadValue,
        Self::TooOld,
        Self::InFuture,
        Self::BufferFull,
        Self::Rejected,
        Self::Shutdown,
        Self::NotLeading,
        Self::InDoubt,
        Self::PublishedByAnother,
        Self::SpoolUnusable,
    ];

    /// The stable name.
    pub fn label(self) -> &'static str {
        match self {
            Self::BadValue => "bad_value",
            Self::TooOld => "too_old",
            Self::InFuture => "in_future",
            Self::BufferFull => "buffer_full",
            Self::Rejected => "rejected",
            Self::Shutdown => "shutdown",
            Self::NotLeading => "not_leading",
            Self::InDoubt => "in_doubt",
            Self::PublishedByAnother => "published_by_another",
            Self::SpoolUnusable => "spool_unusable",
        }
    }
}

/// How a request ended, for the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequestOutcome {
    /// Accepted.
    Ok,
    /// Asked to slow down.
    Throttled,
    /// The service failed (5xx).
    Unavailable,
    /// Not sent: connection, name, TLS.
    Network,
    /// Sent, and no answer came: time, a broken connection.
    NoAnswer,
    /// No usable credentials.
    Credentials,
    /// Not allowed by IAM.
    AccessDenied,
    /// The request was refused as wrong.
    Rejected,
}

impl RequestOutcome {
    /// All outcomes, in the order in which they are shown.
    pub const ALL: [Self; 8] = [
        Self::Ok,
        Self::Throttled,
        Self::Unavailable,
        Self::Network,
        Self::NoAnswer,
        Self::Credentials,
        Self::AccessDenied,
        Self::Rejected,
    ];

    /// The stable name.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Network => "network",
            Self::NoAnswer => "no_answer",
            Self::Credentials => "credentials",
            Self::AccessDenied => "access_denied",
            Self::Rejected => "rejected",
        }
    }
}

/// A cumulative latency histogram over [`LATENCY_BOUNDS_SECONDS`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LatencyHistogram {
    /// Requests of at most the bound of the same index.
    pub at_most: [u64; LATENCY_BOUNDS_SECONDS.len()],
    /// All requests.
    pub count: u64,
    /// Their time together, seconds.
    pub sum_seconds: f64,
}

impl LatencyHistogram {
    fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        for (count, bound) in self.at_most.iter_mut().zip(LATENCY_BOUNDS_SECONDS) {
            *count += u64::from(seconds <= bound);
        }
        self.count += 1;
        self.sum_seconds += seconds;
    }
}

/// One sink's figures: totals since its start, and how full it is now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SinkStats {
    /// The label `sink`, for example `cloudwatch`.
    pub name: &'static str,
    /// Rounds read from the queue.
    pub rounds: u64,
    /// Rounds lost because the sink's task did not read them in time, or has ended.
    pub lost_rounds: u64,
    /// Rounds waiting in the queue now.
    pub queued_rounds: usize,
    /// Points the destination accepted (log: lines written).
    pub sent_points: u64,
    /// Points given up, by reason.
    pub dropped_points: BTreeMap<DropReason, u64>,
    /// Points measured and not yet accepted.
    pub buffered_points: u64,
    /// What these occupy, bytes.
    pub buffered_bytes: u64,
    /// The time of the oldest of them.
    pub oldest_point: Option<UnixMillis>,
    /// Requests by how they ended.
    pub requests: BTreeMap<RequestOutcome, u64>,
    /// How long requests took.
    pub latency: LatencyHistogram,
    /// When the destination last accepted something.
    pub last_success: Option<UnixMillis>,
    /// Why the sink does not deliver now, as text for an operator; `None` while it does.
    pub trouble: Option<String>,
    /// The same for each part of the sink that is in trouble; [`SinkStats::trouble`] is the first of them.
    troubles: BTreeMap<TroubleKind, String>,
}

/// The part of a sink that is in trouble; the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TroubleKind {
    /// Its task has ended.
    Task,
    /// Its task does not read its queue.
    Queue,
    /// It may not publish, for lack of a name.
    Identity,
    /// Its destination does not take what it sends.
    Destination,
    /// What it keeps on disk cannot be written or used.
    Spool,
}

impl SinkStats {
    /// Points given up for any reason, less those that another replica has published.
    pub fn dropped(&self) -> u64 {
        let lost = self.dropped_points.iter().filter(|(reason, _)| **reason != DropReason::PublishedByAnother);
        lost.fold(0, |sum, (_, points)| sum.saturating_add(*points))
    }

    /// Sets or clears the trouble of one part; true if this part begins or ceases to be in trouble.
    pub(crate) fn set_trouble(&mut self, kind: TroubleKind, text: Option<String>) -> bool {
        let is_trouble = text.is_some();
        let before = match text {
            Some(text) => self.troubles.insert(kind, text),
            None => self.troubles.remove(&kind),
        };
        self.trouble = self.troubles.values().next().cloned();
        before.is_some() != is_trouble
    }

    /// Counts points given up.
    pub(crate) fn drop_points(&mut self, reason: DropReason, points: u64) {
        if points > 0 {
            let dropped = self.dropped_points.entry(reason).or_default();
            *dropped = dropped.saturating_add(points);
        }
    }

    /// Counts a request.
    pub(crate) fn request(&mut self, outcome: RequestOutcome, took: Duration) {
        *self.requests.entry(outcome).or_default() += 1;
        self.latency.observe(took);
    }
}

/// The writing end: the sink counts what it delivers, its queue what it had to drop.
#[derive(Debug, Clone)]
pub struct Stats {
    name: &'static str,
    cell: watch::Sender<SinkStats>,
}

impl Stats {
    /// The figures of a new sink of this name, which is the label `sink`.
    pub fn new(name: &'static str) -> Self {
        Self { name, cell: watch::Sender::new(SinkStats { name, ..SinkStats::default() }) }
    }

    /// The sink's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The figures now.
    pub fn now(&self) -> SinkStats {
        self.cell.borrow().clone()
    }

    /// A reader that learns of changes.
    pub fn watch(&self) -> watch::Receiver<SinkStats> {
        self.cell.subscribe()
    }

    /// The destination took data points; `at` is the time of the delivery, or that of the round. The sink's destination is
    /// no longer in trouble. True if it was.
    pub fn delivered(&self, points: u64, at: UnixMillis) -> bool {
        let mut recovered = false;
        self.change(|stats| {
            stats.sent_points = stats.sent_points.saturating_add(points);
            stats.last_success = Some(at);
            recovered = stats.set_trouble(TroubleKind::Destination, None);
        });
        recovered
    }

    /// Data points were given up.
    pub fn dropped(&self, reason: DropReason, points: u64) {
        self.change(|stats| stats.drop_points(reason, points));
    }

    /// The destination does not take what the sink sends: why, as an operator reads it. The sink is in trouble until
    /// [`Stats::delivered`].
    pub fn failing(&self, why: String) {
        self.change(|stats| {
            stats.set_trouble(TroubleKind::Destination, Some(why));
        });
    }

    pub(crate) fn round_accepted(&self) {
        self.change(|stats| stats.rounds = stats.rounds.saturating_add(1));
    }

    pub(crate) fn lost_rounds(&self) -> u64 {
        self.cell.borrow().lost_rounds
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut SinkStats)) {
        self.cell.send_modify(change);
    }
}
