//! Which series of the catalogue a line begins with.

use super::known::{KNOWN, head_of, known};
use super::series::Series;
use cni_types::catalogue::FAMILY_PREFIX;

/// The series at the front of the text, and what follows its name.
#[inline]
pub(super) fn recognise(text: &[u8]) -> Option<(Series, &[u8])> {
    let (series, rest) = if let Some(name) = text.strip_prefix(FAMILY_PREFIX.as_bytes()) {
        of_family(name)?
    } else {
        (Series::ProcessStart, text.strip_prefix(b"process_start_time_seconds")?)
    };
    if continues_a_name(rest) { suffixed(series, rest) } else { Some((series, rest)) }
}

/// True where what follows is still part of the name.
#[inline]
fn continues_a_name(rest: &[u8]) -> bool {
    matches!(rest, [b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b':', ..])
}

/// A longer name is another family's, but for the `_total` that OpenTelemetry and OpenMetrics append to a counter's.
#[cold]
fn suffixed(series: Series, rest: &[u8]) -> Option<(Series, &[u8])> {
    let Series::Family(family) = series else { return None };
    let after = rest.strip_prefix(b"_total").filter(|after| family.is_counter() && !continues_a_name(after))?;
    Some((series, after))
}

/// The family of a name, and what follows it. `name` is without the prefix that all of ipamd's families share. The front
/// leaves one name to compare with, seldom three; comparing with constants needs no call.
#[inline]
fn of_family(name: &[u8]) -> Option<(Series, &[u8])> {
    let head = head_of(*name.first_chunk()?);
    macro_rules! pick {
        ($($at:literal)+) => {
            $(if $at < KNOWN
                && head == const { known($at).0 }
                && let Some(rest) = name.strip_prefix(const { known($at).1.name })
            {
                let series = const { known($at).1.series };
                return Some(if series.is_latency() { latency(rest) } else { (series, rest) });
            })+
        };
    }
    const { assert!(KNOWN <= 48, "pick! has a number for each name") };
    pick!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23);
    pick!(24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47);
    None
}

fn latency(rest: &[u8]) -> (Series, &[u8]) {
    if let Some(rest) = rest.strip_prefix(b"_sum") {
        (Series::LatencySum, rest)
    } else if let Some(rest) = rest.strip_prefix(b"_count") {
        (Series::LatencyCount, rest)
    } else {
        (Series::LatencyQuantile, rest)
    }
}

#[cfg(test)]
mod tests {
    use cni_types::catalogue::Family;

    use super::*;

    /// The series that a family's own name stands for.
    fn series_of(family: Family) -> Series {
        if family == Family::AwsApiLatencyMs { Series::LatencyQuantile } else { Series::Family(family) }
    }

    #[test]
    fn every_family_is_found_by_its_present_and_its_former_name() {
        for family in Family::ALL {
            for name in [Some(family.name()), family.former_name()].into_iter().flatten() {
                let line = format!("{name} 1\n");
                assert_eq!(recognise(line.as_bytes()), Some((series_of(family), &b" 1\n"[..])), "{line}");
                for longer in [format!("{name}_x 1\n"), format!("{name}s 1\n"), format!("{name}_total_x 1\n")] {
                    assert_eq!(recognise(longer.as_bytes()), None, "{longer}");
                }
            }
        }
        for name in ["awscni_aws_api_latency_ms", "awscni_aws_api_lantency_ms"] {
            for (suffix, series) in [("_sum", Series::LatencySum), ("_count", Series::LatencyCount)] {
                let line = format!("{name}{suffix}{{");
                assert_eq!(recognise(line.as_bytes()), Some((series, &b"{"[..])), "{line}");
            }
        }
    }

    #[test]
    fn a_counter_may_end_in_total_and_nothing_else_may() {
        for family in Family::ALL {
            let line = format!("{}_total{{", family.name());
            let expected = family.is_counter().then_some((Series::Family(family), &b"{"[..]));
            assert_eq!(recognise(line.as_bytes()), expected, "{line}");
        }
        for line in
            ["process_start_time_seconds_total 1", "awscni_build_info_total 1", "awscni_aws_api_latency_ms_sum_total 1"]
        {
            assert_eq!(recognise(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn other_families_are_not_ours() {
        for line in
            ["awscni_assigned_ip_per_eni{eni=\"e\"} 1", "awscni_", "awscni", "go_threads 9", "awscni_eni_maxi 2"]
        {
            assert_eq!(recognise(line.as_bytes()), None, "{line}");
        }
    }
}
