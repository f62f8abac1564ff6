//! The clock every timed part is given: wall time, or a simulated world's time running at a multiple of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cni_metrics_core::model::UnixMillis;
use tokio::time::Instant;

/// Wall time, or a scaled time for the simulated cluster. Sleeps are given in the clock's own time.
#[derive(Debug, Clone)]
pub struct Clock(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Wall,
    Scaled { origin: Instant, start: UnixMillis, speed: f64 },
}

impl Clock {
    /// The machine's clock.
    pub fn wall() -> Self {
        Self(Kind::Wall)
    }

    /// A clock that reads `start` now and runs `speed` times as fast as the machine's. A speed that is not a positive
    /// finite number counts as 1.
    pub fn scaled(start: UnixMillis, speed: f64) -> Self {
        let speed = if speed.is_finite() && speed > 0.0 { speed } else { 1.0 };
        Self(Kind::Scaled { origin: Instant::now(), start, speed })
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
        }
    }

    /// How long `duration` of this clock takes on the machine's.
    pub fn real(&self, duration: Duration) -> Duration {
        match &self.0 {
            Kind::Wall => duration,
            Kind::Scaled { speed, .. } => duration.div_f64(*speed),
        }
    }

    /// Sleeps for `duration` of this clock.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(self.real(duration)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_scaled_clock_runs_faster_and_its_sleeps_are_shorter() {
        let clock = Clock::scaled(UnixMillis(1_000), 60.0);
        let before = Instant::now();
        clock.sleep(Duration::from_secs(30)).await;
        assert_eq!(before.elapsed(), Duration::from_millis(500));
        assert_eq!(clock.now(), UnixMillis(31_000));
    }

    #[test]
    fn a_senseless_speed_counts_as_one() {
        let clock = Clock::scaled(UnixMillis(0), f64::NAN);
        assert_eq!(clock.real(Duration::from_secs(3)), Duration::from_secs(3));
    }
}
