//! A look: one JSON object with a stable key order.
//!
//! `{"schema","round":{"at","duration_ms"},"coverage":{"expected","scraped","failed":{kind:n},"reporting":{name:n},"damaged",
//! "implausible","states":{state:n}},"metrics":{name:value},"ipv6":{"nodes","assigned_ip_addresses"},"nodes":[{"name","zone","instance_type",
//! "node_group","failure","ipv6","metrics","damaged":[family],"implausible":[family],"states":[state],"usable_ip_addresses"}],"breakdown":{"overflowed":n,
//! "shares":[{"family","labels":{name:value},"rest","value"}]},"counters":{"kind",
//! "seconds"},"cluster","findings":[finding]}`: metrics in the catalogue's order,
//! what was not measured left out; `reporting` only of metrics that not all scraped nodes measure; `at` is RFC 3339 in UTC; a
//! label that is not known is null; `rest` is null at a label set, else `other` or `unattributed`;
//! `usable_ip_addresses` is null where the page or the agent's settings do not say; `cluster` is the cluster's id, null where it is not known;
//! `findings` is absent where no conclusions are drawn, see [`FindingJson`] for its objects.

mod breakdown;
mod finding;
mod number;
mod time;

use std::time::Duration;

use breakdown::BreakdownJson;
pub use breakdown::SHOWN_SETS;
use cni_insight::finding::Conclusion;
use cni_metrics_core::model::{Coverage, FailureKind, FamilySet, Ipv6Figures, NodeFigures, Snapshot, Values, by_name};
use cni_types::catalogue::{CATALOGUE, Family, Metric};
use cni_types::cluster_id::ClusterId;
use cni_types::node_state::{NodeState, NodeStates, StateCounts};
use finding::findings;
pub use finding::{FindingEventJson, FindingJson};
pub use number::number;
use serde::{Serialize, Serializer};
pub use time::rfc3339;

/// A snapshot with what its counters count.
#[derive(Debug, Serialize)]
pub struct LookJson<'a> {
    #[serde(flatten)]
    snapshot: SnapshotJson<'a>,
    counters: CountersJson,
    cluster: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    findings: Option<Vec<FindingJson<'a>>>,
}

/// What the counters of a look count, `metrics` and `breakdown` alike.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct CountersJson {
    kind: &'static str,
    seconds: Option<u64>,
}

impl CountersJson {
    /// Each agent's own value, counted since its start. Every agent started at another time, so there are no seconds.
    pub const TOTAL: Self = Self { kind: "total", seconds: None };

    /// The increase from one round to the next, for rounds this far apart, in whole seconds.
    pub const fn increase(interval: Duration) -> Self {
        Self { kind: "increase", seconds: Some(interval.as_secs()) }
    }
}

impl<'a> LookJson<'a> {
    /// The snapshot of a round, what its counters count, and what is concluded from it.
    pub fn new(snapshot: &'a Snapshot, counters: CountersJson, conclusion: Option<&'a Conclusion>) -> Self {
        let cluster = snapshot.cluster.as_ref().map(ClusterId::as_str);
        Self { snapshot: SnapshotJson::from(snapshot), counters, cluster, findings: conclusion.map(findings) }
    }
}

/// The snapshot's own keys.
#[derive(Debug, Serialize)]
struct SnapshotJson<'a> {
    round: RoundJson,
    coverage: CoverageJson<'a>,
    #[serde(serialize_with = "values")]
    metrics: &'a Values,
    ipv6: Ipv6Json,
    nodes: Vec<NodeJson<'a>>,
    breakdown: BreakdownJson,
}

#[derive(Debug, Serialize)]
struct RoundJson {
    at: String,
    duration_ms: u64,
}

#[derive(Debug, Serialize)]
struct CoverageJson<'a> {
    expected: u64,
    scraped: u64,
    failed: &'a std::collections::BTreeMap<FailureKind, u64>,
    #[serde(serialize_with = "by_name")]
    reporting: &'a std::collections::BTreeMap<Metric, u64>,
    damaged: u64,
    implausible: u64,
    #[serde(serialize_with = "states")]
    states: StateCounts,
}

#[derive(Debug, Serialize)]
struct Ipv6Json {
    nodes: u64,
    assigned_ip_addresses: serde_json::Value,
}

#[derive(Debug, Serialize)]
struct NodeJson<'a> {
    name: &'a str,
    zone: Option<&'a str>,
    instance_type: Option<&'a str>,
    node_group: Option<&'a str>,
    failure: Option<FailureKind>,
    ipv6: bool,
    #[serde(serialize_with = "values")]
    metrics: &'a Values,
    #[serde(serialize_with = "families")]
    damaged: FamilySet,
    #[serde(serialize_with = "families")]
    implausible: FamilySet,
    #[serde(serialize_with = "state_list")]
    states: NodeStates,
    usable_ip_addresses: Option<u32>,
}

impl<'a> From<&'a Snapshot> for SnapshotJson<'a> {
    fn from(snapshot: &'a Snapshot) -> Self {
        let Coverage { expected, scraped, failed, reporting, damaged, implausible, states } = &snapshot.coverage;
        let Ipv6Figures { nodes, assigned_ip_addresses } = snapshot.ipv6;
        Self {
            round: RoundJson { at: rfc3339(snapshot.at), duration_ms: snapshot.duration_ms },
            coverage: CoverageJson {
                expected: *expected,
                scraped: *scraped,
                failed,
                reporting,
                damaged: *damaged,
                implausible: *implausible,
                states: *states,
            },
            metrics: &snapshot.metrics,
            ipv6: Ipv6Json { nodes, assigned_ip_addresses: number(assigned_ip_addresses) },
            nodes: snapshot.nodes.iter().map(NodeJson::from).collect(),
            breakdown: BreakdownJson::from(&snapshot.breakdown),
        }
    }
}

impl<'a> From<&'a NodeFigures> for NodeJson<'a> {
    fn from(node: &'a NodeFigures) -> Self {
        Self {
            name: node.name.as_str(),
            zone: node.labels.zone.as_deref(),
            instance_type: node.labels.instance_type.as_deref(),
            node_group: node.labels.node_group.as_deref(),
            failure: node.failure,
            ipv6: node.ipv6,
            metrics: &node.values,
            damaged: node.damaged,
            implausible: node.implausible,
            states: node.states,
            usable_ip_addresses: node.usable_ip_addresses,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serialize_with calls")]
fn values<S: Serializer>(values: &&Values, serializer: S) -> Result<S::Ok, S::Error> {
    let measured = CATALOGUE.iter().filter_map(|row| values.get(row.metric).map(|value| (row.name, number(value))));
    serializer.collect_map(measured)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serialize_with calls")]
fn families<S: Serializer>(families: &FamilySet, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(families.iter().map(Family::name))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serialize_with calls")]
fn state_list<S: Serializer>(states: &NodeStates, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(states.iter().map(NodeState::label))
}

fn states<S: Serializer>(counts: &StateCounts, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(counts.iter().map(|(state, nodes)| (state.label(), nodes)))
}
