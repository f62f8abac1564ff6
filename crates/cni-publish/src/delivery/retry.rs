//! When to retry: exponential back-off with full jitter, which a success halves and does not reset.

use std::time::Duration;

/// The first failure's longest delay.
const BASE: Duration = Duration::from_millis(500);
/// The longest delay that a server can ask for: a broken one may say any number, and the service may be well again long
/// before that.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(5);

/// How often requests failed lately.
#[derive(Debug)]
pub struct RequestPacing {
    level: u32,
    longest: Duration,
    rng: fastrand::Rng,
}

impl RequestPacing {
    /// Delays grow up to `longest`.
    pub fn new(longest: Duration, rng: fastrand::Rng) -> Self {
        Self { level: 0, longest: longest.max(BASE), rng }
    }

    /// From now on, delays grow up to no more than `longest`.
    pub fn hurry(&mut self, longest: Duration) {
        self.longest = longest.max(BASE);
        self.level = 0;
    }

    /// A request failed: how long to wait before the next. Never less than the service asked for, up to
    /// [`LONGEST_RETRY_AFTER`].
    pub fn failed(&mut self, retry_after: Option<Duration>) -> Duration {
        if self.ceiling() < self.longest {
            self.level = self.level.saturating_add(1);
        }
        self.jitter().max(retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER))
    }

    /// A request succeeded: how long to wait before sending more of what is late anyway. Pressure halves with each
    /// success, so that a backlog does not run straight into the next throttling.
    pub fn succeeded(&mut self) -> Duration {
        self.level /= 2;
        if self.level == 0 { Duration::ZERO } else { self.jitter() }
    }

    /// No more than this, and never less for having failed more often.
    fn ceiling(&self) -> Duration {
        BASE.saturating_mul(2_u32.saturating_pow(self.level.saturating_sub(1))).min(self.longest)
    }

    fn jitter(&mut self) -> Duration {
        self.ceiling().mul_f64(self.rng.f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_longest_and_fade_with_success() {
        let longest = Duration::from_mins(1);
        let mut pacing = RequestPacing::new(longest, fastrand::Rng::with_seed(7));
        let mut ceilings = Vec::new();
        for _ in 0..10 {
            let delay = pacing.failed(None);
            assert!(delay <= pacing.ceiling());
            ceilings.push(pacing.ceiling());
        }
        assert!(ceilings.is_sorted() && ceilings[0] == BASE && ceilings[9] == longest, "{ceilings:?}");
        let successes = std::iter::from_fn(|| Some(pacing.succeeded())).take_while(|delay| !delay.is_zero()).count();
        assert!((2..=4).contains(&successes), "{successes}");
    }

    #[test]
    fn jitter_is_full_and_what_the_service_asks_for_is_kept() {
        let mut pacing = RequestPacing::new(Duration::from_mins(1), fastrand::Rng::with_seed(1));
        for _ in 0..20 {
            pacing.failed(None);
        }
        let delays: Vec<f64> = (0..1000).map(|_| pacing.failed(None).as_secs_f64()).collect();
        let mean = delays.iter().sum::<f64>() / 1000.0;
        assert!((27.0..33.0).contains(&mean), "{mean}");
        assert!(delays.iter().any(|delay| *delay < 3.0) && delays.iter().any(|delay| *delay > 57.0));
        assert_eq!(pacing.failed(Some(Duration::from_secs(90))), Duration::from_secs(90));
    }

    #[test]
    fn a_million_steps_of_any_kind_stay_within_the_bounds() {
        let mut steps = fastrand::Rng::with_seed(11);
        let longest = Duration::from_mins(1);
        let mut pacing = RequestPacing::new(longest, fastrand::Rng::with_seed(12));
        for step in 0..1_000_000_u32 {
            let delay = match steps.u8(..) {
                0 => {
                    pacing.hurry(LAST);
                    pacing = RequestPacing::new(longest, fastrand::Rng::with_seed(u64::from(step)));
                    continue;
                }
                1..150 => pacing.failed(None),
                150..200 => pacing.failed(Some(Duration::from_secs(steps.u64(..)))),
                200 => pacing.failed(Some(Duration::MAX)),
                _ => pacing.succeeded(),
            };
            assert!(delay <= LONGEST_RETRY_AFTER, "{delay:?} at step {step}");
        }
        // Failing for ever grows nothing.
        for _ in 0..1_000_000 {
            assert!(pacing.failed(None) <= longest);
        }
        assert!(std::iter::from_fn(|| Some(pacing.succeeded())).take(5).any(|delay| delay.is_zero()));
    }

    const LAST: Duration = Duration::from_secs(2);
}
