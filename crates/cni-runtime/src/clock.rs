//! The clock every timed part is given: wall time, a multiple of it, or the time of a simulated cluster.
//!
//! A wall clock may be set while the program runs, either way and by any amount. Nothing here waits longer than an
//! interval at a time, overflows, or stops because of it; see [`Ticks::next`] for what that means for the rounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cni_metrics_core::model::UnixMillis;
use tokio::sync::watch;
use tokio::time::Instant;

/// Wall time, a scaled time, or a time that a driver sets. Durations are given in the clock's own time.
#[derive(Debug, Clone)]
pub struct Clock(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Wall,
    Scaled { origin: Instant, start: UnixMillis, speed: f64 },
    Stepped { origin: Instant, set_to: Arc<AtomicI64> },
    Driven { now: watch::Receiver<UnixMillis>, speed: f64 },
}

/// Moves a driven clock.
#[derive(Debug)]
pub struct ClockDriver(watch::Sender<UnixMillis>);

/// Sets a clock that otherwise runs like the machine's.
#[derive(Debug)]
pub struct ClockSetter {
    origin: Instant,
    set_to: Arc<AtomicI64>,
}

impl Clock {
    /// The machine's clock.
    pub fn wall() -> Self {
        Self(Kind::Wall)
    }

    /// A clock that reads `start` now and runs `speed` times as fast as the machine's. A speed that is not a positive
    /// finite number counts as 1.
    pub fn scaled(start: UnixMillis, speed: f64) -> Self {
        Self(Kind::Scaled { origin: Instant::now(), start, speed: sensible(speed) })
    }

    /// A wall clock that starts at `start` and can be set while it runs, as an NTP client sets the machine's.
    pub fn stepped(start: UnixMillis) -> (Self, ClockSetter) {
        let (origin, set_to) = (Instant::now(), Arc::new(AtomicI64::new(start.0)));
        (Self(Kind::Stepped { origin, set_to: Arc::clone(&set_to) }), ClockSetter { origin, set_to })
    }

    /// A clock that stands still until its driver moves it. `speed` is about how fast it will go: time limits on real
    /// sockets and back-offs are cut by it.
    pub fn driven(start: UnixMillis, speed: f64) -> (Self, ClockDriver) {
        let (driver, now) = watch::channel(start);
        (Self(Kind::Driven { now, speed: sensible(speed) }), ClockDriver(driver))
    }

    /// The time now.
    pub fn now(&self) -> UnixMillis {
        match &self.0 {
            Kind::Wall => {
                let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                UnixMillis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
            }
            Kind::Scaled { origin, start, speed } => {
                #[expect(clippy::cast_possible_truncation, reason = "milliseconds of a process' life fit")]
                let elapsed = (origin.elapsed().as_secs_f64() * speed * 1000.0) as i64;
                UnixMillis(start.0.saturating_add(elapsed))
            }
            Kind::Stepped { origin, set_to } => {
                UnixMillis(set_to.load(Ordering::Relaxed).saturating_add(whole_millis(origin.elapsed())))
            }
            Kind::Driven { now, .. } => *now.borrow(),
        }
    }

    /// How long `duration` of this clock takes on the machine's.
    pub fn real(&self, duration: Duration) -> Duration {
        match &self.0 {
            Kind::Wall | Kind::Stepped { .. } => duration,
            Kind::Scaled { speed, .. } | Kind::Driven { speed, .. } => {
                Duration::try_from_secs_f64(duration.as_secs_f64() / *speed).unwrap_or(Duration::MAX)
            }
        }
    }

    /// A limit on work done over real sockets: a clock that stands still meanwhile does not shorten it.
    pub fn limit(&self, duration: Duration) -> Duration {
        match &self.0 {
            Kind::Driven { .. } => duration,
            Kind::Wall | Kind::Scaled { .. } | Kind::Stepped { .. } => self.real(duration),
        }
    }

    /// Sleeps for `duration` of this clock.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(self.real(duration)).await;
    }

    /// Ticks each `interval` from now on, the first time at once.
    pub fn ticks(&self, interval: Duration) -> Ticks {
        Ticks::new(self, interval, false, (Instant::now(), self.now()))
    }

    /// Ticks at whole multiples of `interval` since the Unix epoch, the first time at the next one: so all replicas with
    /// right clocks tick together.
    pub fn aligned_ticks(&self, interval: Duration) -> Ticks {
        let now = self.now();
        let first = next_multiple(now, interval);
        Ticks::new(self, interval, true, (after(Instant::now(), self.real(between(now, first))), first))
    }
}

impl ClockDriver {
    /// Moves the clock to `now`; an earlier time is a clock that was set back.
    pub fn set(&self, now: UnixMillis) {
        self.0.send_replace(now);
    }
}

impl ClockSetter {
    /// Makes the clock read `now` at this moment.
    pub fn set(&self, now: UnixMillis) {
        self.set_to.store(now.0.saturating_sub(whole_millis(self.origin.elapsed())), Ordering::Relaxed);
    }
}

/// Regular ticks. A tick that comes late is followed by the next one interval later: missed ones are not made up for.
#[derive(Debug)]
pub struct Ticks {
    clock: Clock,
    interval: Duration,
    is_aligned: bool,
    /// By the machine's monotonic clock, and by this clock.
    next: (Instant, UnixMillis),
    /// The clock showed less than what was waited for, and the rest is being waited for.
    is_prolonged: bool,
}

impl Ticks {
    fn new(clock: &Clock, interval: Duration, is_aligned: bool, next: (Instant, UnixMillis)) -> Self {
        Self { clock: clock.clone(), interval, is_aligned, next, is_prolonged: false }
    }

    /// Waits for the next tick. Cancelling it loses nothing.
    ///
    /// Ticks that are not aligned follow the machine's monotonic clock; only their [`Tick::at`] shows that the clock was
    /// set. Aligned ticks follow the wall clock, and the machine's monotonic time between two of them is at most two
    /// intervals, whatever the clock does:
    ///
    /// - Set forward, the tick that is under way comes when it would have come, with the new time; the next one is at the
    ///   next multiple of the new time.
    /// - Set back by less than an interval, the tick waits until the clock shows its time, at most one interval more, so
    ///   that no time is used twice.
    /// - Set back further, the tick comes when it would have come, with the last multiple of the new time. **Times that
    ///   were used before the step are then used again.** That is right for what reads them: baselines of counters are
    ///   kept by round number as well as by time ([`Aggregator`](cni_metrics_core::aggregate::Aggregator) forgets a node
    ///   only after ten rounds without it), so each event is still counted in one round; a snapshot of an earlier time
    ///   replaces that before it; CloudWatch adds a second point of the same time to its minute's statistics, where sums of
    ///   increases stay right and averages of gauges are of both; Prometheus scrapes carry no time of ours.
    pub async fn next(&mut self) -> Tick {
        let time = self.next.1;
        if let Kind::Driven { now, .. } = &mut self.clock.0 {
            let interval = self.interval;
            // A clock that shows more than an interval before the next tick was set back.
            let is_due = |now: &UnixMillis| *now >= time || between(*now, time) > interval;
            // A driver that is gone moves nothing any more: then there is no next tick.
            let Ok(reached) = now.wait_for(is_due).await.map(|now| *now) else {
                return std::future::pending().await;
            };
            return self.ticked(Instant::now(), reached, false);
        }
        let late = Instant::now() > after(self.next.0, LATE);
        loop {
            tokio::time::sleep_until(self.next.0).await;
            let now = self.clock.now();
            let missing = between(now, self.next.1);
            if !self.is_aligned || self.is_prolonged || missing.is_zero() || missing >= self.interval {
                self.is_prolonged = false;
                let instant = if late { Instant::now() } else { self.next.0 };
                return self.ticked(instant, now, late);
            }
            self.is_prolonged = true;
            self.next.0 = after(Instant::now(), self.clock.real(missing));
        }
    }

    /// The tick that is due at `now`; the next one is counted from `instant`.
    fn ticked(&mut self, instant: Instant, now: UnixMillis, late: bool) -> Tick {
        if self.is_aligned {
            // Counted anew each time, because the clock may be set while we run.
            let at = last_multiple(now, self.interval);
            let next = next_multiple(UnixMillis(now.0.saturating_add(1)), self.interval);
            // At the end of time there is no next multiple; the ticks go on all the same.
            let wait = Some(between(now, next)).filter(|wait| !wait.is_zero()).unwrap_or(self.interval);
            self.next = (after(Instant::now(), self.clock.real(wait)), next);
            return Tick { at, late };
        }
        let next = UnixMillis(now.0.saturating_add(millis(self.interval)));
        self.next = (after(instant, self.clock.real(self.interval)), next);
        Tick { at: now, late }
    }
}

/// A tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// Its time: of aligned ticks the multiple, else now.
    pub at: UnixMillis,
    /// The time before it was overrun.
    pub late: bool,
}

/// `instant` plus `duration`; where no instant is that late, one thirty years ahead.
pub fn after(instant: Instant, duration: Duration) -> Instant {
    instant.checked_add(duration).or_else(|| instant.checked_add(NEVER)).unwrap_or(instant)
}

/// Thirty years.
const NEVER: Duration = Duration::from_hours(30 * 365 * 24);

/// The interval in milliseconds, never 0.
fn millis(duration: Duration) -> i64 {
    whole_millis(duration).max(1)
}

fn whole_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// `time` itself, or the next later multiple of `interval`.
fn next_multiple(time: UnixMillis, interval: Duration) -> UnixMillis {
    last_multiple(UnixMillis(time.0.saturating_add(millis(interval) - 1)), interval)
}

fn last_multiple(time: UnixMillis, interval: Duration) -> UnixMillis {
    UnixMillis(time.0.div_euclid(millis(interval)).saturating_mul(millis(interval)))
}

/// Zero where `to` is not later.
fn between(from: UnixMillis, to: UnixMillis) -> Duration {
    Duration::from_millis(u64::try_from(to.0.saturating_sub(from.0)).unwrap_or(0))
}

/// A tick this much overdue was overrun, and not merely scheduled late.
const LATE: Duration = Duration::from_millis(100);

fn sensible(speed: f64) -> f64 {
    if speed.is_finite() && speed > 0.0 { speed } else { 1.0 }
}

#[cfg(test)]
mod tests;
