//! Which nodes of a look are printed, and in which order.

use std::cmp::Ordering;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use cni_metrics_core::model::{NodeFigures, Snapshot};
use cni_types::catalogue::Metric;
use cni_types::node_state::NodeState;

/// A column of the table of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SortColumn {
    /// The node's name.
    Name,
    /// Its zone.
    Zone,
    /// Its instance type.
    Type,
    /// ENIs attached.
    Enis,
    /// Addresses that pods use.
    Assigned,
    /// Addresses that the node holds.
    Held,
    /// Addresses that the node can hold.
    Max,
    /// Addresses that pods use, as a share of those that the node can hold.
    Utilization,
    /// Requests for an address that failed.
    Refused,
    /// Failed calls of EC2.
    Errors,
    /// Silent nodes first, then those that refuse pods, then full ones, then those with values that are left out.
    State,
}

/// The flags.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct NodeChoice {
    /// Order of the nodes: names, zones and types ascending, numbers descending; a node without that value comes last
    #[arg(long, value_enum, value_name = "COLUMN", help_heading = "Nodes")]
    sort: Option<SortColumn>,
    /// Print only the first N nodes, in that order
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Nodes")]
    top: Option<u32>,
    /// Print only this node, by its name or the part before the first dot; can be given more than once. The sums stay those
    /// of all nodes
    #[arg(long, value_name = "NAME", help_heading = "Nodes")]
    node: Vec<String>,
}

/// A look with the chosen nodes.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    pub(super) snapshot: Arc<Snapshot>,
    /// Nodes that `--top` leaves out.
    pub(super) left_out: usize,
}

impl NodeChoice {
    /// The chosen nodes. The sums are not changed.
    pub(super) fn choose(&self, mut snapshot: Arc<Snapshot>) -> Chosen {
        if self.sort.is_none() && self.top.is_none() && self.node.is_empty() {
            return Chosen { snapshot, left_out: 0 };
        }
        let nodes = &mut Arc::make_mut(&mut snapshot).nodes;
        if !self.node.is_empty() {
            nodes.retain(|node| self.node.iter().any(|name| is_called(node, name)));
        }
        if let Some(column) = self.sort {
            nodes.sort_by(|one, other| column.order(one, other));
        }
        let most = self.top.map_or(usize::MAX, |top| usize::try_from(top).unwrap_or(usize::MAX));
        let left_out = nodes.len().saturating_sub(most);
        nodes.truncate(most);
        Chosen { snapshot, left_out }
    }

    /// An error if a name of `--node` is that of no node in these looks.
    pub(super) fn check<'a>(&self, looks: &(impl Iterator<Item = &'a Snapshot> + Clone)) -> anyhow::Result<()> {
        const MOST_NAMED: usize = 5;
        let names = || looks.clone().flat_map(|look| look.nodes.iter());
        let is_there = |name: &&String| names().any(|node| is_called(node, name));
        let unknown: Vec<String> =
            self.node.iter().filter(|name| !is_there(name)).map(|name| format!("{name:?}")).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let known: Vec<&str> = names().take(MOST_NAMED).map(|node| node.name.as_str()).collect();
        let more = if names().count() > MOST_NAMED { ", ..." } else { "" };
        anyhow::bail!("--node: no agent on a node called {}; there are {}{more}", unknown.join(", "), known.join(", "))
    }
}

/// By the whole name, or the part before the first dot.
fn is_called(node: &NodeFigures, name: &str) -> bool {
    let full = node.name.as_str();
    full == name || full.split_once('.').is_some_and(|(short, _)| short == name)
}

impl SortColumn {
    fn order(self, one: &NodeFigures, other: &NodeFigures) -> Ordering {
        let text = |of: fn(&NodeFigures) -> Option<&str>| absent_last(of(one), of(other), Ord::cmp);
        match self {
            Self::Name => one.name.as_str().cmp(other.name.as_str()),
            Self::Zone => text(|node| node.labels.zone.as_deref()),
            Self::Type => text(|node| node.labels.instance_type.as_deref()),
            Self::State => trouble(other).cmp(&trouble(one)),
            _ => absent_last(self.number(one), self.number(other), |one, other| other.total_cmp(one)),
        }
    }

    fn number(self, node: &NodeFigures) -> Option<f64> {
        let value = |metric| node.values.get(metric);
        match self {
            Self::Name | Self::Zone | Self::Type | Self::State => None,
            Self::Enis => value(Metric::EniAllocated),
            Self::Assigned => value(Metric::AssignIpAddresses),
            Self::Held => value(Metric::TotalIpAddresses),
            Self::Max => value(Metric::MaxIpAddresses),
            Self::Utilization => {
                let (assigned, max) = (value(Metric::AssignIpAddresses)?, value(Metric::MaxIpAddresses)?);
                (max > 0.0).then_some(assigned / max)
            }
            Self::Refused => value(Metric::NoAvailableIpAddresses),
            Self::Errors => value(Metric::AwsApiErr),
        }
    }
}

/// How bad a node's states are: each counts more than all after it.
fn trouble(node: &NodeFigures) -> u32 {
    const WORST_FIRST: [NodeState; 5] =
        [NodeState::Silent, NodeState::Refusing, NodeState::Full, NodeState::Implausible, NodeState::Damaged];
    WORST_FIRST.into_iter().fold(0, |sum, state| sum * 2 + u32::from(node.states.contains(state)))
}

fn absent_last<T>(one: Option<T>, other: Option<T>, order: impl Fn(&T, &T) -> Ordering) -> Ordering {
    match (one, other) {
        (Some(one), Some(other)) => order(&one, &other),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}
