//! Which series of the catalogue a line begins with.

use crate::catalogue::{FAMILIES, Family};

/// What a sample line contributes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Series {
    /// A plain sample of a family; for the latency family, a quantile.
    Family(Family),
    /// `_sum` of the latency summary.
    LatencySum,
    /// `_count` of the latency summary.
    LatencyCount,
    /// `process_start_time_seconds`.
    ProcessStart,
}

/// How many different [`Series`] there are.
pub(super) const SERIES: usize = FAMILIES + 3;

impl Series {
    /// Its number, below [`SERIES`].
    pub(super) fn index(self) -> usize {
        match self {
            Self::Family(family) => family as usize,
            Self::LatencySum => FAMILIES,
            Self::LatencyCount => FAMILIES + 1,
            Self::ProcessStart => FAMILIES + 2,
        }
    }

    /// The family it belongs to.
    pub(super) fn family(self) -> Option<Family> {
        match self {
            Self::Family(family) => Some(family),
            Self::LatencySum | Self::LatencyCount => Some(Family::AwsApiLatencyMs),
            Self::ProcessStart => None,
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
    // A longer name is another family's.
    match rest {
        [b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b':', ..] => None,
        _ => Some((series, rest)),
    }
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
            b"assigned_ip_addresses" => AssignedIpAddresses
        ),
        [b'a', b'w', b's', b'_', b'a', ..] => name
            .strip_prefix(b"aws_api_latency_ms")
            .map(latency)
            .or_else(|| pick!(b"aws_api_error_count" => AwsApiErrorCount)),
        [b'a', b'w', ..] => pick!(b"aws_utils_error_count" => AwsUtilsErrorCount),
        [b'a', ..] => pick!(b"add_ip_req_count" => AddIpReqCount),
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

/// The operations that ipamd calls and times, so that their names need no memory of their own.
pub(super) fn well_known_api(name: &[u8]) -> Option<&'static str> {
    macro_rules! known {
        ($($api:literal),+ $(,)?) => {
            match name {
                $(name if name == $api.as_bytes() => Some($api),)+
                _ => None,
            }
        };
    }
    known!(
        "AssignIpv6Addresses",
        "AssignPrivateIpAddresses",
        "AttachNetworkInterface",
        "CreateNetworkInterface",
        "CreateTags",
        "DeleteNetworkInterface",
        "DescribeInstanceTypes",
        "DescribeInstances",
        "DescribeNetworkInterfaces",
        "DescribeSubnets",
        "DetachNetworkInterface",
        "GetMetadata",
        "ModifyNetworkInterfaceAttribute",
        "UnassignPrivateIpAddresses",
        "waitForENIAndIPsAttached",
    )
}

fn latency(rest: &[u8]) -> (Series, &[u8]) {
    if let Some(rest) = rest.strip_prefix(b"_sum") {
        (Series::LatencySum, rest)
    } else if let Some(rest) = rest.strip_prefix(b"_count") {
        (Series::LatencyCount, rest)
    } else {
        (Series::Family(Family::AwsApiLatencyMs), rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_found_by_its_catalogue_name() {
        for family in Family::ALL {
            let line = format!("{} 1\n", family.name());
            assert_eq!(recognise(line.as_bytes()), Some((Series::Family(family), &b" 1\n"[..])), "{line}");
            let longer = format!("{}_x 1\n", family.name());
            assert_eq!(recognise(longer.as_bytes()), None, "{longer}");
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
