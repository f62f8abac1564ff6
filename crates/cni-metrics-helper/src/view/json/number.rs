//! Numbers as JSON.

/// Whole numbers without a fraction, as people write them.
pub fn number(value: f64) -> serde_json::Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
        return (value as i64).into();
    }
    value.into()
}
