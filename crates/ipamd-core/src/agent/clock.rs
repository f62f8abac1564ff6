//! Times that others read: written and read as RFC 3339 text.

/// Seconds since 1970 as `2026-01-02T03:04:05Z`.
pub(crate) fn rfc3339(unix_s: i64) -> String {
    let (days, second) = (unix_s.div_euclid(86_400), unix_s.rem_euclid(86_400));
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3_600, second / 60 % 60, second % 60)
}

/// Seconds since 1970 of such a text, with any offset and fraction; `None` if it is none.
pub(crate) fn parse_rfc3339(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |from: usize, digits: usize| -> Option<i64> {
        let part = bytes.get(from..from + digits)?;
        part.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
    };
    let is = |at: usize, expected: u8| bytes.get(at) == Some(&expected);
    let punctuated = is(4, b'-') && is(7, b'-') && is(10, b'T') && is(13, b':') && is(16, b':');
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let in_range = (1..=12).contains(&month) && day >= 1 && hour < 24 && minute < 60 && second < 60;
    let days = days_before(year, month) + day - 1;
    if !punctuated || !in_range || date(days) != (year, month, day) {
        return None;
    }
    let mut rest = text.get(19..)?;
    if let Some(fraction) = rest.strip_prefix('.') {
        let end = fraction.find(|sign: char| !sign.is_ascii_digit()).filter(|end| *end > 0)?;
        rest = fraction.get(end..)?;
    }
    let offset_s = offset(rest)?;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second - offset_s)
}

fn offset(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let [sign @ (b'+' | b'-'), h1, h0, b':', m1, m0] = text.as_bytes() else { return None };
    if ![h1, h0, m1, m0].iter().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let pair = |high: u8, low: u8| i64::from(high - b'0') * 10 + i64::from(low - b'0');
    let (hours, minutes) = (pair(*h1, *h0), pair(*m1, *m0));
    let seconds = hours * 3_600 + minutes * 60;
    (hours < 24 && minutes < 60).then_some(if *sign == b'-' { -seconds } else { seconds })
}

/// Days from 1970 to the first of a month (proleptic Gregorian calendar; years of four digits).
fn days_before(year: i64, month: i64) -> i64 {
    // Years that begin in March, so that the leap day is the last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month + 2) / 5;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for (unix_s, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_787_264_695, "2026-08-20T22:24:55Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
        ] {
            assert_eq!((rfc3339(unix_s).as_str(), parse_rfc3339(text)), (text, Some(unix_s)));
        }
        assert_eq!(parse_rfc3339("2026-08-20T22:24:55.123+02:00"), Some(1_787_264_695 - 7_200));
        assert_eq!(parse_rfc3339("2026-08-20T22:24:55-00:30"), Some(1_787_264_695 + 1_800));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "now",
            "2026-08-20",
            "2026-08-20T22:24:55",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-08-20 22:24:55Z",
            "2026-08-20T24:00:00Z",
            "2026-08-20T22:24:55.Z",
            "2026-08-20T22:24:55+0200",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }
}
