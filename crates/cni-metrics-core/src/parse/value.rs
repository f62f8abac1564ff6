//! The number of a sample line, and what may follow it.

use super::error::LineErrorKind;
use super::limits::MAX_LINE_BYTES;

/// Fewer digits than this are exact in a 64-bit float: 10^15 < 2^53.
const EXACT_DIGITS: usize = 16;

/// The usual end of a line: a space, a short whole number and a newline. Gives the number and the lines after.
#[inline]
pub(super) fn whole_number_line(text: &[u8]) -> Option<(f64, &[u8])> {
    let [b' ', digits @ ..] = text else { return None };
    let mut value: u64 = 0;
    for (at, byte) in digits.iter().take(EXACT_DIGITS).enumerate() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            let ends = *byte == b'\n' && at > 0;
            return if ends { digits.get(at + 1..).map(|rest| (value as f64, rest)) } else { None };
        }
        value = value * 10 + u64::from(digit);
    }
    None
}

/// The rest of a line after name and labels: value, then perhaps a timestamp, then perhaps an OpenMetrics exemplar.
/// The last two are accepted and ignored.
pub(super) fn value_and_rest(text: &[u8]) -> Result<f64, LineErrorKind> {
    if text.len() > MAX_LINE_BYTES {
        return Err(LineErrorKind::TooLong);
    }
    if std::str::from_utf8(text).is_err() {
        return Err(LineErrorKind::NotUtf8);
    }
    let text = text.trim_ascii();
    if text.is_empty() {
        return Err(LineErrorKind::MissingValue);
    }
    let mut words = text.splitn(2, u8::is_ascii_whitespace);
    let value = number(words.next().unwrap_or_default())?;
    let rest = words.next().unwrap_or_default().trim_ascii_start();
    if rest.is_empty() || rest.starts_with(b"#") {
        return Ok(value);
    }
    let mut words = rest.splitn(2, u8::is_ascii_whitespace);
    let timestamp = number(words.next().unwrap_or_default());
    let rest = words.next().unwrap_or_default().trim_ascii_start();
    if timestamp.is_ok_and(f64::is_finite) && (rest.is_empty() || rest.starts_with(b"#")) {
        Ok(value)
    } else {
        Err(LineErrorKind::TrailingText)
    }
}

/// A number as Go prints it: `42`, `1.5`, `1e+06`, `+Inf`, `NaN`. Not finite is still a number here.
pub(super) fn number(text: &[u8]) -> Result<f64, LineErrorKind> {
    let text = std::str::from_utf8(text).map_err(|_| LineErrorKind::BadValue)?;
    text.parse().map_err(|_| LineErrorKind::BadValue)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_whole_numbers_take_the_fast_way() {
        assert_eq!(whole_number_line(b" 42\nx 1\n"), Some((42.0, &b"x 1\n"[..])));
        assert_eq!(whole_number_line(b" 999999999999999\n"), Some((999_999_999_999_999.0, &b""[..])));
        for other in [" 1.5\n", " \n", " 42 \n", " 42\r\n", "42\n", " 1234567890123456\n", " -1\n", " 42", ""] {
            assert_eq!(whole_number_line(other.as_bytes()), None, "{other:?}");
        }
    }

    #[test]
    fn numbers_as_go_prints_them() {
        for (text, value) in [
            (" 42", 42.0),
            ("\t1e+06 ", 1e6),
            (" -0.25", -0.25),
            (" 2.81474976710656e+14", 281_474_976_710_656.0),
            (" +Inf", f64::INFINITY),
            (" 1 1700000000000", 1.0),
            (" 1 1700000000.123", 1.0),
            (" 1 # {trace_id=\"a b\"} 0.5 1700000000.1", 1.0),
            (" 1 1700000000 # {} 0.5", 1.0),
            (" 1e999", f64::INFINITY),
        ] {
            assert_eq!(value_and_rest(text.as_bytes()), Ok(value), "{text:?}");
        }
        assert!(value_and_rest(b" NaN").is_ok_and(f64::is_nan));
    }

    #[test]
    fn what_is_no_number() {
        use LineErrorKind::{BadValue, MissingValue, TrailingText};
        for (text, error) in [
            ("", MissingValue),
            (" \t", MissingValue),
            (" 0x10", BadValue),
            (" 1_000", BadValue),
            (" 1,5", BadValue),
            (" one", BadValue),
            (" 1e", BadValue),
            (" --1", BadValue),
            (" 1 two", TrailingText),
            (" 1 2 3", TrailingText),
            (" 1 NaN", TrailingText),
        ] {
            assert_eq!(value_and_rest(text.as_bytes()), Err(error), "{text:?}");
        }
    }
}
