//! Fractions of things that exist only whole.

/// The whole part of a number; 0 for a negative one and for NaN.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates, which is intended")]
pub(super) fn whole(number: f64) -> usize {
    number as usize
}
