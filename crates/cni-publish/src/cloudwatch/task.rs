//! The task itself: rounds in, requests out.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cni_metrics_core::model::UnixMillis;
use tokio::sync::watch;
use tokio::time::Instant;

use super::awaiting::Held;
use super::books::Books;
use super::client::{MetricSink, PutError};
use super::deadline::leave_time;
use super::limits;
use super::settings::CloudWatchSettings;
use crate::delivery::buffer::{Kept, Point, metrics_by_round};
use crate::delivery::requests::{Delivery, Refusal};
use crate::delivery::retry::RequestPacing;
use crate::delivery::spool::{self, Health, Opened, Spool};
use crate::stats::{DropReason, RequestOutcome};
use crate::{Intake, Published};
use cni_runtime::clock::{Clock, after};
use cni_runtime::gate::Span;

/// No pause between attempts is longer, and none longer than a flush.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// No pause is longer once the program is ending.
const LAST_PAUSE: Duration = Duration::from_secs(2);
/// The longest wait for the spool's last write.
const LAST_WRITE: Duration = Duration::from_secs(2);
/// A spool's journal this long is made short by writing the whole file anew.
const LONG_JOURNAL_BYTES: usize = 4 << 20;
/// When to look again although nothing is due: effectively never.
const IDLE: Duration = Duration::from_hours(24);

struct Answer {
    /// `None` if it was not sent, because this replica does not lead any more.
    result: Option<Result<(), PutError>>,
    /// The newest round in it.
    newest: UnixMillis,
    took: Duration,
}

struct UnderWay {
    answer: Pin<Box<dyn Future<Output = Answer> + Send>>,
    newest: UnixMillis,
    /// It was handed to the client.
    is_sent: Arc<AtomicBool>,
}

/// The newest baselines, and the round after which they were taken.
struct Baselines {
    bytes: Arc<[u8]>,
    at: UnixMillis,
    round: u64,
}

/// The sink's whole state.
pub(super) struct Task<S> {
    settings: CloudWatchSettings,
    sink: Arc<S>,
    clock: Clock,
    intake: Intake,
    books: Books,
    delivery: Delivery,
    pacing: RequestPacing,
    counters: Option<Baselines>,
    /// No request before this moment.
    failed_until: Instant,
    /// No request that is only backlog before this moment.
    late_until: Instant,
    next_flush: Instant,
    under_way: Option<UnderWay>,
    /// Lapses of the lease up to this tenure were dealt with.
    not_ours_seen: u64,
    spool: Option<Spool>,
    health: Option<watch::Receiver<Health>>,
    /// How many of the spool's points that were set aside are counted.
    set_aside: u64,
    journal_bytes: usize,
    /// The newest image claims rounds of a lapse of the lease.
    claims_lapse: bool,
    /// The newest round that was sent.
    newest_sent: Option<u64>,
    /// The first round was taken in.
    begun: bool,
    /// A published-until of another replica that lies ahead of our clock, and was taken into account once.
    ahead: Option<UnixMillis>,
}

impl<S: MetricSink> Task<S> {
    pub(super) fn new(settings: CloudWatchSettings, sink: S, clock: Clock, intake: Intake, opened: Opened) -> Self {
        let now = Instant::now();
        let limits = limits::requests_of(&settings.cluster_id);
        let mut task = Self {
            delivery: Delivery::new(settings.buffer_bytes, limits),
            pacing: RequestPacing::new(LONGEST_PAUSE.min(settings.flush_every), fastrand::Rng::new()),
            books: Books::new(intake.stats.clone(), settings.namespace.clone()),
            sink: Arc::new(sink),
            intake,
            counters: None,
            failed_until: now,
            late_until: now,
            next_flush: after(now, clock.real(settings.flush_every)),
            under_way: None,
            not_ours_seen: 0,
            spool: None,
            health: None,
            set_aside: 0,
            journal_bytes: 0,
            claims_lapse: false,
            newest_sent: None,
            begun: false,
            ahead: None,
            clock,
            settings,
        };
        task.restore(opened);
        task
    }

    /// With rounds that were taken in before the cluster's name was known: they are due at once.
    pub(super) fn holding(mut self, held: Held) -> Self {
        for kept in held.rounds {
            let dropped = self.delivery.push(kept);
            self.books.overflow(dropped, self.settings.buffer_bytes);
            self.begun = true;
        }
        self.delivery.flush();
        if let Some((bytes, at)) = held.counters {
            let round = self.delivery.newest_round().unwrap_or(0);
            self.counters = Some(Baselines { bytes, at, round });
        }
        self.books.report(&self.delivery);
        self.save();
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
            let stop_by = orders.stop_by.map_or_else(|| after(Instant::now(), IDLE), leave_time);
            tokio::select! {
                round = self.intake.rounds.next(), if open => if let Some(round) = round {
                    self.read(&round);
                } else {
                    open = false;
                    self.hurry();
                },
                answer = answered(self.under_way.as_mut()) => {
                    self.under_way = None;
                    self.settle(answer);
                }
                is_kept = unwell(self.health.as_mut()) => if is_kept {
                    self.show_health();
                } else {
                    // Without claims the next start could send again what is sent from now on.
                    tracing::error!("the task that writes the spool has ended: nothing more is sent to CloudWatch");
                    break;
                },
                () = tokio::time::sleep_until(self.next_flush), if open => {
                    self.delivery.flush();
                    // After a stop of the whole process the missed flushes are not made up for.
                    let period = self.clock.real(self.settings.flush_every);
                    self.next_flush = after(self.next_flush, period).max(Instant::now());
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
        self.pacing.hurry(LAST_PAUSE);
        let soon = after(Instant::now(), self.clock.real(LAST_PAUSE));
        self.failed_until = self.failed_until.min(soon);
        self.late_until = self.late_until.min(soon);
    }

    /// Points of an earlier process go first of all, as backlog.
    fn restore(&mut self, opened: Opened) {
        let Opened { spool, rounds, in_doubt, unusable, counters, .. } = opened;
        self.health = spool.as_ref().map(Spool::health);
        self.spool = spool;
        self.books.count_dropped(DropReason::InDoubt, in_doubt);
        self.books.count_dropped(DropReason::SpoolUnusable, unusable);
        for kept in rounds {
            let dropped = self.delivery.push(kept);
            self.books.overflow(dropped, self.settings.buffer_bytes);
        }
        if let Some((bytes, at)) = counters {
            // A number of their own, before that of every round of this process.
            self.delivery.push(Kept::new(at, []));
            let round = self.delivery.newest_round().unwrap_or(0);
            self.counters = Some(Baselines { bytes, at, round });
        }
        self.delivery.flush_as_backlog();
        self.books.report(&self.delivery);
        self.show_health();
        self.save();
    }

    fn read(&mut self, round: &Published) {
        let mut good = self.books.good_values(&self.settings, &round.snapshot);
        self.forget_not_ours();
        if self.intake.leadership.is_not_ours(round.snapshot.round) {
            // It was still in the queue when the lease was seen to be another's.
            self.books.not_ours(good.len(), Span { from: round.snapshot.at, to: round.snapshot.at });
            good.clear();
        }
        let dropped = self.delivery.push(Kept::new(round.snapshot.at, good));
        self.books.overflow(dropped, self.settings.buffer_bytes);
        self.forget_published();
        // What is unsent dies with its leader, so nothing waits to share a request. Nor does the first round: after
        // an installation, or a change of rights, it shows at once that delivery works.
        if self.intake.leadership.is_elected() || !std::mem::replace(&mut self.begun, true) {
            self.delivery.flush();
        }
        let number = self.delivery.newest_round().unwrap_or(0);
        let baselines =
            |bytes: &Arc<[u8]>| Baselines { bytes: Arc::clone(bytes), at: round.snapshot.at, round: number };
        self.counters = round.counters.as_ref().map(baselines);
        // In this order: who sees that the round was read also sees that its points wait.
        self.books.report(&self.delivery);
        self.save();
        self.intake.stats.change(|stats| stats.rounds = stats.rounds.saturating_add(1));
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
            self.books.give_up(reason, &points, "outside the two weeks back and two hours ahead that CloudWatch takes");
            self.journal(spool::settled(&metrics_by_round(&points), false));
        }
        if let Some(points) = points {
            self.under_way = Some(self.request(points));
        }
        self.books.report(&self.delivery);
    }

    /// A request: claimed on disk, then in the lease, then sent.
    fn request(&mut self, points: Vec<Point>) -> UnderWay {
        let newest = points.iter().map(|point| point.at).max().unwrap_or(UnixMillis(i64::MIN));
        let round = points.iter().map(|point| point.round).max();
        self.newest_sent = self.newest_sent.max(round);
        let claim = self.spool.as_ref().map(|spool| (spool.claims(), spool::claim(&metrics_by_round(&points))));
        self.journal_bytes += claim.as_ref().map_or(0, |(_, record)| record.len());
        let sink = Arc::clone(&self.sink);
        let leadership = self.intake.leadership.clone();
        let is_sent = Arc::new(AtomicBool::new(false));
        let mark = Arc::clone(&is_sent);
        let answer = Box::pin(async move {
            if let Some((claims, record)) = claim {
                claims.claim(record).await;
            }
            let may_send = leadership.admits(newest).await;
            let begun = Instant::now();
            let result = if may_send {
                mark.store(true, Ordering::Relaxed);
                Some(sink.put(points).await)
            } else {
                None
            };
            Answer { result, newest, took: begun.elapsed() }
        });
        UnderWay { answer, newest, is_sent }
    }

    /// When a request that may not be started yet may be.
    fn wake_at(&self, leading: bool) -> Instant {
        if self.under_way.is_some() || !leading || !self.delivery.has_due() {
            return after(Instant::now(), IDLE);
        }
        if self.delivery.has_live() { self.failed_until } else { self.late_until.max(self.failed_until) }
    }

    fn settle(&mut self, answer: Answer) {
        let Some(result) = answer.result else {
            self.kept(false);
            return self.books.report(&self.delivery);
        };
        // What may have been taken counts as published: a replica that takes over must not publish it again.
        let may_be_taken = matches!(result, Ok(()) | Err(PutError::NoAnswer(_)));
        self.intake.leadership.settled(answer.newest, may_be_taken);
        let outcome = result.as_ref().map_or_else(PutError::outcome, |()| RequestOutcome::Ok);
        self.intake.stats.change(|stats| stats.request(outcome, answer.took));
        match result {
            Ok(()) => self.accepted(),
            Err(PutError::Rejected(detail)) => self.refused(&detail),
            Err(PutError::NoAnswer(detail)) => self.in_doubt(detail),
            Err(error) => {
                self.kept(error.is_answer());
                self.pause(&error);
            }
        }
        self.books.report(&self.delivery);
        if self.journal_bytes > LONG_JOURNAL_BYTES {
            self.save();
        }
    }

    fn accepted(&mut self) {
        let gone = metrics_by_round(self.delivery.sending());
        let sent = self.delivery.accepted();
        self.journal(spool::settled(&gone, true));
        let pause = self.pacing.succeeded();
        self.late_until = after(Instant::now(), self.clock.real(pause));
        self.books.accepted(sent, self.clock.now(), self.delivery.points());
    }

    /// The request was not taken, and goes back to where it came from.
    fn kept(&mut self, answered: bool) {
        let dropped = self.delivery.failed(answered);
        self.books.overflow(dropped, self.settings.buffer_bytes);
        self.journal(spool::settled(&[], false));
    }

    fn in_doubt(&mut self, detail: String) {
        let (given_up, dropped) = self.delivery.in_doubt();
        self.journal(spool::settled(&metrics_by_round(&given_up), true));
        self.books.overflow(dropped, self.settings.buffer_bytes);
        self.books.in_doubt(&given_up, &detail);
        self.pause(&PutError::NoAnswer(detail));
    }

    fn refused(&mut self, detail: &str) {
        let (refusal, dropped) = self.delivery.refused();
        self.books.overflow(dropped, self.settings.buffer_bytes);
        let bad: &[Point] = if let Refusal::Bad(point) = &refusal { std::slice::from_ref(point) } else { &[] };
        self.journal(spool::settled(&metrics_by_round(bad), false));
        match refusal {
            Refusal::Isolating => {}
            Refusal::Bad(point) => self.books.give_up(DropReason::Rejected, &[point], detail),
            Refusal::Everything => self.pause(&PutError::Rejected(detail.to_owned())),
        }
    }

    /// Backs off.
    fn pause(&mut self, error: &PutError) {
        // Rights and credentials are mended by people: no use in asking often.
        let pause = match error {
            PutError::AccessDenied(_) => self.pacing.failed(Some(LONGEST_PAUSE.min(self.settings.flush_every))),
            _ => self.pacing.failed(error.retry_after()),
        };
        self.failed_until = after(Instant::now(), self.clock.real(pause));
        self.books.trouble(error, self.delivery.points());
    }

    /// Rounds of a lapse of the lease after which another replica led.
    fn forget_not_ours(&mut self) {
        let mut forgotten = 0;
        for span in self.intake.leadership.rounds_not_ours(&mut self.not_ours_seen) {
            let points = self.delivery.forget_between(span);
            self.books.not_ours(points, span);
            forgotten += points;
        }
        if forgotten > 0 {
            // The next claim replaces that of these rounds in the file.
            self.save();
        }
    }

    /// Another replica that led has published these rounds; they were measured here too.
    fn forget_published(&mut self) {
        let Some(until) = self.intake.leadership.published_by_others() else { return };
        // A time that lies ahead of our clock was written by a clock that is ahead of it. It says nothing of the rounds
        // that are still to come, so it is applied once, to what was measured before it was seen.
        let soon = self.clock.now().0.saturating_add(millis(self.settings.flush_every));
        if until.0 > soon && self.ahead.replace(until) == Some(until) {
            return;
        }
        let forgotten = self.delivery.forget_until(until);
        self.books.count_dropped(DropReason::PublishedByAnother, forgotten as u64);
        if until.0 > soon {
            tracing::warn!(
                published_until_unix_ms = until.0,
                points = forgotten,
                "another replica says that it has published rounds that lie ahead of this one's clock: one of the two \
                 clocks is wrong. What was measured here so far is left out; later rounds are published"
            );
        }
    }

    fn journal(&mut self, record: Vec<u8>) {
        if self.claims_lapse {
            // A record that settles a request settles every claim; an image keeps those of a lapse.
            return self.save();
        }
        if let Some(spool) = &self.spool {
            self.journal_bytes += record.len();
            spool.settle(record);
        }
    }

    /// Hands the whole state to the spool.
    fn save(&mut self) {
        let Some(spool) = &self.spool else { return };
        let origin = self.settings.spool().origin;
        let unsent = self.delivery.unsent();
        let mut claim = metrics_by_round(self.delivery.sending());
        // A later process cannot know whether another replica led in the lapse: then these events were published by it.
        let lapses = self.intake.leadership.lapses();
        let in_lapse = |kept: &Kept| lapses.iter().any(|lapse| (lapse.from..=lapse.to).contains(&kept.at));
        let requested = claim.len();
        claim.extend(unsent.rounds().filter(|(_, kept)| in_lapse(kept)).map(|(round, kept)| (round, kept.metrics)));
        self.claims_lapse = claim.len() > requested;
        let counters = self.counters.as_ref();
        let image = spool::Image {
            origin: &origin,
            saved_at: self.clock.now(),
            newest_sent: self.newest_sent,
            rounds: unsent.rounds(),
            claim: &claim,
            counters: counters.map(|from| spool::Counters { at: from.at, round: from.round, bytes: &from.bytes }),
        };
        spool.save(spool::encode(&image));
        self.journal_bytes = 0;
    }

    fn show_health(&mut self) {
        let Some(health) = &mut self.health else { return };
        let health = health.borrow_and_update().clone();
        let more = health.set_aside.saturating_sub(std::mem::replace(&mut self.set_aside, health.set_aside));
        self.books.count_dropped(DropReason::SpoolUnusable, more);
        self.books.spool(health.trouble);
    }

    async fn finish(&mut self) {
        let sent_unanswered = self.end_request();
        let is_kept = self.keep_for_next_start().await;
        self.show_health();
        if sent_unanswered && !is_kept {
            let (given_up, _) = self.delivery.in_doubt();
            self.books.in_doubt(&given_up, "the program ends before the answer");
        }
        let unsent = self.delivery.points();
        // What a replica holds that stands by is not its own to lose: the leader publishes it.
        let stood_by = self.intake.leadership.published_by_others().is_some() && !self.intake.leadership.is_leading();
        if unsent == 0 || stood_by {
            return;
        }
        if is_kept {
            tracing::info!(points = unsent, "unsent points are in the spool for the next start");
            return;
        }
        self.books.count_dropped(DropReason::Shutdown, unsent);
        tracing::warn!(points = unsent, "unsent points are lost with this process");
    }

    /// Drops the request that is under way; true if it was sent, so that it is in doubt. Then its claim stays where it
    /// is: the next start counts it.
    fn end_request(&mut self) -> bool {
        let Some(UnderWay { newest, is_sent, .. }) = self.under_way.take() else { return false };
        let is_sent = is_sent.load(Ordering::Relaxed);
        self.intake.leadership.settled(newest, is_sent);
        if !is_sent {
            self.kept(false);
        }
        is_sent
    }

    /// The last write; true if all that is unsent is on disk.
    async fn keep_for_next_start(&mut self) -> bool {
        self.save();
        let Some(spool) = &self.spool else { return false };
        let stop_by = self.intake.orders.borrow().stop_by;
        let left = stop_by.map_or(LAST_WRITE, |by| by.saturating_duration_since(Instant::now()).min(LAST_WRITE));
        tokio::time::timeout(left, spool.flush(left)).await.unwrap_or(false)
    }
}

async fn answered(under_way: Option<&mut UnderWay>) -> Answer {
    match under_way {
        Some(request) => request.answer.as_mut().await,
        None => std::future::pending().await,
    }
}

/// Waits until the spool's state changes; false if its task has ended.
async fn unwell(health: Option<&mut watch::Receiver<Health>>) -> bool {
    match health {
        Some(health) => health.changed().await.is_ok(),
        None => std::future::pending().await,
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use cni_types::catalogue::Metric;

    use super::*;
    use crate::{Publisher, Selection, tests};
    use cni_runtime::gate::Leadership;

    /// Takes requests and never answers them.
    struct Silent(watch::Sender<usize>);

    impl MetricSink for Silent {
        async fn put(&self, _points: Vec<Point>) -> Result<(), PutError> {
            self.0.send_modify(|requests| *requests += 1);
            std::future::pending().await
        }
    }

    fn settings() -> CloudWatchSettings {
        CloudWatchSettings {
            namespace: "Kubernetes".to_owned(),
            cluster_id: "prod".parse().unwrap(),
            shard: None,
            selection: Selection::all(),
            resolution_seconds: 60,
            flush_every: Duration::from_mins(1),
            buffer_bytes: 1 << 20,
            spool_dir: None,
        }
    }

    fn spawned(publisher: &mut Publisher, opened: Opened) -> watch::Receiver<usize> {
        let (sender, requests) = watch::channel(0);
        let clock = Clock::scaled(UnixMillis(0), 1.0);
        publisher.spawn("cloudwatch", |intake| Task::new(settings(), Silent(sender), clock, intake, opened).run());
        requests
    }

    fn round_with_a_counter() -> Published {
        let mut snapshot = Arc::unwrap_or_clone(tests::round(1));
        snapshot.metrics.set(Metric::AddReqCount, Some(3.0));
        Published::from(Arc::new(snapshot))
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_in_doubt_is_counted_also_by_a_replica_that_no_longer_leads() {
        let (appointment, leadership) = Leadership::manual(true);
        appointment.appoint(Some(Instant::now() + Duration::from_hours(1)));
        let mut publisher = Publisher::led_by(leadership);
        let mut requests = spawned(&mut publisher, Opened::none());
        publisher.publish(round_with_a_counter());
        requests.wait_for(|requests| *requests == 1).await.unwrap();
        appointment.others_published(UnixMillis(-1));
        appointment.appoint(None);
        let stats = publisher.stats_receivers().remove(0);
        publisher.drain(Duration::from_secs(5)).await;
        assert_eq!(stats.borrow().dropped_points.get(&DropReason::InDoubt), Some(&1));
    }

    #[tokio::test]
    async fn counters_of_a_lapse_are_not_sent_by_a_later_process() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::scaled(UnixMillis(0), 1.0);
        let settings = CloudWatchSettings { spool_dir: Some(folder.path().to_owned()), ..settings() };
        let (appointment, leadership) = Leadership::manual(false);
        let mut publisher = Publisher::led_by(leadership.clone());
        let opened = spool::open(&settings.spool(), &clock).await;
        spawned(&mut publisher, opened);
        let mut stats = publisher.stats_receivers().remove(0);
        leadership.measured_in_lapse(0, 1, UnixMillis(0));
        publisher.publish(round_with_a_counter());
        stats.wait_for(|stats| stats.rounds == 1).await.unwrap();
        // The process does not measure while another leads, so it does not write again by itself.
        appointment.taken_by_another();
        publisher.drain(Duration::from_secs(20)).await;
        let left = spool::look(folder.path()).unwrap().unwrap();
        assert_eq!((left.rounds.len(), left.in_doubt.len()), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn without_its_spools_task_the_sink_ends_before_it_sends() {
        let mut publisher = Publisher::new();
        let mut opened = Opened::none();
        opened.spool = Some(Spool::ended());
        let requests = spawned(&mut publisher, opened);
        publisher.publish(round_with_a_counter());
        let ended = tokio::time::timeout(Duration::from_hours(1), publisher.failed()).await.unwrap();
        assert_eq!((ended.name, *requests.borrow()), ("cloudwatch", 0));
    }
}
