//! Values that a scenario writes with a unit or a range, and values that remember their line.

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A duration in simulated time, written `90s`, `10m`, `2h` or `1d`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(transparent)]
pub struct Span {
    /// Milliseconds.
    pub ms: i64,
}

impl Span {
    /// `n` minutes.
    pub const fn minutes(n: i64) -> Self {
        Self { ms: n * 60_000 }
    }

    /// `n` seconds.
    pub const fn seconds(n: i64) -> Self {
        Self { ms: n * 1_000 }
    }

    /// Reads `90s`, `10m`, `2h`, `1d`, `250ms`.
    pub fn read(text: &str) -> Option<Self> {
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at(digits);
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        Some(Self { ms: number.parse::<i64>().ok()?.checked_mul(factor)? })
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.ms)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::read(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "invalid duration {text:?}: expected a whole number and ms, s, m, h or d, e.g. 90s"
            ))
        })
    }
}

/// A part of a whole, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize)]
#[serde(transparent)]
pub struct Share(pub f64);

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(deserializer)?;
        if (0.0..=1.0).contains(&value) {
            Ok(Self(value))
        } else {
            Err(D::Error::custom(format!("{value} is out of range: a share is 0 to 1")))
        }
    }
}

/// A value and the line it was read from (0 when it was not read), so that a contradiction can be pointed at.
#[derive(Debug, Clone, Default)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// 1-based line.
    pub line: u64,
}

/// The line is not part of the value.
impl<T: PartialEq> PartialEq for At<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T> From<T> for At<T> {
    fn from(value: T) -> Self {
        Self { value, line: 0 }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = serde_saphyr::Spanned::<T>::deserialize(deserializer)?;
        Ok(Self { value: spanned.value, line: spanned.referenced.line() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_need_a_unit() {
        assert_eq!(Span::read("90s"), Some(Span::seconds(90)));
        assert_eq!(Span::read("2h"), Some(Span::minutes(120)));
        assert_eq!(Span::read("250ms").map(|span| span.ms), Some(250));
        for wrong in ["", "90", "s", "-5s", "1.5h", "3w", "99999999999999999999s"] {
            assert_eq!(Span::read(wrong), None, "{wrong}");
        }
    }
}
