//! The one table: which ipamd families are read, how each is folded, and under which name it is published.
//!
//! Names are a promise to dashboards and alarms: an entry may be added, never renamed.

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
