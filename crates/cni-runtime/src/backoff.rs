//! Pauses between tries that grow while an outside system does not answer.

use std::time::Duration;

/// Doubles from `first` to `most`; each pause is varied by a quarter, so that replicas do not ask together.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// The first pause, and the longest.
    pub fn new(first: Duration, most: Duration) -> Self {
        Self { first: first.min(most), most, next: first.min(most) }
    }

    /// The pause before the next try; the one after it is twice as long.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = self.next.saturating_mul(2).min(self.most);
        pause.mul_f64(0.75 + fastrand::f64() / 2.0).min(self.most)
    }

    /// It answered: the next pause is the first again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_no_further_for_years() {
        let (first, most) = (Duration::from_millis(800), Duration::from_secs(30));
        let mut backoff = Backoff::new(first, most);
        for round in 0..1_000_000_u32 {
            let pause = backoff.pause();
            assert!(pause >= first.mul_f64(0.75) && pause <= most, "{pause:?}");
            assert!(round < 6 || pause >= most.mul_f64(0.75), "{pause:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= first.mul_f64(1.25));
        assert!(Backoff::new(Duration::MAX, Duration::from_secs(1)).pause() <= Duration::from_secs(1));
    }
}
