//! What a long run's memory does: a line through all samples, without keeping them.

/// The slope that a program which keeps nothing may show, bytes in 10,000 rounds.
pub(crate) const ALLOWED_SLOPE_BYTES: f64 = 64.0 * 1024.0;

/// How much the live heap may differ between the middle and the end of a run.
pub(crate) const ALLOWED_HEAP_SHARE: f64 = 0.01;

/// Least squares over samples that come one by one. The sums are of distances from the first sample, so that nothing is
/// lost to rounding in a run of any length.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Trend {
    first: Option<(f64, f64)>,
    count: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl Trend {
    /// One sample.
    pub(crate) fn add(&mut self, x: f64, y: f64) {
        let (x0, y0) = *self.first.get_or_insert((x, y));
        let (x, y) = (x - x0, y - y0);
        self.count += 1.0;
        self.x += x;
        self.y += y;
        self.xx += x * x;
        self.xy += x * y;
    }

    /// How much `y` grows while `x` grows by one; 0 where there are too few samples to tell.
    pub(crate) fn slope(&self) -> f64 {
        let spread = self.count * self.xx - self.x * self.x;
        if spread > 0.0 { (self.count * self.xy - self.x * self.y) / spread } else { 0.0 }
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
    fn a_line_is_found_behind_noise_and_a_plain_has_none() {
        let (mut rising, mut level) = (Trend::default(), Trend::default());
        for n in 100_000..110_000_u32 {
            let noise = f64::from(n.wrapping_mul(2_654_435_761) >> 20) - 2_048.0;
            rising.add(f64::from(n), 5e7 + 7.0 * f64::from(n) + noise);
            level.add(f64::from(n), 5e7 + noise);
        }
        assert!((rising.slope() - 7.0).abs() < 0.1, "{}", rising.slope());
        assert!(level.slope().abs() < 0.1, "{}", level.slope());
        assert!(rising.slope() * 10_000.0 > ALLOWED_SLOPE_BYTES);
        assert_eq!(Trend::default().slope().to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn a_heap_that_was_not_measured_is_never_level() {
        assert!(share(1_000.0, 1_009.0) <= ALLOWED_HEAP_SHARE);
        assert!(share(1_000.0, 1_011.0) > ALLOWED_HEAP_SHARE);
        assert!(share(0.0, 0.0) > ALLOWED_HEAP_SHARE);
    }
}
