//! The task itself: rounds in, requests out, and the log lines in between.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cni_metrics_core::catalogue::Metric;
use cni_metrics_core::model::UnixMillis;
use tokio::time::Instant;

use super::awaiting::Held;
use super::buffer::{Kept, Point};
use super::delivery::{Delivery, Refusal};
use super::pace::Pace;
use super::spool::{self, Origin, Restored};
use super::{CloudWatchSettings, MetricSink, PutError, advice, limits};
use crate::clock::Clock;
use crate::lead::Span;
use crate::publish::stats::{DropReason, RequestOutcome, TroubleKind};
use crate::publish::{Intake, Published};

/// No pause between attempts is longer, and none longer than a flush.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// No pause is longer once the program is ending.
const LAST_PAUSE: Duration = Duration::from_secs(2);
/// A spool up to this size is rewritten after every accepted request.
const SMALL_SPOOL_BYTES: u64 = 4 << 20;
/// A larger one at most this often; after a crash, what was accepted since then is sent twice.
const LARGE_SPOOL_EVERY: Duration = Duration::from_secs(5);
/// When to look again although nothing is due: effectively never.
const IDLE: Duration = Duration::from_hours(24);

struct Answer {
    /// `None` if it was not sent, because this replica does not lead any more.
    result: Option<Result<(), PutError>>,
    /// The newest round in it.
    newest: UnixMillis,
    took: Duration,
}

type UnderWay = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// The sink's whole state.
pub(super) struct Task<S> {
    settings: CloudWatchSettings,
    sink: Arc<S>,
    clock: Clock,
    intake: Intake,
    delivery: Delivery,
    pace: Pace,
    /// The baselines that belong to the newest round read.
    counters: Option<Arc<[u8]>>,
    /// No request before this moment.
    failed_until: Instant,
    /// No request that is only backlog before this moment.
    late_until: Instant,
    next_flush: Instant,
    under_way: Option<UnderWay>,
    spooled_at: Option<Instant>,
    spool_works: bool,
    policy_shown: bool,
    /// Lapses of the lease up to this tenure were dealt with.
    not_ours_seen: u64,
    /// The first round was taken in.
    begun: bool,
    /// Causes that were logged: once each.
    logged: BTreeSet<(DropReason, Metric)>,
}

impl<S: MetricSink> Task<S> {
    pub(super) fn new(
        settings: CloudWatchSettings,
        sink: S,
        clock: Clock,
        intake: Intake,
        restored: Option<Restored>,
    ) -> Self {
        let now = Instant::now();
        let most_data = limits::data_per_request(&settings.cluster_id);
        let mut task = Self {
            delivery: Delivery::new(settings.buffer_bytes, most_data),
            pace: Pace::new(LONGEST_PAUSE.min(settings.flush_every), fastrand::Rng::new()),
            sink: Arc::new(sink),
            intake,
            counters: None,
            failed_until: now,
            late_until: now,
            next_flush: now + clock.real(settings.flush_every),
            under_way: None,
            spooled_at: None,
            spool_works: true,
            policy_shown: false,
            not_ours_seen: 0,
            begun: false,
            logged: BTreeSet::new(),
            clock,
            settings,
        };
        task.restore(restored.unwrap_or_default());
        task
    }

    /// With rounds that were taken in before the cluster's name was known: they are due at once.
    pub(super) fn holding(mut self, held: Held) -> Self {
        for kept in held.rounds {
            let dropped = self.delivery.push(kept);
            self.overflow(dropped);
            self.begun = true;
        }
        self.delivery.flush();
        if held.counters.is_some() {
            self.counters = held.counters;
        }
        self.report();
        self
    }

    pub(super) async fn run(mut self) {
        let mut open = true;
        loop {
            self.start_request();
            let orders = *self.intake.orders.borrow();
            let leading = self.intake.leadership.is_leading();
            if !open && (self.delivery.is_empty() || (!leading && self.under_way.is_none())) {
                break;
            }
            let wake = self.wake_at(leading);
            let stop_by = orders.stop_by.map_or_else(|| Instant::now() + IDLE, leave_time);
            tokio::select! {
                round = self.intake.rounds.next(), if open => if let Some(round) = round {
                    self.read(&round).await;
                } else {
                    open = false;
                    self.hurry();
                },
                answer = answered(self.under_way.as_mut()) => {
                    self.under_way = None;
                    self.settle(answer).await;
                }
                () = tokio::time::sleep_until(self.next_flush), if open => {
                    self.delivery.flush();
                    // After a stop of the whole process the missed flushes are not made up for.
                    let period = self.clock.real(self.settings.flush_every);
                    self.next_flush = (self.next_flush + period).max(Instant::now());
                }
                () = tokio::time::sleep_until(wake) => {}
                () = self.intake.leadership.gained(), if !leading => {}
                () = tokio::time::sleep_until(stop_by), if orders.stop_by.is_some() => break,
                changed = self.intake.orders.changed() => if changed.is_err() {
                    // The publisher was dropped without draining: what is not spooled is lost, as documented.
                    break;
                }
            }
        }
        self.finish().await;
    }

    /// The program ends: everything is due, and there is no time for long pauses.
    fn hurry(&mut self) {
        self.delivery.flush();
        self.pace.hurry(LAST_PAUSE);
        let soon = Instant::now() + self.clock.real(LAST_PAUSE);
        self.failed_until = self.failed_until.min(soon);
        self.late_until = self.late_until.min(soon);
    }

    /// Points of an earlier process go first of all, as backlog.
    fn restore(&mut self, restored: Restored) {
        // Others' baselines would be written back under our name, and taken for ours at the next start.
        self.counters = restored.counters.as_deref().filter(|_| restored.is_of(&self.settings)).map(Arc::from);
        if !restored.goes_to(&self.settings) && !restored.rounds.is_empty() {
            if let Some(dir) = &self.settings.spool_dir {
                let aside = spool::set_aside(&spool::file(dir), "foreign", self.clock.now());
                tracing::error!(
                    namespace = restored.namespace,
                    cluster_id = restored.cluster_id,
                    shard = restored.shard,
                    set_aside = %aside.display(),
                    "the spool's points belong to another namespace, cluster id or shard; not sent"
                );
            }
            return;
        }
        for kept in restored.rounds {
            let dropped = self.delivery.push(kept);
            self.count_dropped(DropReason::BufferFull, dropped);
        }
        self.delivery.flush_as_backlog();
        self.report();
    }

    async fn read(&mut self, round: &Published) {
        let mut bad = Vec::new();
        let mut good = Vec::new();
        for (row, value) in self.settings.selection.values(&round.snapshot) {
            match limits::check_value(value) {
                Ok(()) => good.push((row, value)),
                Err(reason) => bad.push((reason, Point { round: 0, at: round.snapshot.at, row, value })),
            }
        }
        for (reason, point) in bad {
            self.give_up(reason, &[point], "CloudWatch takes finite numbers up to 2^360");
        }
        self.forget_not_ours();
        if self.intake.leadership.is_not_ours(round.snapshot.round) {
            // It was still in the queue when the lease was seen to be another's.
            self.not_ours(good.len(), Span { from: round.snapshot.at, to: round.snapshot.at });
            good.clear();
        }
        let dropped = self.delivery.push(Kept::new(round.snapshot.at, good));
        self.overflow(dropped);
        self.forget_published();
        // What is unsent dies with its leader, so nothing waits to share a request. Nor does the first round: whoever has
        // just installed the helper, or mended its rights, wants to see it at work.
        if self.intake.leadership.is_elected() || !std::mem::replace(&mut self.begun, true) {
            self.delivery.flush();
        }
        if round.counters.is_some() {
            self.counters.clone_from(&round.counters);
        }
        // In this order: who sees that the round was read also sees that its points wait.
        self.report();
        self.intake.stats.change(|stats| stats.rounds += 1);
        self.spool(true).await;
    }

    /// Starts the next request if one may be started now.
    fn start_request(&mut self) {
        let now = Instant::now();
        let leading = self.intake.leadership.is_leading();
        let allowed = if self.delivery.has_live() { self.failed_until } else { self.late_until.max(self.failed_until) };
        if self.under_way.is_some() || !leading || now < allowed {
            return;
        }
        self.forget_not_ours();
        self.forget_published();
        let (points, dropped) = self.delivery.next(self.clock.now());
        for (reason, points) in dropped.0 {
            self.give_up(reason, &points, "outside the two weeks back and two hours ahead that CloudWatch takes");
        }
        if let Some(points) = points {
            let sink = Arc::clone(&self.sink);
            let leadership = self.intake.leadership.clone();
            let newest = points.iter().map(|point| point.at).max().unwrap_or(UnixMillis(i64::MIN));
            self.under_way = Some(Box::pin(async move {
                let may_send = leadership.admits(newest).await;
                let begun = Instant::now();
                let result = if may_send { Some(sink.put(points).await) } else { None };
                Answer { result, newest, took: begun.elapsed() }
            }));
        }
        self.report();
    }

    /// When a request that may not be started yet may be.
    fn wake_at(&self, leading: bool) -> Instant {
        let now = Instant::now();
        if self.under_way.is_some() || !leading || !self.delivery.has_due() {
            return now + IDLE;
        }
        if self.delivery.has_live() { self.failed_until } else { self.late_until.max(self.failed_until) }
    }

    async fn settle(&mut self, answer: Answer) {
        let Some(result) = answer.result else {
            let dropped = self.delivery.failed();
            self.overflow(dropped);
            return self.report();
        };
        self.intake.leadership.settled(answer.newest, result.is_ok());
        let outcome = result.as_ref().map_or_else(PutError::outcome, |()| RequestOutcome::Ok);
        self.intake.stats.change(|stats| stats.request(outcome, answer.took));
        match result {
            Ok(()) => self.accepted(),
            Err(PutError::Rejected(detail)) => self.refused(&detail),
            Err(error) => {
                let dropped = self.delivery.failed();
                self.overflow(dropped);
                self.pause(&error);
            }
        }
        self.report();
        self.spool(false).await;
    }

    fn accepted(&mut self) {
        let sent = self.delivery.accepted();
        let pause = self.pace.succeeded();
        self.late_until = Instant::now() + self.clock.real(pause);
        let now = self.clock.now();
        let mut recovered = false;
        self.intake.stats.change(|stats| {
            stats.sent_points += sent as u64;
            stats.last_success = Some(now);
            recovered = stats.set_trouble(TroubleKind::Destination, None);
        });
        if recovered {
            tracing::info!(still_to_send = self.delivery.points(), "CloudWatch accepts points again");
        }
    }

    fn refused(&mut self, detail: &str) {
        let (refusal, dropped) = self.delivery.refused();
        self.overflow(dropped);
        match refusal {
            Refusal::Isolating => {}
            Refusal::Bad(point) => self.give_up(DropReason::Rejected, &[point], detail),
            Refusal::Everything => self.pause(&PutError::Rejected(detail.to_owned())),
        }
    }

    /// Backs off, and says so once per cause.
    fn pause(&mut self, error: &PutError) {
        // Rights and credentials are mended by people: no use in asking often.
        let pause = match error {
            PutError::AccessDenied(_) => self.pace.failed(Some(LONGEST_PAUSE.min(self.settings.flush_every))),
            _ => self.pace.failed(error.retry_after()),
        };
        self.failed_until = Instant::now() + self.clock.real(pause);
        let trouble = error.to_string();
        let mut is_news = false;
        self.intake.stats.change(|stats| {
            is_news = stats.set_trouble(TroubleKind::Destination, Some(trouble));
        });
        if is_news {
            tracing::warn!(%error, waiting_points = self.delivery.points(), "points are kept and sent later");
        }
        if matches!(error, PutError::AccessDenied(_)) && !std::mem::replace(&mut self.policy_shown, true) {
            let policy = advice::minimal_policy(&self.settings.namespace);
            tracing::error!(
                "{error}\nthe helper's role needs cloudwatch:PutMetricData, for example by this policy:\n{policy}"
            );
        }
    }

    /// Rounds of a lapse of the lease after which another replica led.
    fn forget_not_ours(&mut self) {
        for span in self.intake.leadership.rounds_not_ours(&mut self.not_ours_seen) {
            let points = self.delivery.forget_between(span);
            self.not_ours(points, span);
        }
    }

    fn not_ours(&self, points: usize, span: Span) {
        if points > 0 {
            self.count_dropped(DropReason::NotLeading, points);
            tracing::warn!(
                points,
                from_unix_ms = span.from.0,
                to_unix_ms = span.to.0,
                "rounds are not published: the lease had lapsed when they were measured, and another replica has led since"
            );
        }
    }

    /// Another replica that led has published these rounds; they were measured here too.
    fn forget_published(&mut self) {
        if let Some(until) = self.intake.leadership.published_by_others() {
            self.delivery.forget_until(until);
        }
    }

    fn overflow(&mut self, dropped: usize) {
        if dropped > 0 {
            self.count_dropped(DropReason::BufferFull, dropped);
            tracing::warn!(points = dropped, limit_bytes = self.settings.buffer_bytes, "buffer full, oldest dropped");
        }
    }

    fn count_dropped(&self, reason: DropReason, points: usize) {
        self.intake.stats.change(|stats| stats.drop_points(reason, points));
    }

    /// Counts data as dropped and names them: in the log once per cause and metric.
    fn give_up(&mut self, reason: DropReason, points: &[Point], detail: &str) {
        self.count_dropped(reason, points.len());
        for point in points {
            if self.logged.insert((reason, point.row.metric)) {
                let (metric, value, at) = (point.row.name, point.value, point.at.0);
                let reason = reason.label();
                tracing::warn!(reason, metric, value, at_unix_ms = at, detail, "datum dropped (logged once per cause)");
            }
        }
    }

    fn report(&self) {
        let (points, bytes, oldest) = (self.delivery.points(), self.delivery.bytes(), self.delivery.oldest());
        self.intake.stats.change(|stats| {
            stats.buffered_points = points;
            stats.buffered_bytes = bytes;
            stats.oldest_point = oldest;
        });
    }

    /// Rewrites the spool. A round is always written; what an answer changed may wait if the spool is large.
    async fn spool(&mut self, is_round: bool) {
        let Some(dir) = self.settings.spool_dir.clone() else { return };
        let recently = self.spooled_at.is_some_and(|at| at.elapsed() < LARGE_SPOOL_EVERY);
        if !is_round && recently && self.delivery.bytes() > SMALL_SPOOL_BYTES {
            return;
        }
        let origin = Origin {
            saved_at: self.clock.now(),
            namespace: self.settings.namespace.clone(),
            cluster_id: self.settings.cluster_id.clone(),
            shard: self.settings.shard,
        };
        let bytes = spool::encode(&origin, self.delivery.unsent().rounds(), self.counters.as_deref());
        let written = tokio::task::spawn_blocking(move || spool::write(&dir, &bytes)).await;
        self.spooled_at = Some(Instant::now());
        let Ok(written) = written else { return };
        match (&written, self.spool_works) {
            (Err(error), true) => tracing::error!(%error, "spool not written: a restart now would lose unsent points"),
            (Ok(()), false) => tracing::info!("spool is written again"),
            _ => {}
        }
        self.spool_works = written.is_ok();
    }

    async fn finish(&mut self) {
        // A request whose answer did not come in time may or may not have been taken: it counts as unsent.
        self.under_way = None;
        self.spooled_at = None;
        self.spool(true).await;
        let unsent = self.delivery.points();
        // What a replica holds that stands by is not its own to lose: the leader publishes it.
        let stood_by = self.intake.leadership.published_by_others().is_some() && !self.intake.leadership.is_leading();
        if unsent == 0 || stood_by {
            return;
        }
        if self.settings.spool_dir.is_some() && self.spool_works {
            tracing::info!(points = unsent, "unsent points are in the spool for the next start");
        } else {
            self.count_dropped(DropReason::Shutdown, usize::try_from(unsent).unwrap_or(usize::MAX));
            tracing::warn!(points = unsent, "unsent points are lost with this process");
        }
    }
}

/// Some of the time that is left is for the spool.
pub(super) fn leave_time(stop_by: Instant) -> Instant {
    let left = stop_by.saturating_duration_since(Instant::now());
    stop_by - (left / 10).min(Duration::from_millis(500))
}

async fn answered(under_way: Option<&mut UnderWay>) -> Answer {
    match under_way {
        Some(request) => request.await,
        None => std::future::pending().await,
    }
}
