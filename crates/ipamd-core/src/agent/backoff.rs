//! Pauses between the tries of one call.

use crate::chooser::Chooser;

/// Longest pause, before what is added to it.
const LONGEST_MS: i64 = 60_000;

/// Tries that are left, and the pause before the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    left: u8,
    pause_ms: i64,
    jitter_percent: i64,
}

impl Backoff {
    /// Detaching an ENI.
    pub(crate) const DETACH: Self = Self::new(12, 200, 15);
    /// Deleting an ENI.
    pub(crate) const DELETE: Self = Self::new(12, 500, 15);
    /// Looking for a new ENI in the metadata service.
    pub(crate) const AWAIT: Self = Self::new(12, 100, 15);
    /// Asking for a /80.
    pub(crate) const IPV6_PREFIX: Self = Self::new(12, 500, 15);
    /// Tagging an ENI.
    pub(crate) const TAG: Self = Self::new(5, 500, 30);

    const fn new(tries: u8, first_ms: i64, jitter_percent: i64) -> Self {
        Self { left: tries, pause_ms: first_ms, jitter_percent }
    }

    /// A try failed: the pause before the next, milliseconds, or `None` if it was the last.
    pub(crate) fn failed(&mut self, chooser: &mut dyn Chooser) -> Option<i64> {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            return None;
        }
        let pause_ms = self.pause_ms;
        self.pause_ms = pause_ms.saturating_mul(2).min(LONGEST_MS);
        Some(pause_ms.saturating_add(chooser.jitter(pause_ms * self.jitter_percent / 100)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chooser::Seeded;

    #[test]
    fn pauses_double_up_to_a_minute_and_end_after_the_last_try() {
        for (mut backoff, pauses, total_ms) in [
            (Backoff::DETACH, 11, 222_200),
            (Backoff::DELETE, 11, 303_500 + 8_000),
            (Backoff::AWAIT, 11, 162_300),
            (Backoff::TAG, 4, 7_500),
        ] {
            let (percent, mut chooser) = (backoff.jitter_percent, Seeded::first_fit(1));
            let taken: Vec<i64> = std::iter::from_fn(|| backoff.failed(&mut chooser)).collect();
            assert_eq!(taken.len(), pauses);
            let sum: i64 = taken.iter().sum();
            assert!((total_ms..=total_ms + total_ms * percent / 100).contains(&sum), "{sum} {total_ms}");
        }
    }
}
