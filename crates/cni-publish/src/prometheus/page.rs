//! A round as a page of the text format 0.0.4, in pieces of bounded size.
//!
//! The format wants a family's series together, so the page goes family by family; a cluster of 100,000 nodes makes
//! a page of hundreds of megabytes, which is written as it is read and never held.

use std::iter;
use std::sync::Arc;

use cni_metrics_core::model::{FailureKind, NodeFigures, Snapshot, UnixMillis};
use cni_types::catalogue::{Family, Metric};

use super::findings;
use super::names::{COUNTERS, GAUGES, LEGACY, Name};
use super::text::{head, sample};
use super::totals::{self, NodeTotals};
use crate::messages::Published;
use cni_insight::finding::Conclusion;
use cni_types::cluster_id::ClusterId;
use cni_types::shard::Shard;

/// Nodes in one piece.
const PIECE_NODES: usize = 1000;
/// Families a node has: whether it answered, how many addresses it can use, gauges, counters.
const NODE_FAMILIES: usize = 2 + GAUGES.len() + COUNTERS.len();

/// The label `cluster` of every `cni_*` series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterLabel {
    /// No series has it.
    Off,
    /// The id is not known yet: there are no `cni_*` series, since they would become other series with the label.
    Awaited,
    /// Every `cni_*` series has it.
    Id(ClusterId),
}

/// What is on a page.
#[derive(Debug, Clone)]
pub struct PageParts {
    /// The `cni_node_*` series are.
    pub node_series: bool,
    /// False once the round is too old for its gauges to be believed.
    pub fresh: bool,
    /// Whose name the series have.
    pub cluster: ClusterLabel,
    /// The sums of one shard say so by a label; nodes are in one shard each, and need none.
    pub shard: Option<Shard>,
}

/// What pages are made of.
#[derive(Debug)]
pub struct Exposed {
    /// The newest round.
    pub snapshot: Arc<Snapshot>,
    /// What is concluded from it.
    conclusion: Option<Arc<Conclusion>>,
    /// The totals of its nodes, in its order.
    totals: Vec<NodeTotals>,
    /// When the first round was, before which nothing was counted.
    counters_start: UnixMillis,
    /// The nodes to show, by index: where an old and a new pod share a node, the one that answers.
    shown: Vec<u32>,
}

impl Exposed {
    /// What there is to show after this round.
    pub fn after(before: Option<&Self>, round: Published) -> Self {
        let Published { snapshot, conclusion, .. } = round;
        let totals = match before {
            Some(before) => totals::after(&before.snapshot.nodes, &before.totals, &snapshot.nodes),
            None => totals::after(&[], &[], &snapshot.nodes),
        };
        let shown = shown(&snapshot.nodes);
        let counters_start = before.map_or(snapshot.at, |before| before.counters_start);
        Self { snapshot, conclusion, totals, counters_start, shown }
    }

    /// The page, piece by piece.
    pub fn page(self: Arc<Self>, parts: PageParts) -> impl Iterator<Item = String> + Send + 'static {
        let cluster = self.cluster(&parts);
        let PageParts { node_series, fresh, cluster: label, .. } = parts;
        let families = if node_series && label != ClusterLabel::Awaited { NODE_FAMILIES } else { 0 };
        let id = label.id().cloned();
        let nodes = (0..families).flat_map(move |family| {
            let exposed = Arc::clone(&self);
            let wanted = fresh || NodeFamily::at(family).is_some_and(NodeFamily::is_counter);
            let starts = (0..exposed.shown.len()).step_by(PIECE_NODES).filter(move |_| wanted);
            let (mut headed, id) = (false, id.clone());
            starts.map(move |start| exposed.piece(family, start, id.as_ref(), &mut headed))
        });
        iter::once(cluster).chain(nodes).filter(|piece| !piece.is_empty())
    }

    fn cluster(&self, parts: &PageParts) -> String {
        let shard = parts.shard.map(|shard| shard.to_string());
        let shard = shard.as_deref().map(|name| ("shard", name));
        let mut text = String::with_capacity(8 << 10);
        if parts.fresh {
            legacy(&mut text, &self.snapshot, shard.as_slice());
        }
        if parts.cluster == ClusterLabel::Awaited {
            return text;
        }
        let cluster = parts.cluster.id().map(|id| ("cluster", id.as_str()));
        let labels: Vec<_> = cluster.into_iter().chain(shard).collect();
        self.sums(&mut text, parts, &labels);
        text
    }

    /// The `cni_cluster_*` series.
    fn sums(&self, text: &mut String, parts: &PageParts, labels: &[(&str, &str)]) {
        let snapshot = &self.snapshot;
        if parts.fresh {
            for Name { metric, name, per_unit, help } in &GAUGES {
                if let Some(value) = snapshot.metrics.get(*metric) {
                    gauge(text, name, help, labels, value / per_unit);
                }
            }
            own_gauges(text, snapshot, labels);
        }
        for Name { metric, name, help, .. } in &COUNTERS {
            if let Some(total) = snapshot.totals.get(*metric) {
                let name = ["cni_cluster_", name, "_total"];
                head(text, &name, "counter", &[help, ", cluster, since the helper started"]);
                sample(text, &name, labels, total);
            }
        }
        let help = "Start of the first round of this helper, from which its counters count, Unix time";
        gauge(text, "counters_start_timestamp_seconds", help, labels, self.counters_start.as_seconds());
        // Stays when the gauges go: its age is what an alert is to be based on.
        let finished = snapshot.at.as_seconds();
        let help = "Start of the newest finished round, Unix time";
        gauge(text, "last_round_timestamp_seconds", help, labels, finished);
        if let Some(conclusion) = &self.conclusion {
            findings::write(text, conclusion, parts.fresh, labels);
        }
        if let Some(shard) = parts.shard {
            gauge(text, "shards", "Shards that the nodes are divided into", labels, f64::from(shard.of()));
        }
    }

    fn piece(&self, family: usize, start: usize, cluster: Option<&ClusterId>, headed: &mut bool) -> String {
        let mut text = String::new();
        let Some(family) = NodeFamily::at(family) else { return text };
        for &index in self.shown.iter().skip(start).take(PIECE_NODES) {
            let index = index as usize;
            let (Some(node), Some(totals)) = (self.snapshot.nodes.get(index), self.totals.get(index)) else { continue };
            let Some(value) = family.value(node, totals) else { continue };
            if !std::mem::replace(headed, true) {
                family.head(&mut text);
            }
            let labels = [
                ("node", node.name.as_str()),
                ("zone", node.labels.zone.as_deref().unwrap_or_default()),
                ("instance_type", node.labels.instance_type.as_deref().unwrap_or_default()),
                ("cluster", cluster.map_or("", ClusterId::as_str)),
            ];
            let labels = if cluster.is_some() { &labels[..] } else { &labels[..3] };
            sample(&mut text, &family.name(), labels, value);
        }
        text
    }
}

impl ClusterLabel {
    fn id(&self) -> Option<&ClusterId> {
        match self {
            Self::Off | Self::Awaited => None,
            Self::Id(id) => Some(id),
        }
    }
}

/// Of pods on one node, the one that answers; else the last by UID. Series of one name and labels must be unique.
fn shown(nodes: &[NodeFigures]) -> Vec<u32> {
    let mut shown: Vec<u32> = Vec::with_capacity(nodes.len());
    let mut start = 0;
    for group in nodes.chunk_by(|a, b| a.name == b.name) {
        let answers = group.iter().rposition(|node| node.failure.is_none());
        let chosen = start + answers.unwrap_or(group.len() - 1);
        shown.extend(u32::try_from(chosen));
        start += group.len();
    }
    shown
}

/// The Go helper's own gauges.
fn legacy(text: &mut String, snapshot: &Snapshot, labels: &[(&str, &str)]) {
    for name in &LEGACY {
        if let Some(value) = snapshot.metrics.get(name.metric) {
            head(text, &[name.name], "gauge", &[name.help, ", summed over the cluster"]);
            sample(text, &[name.name], labels, value / name.per_unit);
        }
    }
}

/// What there is of the round itself.
fn own_gauges(text: &mut String, snapshot: &Snapshot, labels: &[(&str, &str)]) {
    let coverage = &snapshot.coverage;
    gauge(text, "nodes_expected", "Nodes with an aws-node pod that should answer", labels, coverage.expected as f64);
    gauge(text, "nodes_scraped", "Of these, answered with a readable page", labels, coverage.scraped as f64);
    let failed = ["cni_cluster_nodes_failed"];
    head(text, &failed, "gauge", &["Nodes that gave no sample in the newest round, by reason"]);
    for kind in FailureKind::ALL {
        let count = coverage.failed.get(&kind).copied().unwrap_or(0);
        sample(text, &failed, &[&[("reason", kind.label())], labels].concat(), count as f64);
    }
    let states = ["cni_cluster_nodes"];
    head(text, &states, "gauge", &["Expected nodes by state; a node that has two states counts under both"]);
    for (state, nodes) in coverage.states.iter() {
        sample(text, &states, &[&[("state", state.label())], labels].concat(), nodes as f64);
    }
    if !coverage.reporting.is_empty() {
        let reporting = ["cni_cluster_nodes_reporting"];
        let help = "Of the scraped nodes, those that measure the metric; only for metrics that not all of them measure";
        head(text, &reporting, "gauge", &[help]);
        for (metric, nodes) in &coverage.reporting {
            sample(text, &reporting, &[&[("metric", metric.name())], labels].concat(), *nodes as f64);
        }
    }
    let help = "Scraped nodes with lines of ipamd's metrics that could not be read";
    gauge(text, "nodes_damaged", help, labels, coverage.damaged as f64);
    let help = "Scraped nodes with implausible values, which are left out";
    gauge(text, "nodes_implausible", help, labels, coverage.implausible as f64);
    gauge(text, "ipv6_nodes", "Nodes whose pool holds IPv6 prefixes", labels, snapshot.ipv6.nodes as f64);
    if snapshot.ipv6.nodes > 0 {
        let assigned = snapshot.ipv6.assigned_ip_addresses;
        gauge(text, "ipv6_assigned_ip_addresses", "Addresses assigned to pods on IPv6 nodes", labels, assigned);
    }
    let seconds = snapshot.duration_ms as f64 / 1000.0;
    gauge(text, "last_round_duration_seconds", "How long the newest round took", labels, seconds);
}

/// A family of `cni_node_*`.
#[derive(Debug, Clone, Copy)]
enum NodeFamily {
    Up,
    Usable,
    Gauge(&'static Name),
    Counter(usize, &'static Name),
}

impl NodeFamily {
    fn at(index: usize) -> Option<Self> {
        const GAUGE_NAMES: &[Name] = &GAUGES;
        const COUNTER_NAMES: &[Name] = &COUNTERS;
        let Some(index) = index.checked_sub(2) else { return Some(if index == 0 { Self::Up } else { Self::Usable }) };
        if let Some(name) = GAUGE_NAMES.get(index) {
            return Some(Self::Gauge(name));
        }
        let index = index - GAUGE_NAMES.len();
        COUNTER_NAMES.get(index).map(|name| Self::Counter(index, name))
    }

    fn is_counter(self) -> bool {
        matches!(self, Self::Counter(..))
    }

    fn name(self) -> [&'static str; 3] {
        match self {
            Self::Up => ["cni_node_", "up", ""],
            Self::Usable => ["cni_node_", "usable_ip_addresses", ""],
            Self::Gauge(name) => ["cni_node_", name.name, ""],
            Self::Counter(_, name) => ["cni_node_", name.name, "_total"],
        }
    }

    fn head(self, text: &mut String) {
        let (kind, help) = match self {
            Self::Up => ("gauge", "Whether the node's ipamd answered with a readable page"),
            Self::Usable => ("gauge", "Most IPv4 addresses that pods can have, without those of reserved ENIs"),
            Self::Gauge(name) => ("gauge", name.help),
            Self::Counter(_, name) => ("counter", name.help),
        };
        let since = if self.is_counter() { ", node, since the helper first saw it" } else { ", node" };
        head(text, &self.name(), kind, &[help, since]);
    }

    fn value(self, node: &NodeFigures, totals: &NodeTotals) -> Option<f64> {
        match self {
            Self::Up => Some(f64::from(u8::from(node.failure.is_none()))),
            Self::Usable => node.usable_ip_addresses.map(f64::from),
            // The names say IPv4; 2^48 addresses a prefix are none of that.
            Self::Gauge(name) if node.ipv6 && counts_ipv4(name.metric) => None,
            Self::Gauge(name) => node.values.get(name.metric).map(|value| value / name.per_unit),
            Self::Counter(index, _) => totals.get(index),
        }
    }
}

fn counts_ipv4(metric: Metric) -> bool {
    Family::ALL.get(metric as usize).is_some_and(|family| family.counts_ipv4())
}

fn gauge(text: &mut String, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
    let name = ["cni_cluster_", name];
    head(text, &name, "gauge", &[help]);
    sample(text, &name, labels, value);
}
