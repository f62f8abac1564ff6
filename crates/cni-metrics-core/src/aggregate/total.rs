//! Sums of events that stay exact for as long as a process lives.

use std::ops::AddAssign;

/// A sum of numbers that are not negative. Whole numbers are kept exactly up to 2^64 - 1 and stand there; as a 64-bit
/// float, which is how it is published, the sum moves by 1 up to 2^53 and in steps of 2, 4, … beyond.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Total {
    pub(super) whole: u64,
    /// What is no whole event, below 1; always 0 with the pages of real agents.
    pub(super) part: f64,
}

impl Total {
    /// The sum as it is published.
    pub(super) fn get(self) -> f64 {
        self.whole as f64 + self.part
    }
}

impl From<f64> for Total {
    /// Anything that is no number of events is 0.
    fn from(value: f64) -> Self {
        let value = if value > 0.0 { value } else { 0.0 };
        // Saturates.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative, and meant to be cut"
        )]
        let whole = value as u64;
        let part = value.fract();
        Self { whole, part: if part.is_finite() { part } else { 0.0 } }
    }
}

impl AddAssign<f64> for Total {
    fn add_assign(&mut self, value: f64) {
        let more = Self::from(value);
        let part = Self::from(self.part + more.part);
        self.whole = self.whole.saturating_add(more.whole).saturating_add(part.whole);
        self.part = part.part;
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::float_cmp, reason = "exactness is what is tested")]

    use super::*;

    #[test]
    fn ones_are_counted_beyond_the_floats_exactness() {
        let mut total = Total::from(9_007_199_254_740_992.0);
        for _ in 0..3 {
            total += 1.0;
        }
        assert_eq!(total, Total { whole: 9_007_199_254_740_995, part: 0.0 });
        assert_eq!(total.get(), 9_007_199_254_740_996.0, "the nearest float");
    }

    #[test]
    fn parts_add_up_to_whole_ones() {
        let mut total = Total::default();
        for _ in 0..10 {
            total += 1.75;
        }
        assert_eq!(total, Total { whole: 17, part: 0.5 });
        assert_eq!(total.get(), 17.5);
    }

    #[test]
    fn it_stands_at_its_end_and_takes_only_numbers_of_events() {
        let mut total = Total::from(1e300);
        total += 1e300;
        assert_eq!(total, Total { whole: u64::MAX, part: 0.0 });
        for value in [-1.0, f64::NAN, f64::NEG_INFINITY] {
            assert_eq!(Total::from(value), Total::default());
        }
        assert_eq!(Total::from(f64::INFINITY).whole, u64::MAX);
    }
}
