//! For how long a node has refused requests, in two bytes and a time.

use std::num::NonZeroI64;

use super::moment::{Moment, Stamp, WINDOW_MS};

/// Refusals are judged in steps of this length, or of a round where rounds are longer.
const SLOT_MS: i64 = 30_000;

/// A cause that must last is more than info after this time without a step without refusals...
const LASTING_MS: i64 = 120_000;
/// ... or after this much of [`WINDOW_MS`].
const OFTEN_MS: i64 = 150_000;

/// Steps of [`SLOT_MS`], or of a round, with and without refusals.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Slots {
    /// When the newest began; `None` before the first.
    began: Stamp,
    /// The newest first.
    refused: u16,
}

impl Slots {
    fn length(now: Moment) -> i64 {
        now.interval_ms.max(SLOT_MS)
    }

    /// Takes in whether requests were refused in a round.
    pub(super) fn note(&mut self, is_refusing: bool, now: Moment) {
        let length = Self::length(now);
        let passed = self.began.map_or(length, |began| now.now_ms.saturating_sub(began.get()));
        // A round may come a little early or late.
        if passed + now.interval_ms / 2 >= length {
            let steps = passed.saturating_add(length / 2).div_euclid(length).max(1);
            self.refused = u32::try_from(steps).ok().and_then(|steps| self.refused.checked_shl(steps)).unwrap_or(0);
            self.began = NonZeroI64::new(now.now_ms);
        }
        self.refused |= u16::from(is_refusing);
    }

    /// Refusals have lasted: without a pause, or for half of the window.
    pub(super) fn has_lasted(self, now: Moment) -> bool {
        let steps = |time: i64| {
            let steps = time.saturating_add(Self::length(now) - 1).div_euclid(Self::length(now));
            u32::try_from(steps).unwrap_or(1).clamp(1, 15)
        };
        let newest = |steps: u32| self.refused & ((1_u16 << steps) - 1);
        let lasting = steps(LASTING_MS);
        newest(lasting).count_ones() == lasting || newest(steps(WINDOW_MS)).count_ones() >= steps(OFTEN_MS)
    }
}
