//! Sends data points once the cluster's name is known: rounds in, requests out.

use std::sync::Arc;
use std::time::Duration;

use cni_metrics_core::model::UnixMillis;
use tokio::time::Instant;

use super::awaiting::Held;
use super::books::Books;
use super::client::{MetricClient, PutError};
use super::deadline::{last_start, leave_time};
use super::limits;
use super::request::{Answer, UnderWay, answered};
use super::settings::CloudWatchSettings;
use super::spooled::Spooled;
use crate::delivery::buffer::{Kept, Point, metrics_by_round};
use crate::delivery::requests::{Delivery, Refusal};
use crate::delivery::retry::RequestPacing;
use crate::delivery::spool::{self, Opened};
use crate::messages::Published;
use crate::stats::{DropReason, RequestOutcome, Stats};
use cni_runtime::clock::{Clock, after};
use cni_runtime::gate::{Leadership, Span};

/// No pause between attempts is longer, and none longer than a flush.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// No pause is longer once the program is ending.
const LAST_PAUSE: Duration = Duration::from_secs(2);
/// When to wake up although nothing is due: effectively never.
const IDLE: Duration = Duration::from_hours(24);

/// The newest baselines, and the round after which they were taken.
struct Baselines {
    bytes: Arc<[u8]>,
    at: UnixMillis,
    round: u64,
}

/// The state of delivery to CloudWatch.
pub(super) struct Task<S> {
    settings: CloudWatchSettings,
    client: Arc<S>,
    clock: Clock,
    leadership: Leadership,
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
    spooled: Spooled,
    /// The newest image claims rounds of a lapse of the lease.
    claims_lapse: bool,
    /// The newest round that was sent.
    newest_sent: Option<u64>,
    /// The first round was taken in.
    begun: bool,
    /// A published-until of another replica that lies ahead of our clock, and was taken into account once.
    ahead: Option<UnixMillis>,
    /// The spool's task has ended, so that nothing more may be sent.
    is_without_spool: bool,
    /// The program ends: no request begins from then on, since it would not be answered in time.
    last_start: Option<Instant>,
}

impl<S: MetricClient> Task<S> {
    /// `opened` is what a start found in the spool.
    pub(super) fn new(
        settings: CloudWatchSettings,
        client: S,
        clock: Clock,
        leadership: Leadership,
        stats: Stats,
        opened: Opened,
    ) -> Self {
        let now = Instant::now();
        let limits = limits::requests_of(&settings.cluster_id);
        let mut task = Self {
            delivery: Delivery::new(settings.buffer_bytes, limits),
            pacing: RequestPacing::new(LONGEST_PAUSE.min(settings.flush_every), fastrand::Rng::new()),
            books: Books::new(stats, settings.namespace.clone()),
            client: Arc::new(client),
            leadership,
            counters: None,
            failed_until: now,
            late_until: now,
            next_flush: after(now, clock.real(settings.flush_every)),
            under_way: None,
            not_ours_seen: 0,
            spooled: Spooled::new(None),
            claims_lapse: false,
            newest_sent: None,
            begun: false,
            ahead: None,
            is_without_spool: false,
            last_start: None,
            clock,
            settings,
        };
        task.restore(opened);
        task
    }

    /// From now on, pauses follow from this number.
    pub(super) fn seed(&mut self, seed: u64) {
        let longest = LONGEST_PAUSE.min(self.settings.flush_every);
        self.pacing = RequestPacing::new(longest, fastrand::Rng::with_seed(seed));
    }

    /// With rounds that were taken in before the cluster's name was known: they are due at once.
    pub(super) fn hold(&mut self, held: Held) {
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
    }

    /// One step of sending, flushing and waiting. Cancelling it loses nothing. An error says why nothing more can be sent.
    pub(super) async fn work(&mut self) -> Result<(), String> {
        self.step(true).await
    }

    /// Sends what is left while there is time, then keeps the rest for the next start or counts it.
    pub(super) async fn stop(&mut self, by: Instant) {
        self.hurry();
        // Computed once: they are shares of the time that is left, which shrinks with each step.
        let leave = leave_time(by);
        // What is kept for the next start need not be sent now, and cut off before its answer it would be in doubt.
        let last_start = if self.spooled.is_kept() { last_start(leave) } else { leave };
        self.last_start = Some(last_start);
        loop {
            self.start_request();
            let is_leaving = self.is_leaving();
            let is_over = self.under_way.is_none() && (is_leaving || !self.leadership.is_leading());
            if self.delivery.is_empty() || is_over || self.is_without_spool {
                break;
            }
            tokio::select! {
                _logged = self.step(false) => {}
                () = tokio::time::sleep_until(last_start), if !is_leaving => {}
                () = tokio::time::sleep_until(leave) => break,
            }
        }
        self.finish(by).await;
    }

    async fn step(&mut self, flushes: bool) -> Result<(), String> {
        self.start_request();
        let leading = self.leadership.is_leading();
        let wake = self.wake_at(leading);
        tokio::select! {
            answer = answered(self.under_way.as_mut()) => {
                self.under_way = None;
                self.settle(answer);
            }
            is_kept = self.spooled.changed() => if is_kept {
                self.show_health();
            } else {
                // Without claims the next start could send again what is sent from now on.
                tracing::error!("the task that writes the spool has ended: nothing more is sent to CloudWatch");
                self.is_without_spool = true;
                return Err("the task that writes its spool has ended".to_owned());
            },
            () = tokio::time::sleep_until(self.next_flush), if flushes => {
                self.delivery.flush();
                // After a stop of the whole process the missed flushes are not made up for.
                let period = self.clock.real(self.settings.flush_every);
                self.next_flush = after(self.next_flush, period).max(Instant::now());
            }
            () = tokio::time::sleep_until(wake) => {}
            () = self.leadership.gained(), if !leading => {}
        }
        Ok(())
    }

    /// The program ends: all data points are due, and pauses are short.
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
        self.spooled = Spooled::new(spool);
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

    /// Takes a round in.
    pub(super) fn accept(&mut self, round: &Published) {
        let mut good = self.books.good_values(&self.settings, &round.snapshot);
        self.forget_not_ours();
        if self.leadership.is_not_ours(round.snapshot.round) {
            // It was still in the queue when the lease was seen to be another's.
            self.books.not_ours(good.len(), Span { from: round.snapshot.at, to: round.snapshot.at });
            good.clear();
        }
        let dropped = self.delivery.push(Kept::new(round.snapshot.at, good));
        self.books.overflow(dropped, self.settings.buffer_bytes);
        self.forget_published();
        // With an election nothing waits to share a request, because a leader that dies loses what it has not sent.
        // Nor does the first round: after an installation, or a change of permissions, it shows that delivery works.
        if self.leadership.is_elected() || !std::mem::replace(&mut self.begun, true) {
            self.delivery.flush();
        }
        let number = self.delivery.newest_round().unwrap_or(0);
        let baselines =
            |bytes: &Arc<[u8]>| Baselines { bytes: Arc::clone(bytes), at: round.snapshot.at, round: number };
        self.counters = round.counters.as_ref().map(baselines);
        self.books.report(&self.delivery);
        self.save();
    }

    /// The program ends too soon for the answer to another request.
    fn is_leaving(&self) -> bool {
        self.last_start.is_some_and(|last| Instant::now() >= last)
    }

    /// Starts the next request if one may be started now.
    fn start_request(&mut self) {
        let now = Instant::now();
        let leading = self.leadership.is_leading();
        let allowed = if self.delivery.has_live() { self.failed_until } else { self.late_until.max(self.failed_until) };
        if self.under_way.is_some() || !leading || now < allowed || self.is_without_spool || self.is_leaving() {
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
        let round = points.iter().map(|point| point.round).max();
        self.newest_sent = self.newest_sent.max(round);
        let claim = self.spooled.claim(&points);
        UnderWay::begin(Arc::clone(&self.client), self.leadership.clone(), claim, points)
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
        self.leadership.settled(answer.newest, may_be_taken);
        let outcome = result.as_ref().map_or_else(PutError::outcome, |()| RequestOutcome::Ok);
        self.books.request(outcome, answer.took);
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
        if self.spooled.is_long() {
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
        // Permissions and credentials are repaired by people, which takes longer than a pause.
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
        for span in self.leadership.rounds_not_ours(&mut self.not_ours_seen) {
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
        let Some(until) = self.leadership.published_by_others() else { return };
        // A time that lies ahead of our clock was written by a clock that is ahead of it. It is no statement about the
        // rounds that are still to come, so it is applied once, to what was measured before it was seen.
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
        self.spooled.settle(record);
    }

    /// Hands the whole state to the spool.
    fn save(&mut self) {
        if !self.spooled.is_kept() {
            return;
        }
        let origin = self.settings.spool().origin;
        let unsent = self.delivery.unsent();
        let mut claim = metrics_by_round(self.delivery.sending());
        // A later process cannot know whether another replica led in the lapse: then these events were published by it.
        let lapses = self.leadership.lapses();
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
        self.spooled.save(spool::encode(&image));
    }

    fn show_health(&mut self) {
        if let Some((trouble, set_aside)) = self.spooled.health() {
            self.books.count_dropped(DropReason::SpoolUnusable, set_aside);
            self.books.spool(trouble);
        }
    }

    async fn finish(&mut self, by: Instant) {
        let sent_unanswered = self.end_request();
        let is_kept = self.keep_for_next_start(by).await;
        self.show_health();
        if sent_unanswered && !is_kept {
            let (given_up, _) = self.delivery.in_doubt();
            self.books.in_doubt(&given_up, "the program ends before the answer");
        }
        let unsent = self.delivery.points();
        // What a replica holds that stands by is not its own to lose: the leader publishes it.
        let stood_by = self.leadership.published_by_others().is_some() && !self.leadership.is_leading();
        if unsent == 0 || stood_by {
            return;
        }
        if is_kept {
            tracing::info!(points = unsent, "unsent data points are in the spool for the next start");
            return;
        }
        self.books.count_dropped(DropReason::Shutdown, unsent);
        tracing::warn!(points = unsent, "unsent data points are lost: the program ends, and they are in no spool");
    }

    /// Drops the request that is under way; true if it was sent, so that it is in doubt. Then its claim stays where it
    /// is: the next start counts it.
    fn end_request(&mut self) -> bool {
        let Some(request) = self.under_way.take() else { return false };
        let is_sent = request.is_sent();
        self.leadership.settled(request.newest, is_sent);
        if !is_sent {
            self.kept(false);
        }
        is_sent
    }

    /// The last write; true if all that is unsent is on disk.
    async fn keep_for_next_start(&mut self, by: Instant) -> bool {
        self.save();
        self.spooled.flush(by).await
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
