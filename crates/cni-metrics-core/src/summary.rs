//! A round in one line.

use std::fmt::Write;

use crate::model::Snapshot;
use cni_types::catalogue::Metric;
use cni_types::node_state::NodeState;

/// `round 17: 998/1000 nodes in 412 ms (2 timeout), 300 requests for a pod address refused on 5 nodes`.
pub fn summary(snapshot: &Snapshot) -> String {
    let coverage = &snapshot.coverage;
    let mut line = format!(
        "round {}: {}/{} nodes in {} ms",
        snapshot.round, coverage.scraped, coverage.expected, snapshot.duration_ms
    );
    let failed: Vec<String> = coverage.failed.iter().map(|(kind, nodes)| format!("{nodes} {kind}")).collect();
    if !failed.is_empty() {
        // Writing to a string cannot fail.
        let _written = write!(line, " ({})", failed.join(", "));
    }
    let nodes = coverage.states.get(NodeState::Refusing);
    if nodes > 0 {
        let refused = snapshot.metrics.get(Metric::NoAvailableIpAddresses).unwrap_or(0.0);
        let requests = if (refused - 1.0).abs() < f64::EPSILON { "request" } else { "requests" };
        let _written =
            write!(line, ", {refused} {requests} for a pod address refused on {}", counted(nodes, "node", "nodes"));
    }
    line
}

/// `1 node`, `2 nodes`.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Coverage, FailureKind, UnixMillis};
    use cni_types::node_state::NodeStates;

    #[test]
    fn a_line_says_who_failed_and_who_refused() {
        let mut snapshot = Snapshot {
            coverage: Coverage { expected: 10, scraped: 10, ..Coverage::default() },
            duration_ms: 2,
            ..Snapshot::empty(3, UnixMillis(0))
        };
        snapshot.metrics.set(Metric::NoAvailableIpAddresses, Some(300.0));
        assert_eq!(
            summary(&snapshot),
            "round 3: 10/10 nodes in 2 ms",
            "totals of the agents' lives are not refused now"
        );
        let mut one = snapshot.clone();
        one.metrics.set(Metric::NoAvailableIpAddresses, Some(1.0));
        one.coverage.states.add(NodeStates::from_iter([NodeState::Refusing]));
        assert_eq!(summary(&one), "round 3: 10/10 nodes in 2 ms, 1 request for a pod address refused on 1 node");
        (0..5).for_each(|_| snapshot.coverage.states.add(NodeStates::from_iter([NodeState::Refusing])));
        snapshot.coverage.scraped = 8;
        snapshot.coverage.failed = [(FailureKind::Timeout, 2)].into();
        assert_eq!(
            summary(&snapshot),
            "round 3: 8/10 nodes in 2 ms (2 timeout), 300 requests for a pod address refused on 5 nodes"
        );
    }
}
