//! A snapshot as tables for a terminal.

use std::fmt::Write;
use std::time::Duration;

use cni_metrics_core::model::{NodeFigures, Snapshot};
use cni_types::catalogue::{CATALOGUE, Family, Kind, Metric, Unit};
use cni_types::node_state::NodeState;
use comfy_table::{Cell, CellAlignment, LineStyle, Table, TableStyle};

use super::json::rfc3339;

/// One rule under the header and nothing else: rows can be copied and searched.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// What the counters of a view count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CounterMeaning {
    /// Since each agent's start.
    SinceStart,
    /// Since the round before.
    ThisRound,
    /// Between two scrapes, this far apart.
    Within(Duration),
}

impl CounterMeaning {
    fn text(self) -> String {
        match self {
            Self::SinceStart => "since the agents' start".to_owned(),
            Self::ThisRound => "this round".to_owned(),
            Self::Within(time) => format!("in {} s", time.as_secs_f64().round()),
        }
    }
}

/// The coverage line, the cluster's table and one row a node.
pub fn render(snapshot: &Snapshot, counters: CounterMeaning) -> String {
    format!("{}\n\n{}\n\n{}\n", headline(snapshot), cluster(snapshot, counters), nodes(snapshot.nodes.iter()))
}

/// When, how many nodes, and what became of the rest.
pub fn headline(snapshot: &Snapshot) -> String {
    let coverage = &snapshot.coverage;
    let mut line = format!(
        "{}  {} of {} nodes in {} ms",
        rfc3339(snapshot.at),
        coverage.scraped,
        coverage.expected,
        snapshot.duration_ms
    );
    for (kind, nodes) in &coverage.failed {
        // Writing to a string cannot fail.
        let _written = write!(line, ", {nodes} {kind}");
    }
    for (nodes, what) in
        [(coverage.damaged, "lines that could not be read"), (coverage.implausible, "implausible values, left out")]
    {
        if nodes > 0 {
            let _written = write!(line, "; {nodes} with {what}");
        }
    }
    if snapshot.ipv6.nodes > 0 {
        let _written = write!(
            line,
            "; not in the address sums: IPv6 nodes ({}) with {} addresses assigned",
            snapshot.ipv6.nodes, snapshot.ipv6.assigned_ip_addresses
        );
    }
    line
}

/// The cluster's sums.
pub fn cluster(snapshot: &Snapshot, counters: CounterMeaning) -> Table {
    let mut table = styled(&["metric", "value", ""]);
    for row in CATALOGUE.iter().filter(|row| row.kind != Kind::Own) {
        let value = snapshot.metrics.get(row.metric);
        let mut meaning = match (row.kind, row.unit) {
            _ if value.is_none() => String::new(),
            (_, Unit::Milliseconds) => "ms".to_owned(),
            (Kind::Counter, _) => counters.text(),
            _ => String::new(),
        };
        if let Some(nodes) = snapshot.coverage.reporting.get(&row.metric).filter(|_| value.is_some()) {
            let separator = if meaning.is_empty() { "" } else { ", " };
            let _written = write!(meaning, "{separator}of {nodes} of {} nodes", snapshot.coverage.scraped);
        }
        let value = value.map_or_else(|| "not measured".to_owned(), show);
        table.add_row([Cell::new(row.name), right(value), Cell::new(meaning)]);
    }
    table
}

/// One row a node.
pub fn nodes<'a>(nodes: impl Iterator<Item = &'a NodeFigures>) -> Table {
    let mut table =
        styled(&["node", "zone", "type", "ENIs", "IPs assigned", "held", "max", "refused", "EC2 errors", "state"]);
    for node in nodes {
        let labels = &node.labels;
        let value = |metric| right(node.values.get(metric).map_or_else(|| "-".to_owned(), show));
        let label = |label: &Option<std::sync::Arc<str>>| Cell::new(label.as_deref().unwrap_or("-"));
        table.add_row([
            Cell::new(node.name.as_str()),
            label(&labels.zone),
            label(&labels.instance_type),
            right(of(node, Metric::EniAllocated, Metric::EniMaxAvailable)),
            value(Metric::AssignIpAddresses),
            value(Metric::TotalIpAddresses),
            value(Metric::MaxIpAddresses),
            value(Metric::NoAvailableIpAddresses),
            value(Metric::AwsApiErr),
            Cell::new(state(node)),
        ]);
    }
    table
}

/// The node's states, with what explains them: `refusing, full`, `silent: timeout`, `ok, IPv6`, `full; damaged: FAMILY`.
pub fn state(node: &NodeFigures) -> String {
    let named = |state: NodeState| match (state, node.failure) {
        (NodeState::Silent, Some(kind)) => format!("{}: {kind}", state.label()),
        _ => state.label().to_owned(),
    };
    let explained = |state: &NodeState| matches!(state, NodeState::Damaged | NodeState::Implausible);
    let mut states: Vec<String> = node.states.iter().filter(|state| !explained(state)).map(named).collect();
    if node.ipv6 && node.failure.is_none() {
        states.push("IPv6".to_owned());
    }
    let mut parts: Vec<String> = [states.join(", ")].into_iter().filter(|states| !states.is_empty()).collect();
    for state in node.states.iter().filter(explained) {
        let families = if state == NodeState::Damaged { node.damaged } else { node.implausible };
        let families: Vec<&str> = families.iter().map(Family::name).collect();
        parts.push(format!("{}: {}", state.label(), families.join(", ")));
    }
    parts.join("; ")
}

/// `3/3`, or a dash where neither was measured.
pub fn of(node: &NodeFigures, part: Metric, whole: Metric) -> String {
    let text = |metric| node.values.get(metric).map_or_else(|| "?".to_owned(), show);
    match (node.values.get(part), node.values.get(whole)) {
        (None, None) => "-".to_owned(),
        _ => format!("{}/{}", text(part), text(whole)),
    }
}

/// Whole numbers as such, others to two places.
pub fn show(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value}") } else { format!("{value:.2}") }
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

/// An empty table in the house's style.
pub fn styled(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_header(header.iter().copied());
    table
}
