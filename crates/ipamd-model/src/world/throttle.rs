//! EC2's throttling: a token bucket that callers share.

/// A bucket that holds up to `size` tokens and gets `per_second` of them. Each request takes one.
#[derive(Debug, Clone)]
pub struct Bucket {
    size_milli: i64,
    per_second: i64,
    /// Thousandths of a token.
    milli: i64,
    at_ms: i64,
}

impl Bucket {
    /// A full bucket.
    pub fn new(size: u32, per_second: u32) -> Self {
        let size_milli = i64::from(size).saturating_mul(1_000);
        Self { size_milli, per_second: i64::from(per_second), milli: size_milli, at_ms: i64::MIN }
    }

    /// Takes a token; false if there is none. A clock that steps back adds nothing.
    pub fn take(&mut self, now_ms: i64) -> bool {
        let passed_ms = if self.at_ms == i64::MIN { 0 } else { now_ms.saturating_sub(self.at_ms).max(0) };
        self.at_ms = self.at_ms.max(now_ms);
        self.milli = self.milli.saturating_add(passed_ms.saturating_mul(self.per_second)).min(self.size_milli);
        let there = self.milli >= 1_000;
        if there {
            self.milli -= 1_000;
        }
        there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_empties_it_and_time_fills_it() {
        let mut bucket = Bucket::new(3, 2);
        assert_eq!([(); 5].map(|()| bucket.take(1_000)), [true, true, true, false, false]);
        assert_eq!([1_499, 1_500, 1_500].map(|now_ms| bucket.take(now_ms)), [false, true, false]);
        assert_eq!([(); 4].map(|()| bucket.take(1_000_000)), [true, true, true, false], "no more than its size");
        assert!(!bucket.take(0), "a step back is no time");
    }
}
