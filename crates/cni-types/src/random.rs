//! Seeded randomness (`SplitMix64`): one seed gives the same numbers on every machine, so that a run can be repeated.

/// What the state grows by with each number.
const INCREMENT: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of numbers that its seed determines.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The stream of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One of many independent streams of a seed, by its number.
    pub const fn stream(seed: u64, number: u64) -> Self {
        Self(mix(seed ^ mix(number.wrapping_add(INCREMENT))))
    }

    /// The stream without its first `count` numbers.
    #[must_use]
    pub const fn skip(self, count: u64) -> Self {
        Self(self.0.wrapping_add(count.wrapping_mul(INCREMENT)))
    }

    /// The next 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(INCREMENT);
        mix(self.0)
    }

    /// A number in `0..bound`; 0 for an empty range. The bias is `bound` / 2^64.
    pub fn below(&mut self, bound: u64) -> u64 {
        u64::try_from((u128::from(self.bits()) * u128::from(bound)) >> 64).unwrap_or(0)
    }

    /// An index into something of this length; 0 where there is none.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = u64::try_from(high.saturating_sub(low)).unwrap_or(0);
        low + i64::try_from(self.below(span.saturating_add(1))).unwrap_or(0)
    }

    /// A fraction in `0..1`.
    pub fn fraction(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A well-spread hash of one number.
pub const fn mix(value: u64) -> u64 {
    let mut mixed = value;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_published_generator() {
        let mut random = Random::new(1_234_567);
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([random.bits(), random.bits(), random.bits()], expected);
        assert_eq!(Random::new(1_234_567).skip(2).bits(), expected[2]);
    }

    #[test]
    fn ranges_are_kept() {
        let mut random = Random::stream(7, 1);
        assert!((0..1_000).all(|_| random.below(3) < 3 && (-2..=2).contains(&random.between(-2, 2))));
        assert!((0..1_000).all(|_| (0.0..1.0).contains(&random.fraction())));
        assert_eq!((random.below(0), random.index(0), random.between(5, 5)), (0, 0, 5));
        assert_ne!(Random::stream(7, 1).bits(), Random::stream(7, 2).bits(), "streams of one seed differ");
    }
}
