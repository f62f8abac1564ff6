//! The nouns: what is scraped, what a page yields, and what a round concludes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::agent::AgentFacts;
use crate::labels::{LabelShare, PageLabels};
use cni_types::catalogue::{FAMILIES, Family, METRICS, Metric};
use cni_types::cluster_id::ClusterId;
use cni_types::ec2::EC2_OPERATIONS;
use cni_types::node_state::{NodeStates, StateCounts};
use cni_types::version::AgentVersion;

/// Milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// Seconds since the Unix epoch, as Prometheus' `process_start_time_seconds` counts them.
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps the text.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_newtype! {
    /// A Kubernetes node's name (or, for saved pages, the file's).
    NodeName
}
text_newtype! {
    /// A pod's UID: a replaced pod is a new node to the counters, whatever its name.
    PodUid
}

/// What is known of a node beyond its page; each is `None` where it was not granted or not labelled.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
pub struct NodeLabels {
    /// Availability zone, label `topology.kubernetes.io/zone`.
    pub zone: Option<Arc<str>>,
    /// EC2 instance type, label `node.kubernetes.io/instance-type`.
    pub instance_type: Option<Arc<str>>,
    /// Node group, label `eks.amazonaws.com/nodegroup`, else `alpha.eksctl.io/nodegroup-name`, else Karpenter's
    /// `karpenter.sh/nodepool`.
    pub node_group: Option<Arc<str>>,
}

/// One aws-node pod, as the aggregate needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The pod's UID: the key of all per-node state.
    pub uid: PodUid,
    /// The node it runs on.
    pub node: NodeName,
    /// When the pod was created, by the API server's clock.
    pub created_at: Option<UnixMillis>,
    /// The node's labels.
    pub labels: Arc<NodeLabels>,
    /// What is known of its agent beside the page.
    pub agent: AgentFacts,
}

/// Why a node gave no sample this round. The label (see [`FailureKind::label`]) is also the metric label, the log
/// field and the JSON key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// No complete answer within the scrape's time.
    Timeout,
    /// Nothing listens on the agent's port: the connection was refused.
    ConnectRefused,
    /// The connection was reset or closed before a complete answer.
    ConnectionReset,
    /// There is no network route to the node (asked directly).
    NoRoute,
    /// The pod has no address yet, so it cannot be asked directly.
    NoPodIp,
    /// The API server could not reach the node on the agent's port: usually a missing security-group rule.
    ProxyUnavailable,
    /// The helper could not reach the API server, so the node was not asked.
    ApiServerUnreachable,
    /// The API server itself is overloaded: HTTP 429, or 503 with `Retry-After`, confirmed by a request that no node
    /// serves.
    RateLimitedByApiServer,
    /// The node answered HTTP 429, or 503 with `Retry-After`.
    RateLimitedByNode,
    /// The API server denied the request (RBAC, credentials).
    Forbidden,
    /// The pod is gone.
    NotFound,
    /// Any other HTTP status.
    BadStatus,
    /// The page exceeded the size limit.
    TooLarge,
    /// The page could not be read as metrics.
    BadPage,
    /// The helper was stopped before the node had answered.
    Stopped,
    /// The round ended before the node was asked, or before it had half of a scrape's time.
    Deadline,
    /// The helper had no file descriptor left for a connection.
    OutOfFiles,
}

impl FailureKind {
    /// All kinds, in the order in which they are shown.
    pub const ALL: [Self; 17] = [
        Self::Timeout,
        Self::ConnectRefused,
        Self::ConnectionReset,
        Self::NoRoute,
        Self::NoPodIp,
        Self::ProxyUnavailable,
        Self::ApiServerUnreachable,
        Self::RateLimitedByApiServer,
        Self::RateLimitedByNode,
        Self::Forbidden,
        Self::NotFound,
        Self::BadStatus,
        Self::TooLarge,
        Self::BadPage,
        Self::Stopped,
        Self::Deadline,
        Self::OutOfFiles,
    ];

    /// The stable name: metric label, log field, JSON key.
    pub fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::ConnectRefused => "connect_refused",
            Self::ConnectionReset => "connection_reset",
            Self::NoRoute => "no_route",
            Self::NoPodIp => "no_pod_ip",
            Self::ProxyUnavailable => "proxy_unavailable",
            Self::ApiServerUnreachable => "api_server_unreachable",
            Self::RateLimitedByApiServer => "rate_limited_by_api_server",
            Self::RateLimitedByNode => "rate_limited_by_node",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::BadStatus => "bad_status",
            Self::TooLarge => "too_large",
            Self::BadPage => "bad_page",
            Self::Stopped => "stopped",
            Self::Deadline => "deadline",
            Self::OutOfFiles => "out_of_files",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// Largest value of a counter, 2^53: beyond it a 64-bit float no longer moves by 1.
pub const LARGEST_COUNT: f64 = 9_007_199_254_740_992.0;

/// The latest plausible start of a process: the end of the year 9999, Unix seconds.
pub const LATEST_START_SECONDS: f64 = 253_402_300_799.0;

/// One family of the catalogue on one page: its series added up.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct FamilySample {
    /// Sum over the family's readable series; finite. Of what counts events between 0 and [`LARGEST_COUNT`].
    pub sum: f64,
    /// At least one line of this family could not be read: the sum is a lower bound.
    pub damaged: bool,
    /// Of a damaged counter, which series could be read: equal on two pages exactly if the same ones could (but for a
    /// chance of 2^-64). Otherwise 0.
    pub readable: u64,
}

/// One EC2 operation's latency summary on one page, added up over error and status.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct LatencySample {
    /// `_sum`, milliseconds.
    pub sum_ms: f64,
    /// `_count`, observations.
    pub count: f64,
}

/// What ipamd counts for one IPv6 /80 prefix: 2^48 addresses, more than any IPv4 pool can hold.
pub const IPV6_PREFIX_ADDRESSES: f64 = 281_474_976_710_656.0;

/// What one page says: only what the catalogue names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NodeSample {
    /// `process_start_time_seconds`, if the page has it; at most [`LATEST_START_SECONDS`].
    pub process_start_seconds: Option<f64>,
    /// By [`Family`]; `None` where the page has no series of it.
    pub families: [Option<FamilySample>; FAMILIES],
    /// By [`cni_types::ec2::Ec2Operation`]; `None` where the page has no latencies of it. The family's own entry in `families` holds the sum of
    /// `sum_ms`.
    pub latency: [Option<LatencySample>; EC2_OPERATIONS],
    /// The page has a `_count` of latencies, of whatever API: without one no mean can be made.
    pub has_latency_counts: bool,
    /// The page has quantiles of latencies (old agents).
    pub has_quantiles: bool,
    /// A line had no name that could be read, and may have been of any family: one that is absent need not be.
    pub has_lost_lines: bool,
    /// What `awscni_build_info` says of the agent's version, if that is not blank.
    pub version: Option<AgentVersion>,
    /// The counters whose labels are kept, by label set.
    pub labels: PageLabels,
}

impl NodeSample {
    /// The family's sum, if the page has it.
    pub fn get(&self, family: Family) -> Option<FamilySample> {
        self.families.get(family as usize).copied().flatten()
    }

    /// True where the pool holds IPv6 prefixes: `total` is a multiple of 2^48, or `ip_max` 0 while `total > 0`. An
    /// `ip_max` whose line was damaged says nothing.
    pub fn is_ipv6(&self) -> bool {
        let total = self.get(Family::TotalIpAddresses).map_or(0.0, |sample| sample.sum);
        let none_possible =
            self.get(Family::IpMax).is_some_and(|ip_max| !ip_max.damaged && ip_max.sum.total_cmp(&0.0).is_eq());
        is_ipv6_total(total) || (total > 0.0 && none_possible)
    }
}

/// True for a number of addresses that only IPv6 prefixes make up: up to a million of them.
pub fn is_ipv6_total(total: f64) -> bool {
    let prefixes = total / IPV6_PREFIX_ADDRESSES;
    (1.0..=1e6).contains(&prefixes) && prefixes.fract().total_cmp(&0.0).is_eq()
}

/// What a round knows of one target once its scrape is over.
#[derive(Debug, Clone)]
pub struct Observation {
    /// Whose.
    pub target: Target,
    /// The pod counts toward `nodesExpected` (scheduled, Running, not being deleted, past its first 60 s). A target
    /// that was scraped, or ever has been, counts regardless.
    pub expected: bool,
    /// The sample, or why there is none.
    pub outcome: Result<NodeSample, FailureKind>,
}

/// How complete a round is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Coverage {
    /// aws-node pods that should have answered.
    pub expected: u64,
    /// Of those, answered with a readable page.
    pub scraped: u64,
    /// The rest, by kind; kinds with no node are left out.
    pub failed: BTreeMap<FailureKind, u64>,
    /// How many of the scraped nodes a metric's value is of, for metrics that not all of them measure. IPv6 nodes, which
    /// are no part of the IPv4 sums, are not missed in them.
    #[serde(serialize_with = "by_name")]
    pub reporting: BTreeMap<Metric, u64>,
    /// Scraped nodes with lines of ipamd's metrics that could not be read.
    pub damaged: u64,
    /// Scraped nodes with implausible values, which are left out.
    pub implausible: u64,
    /// How many of the expected nodes are in each state.
    #[serde(skip)]
    pub states: StateCounts,
}

/// Numbers by published name.
pub fn by_name<S: Serializer>(numbers: &BTreeMap<Metric, u64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(numbers.iter().map(|(metric, number)| (metric.name(), number)))
}

/// Published values by [`Metric`]; `None` is "not measured, not published". One of each node is kept in every snapshot,
/// hence a mask and plain numbers rather than an option a number, which takes twice the room.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Values {
    /// Bit n is set where the n-th number was measured.
    measured: u32,
    /// 0 where nothing was measured.
    numbers: [f64; METRICS],
}

const _: () = assert!(METRICS <= u32::BITS as usize, "a bit of the mask for each metric");

impl Values {
    /// The value, if there is one.
    pub fn get(&self, metric: Metric) -> Option<f64> {
        let number = self.numbers.get(metric as usize).copied();
        number.filter(|_| self.measured & (1 << metric as u32) != 0)
    }

    /// Sets the value.
    pub fn set(&mut self, metric: Metric, value: Option<f64>) {
        if let Some(number) = self.numbers.get_mut(metric as usize) {
            *number = value.unwrap_or(0.0);
            let bit = 1 << metric as u32;
            self.measured = if value.is_some() { self.measured | bit } else { self.measured & !bit };
        }
    }

    /// What was measured, in the catalogue's order.
    pub fn iter(&self) -> impl Iterator<Item = (Metric, f64)> + '_ {
        Metric::ALL.into_iter().filter_map(|metric| Some((metric, self.get(metric)?)))
    }
}

/// A set of families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FamilySet(pub(crate) u32);

const _: () = assert!(FAMILIES <= u32::BITS as usize, "a bit for each family");

impl FamilySet {
    /// Adds a family.
    pub fn insert(&mut self, family: Family) {
        self.0 |= 1 << family as u32;
    }

    /// True if the family is in the set.
    pub fn contains(self, family: Family) -> bool {
        self.0 & (1 << family as u32) != 0
    }

    /// True if none is.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set's families, in the catalogue's order.
    pub fn iter(self) -> impl Iterator<Item = Family> {
        Family::ALL.into_iter().filter(move |family| self.contains(*family))
    }
}

impl FromIterator<Family> for FamilySet {
    fn from_iter<I: IntoIterator<Item = Family>>(families: I) -> Self {
        let mut set = Self::default();
        families.into_iter().for_each(|family| set.insert(family));
        set
    }
}

/// One node's part of a round.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeFigures {
    /// The pod's UID.
    pub uid: PodUid,
    /// The node.
    pub name: NodeName,
    /// Its labels.
    pub labels: Arc<NodeLabels>,
    /// The version of its agent as page and image say, else the first version that has what is on the page; `None` where none of
    /// them tells, and without a page.
    pub agent_version: Option<AgentVersion>,
    /// Its pool holds IPv6 prefixes, so its address figures are not in the cluster's IPv4 totals.
    pub ipv6: bool,
    /// It is one of [`Coverage::expected`].
    pub expected: bool,
    /// Why there are no values, where there are none.
    pub failure: Option<FailureKind>,
    /// Gauges as read; counters as this round's increase (or as totals, see [`crate::aggregate::CounterMode`]);
    /// latency as this round's highest mean over the node's EC2 operations.
    pub values: Values,
    /// Families of which lines could not be read. Gauges of them have no value; counters have none until the same series
    /// could be read on [`crate::aggregate::DAMAGED_PAGES`] pages, then the increase of those.
    pub damaged: FamilySet,
    /// Families with an implausible value, which is left out.
    pub implausible: FamilySet,
    /// How the counters in `values` whose labels are kept are made up, in ascending order: of each, the shares' sum is its
    /// value.
    pub shares: Box<[LabelShare]>,
    /// The agent's process has more label sets than are kept of a node: those that came last count under
    /// [`crate::labels::Rest::Other`], until it restarts.
    pub labels_overflowed: bool,
    /// What the node is found to be.
    pub states: NodeStates,
    /// The largest number of addresses that it can have for pods, whether or not it holds them now. Less than `ip_max` with
    /// custom networking and with security groups for pods. `None` where the page or the agent's settings do not say.
    pub usable_ip_addresses: Option<u32>,
}

/// IPv6 nodes, counted apart from the IPv4 totals.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Ipv6Figures {
    /// Nodes scraped whose pool holds IPv6 prefixes.
    pub nodes: u64,
    /// Pod addresses assigned on them.
    pub assigned_ip_addresses: f64,
}

/// Something that should not happen, found in the numbers themselves.
#[derive(Debug, Clone, PartialEq)]
pub enum Anomaly {
    /// A counter went down although the process did not restart; counted as 0.
    CounterDecreased {
        /// Where.
        node: NodeName,
        /// Which.
        family: Family,
        /// Its value at the previous scrape.
        from: f64,
        /// Its value now.
        to: f64,
    },
    /// An implausible value, which is left out. Reported when it begins, not in every round.
    Implausible {
        /// Where.
        node: NodeName,
        /// Which.
        family: Family,
        /// Why not.
        reason: Implausibility,
    },
    /// A sum left the range of a finite number; the metric is left out of this round.
    NotFinite {
        /// Which.
        metric: Metric,
    },
}

/// Why a value is implausible.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Implausibility {
    /// A gauge below zero.
    #[error("is {value}, and cannot be negative (restart the agent, or update it)")]
    Negative {
        /// What the page says.
        value: f64,
    },
    /// Held addresses below zero.
    #[error(
        "is {value}, and cannot be negative (agents before v1.12.0 miscount where prefix delegation was switched on a \
         running node; restart the agent, or update it)"
    )]
    NegativeHeld {
        /// What the page says.
        value: f64,
    },
    /// More than any node has.
    #[error("is {value}, more than any node can have")]
    TooLarge {
        /// What the page says.
        value: f64,
    },
    /// More addresses in use than the node holds, and nothing says which is wrong. Reported once, for
    /// `awscni_assigned_ip_addresses`; both families are marked at the node.
    #[error(
        "and awscni_total_ip_addresses contradict each other: {assigned} addresses assigned, but only {held} held \
         (restart the agent, or update it)"
    )]
    AssignedAboveHeld {
        /// `awscni_assigned_ip_addresses`.
        assigned: f64,
        /// `awscni_total_ip_addresses`.
        held: f64,
    },
    /// The same on a node that lost addresses by force: agents then subtract them twice from what they hold.
    #[error(
        "is {held} while {assigned} addresses are assigned: the agent subtracted removed ones twice (restart it to count \
         anew)"
    )]
    HeldAfterForcedRemoval {
        /// `awscni_assigned_ip_addresses`.
        assigned: f64,
        /// `awscni_total_ip_addresses`.
        held: f64,
    },
    /// A counter that rose by more than a node can do in any interval.
    #[error("rose by {by} since the page before, more than any node can do")]
    Increase {
        /// The increase.
        by: f64,
    },
    /// A mean latency of more than a day.
    #[error("has a mean of more than a day")]
    Latency,
}

impl Anomaly {
    /// Where it was found, if at one node.
    pub fn node(&self) -> Option<&NodeName> {
        match self {
            Self::CounterDecreased { node, .. } | Self::Implausible { node, .. } => Some(node),
            Self::NotFinite { .. } => None,
        }
    }
}

/// How the cluster's counters whose labels are kept are made up.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Breakdown {
    /// Errors before work, then the largest first; at most [`crate::aggregate::MAX_CLUSTER_SETS`] label sets and the rests.
    /// Of each counter, the shares' sum is its value in [`Snapshot::metrics`].
    pub shares: Vec<LabelShare>,
    /// Scraped nodes with [`NodeFigures::labels_overflowed`].
    pub overflowed: u64,
}

/// One round's conclusion: what every sink and every view reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Of which cluster; `None` while that is not known yet. All snapshots of one process are of one cluster, except those of
    /// `once`, so a round that was measured before the id was known has the id of later ones.
    pub cluster: Option<ClusterId>,
    /// 1 for the helper's first round.
    pub round: u64,
    /// When the round began: the timestamp of all its numbers.
    pub at: UnixMillis,
    /// How long it took, milliseconds.
    pub duration_ms: u64,
    /// How complete it is.
    pub coverage: Coverage,
    /// Cluster aggregates under their published names (the two coverage metrics included).
    pub metrics: Values,
    /// Counters since the helper's start, by [`Metric`]; monotonic. `None` until first measured.
    pub totals: Values,
    /// IPv6 nodes.
    pub ipv6: Ipv6Figures,
    /// Per node, by node name then UID.
    pub nodes: Vec<NodeFigures>,
    /// What looked wrong.
    pub anomalies: Vec<Anomaly>,
    /// The counters' values by label set.
    pub breakdown: Breakdown,
}

impl Snapshot {
    /// A round in which no node was expected and nothing was measured.
    pub fn empty(round: u64, at: UnixMillis) -> Self {
        Self {
            cluster: None,
            round,
            at,
            duration_ms: 0,
            coverage: Coverage::default(),
            metrics: Values::default(),
            totals: Values::default(),
            ipv6: Ipv6Figures::default(),
            nodes: Vec::new(),
            anomalies: Vec::new(),
            breakdown: Breakdown::default(),
        }
    }
}
