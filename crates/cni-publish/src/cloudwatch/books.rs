//! What the sink says about its points: figures for each, and log lines for what changes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cni_metrics_core::model::{Snapshot, UnixMillis};
use cni_types::catalogue::{Metric, Row};
use tokio::time::Instant;

use super::client::PutError;
use super::settings::CloudWatchSettings;
use super::{advice, limits};
use crate::delivery::buffer::Point;
use crate::delivery::requests::Delivery;
use crate::stats::{DropReason, RequestOutcome, Stats, TroubleKind};
use cni_runtime::gate::Span;

/// A cause of trouble that comes and goes within one outage is logged again after this time.
const SAME_CAUSE_AGAIN: Duration = Duration::from_mins(10);

/// The sink's figures, and what was logged so far.
#[derive(Debug)]
pub(super) struct Books {
    stats: Stats,
    namespace: String,
    policy_shown: bool,
    /// Data that were dropped: logged once per reason and metric.
    dropped: BTreeSet<(DropReason, Metric)>,
    /// The cause of the trouble, and when each cause of this outage was logged.
    cause: Option<RequestOutcome>,
    causes: BTreeMap<RequestOutcome, Instant>,
}

impl Books {
    pub(super) fn new(stats: Stats, namespace: String) -> Self {
        Self { stats, namespace, policy_shown: false, dropped: BTreeSet::new(), cause: None, causes: BTreeMap::new() }
    }

    pub(super) fn count_dropped(&self, reason: DropReason, points: u64) {
        self.stats.dropped(reason, points);
    }

    /// Counts data points as dropped, and logs them once per reason and metric.
    pub(super) fn give_up(&mut self, reason: DropReason, points: &[Point], detail: &str) {
        self.count_dropped(reason, points.len() as u64);
        for point in points {
            if self.dropped.insert((reason, point.row.metric)) {
                let (metric, value, at) = (point.row.name, point.value, point.at.0);
                let reason = reason.label();
                tracing::warn!(
                    reason,
                    metric,
                    value,
                    at_unix_ms = at,
                    detail,
                    "data point dropped (logged once per cause)"
                );
            }
        }
    }

    /// The round's values that CloudWatch accepts; the others are dropped.
    pub(super) fn good_values(&mut self, settings: &CloudWatchSettings, round: &Snapshot) -> Vec<(&'static Row, f64)> {
        let mut good = Vec::new();
        for (row, value) in settings.selection.values(round) {
            match limits::check_value(value) {
                Ok(()) => good.push((row, value)),
                Err(reason) => {
                    let bad = Point { round: 0, at: round.at, row, value };
                    self.give_up(reason, &[bad], "CloudWatch takes finite numbers up to 2^360");
                }
            }
        }
        good
    }

    /// The buffer was full: the oldest data points were dropped for new ones.
    pub(super) fn overflow(&mut self, dropped: usize, limit_bytes: u64) {
        if dropped > 0 {
            self.count_dropped(DropReason::BufferFull, dropped as u64);
            tracing::warn!(points = dropped, limit_bytes, "buffer full: the oldest data points are dropped");
        }
    }

    /// Rounds of a lapse of the lease after which another replica led.
    pub(super) fn not_ours(&self, points: usize, span: Span) {
        if points > 0 {
            self.count_dropped(DropReason::NotLeading, points as u64);
            tracing::warn!(
                points,
                from_unix_ms = span.from.0,
                to_unix_ms = span.to.0,
                "rounds are not published: the lease had lapsed when they were measured, and another replica has led since"
            );
        }
    }

    /// A request was sent and got no answer.
    pub(super) fn in_doubt(&mut self, given_up: &[Point], detail: &str) {
        if given_up.is_empty() {
            return;
        }
        self.count_dropped(DropReason::InDoubt, given_up.len() as u64);
        let times = given_up.iter().map(|point| point.at.0);
        tracing::warn!(
            points = given_up.len(),
            first_at_unix_ms = times.clone().min(),
            last_at_unix_ms = times.max(),
            detail,
            "a request was sent and got no answer: its counters may or may not have arrived; they are not sent again, and \
             counted as dropped (in_doubt)"
        );
    }

    /// CloudWatch took these.
    pub(super) fn accepted(&mut self, sent: usize, now: UnixMillis, still_to_send: u64) {
        let recovered = self.stats.delivered(sent as u64, now);
        self.cause = None;
        self.causes.clear();
        if recovered {
            tracing::info!(still_to_send, "CloudWatch accepts points again");
        }
    }

    /// Data points cannot be sent. Logged when the cause changes, and not with each attempt.
    pub(super) fn trouble(&mut self, error: &PutError, waiting_points: u64) {
        self.stats.failing(error.to_string());
        let (cause, now) = (error.outcome(), Instant::now());
        let is_change = self.cause.replace(cause) != Some(cause);
        let was_told = self.causes.get(&cause).is_some_and(|told| now.duration_since(*told) < SAME_CAUSE_AGAIN);
        if is_change && !was_told {
            self.causes.insert(cause, now);
            if matches!(error, PutError::AccessDenied(_)) && !std::mem::replace(&mut self.policy_shown, true) {
                let policy = advice::minimal_policy(&self.namespace);
                tracing::error!(
                    waiting_points,
                    "{error}; data points are buffered and sent later\nthe helper's role needs cloudwatch:PutMetricData, \
                     for example by this policy:\n{policy}"
                );
            } else {
                let message = "delivery to CloudWatch failed; data points are buffered and sent later";
                tracing::warn!(%error, waiting_points, "{message}");
            }
        }
    }

    /// A request has ended.
    pub(super) fn request(&self, outcome: RequestOutcome, took: Duration) {
        self.stats.change(|stats| stats.request(outcome, took));
    }

    /// What the cluster's name is still awaited from, if that keeps points from being sent.
    pub(super) fn identity(&self, trouble: Option<String>) {
        self.stats.change(|stats| {
            stats.set_trouble(TroubleKind::Identity, trouble);
        });
    }

    /// The spool's state.
    pub(super) fn spool(&self, trouble: Option<String>) {
        self.stats.change(|stats| {
            stats.set_trouble(TroubleKind::Spool, trouble);
        });
    }

    pub(super) fn report(&self, delivery: &Delivery) {
        self.waiting(delivery.points(), delivery.bytes(), delivery.oldest());
    }

    /// What is not accepted yet.
    pub(super) fn waiting(&self, points: u64, bytes: u64, oldest: Option<UnixMillis>) {
        self.stats.change(|stats| {
            stats.buffered_points = points;
            stats.buffered_bytes = bytes;
            stats.oldest_point = oldest;
        });
    }
}
