//! What a long run's memory does: a line through all samples, without keeping them.

/// The slope that a program which keeps nothing may show, bytes in 10,000 rounds.
pub(crate) const ALLOWED_SLOPE_BYTES: f64 = 64.0 * 1024.0;

/// What resident memory may grow by over the last half of a run that is too short for a slope, bytes.
pub(crate) const ALLOWED_GROWTH_BYTES: f64 = 1024.0 * 1024.0;

/// How much the live heap may differ between the middle and the end of a run.
pub(crate) const ALLOWED_HEAP_SHARE: f64 = 0.01;

/// Least squares over samples that come one by one, without keeping them. What happens repeats each period of rounds, and
/// memory follows it; so each sample is compared with those of the same phase only, and what is found is the growth from one
/// period to the next. The sums are of distances from the phase's first sample, so that nothing is lost to rounding in a run
/// of any length.
#[derive(Debug, Clone)]
pub(crate) struct Trend(Vec<Phase>);

/// The samples of one phase.
#[derive(Debug, Clone, Copy, Default)]
struct Phase {
    first: Option<(f64, f64)>,
    count: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl Trend {
    /// Without samples, for a period of this many rounds.
    pub(crate) fn new(period: u64) -> Self {
        Self(vec![Phase::default(); usize::try_from(period).unwrap_or(1).max(1)])
    }

    /// One sample of a round.
    pub(crate) fn add(&mut self, round: u64, y: f64) {
        let paths = usize::try_from(round % self.0.len() as u64).unwrap_or(0);
        let Some(phase) = self.0.get_mut(paths) else { return };
        let x = round as f64;
        let (x0, y0) = *phase.first.get_or_insert((x, y));
        let (x, y) = (x - x0, y - y0);
        phase.count += 1.0;
        phase.x += x;
        phase.y += y;
        phase.xx += x * x;
        phase.xy += x * y;
    }

    /// How much `y` grows in a round; 0 where there are too few samples to tell.
    pub(crate) fn slope(&self) -> f64 {
        let (mut spread, mut together) = (0.0, 0.0);
        for phase in self.0.iter().filter(|phase| phase.count > 0.0) {
            spread += phase.xx - phase.x * phase.x / phase.count;
            together += phase.xy - phase.x * phase.y / phase.count;
        }
        if spread > 0.0 { together / spread } else { 0.0 }
    }
}

/// The share by which the end differs from the middle.
pub(crate) fn share(middle: f64, end: f64) -> f64 {
    if middle > 0.0 { (end - middle).abs() / middle } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_found_behind_what_repeats_and_what_only_repeats_has_none() {
        let (mut rising, mut level) = (Trend::new(2_500), Trend::new(2_500));
        for round in 100_000..105_000_u32 {
            // High in one part of each period, and a little noise.
            let repeats = if round % 2_500 > 1_900 { 2e6 } else { 0.0 };
            let noise = f64::from(round.wrapping_mul(2_654_435_761) >> 20) - 2_048.0;
            rising.add(round.into(), 5e7 + 7.0 * f64::from(round) + repeats + noise);
            level.add(round.into(), 5e7 + repeats + noise);
        }
        assert!((rising.slope() - 7.0).abs() < 0.1, "{}", rising.slope());
        assert!(level.slope().abs() < 0.1, "{}", level.slope());
        assert!(rising.slope() * 10_000.0 > ALLOWED_SLOPE_BYTES);
        assert_eq!(Trend::new(10).slope().to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn a_heap_that_was_not_measured_is_never_level() {
        assert!(share(1_000.0, 1_009.0) <= ALLOWED_HEAP_SHARE);
        assert!(share(1_000.0, 1_011.0) > ALLOWED_HEAP_SHARE);
        assert!(share(0.0, 0.0) > ALLOWED_HEAP_SHARE);
    }
}
