//! Instants as AWS writes them.

use jiff::Timestamp;

/// `2026-11-21T03:00:00Z`, with milliseconds only where there are any.
pub fn format_iso(ms: i64) -> String {
    let Ok(instant) = Timestamp::from_millisecond(ms) else { return ms.to_string() };
    if ms.rem_euclid(1000) == 0 {
        instant.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    } else {
        instant.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
    }
}

/// EC2 always writes three decimals.
pub fn format_iso_millis(ms: i64) -> String {
    Timestamp::from_millisecond(ms)
        .map_or_else(|_| ms.to_string(), |instant| instant.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string())
}

/// Unix milliseconds of an ISO 8601 instant with a zone; without one UTC is meant.
pub fn parse_iso(text: &str) -> Option<i64> {
    let instant = text.parse::<Timestamp>().or_else(|_| format!("{text}Z").parse());
    instant.ok().map(Timestamp::as_millisecond)
}

/// Whole milliseconds of fractional epoch seconds, as smithy truncates them; `None` beyond what a clock can say.
pub fn ms_of_seconds(seconds: f64) -> Option<i64> {
    // Nearest, not floor: 1.001 s is 1.00099… as a double and means 1,001 ms.
    let ms = (seconds * 1000.0).round();
    // 9.2e15 ms is the year 292,277; beyond it neither AWS nor an i64 cast can be trusted.
    #[expect(clippy::cast_possible_truncation, reason = "the range was just checked")]
    (ms.abs() < 9.2e15).then_some(ms as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_survive_the_round_trip() {
        for (text, ms) in [("1970-01-01T00:00:00Z", 0), ("2026-11-21T03:00:00Z", 1_795_230_000_000)] {
            assert_eq!(format_iso(ms), text);
            assert_eq!(parse_iso(text), Some(ms));
        }
        assert_eq!(format_iso(1_795_230_000_120), "2026-11-21T03:00:00.120Z");
        assert_eq!(parse_iso("2026-11-21T04:00:00.120+01:00"), Some(1_795_230_000_120));
        assert_eq!(parse_iso("2026-11-21T03:00:00"), Some(1_795_230_000_000));
        assert_eq!(ms_of_seconds(1_795_230_000.001), Some(1_795_230_000_001));
        assert_eq!(ms_of_seconds(f64::NAN), None);
        assert_eq!(parse_iso("yesterday"), None);
    }
}
