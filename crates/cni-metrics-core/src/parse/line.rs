//! One sample line in any legal spelling, on the slow path.

use super::error::LineErrorKind;
use super::labels::{Label, labels};
use super::limits::MAX_LINE_BYTES;
use super::value::value_and_rest;

/// A sample line after its name.
pub(super) struct Sample<'p> {
    /// Its labels in name order, values as written.
    pub(super) labels: Vec<Label<'p>>,
    /// Its value, which need not be finite.
    pub(super) value: f64,
}

impl<'p> Sample<'p> {
    /// The label's value as written.
    pub(super) fn label(&self, name: &[u8]) -> Option<&'p [u8]> {
        self.labels.iter().find(|(own, _)| *own == name).map(|(_, value)| *value)
    }
}

/// Reads the rest of a line after the name.
pub(super) fn sample(text: &[u8]) -> Result<Sample<'_>, LineErrorKind> {
    if text.len() > MAX_LINE_BYTES {
        return Err(LineErrorKind::TooLong);
    }
    if std::str::from_utf8(text).is_err() {
        return Err(LineErrorKind::NotUtf8);
    }
    let (mut labels, rest) = labels(text)?;
    labels.sort_unstable();
    if labels.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
        return Err(LineErrorKind::DuplicateLabel);
    }
    let runs_into_the_name = !matches!(text, [] | [b'{' | b' ' | b'\t' | b'\r', ..]);
    if runs_into_the_name {
        return Err(LineErrorKind::BadValue);
    }
    Ok(Sample { labels, value: value_and_rest(rest)? })
}

/// Splits the first line from the lines after it.
#[inline]
pub(super) fn split(text: &[u8]) -> (&[u8], &[u8]) {
    memchr::memchr(b'\n', text).and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?))).unwrap_or((text, &[]))
}
