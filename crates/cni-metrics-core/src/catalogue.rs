//! The one table: which ipamd families are read, how each is folded, and under which name it is published.
//!
//! Names are a promise to dashboards and alarms: an entry may be added, never renamed.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::agent::AgentVersion;

/// Number of families that are read.
pub const FAMILIES: usize = 21;

/// Number of published metrics: one a family, and the two coverage metrics.
pub const METRICS: usize = FAMILIES + 2;

/// An ipamd metric family that is read. The order is the catalogue's and the index of [`crate::model::NodeSample::families`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is described by its row of CATALOGUE")]
pub enum Family {
    AssignedIpAddresses,
    TotalIpAddresses,
    TotalIpv4Prefixes,
    AssignedIpPerCidr,
    EniAllocated,
    EniMax,
    IpMax,
    IpamdActionInProgress,
    AwsApiLatencyMs,
    AwsApiErrorCount,
    AwsUtilsErrorCount,
    IpamdErrorCount,
    ReconcileCount,
    AddIpReqCount,
    DelIpReqCount,
    PodEniErrorCount,
    ForceRemovedEnis,
    ForceRemovedIps,
    Ec2ApiReqCount,
    Ec2ApiErrorCount,
    NoAvailableIpAddresses,
}

/// A published metric. The first [`FAMILIES`] are the families' own, in the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is described by its row of CATALOGUE")]
pub enum Metric {
    AssignIpAddresses,
    TotalIpAddresses,
    TotalIpv4Prefixes,
    TotalAssignedIpv4sPerCidr,
    EniAllocated,
    EniMaxAvailable,
    MaxIpAddresses,
    IpamdActionInProgress,
    AwsApiLatency,
    AwsApiErr,
    AwsUtilErr,
    IpamdErr,
    ReconcileCount,
    AddReqCount,
    DelReqCount,
    PodEniErr,
    ForceRemoveEni,
    ForceRemoveIps,
    Ec2ApiReqCount,
    Ec2ApiErrCount,
    NoAvailableIpAddresses,
    NodesExpected,
    NodesScraped,
}

/// How a metric's values over nodes become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Sum over nodes of the sum over the family's series.
    SumGauge,
    /// Sum over nodes of the exact increase since the node's previous good scrape.
    Counter,
    /// The highest mean of the interval over nodes and APIs.
    Latency,
    /// The helper's own count of nodes.
    Own,
}

/// CloudWatch's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A plain number.
    Count,
    /// Milliseconds.
    Milliseconds,
}

/// Which metric set a name belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MetricSet {
    /// Exactly the names of the Go helper v1.23.1.
    Compat,
    /// Those and the names it lacked (the default).
    Standard,
}

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The published metric.
    pub metric: Metric,
    /// ipamd's family; `None` for the helper's own counts.
    pub family: Option<&'static str>,
    /// The published name (CloudWatch, JSON, log lines).
    pub name: &'static str,
    /// How it is folded.
    pub kind: Kind,
    /// Its unit.
    pub unit: Unit,
    /// The smallest set that holds it.
    pub set: MetricSet,
    /// One sentence for `--help`-like places, Prometheus HELP lines and documentation.
    pub help: &'static str,
}

/// The families and their rows, in the order of [`Family`] and [`Metric`].
#[rustfmt::skip] // a table is read by columns
pub const CATALOGUE: [Row; METRICS] = {
    use Kind::{Counter, Latency, Own, SumGauge};
    use MetricSet::{Compat, Standard};
    [
        row(Metric::AssignIpAddresses, "awscni_assigned_ip_addresses", "assignIPAddresses", SumGauge, Compat,
            "Pod addresses assigned to pods now."),
        row(Metric::TotalIpAddresses, "awscni_total_ip_addresses", "totalIPAddresses", SumGauge, Compat,
            "Pod addresses held by the nodes, assigned or not."),
        row(Metric::TotalIpv4Prefixes, "awscni_total_ipv4_prefixes", "totalIPv4Prefixes", SumGauge, Compat,
            "IPv4 /28 prefixes held by the nodes."),
        row(Metric::TotalAssignedIpv4sPerCidr, "awscni_assigned_ip_per_cidr", "totalAssignedIPv4sPerCidr", SumGauge, Compat,
            "Pod addresses assigned, added up over the attached CIDRs."),
        row(Metric::EniAllocated, "awscni_eni_allocated", "eniAllocated", SumGauge, Compat,
            "Network interfaces attached and managed."),
        row(Metric::EniMaxAvailable, "awscni_eni_max", "eniMaxAvailable", SumGauge, Compat,
            "Network interfaces the nodes could have, less unmanaged ones."),
        row(Metric::MaxIpAddresses, "awscni_ip_max", "maxIPAddresses", SumGauge, Compat,
            "Pod addresses the nodes could hold at most."),
        row(Metric::IpamdActionInProgress, "awscni_ipamd_action_inprogress", "ipamdActionInProgress", SumGauge, Compat,
            "Pool actions of ipamd that are running now."),
        row(Metric::AwsApiLatency, "awscni_aws_api_latency_ms", "awsAPILatency", Latency, Compat,
            "Highest mean latency of an EC2 operation over nodes and operations in the interval, milliseconds."),
        row(Metric::AwsApiErr, "awscni_aws_api_error_count", "awsAPIErr", Counter, Compat,
            "EC2 and instance metadata calls that failed with an API error."),
        row(Metric::AwsUtilErr, "awscni_aws_utils_error_count", "awsUtilErr", Counter, Compat,
            "Failed steps around EC2 calls, such as cleaning up an interface."),
        row(Metric::IpamdErr, "awscni_ipamd_error_count", "ipamdErr", Counter, Compat,
            "Errors inside ipamd."),
        row(Metric::ReconcileCount, "awscni_reconcile_count", "reconcileCount", Counter, Compat,
            "Addresses and interfaces that reconciliation looked at or swept."),
        row(Metric::AddReqCount, "awscni_add_ip_req_count", "addReqCount", Counter, Compat,
            "Requests for a pod address."),
        row(Metric::DelReqCount, "awscni_del_ip_req_count", "delReqCount", Counter, Compat,
            "Requests to release a pod address."),
        row(Metric::PodEniErr, "awscni_pod_eni_error_count", "podENIErr", Counter, Compat,
            "Errors while setting up security groups for pods."),
        row(Metric::ForceRemoveEni, "awscni_force_removed_enis", "forceRemoveENI", Counter, Compat,
            "Network interfaces that vanished while pods used them."),
        row(Metric::ForceRemoveIps, "awscni_force_removed_ips", "forceRemoveIPs", Counter, Compat,
            "Pod addresses that vanished while pods used them."),
        row(Metric::Ec2ApiReqCount, "awscni_ec2api_req_count", "ec2ApiReqCount", Counter, Compat,
            "EC2 API calls."),
        row(Metric::Ec2ApiErrCount, "awscni_ec2api_error_count", "ec2ApiErrCount", Counter, Compat,
            "EC2 API calls that failed."),
        row(Metric::NoAvailableIpAddresses, "awscni_no_available_ip_addresses", "noAvailableIPAddresses", Counter, Standard,
            "Pod addresses refused because the node had none free."),
        row(Metric::NodesExpected, "", "nodesExpected", Own, Standard,
            "Nodes whose aws-node pod should have answered."),
        row(Metric::NodesScraped, "", "nodesScraped", Own, Standard,
            "Nodes whose aws-node pod answered with a readable page."),
    ]
};

const fn row(
    metric: Metric,
    family: &'static str,
    name: &'static str,
    kind: Kind,
    set: MetricSet,
    help: &'static str,
) -> Row {
    let unit = if matches!(kind, Kind::Latency) { Unit::Milliseconds } else { Unit::Count };
    let family = if family.is_empty() { None } else { Some(family) };
    Row { metric, family, name, kind, unit, set, help }
}

impl Family {
    /// Every family, in the catalogue's order.
    pub const ALL: [Self; FAMILIES] = [
        Self::AssignedIpAddresses,
        Self::TotalIpAddresses,
        Self::TotalIpv4Prefixes,
        Self::AssignedIpPerCidr,
        Self::EniAllocated,
        Self::EniMax,
        Self::IpMax,
        Self::IpamdActionInProgress,
        Self::AwsApiLatencyMs,
        Self::AwsApiErrorCount,
        Self::AwsUtilsErrorCount,
        Self::IpamdErrorCount,
        Self::ReconcileCount,
        Self::AddIpReqCount,
        Self::DelIpReqCount,
        Self::PodEniErrorCount,
        Self::ForceRemovedEnis,
        Self::ForceRemovedIps,
        Self::Ec2ApiReqCount,
        Self::Ec2ApiErrorCount,
        Self::NoAvailableIpAddresses,
    ];

    /// Number of families that are counters.
    pub const COUNTER_COUNT: usize = 12;

    /// The families that are counters, in the catalogue's order.
    pub const COUNTERS: [Self; Self::COUNTER_COUNT] = [
        Self::AwsApiErrorCount,
        Self::AwsUtilsErrorCount,
        Self::IpamdErrorCount,
        Self::ReconcileCount,
        Self::AddIpReqCount,
        Self::DelIpReqCount,
        Self::PodEniErrorCount,
        Self::ForceRemovedEnis,
        Self::ForceRemovedIps,
        Self::Ec2ApiReqCount,
        Self::Ec2ApiErrorCount,
        Self::NoAvailableIpAddresses,
    ];

    /// The metric it is published as.
    pub const fn metric(self) -> Metric {
        self.row().metric
    }

    /// How it is folded.
    pub const fn kind(self) -> Kind {
        self.row().kind
    }

    /// ipamd's name of it.
    pub const fn name(self) -> &'static str {
        match self.row().family {
            Some(name) => name,
            None => "",
        }
    }

    /// True if its kind is [`Kind::Counter`]: the counters are the end of the list.
    pub const fn is_counter(self) -> bool {
        self as usize >= FAMILIES - Self::COUNTER_COUNT
    }

    /// True for what only grows while its process lives: counters, and the sums and counts of latencies.
    pub const fn counts_events(self) -> bool {
        self.is_counter() || matches!(self, Self::AwsApiLatencyMs)
    }

    /// True for the counters without labels. They stand on every page of an agent that has them, with 0 from the start on:
    /// one that is absent is not measured. Labelled ones are absent until they first count.
    pub const fn is_plain_counter(self) -> bool {
        matches!(
            self,
            Self::AddIpReqCount | Self::ForceRemovedEnis | Self::ForceRemovedIps | Self::NoAvailableIpAddresses
        )
    }

    /// The first version of the agent that has the family. What is older than 1.4, the oldest of which pages are known,
    /// counts as 1.4.
    pub const fn first_version(self) -> AgentVersion {
        match self {
            Self::ForceRemovedEnis | Self::ForceRemovedIps => AgentVersion::new(1, 6, 0),
            Self::PodEniErrorCount => AgentVersion::new(1, 7, 0),
            Self::TotalIpv4Prefixes | Self::AssignedIpPerCidr => AgentVersion::new(1, 9, 0),
            Self::Ec2ApiReqCount | Self::Ec2ApiErrorCount => AgentVersion::new(1, 12, 1),
            Self::NoAvailableIpAddresses => AgentVersion::new(1, 16, 0),
            _ => AgentVersion::new(1, 4, 0),
        }
    }

    /// True if agents of this version have the family.
    pub fn is_in(self, version: AgentVersion) -> bool {
        version >= self.first_version()
    }

    /// A name that earlier agents gave the family.
    pub const fn former_name(self) -> Option<&'static str> {
        match self {
            // 1.9 only.
            Self::AssignedIpPerCidr => Some("awscni_assigned_ip_per_ipv4cidr"),
            // 1.4.
            Self::AwsApiLatencyMs => Some("awscni_aws_api_lantency_ms"),
            _ => None,
        }
    }

    /// True for gauges that count IPv4 pod addresses: nodes whose pool holds IPv6 prefixes are left out of their sums.
    pub const fn counts_ipv4(self) -> bool {
        matches!(
            self,
            Self::AssignedIpAddresses
                | Self::TotalIpAddresses
                | Self::TotalIpv4Prefixes
                | Self::AssignedIpPerCidr
                | Self::IpMax
        )
    }

    const fn row(self) -> &'static Row {
        row_at(self as usize)
    }
}

impl Metric {
    /// Every metric, in the catalogue's order.
    pub const ALL: [Self; METRICS] = [
        Self::AssignIpAddresses,
        Self::TotalIpAddresses,
        Self::TotalIpv4Prefixes,
        Self::TotalAssignedIpv4sPerCidr,
        Self::EniAllocated,
        Self::EniMaxAvailable,
        Self::MaxIpAddresses,
        Self::IpamdActionInProgress,
        Self::AwsApiLatency,
        Self::AwsApiErr,
        Self::AwsUtilErr,
        Self::IpamdErr,
        Self::ReconcileCount,
        Self::AddReqCount,
        Self::DelReqCount,
        Self::PodEniErr,
        Self::ForceRemoveEni,
        Self::ForceRemoveIps,
        Self::Ec2ApiReqCount,
        Self::Ec2ApiErrCount,
        Self::NoAvailableIpAddresses,
        Self::NodesExpected,
        Self::NodesScraped,
    ];

    /// Its row.
    pub const fn row(self) -> &'static Row {
        row_at(self as usize)
    }

    /// The published name.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// How it is folded.
    pub const fn kind(self) -> Kind {
        self.row().kind
    }

    /// The metric with this published name, letter for letter.
    pub fn by_name(name: &str) -> Option<Self> {
        CATALOGUE.iter().find(|row| row.name == name).map(|row| row.metric)
    }
}

impl serde::Serialize for Metric {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The row of a [`Family`] or [`Metric`]; both are numbered as the table is, which a test holds.
#[expect(clippy::indexing_slicing, reason = "in const context; a discriminant is always below METRICS")]
const fn row_at(index: usize) -> &'static Row {
    const TABLE: &[Row; METRICS] = &CATALOGUE;
    &TABLE[index]
}

/// A text that names no metric set.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is no metric set: it must be compat or standard")]
pub struct UnknownMetricSet {
    text: String,
}

impl MetricSet {
    /// True if the metric belongs to the set.
    pub fn contains(self, metric: Metric) -> bool {
        metric.row().set <= self
    }

    /// The set's metrics, in the catalogue's order.
    pub fn metrics(self) -> impl Iterator<Item = Metric> {
        Metric::ALL.into_iter().filter(move |metric| self.contains(*metric))
    }

    /// The name under which it is configured.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Compat => "compat",
            Self::Standard => "standard",
        }
    }
}

impl fmt::Display for MetricSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for MetricSet {
    type Err = UnknownMetricSet;

    /// Accepts the names in any case.
    fn from_str(text: &str) -> Result<Self, UnknownMetricSet> {
        [Self::Compat, Self::Standard]
            .into_iter()
            .find(|set| set.name().eq_ignore_ascii_case(text.trim()))
            .ok_or_else(|| UnknownMetricSet { text: text.to_owned() })
    }
}

impl fmt::Display for Unit {
    /// CloudWatch's own spelling.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Count => "Count",
            Self::Milliseconds => "Milliseconds",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn enums_and_table_are_numbered_alike() {
        for (index, metric) in Metric::ALL.into_iter().enumerate() {
            assert_eq!(metric as usize, index);
            assert_eq!(metric.row().metric, metric);
            assert_eq!(Metric::by_name(metric.name()), Some(metric));
        }
        for (index, family) in Family::ALL.into_iter().enumerate() {
            assert_eq!(family as usize, index);
            assert_eq!(family.metric() as usize, index);
            assert!(family.name().starts_with("awscni_"), "{family:?}");
            assert_eq!(family.is_counter(), family.kind() == Kind::Counter);
        }
        let counters: Vec<_> = Family::ALL.into_iter().filter(|family| family.kind() == Kind::Counter).collect();
        assert_eq!(counters, Family::COUNTERS);
    }

    #[test]
    fn the_published_names_never_change() {
        let mut table = String::new();
        for row in &CATALOGUE {
            let family = row.family.unwrap_or("(own)");
            writeln!(table, "{family} {} {:?} {} {}", row.name, row.kind, row.unit, row.set).unwrap();
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn compat_is_what_the_go_helper_published() {
        assert_eq!(MetricSet::Compat.metrics().count(), 20);
        assert_eq!(MetricSet::Standard.metrics().count(), METRICS);
        assert!(!MetricSet::Compat.contains(Metric::NoAvailableIpAddresses));
    }

    #[test]
    fn metric_sets_are_read_in_any_case() {
        assert_eq!("Standard".parse(), Ok(MetricSet::Standard));
        assert_eq!(" compat ".parse(), Ok(MetricSet::Compat));
        let error = "all".parse::<MetricSet>().unwrap_err();
        assert_eq!(error.to_string(), "\"all\" is no metric set: it must be compat or standard");
    }
}
