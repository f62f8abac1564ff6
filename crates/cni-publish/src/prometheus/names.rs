//! Which metric is exposed under which name.
//!
//! Names follow Prometheus' conventions (base units, `_total` on counters only); the six without prefix are the Go
//! helper's own, kept for dashboards that exist.

use cni_metrics_core::catalogue::Metric;

/// A metric's name, to be prefixed with `cni_cluster_` or `cni_node_`.
#[derive(Debug, Clone, Copy)]
pub struct Name {
    /// The metric.
    pub metric: Metric,
    /// The name without prefix.
    pub name: &'static str,
    /// How many of the measured unit make one of the exposed.
    pub per_unit: f64,
    /// HELP, after "Cluster: " or "Node: ".
    pub help: &'static str,
}

const fn plain(metric: Metric, name: &'static str, help: &'static str) -> Name {
    Name { metric, name, per_unit: 1.0, help }
}

/// The Go helper's names, with the cluster's sum and no labels.
pub const LEGACY: [Name; 6] = [
    plain(Metric::EniMaxAvailable, "awscni_eni_max", "The maximum number of ENIs that can be attached"),
    plain(Metric::MaxIpAddresses, "awscni_ip_max", "The maximum number of IP addresses that can be allocated"),
    plain(Metric::EniAllocated, "awscni_eni_allocated", "The number of ENIs allocated"),
    plain(Metric::TotalIpAddresses, "awscni_total_ip_addresses", "The number of IP addresses in the pools"),
    plain(Metric::AssignIpAddresses, "awscni_assigned_ip_addresses", "The number of IP addresses assigned to pods"),
    plain(Metric::TotalIpv4Prefixes, "awscni_total_ipv4_prefixes", "The number of IPv4 prefixes in the pools"),
];

/// Gauges, as measured in the round.
pub const GAUGES: [Name; 9] = [
    plain(Metric::AssignIpAddresses, "assigned_ip_addresses", "IPv4 addresses assigned to pods"),
    plain(Metric::TotalIpAddresses, "total_ip_addresses", "IPv4 addresses in the warm pools, assigned or not"),
    plain(Metric::TotalIpv4Prefixes, "total_ipv4_prefixes", "IPv4 /28 prefixes attached"),
    plain(Metric::TotalAssignedIpv4sPerCidr, "assigned_ip_per_cidr", "IPv4 addresses assigned, summed over CIDRs"),
    plain(Metric::EniAllocated, "eni_allocated", "ENIs attached"),
    plain(Metric::EniMaxAvailable, "eni_max", "ENIs that could be attached"),
    plain(Metric::MaxIpAddresses, "ip_max", "IPv4 addresses that could be allocated"),
    plain(Metric::IpamdActionInProgress, "ipamd_actions_in_progress", "ipamd actions under way"),
    Name {
        metric: Metric::AwsApiLatency,
        name: "aws_api_latency_max_seconds",
        per_unit: 1000.0,
        help: "Highest mean latency of an EC2 operation within the round's interval",
    },
];

/// Counters; exposed as monotonic totals, with the suffix `_total`.
pub const COUNTERS: [Name; 12] = [
    plain(Metric::AwsApiErr, "aws_api_errors", "AWS API calls of ipamd that failed"),
    plain(Metric::AwsUtilErr, "aws_utils_errors", "Errors in ipamd's AWS helper functions"),
    plain(Metric::IpamdErr, "ipamd_errors", "Errors in ipamd"),
    plain(Metric::ReconcileCount, "reconciles", "Addresses and prefixes reconciled"),
    plain(Metric::AddReqCount, "add_ip_requests", "Requests for a pod address"),
    plain(Metric::DelReqCount, "del_ip_requests", "Requests to release a pod address"),
    plain(Metric::PodEniErr, "pod_eni_errors", "Errors of pod ENIs"),
    plain(Metric::ForceRemoveEni, "force_removed_enis", "ENIs removed while they still had pods"),
    plain(Metric::ForceRemoveIps, "force_removed_ips", "Addresses removed while they were still assigned"),
    plain(Metric::Ec2ApiReqCount, "ec2_api_requests", "EC2 API calls of ipamd"),
    plain(Metric::Ec2ApiErrCount, "ec2_api_errors", "EC2 API calls of ipamd that failed"),
    plain(Metric::NoAvailableIpAddresses, "no_available_ip_addresses", "Pods refused for want of an address"),
];

#[cfg(test)]
mod tests {
    use cni_metrics_core::catalogue::{CATALOGUE, Kind};

    use super::*;

    #[test]
    fn every_family_of_the_catalogue_has_exactly_one_name_of_its_kind() {
        for row in CATALOGUE {
            let count = |names: &[Name]| names.iter().filter(|name| name.metric == row.metric).count();
            let expected = match row.kind {
                Kind::SumGauge | Kind::Latency => (1, 0),
                Kind::Counter => (0, 1),
                Kind::Own => (0, 0),
            };
            assert_eq!((count(&GAUGES), count(&COUNTERS)), expected, "{}", row.name);
        }
    }
}
