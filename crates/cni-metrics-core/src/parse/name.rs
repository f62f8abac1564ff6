//! Which series of the catalogue a line begins with.

use crate::catalogue::{FAMILIES, Family};
use crate::labels::LabelledFamily;

/// What a sample line contributes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Series {
    /// A plain sample of a family other than the latencies.
    Family(Family),
    /// `_sum` of the latency summary.
    LatencySum,
    /// `_count` of the latency summary.
    LatencyCount,
    /// A quantile of the latency summary (old agents), which is not used.
    LatencyQuantile,
    /// `process_start_time_seconds`.
    ProcessStart,
    /// `awscni_build_info`, of which the label `version` is read.
    BuildInfo,
}

/// How many different [`Series`] there are.
pub(super) const SERIES: usize = FAMILIES + 5;

impl Series {
    /// Its number, below [`SERIES`].
    pub(super) fn index(self) -> usize {
        match self {
            Self::Family(family) => family as usize,
            Self::LatencySum => FAMILIES,
            Self::LatencyCount => FAMILIES + 1,
            Self::ProcessStart => FAMILIES + 2,
            Self::LatencyQuantile => FAMILIES + 3,
            Self::BuildInfo => FAMILIES + 4,
        }
    }

    /// The family it belongs to, if that keeps labels.
    #[inline]
    pub(super) fn labelled(self) -> Option<LabelledFamily> {
        if let Self::Family(family) = self { LabelledFamily::of(family) } else { None }
    }

    /// The family it belongs to.
    pub(super) fn family(self) -> Option<Family> {
        match self {
            Self::Family(family) => Some(family),
            Self::LatencySum | Self::LatencyCount => Some(Family::AwsApiLatencyMs),
            Self::LatencyQuantile | Self::ProcessStart | Self::BuildInfo => None,
        }
    }
}

/// The series at the front of the text, and what follows its name.
#[inline]
pub(super) fn recognise(text: &[u8]) -> Option<(Series, &[u8])> {
    let (series, rest) = if let Some(name) = text.strip_prefix(b"awscni_") {
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

/// Decides on few bytes which names are possible, so that one comparison is left, seldom two. `name` is without the
/// prefix that all of ipamd's families share.
#[inline]
fn of_family(name: &[u8]) -> Option<(Series, &[u8])> {
    macro_rules! pick {
        ($($rest:literal => $family:ident),+) => {{
            $(if let Some(rest) = name.strip_prefix($rest) {
                return Some((Series::Family(Family::$family), rest));
            })+
            None
        }};
    }
    match name {
        [b'a', b's', ..] => pick!(
            b"assigned_ip_per_cidr" => AssignedIpPerCidr,
            b"assigned_ip_addresses" => AssignedIpAddresses,
            b"assigned_ip_per_ipv4cidr" => AssignedIpPerCidr
        ),
        [b'a', b'w', b's', b'_', b'a', ..] => name
            .strip_prefix(b"aws_api_latency_ms")
            .map(latency)
            .or_else(|| pick!(b"aws_api_error_count" => AwsApiErrorCount))
            .or_else(|| name.strip_prefix(b"aws_api_lantency_ms").map(latency)),
        [b'a', b'w', ..] => pick!(b"aws_utils_error_count" => AwsUtilsErrorCount),
        [b'a', ..] => pick!(b"add_ip_req_count" => AddIpReqCount),
        [b'b', ..] => name.strip_prefix(b"build_info").map(|rest| (Series::BuildInfo, rest)),
        [b'd', ..] => pick!(b"del_ip_req_count" => DelIpReqCount),
        [b'e', b'c', ..] => pick!(
            b"ec2api_req_count" => Ec2ApiReqCount,
            b"ec2api_error_count" => Ec2ApiErrorCount
        ),
        [b'e', ..] => pick!(b"eni_allocated" => EniAllocated, b"eni_max" => EniMax),
        [b'f', ..] => pick!(b"force_removed_enis" => ForceRemovedEnis, b"force_removed_ips" => ForceRemovedIps),
        [b'i', b'p', b'_', ..] => pick!(b"ip_max" => IpMax),
        [b'i', ..] => pick!(
            b"ipamd_action_inprogress" => IpamdActionInProgress,
            b"ipamd_error_count" => IpamdErrorCount
        ),
        [b'n', ..] => pick!(b"no_available_ip_addresses" => NoAvailableIpAddresses),
        [b'p', ..] => pick!(b"pod_eni_error_count" => PodEniErrorCount),
        [b'r', ..] => pick!(b"reconcile_count" => ReconcileCount),
        [b't', ..] => pick!(
            b"total_ip_addresses" => TotalIpAddresses,
            b"total_ipv4_prefixes" => TotalIpv4Prefixes
        ),
        _ => None,
    }
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
    fn series_have_numbers_of_their_own() {
        let others = [
            Series::LatencySum,
            Series::LatencyCount,
            Series::LatencyQuantile,
            Series::ProcessStart,
            Series::BuildInfo,
        ];
        let all = Family::ALL.map(Series::Family).into_iter().chain(others);
        assert_eq!(all.map(Series::index).collect::<std::collections::BTreeSet<_>>(), (0..SERIES).collect());
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
