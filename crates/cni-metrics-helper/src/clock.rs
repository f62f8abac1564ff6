//! The clock every timed part is given: wall time, a multiple of it, or a simulated world's own time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cni_metrics_core::model::UnixMillis;
use tokio::sync::watch;
use tokio::time::Instant;

/// Wall time, a scaled time, or a time that somebody else moves on. Durations are given in the clock's own time.
#[derive(Debug, Clone)]
pub struct Clock(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Wall,
    Scaled { origin: Instant, start: UnixMillis, speed: f64 },
    Driven { now: watch::Receiver<UnixMillis>, speed: f64 },
}

/// Moves a driven clock on.
#[derive(Debug)]
pub struct ClockDriver(watch::Sender<UnixMillis>);

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
                UnixMillis(start.0 + elapsed)
            }
            Kind::Driven { now, .. } => *now.borrow(),
        }
    }

    /// How long `duration` of this clock takes on the machine's.
    pub fn real(&self, duration: Duration) -> Duration {
        match &self.0 {
            Kind::Wall => duration,
            Kind::Scaled { speed, .. } | Kind::Driven { speed, .. } => duration.div_f64(*speed),
        }
    }

    /// A limit on work done over real sockets: a clock that stands still meanwhile does not shorten it.
    pub fn limit(&self, duration: Duration) -> Duration {
        match &self.0 {
            Kind::Driven { .. } => duration,
            Kind::Wall | Kind::Scaled { .. } => self.real(duration),
        }
    }

    /// Sleeps for `duration` of this clock.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(self.real(duration)).await;
    }

    /// Ticks each `interval` from now on, the first time at once.
    pub fn ticks(&self, interval: Duration) -> Ticks {
        Ticks { clock: self.clone(), interval, is_aligned: false, next: (Instant::now(), self.now()) }
    }

    /// Ticks at whole multiples of `interval` since the Unix epoch, the first time at the next one: so all replicas with
    /// right clocks tick together.
    pub fn aligned_ticks(&self, interval: Duration) -> Ticks {
        let now = self.now();
        let first = next_multiple(now, interval);
        let next = (Instant::now() + self.real(between(now, first)), first);
        Ticks { clock: self.clone(), interval, is_aligned: true, next }
    }
}

impl ClockDriver {
    /// Moves the clock on to `now`.
    pub fn set(&self, now: UnixMillis) {
        self.0.send_replace(now);
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
}

impl Ticks {
    /// Waits for the next tick. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Tick {
        let (instant, time) = self.next;
        if let Kind::Driven { now, .. } = &mut self.clock.0 {
            // A driver that is gone moves nothing any more: then there is no next tick.
            let Ok(reached) = now.wait_for(|now| *now >= time).await.map(|now| *now) else {
                return std::future::pending().await;
            };
            return self.ticked(instant, reached, false);
        }
        let late = Instant::now() > instant + LATE;
        tokio::time::sleep_until(instant).await;
        let now = self.clock.now();
        self.ticked(if late { Instant::now() } else { instant }, now, late)
    }

    /// The tick that is due at `now`; the next one is counted from `instant`.
    fn ticked(&mut self, instant: Instant, now: UnixMillis, late: bool) -> Tick {
        if self.is_aligned {
            // Counted anew each time, because the clock may be set while we run. It may also show a little less than
            // what was waited for.
            let at = last_multiple(now, self.interval).max(self.next.1);
            let next = next_multiple(UnixMillis(now.max(at).0 + 1), self.interval);
            self.next = (Instant::now() + self.clock.real(between(now, next)), next);
            return Tick { at, late };
        }
        self.next = (instant + self.clock.real(self.interval), UnixMillis(now.0.saturating_add(millis(self.interval))));
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

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).max(1)
}

/// `time` itself, or the next later multiple of `interval`.
fn next_multiple(time: UnixMillis, interval: Duration) -> UnixMillis {
    last_multiple(UnixMillis(time.0.saturating_add(millis(interval) - 1)), interval)
}

fn last_multiple(time: UnixMillis, interval: Duration) -> UnixMillis {
    UnixMillis(time.0.div_euclid(millis(interval)).saturating_mul(millis(interval)))
}

fn between(from: UnixMillis, to: UnixMillis) -> Duration {
    Duration::from_millis(u64::try_from(to.0 - from.0).unwrap_or(0))
}

/// A tick this much overdue was overrun, and not merely scheduled late.
const LATE: Duration = Duration::from_millis(100);

fn sensible(speed: f64) -> f64 {
    if speed.is_finite() && speed > 0.0 { speed } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_scaled_clock_runs_faster_and_its_sleeps_are_shorter() {
        let clock = Clock::scaled(UnixMillis(1_000), 60.0);
        let before = Instant::now();
        clock.sleep(INTERVAL).await;
        assert_eq!(before.elapsed(), Duration::from_millis(500));
        assert_eq!(clock.now(), UnixMillis(31_000));
    }

    #[test]
    fn a_senseless_speed_counts_as_one() {
        let clock = Clock::scaled(UnixMillis(0), f64::NAN);
        assert_eq!(clock.real(Duration::from_secs(3)), Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn ticks_keep_their_distance_and_an_overrun_is_told_and_not_made_up_for() {
        let mut ticks = Clock::wall().ticks(INTERVAL);
        let began = Instant::now();
        assert!(!ticks.next().await.late);
        tokio::time::sleep(Duration::from_secs(12)).await;
        assert!(!ticks.next().await.late);
        assert_eq!(began.elapsed(), INTERVAL);
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert!(ticks.next().await.late);
        assert_eq!(began.elapsed(), Duration::from_secs(130));
        assert!(!ticks.next().await.late);
        assert_eq!(began.elapsed(), Duration::from_secs(160));
    }

    #[tokio::test(start_paused = true)]
    async fn aligned_ticks_come_at_whole_multiples_whatever_happens_between() {
        let clock = Clock::scaled(UnixMillis(100_007), 1.0);
        let mut ticks = clock.aligned_ticks(INTERVAL);
        assert!(!ticks.next().await.late);
        assert_eq!(clock.now(), UnixMillis(120_000));
        tokio::time::sleep(Duration::from_secs(17)).await;
        assert!(!ticks.next().await.late);
        assert_eq!(clock.now(), UnixMillis(150_000));
        tokio::time::sleep(Duration::from_secs(44)).await;
        assert_eq!(ticks.next().await, Tick { at: UnixMillis(180_000), late: true }, "now it is 194 s");
        assert!(!ticks.next().await.late);
        assert_eq!(clock.now(), UnixMillis(210_000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_driven_clock_ticks_when_it_is_moved() {
        let (clock, driver) = Clock::driven(UnixMillis(0), 30.0);
        let mut ticks = clock.ticks(INTERVAL);
        assert!(!ticks.next().await.late);
        driver.set(UnixMillis(29_999));
        assert!(tokio::time::timeout(Duration::from_secs(1), ticks.next()).await.is_err());
        driver.set(UnixMillis(30_000));
        assert!(!ticks.next().await.late);
        assert_eq!(clock.now(), UnixMillis(30_000));
    }
}
