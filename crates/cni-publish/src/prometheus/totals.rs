//! A node's counters as totals: its increases added up for as long as its pod lives.

use cni_metrics_core::model::{NodeFigures, Values};

use super::names::COUNTERS;

/// One node's totals by [`COUNTERS`]; NaN where nothing was measured yet (a quarter smaller than options, which counts
/// at 100,000 nodes).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NodeTotals([f64; COUNTERS.len()]);

impl NodeTotals {
    /// Nothing measured yet.
    const NONE: Self = Self([f64::NAN; COUNTERS.len()]);

    /// The counter's total, once it was measured.
    pub fn get(&self, counter: usize) -> Option<f64> {
        self.0.get(counter).copied().filter(|total| !total.is_nan())
    }

    fn add(&mut self, increases: &Values) {
        for (total, counter) in self.0.iter_mut().zip(&COUNTERS) {
            if let Some(increase) = increases.get(counter.metric) {
                *total = if total.is_nan() { increase } else { *total + increase };
            }
        }
    }
}

/// The totals of `nodes` after their round. Both lists are in the snapshot's order (node, then UID), so one walk down
/// both finds each pod's earlier totals; those of pods that are gone are left behind.
pub fn after(before: &[NodeFigures], totals_before: &[NodeTotals], nodes: &[NodeFigures]) -> Vec<NodeTotals> {
    let key = |node: &NodeFigures| (node.name.clone(), node.uid.clone());
    let mut earlier = before.iter().zip(totals_before).peekable();
    nodes
        .iter()
        .map(|node| {
            while earlier.next_if(|(old, _)| key(old) < key(node)).is_some() {}
            let known = earlier.next_if(|(old, _)| key(old) == key(node));
            let mut totals = known.map_or(NodeTotals::NONE, |(_, totals)| *totals);
            totals.add(&node.values);
            totals
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cni_metrics_core::model::{FamilySet, NodeLabels, NodeName, PodUid};
    use cni_types::catalogue::Metric;
    use cni_types::node_state::NodeStates;

    use super::*;

    fn node(name: &str, uid: &str, errors: Option<f64>) -> NodeFigures {
        let mut values = Values::default();
        values.set(Metric::AwsApiErr, errors);
        NodeFigures {
            uid: PodUid::new(uid),
            name: NodeName::new(name),
            labels: Arc::new(NodeLabels::default()),
            expected: true,
            agent_version: None,
            ipv6: false,
            failure: None,
            values,
            damaged: FamilySet::default(),
            implausible: FamilySet::default(),
            shares: Box::default(),
            labels_overflowed: false,
            states: NodeStates::default(),
            usable_ip_addresses: None,
        }
    }

    #[test]
    fn increases_add_up_per_pod_and_leave_with_it() {
        let first = [node("a", "1", Some(2.0)), node("c", "3", Some(5.0))];
        let totals = after(&[], &[], &first);
        // `a` misses a scrape, `b` is new, `c`'s pod is replaced.
        let second = [node("a", "1", None), node("b", "2", None), node("c", "4", Some(1.0))];
        let totals = after(&first, &totals, &second);
        let errors: Vec<_> = totals.iter().map(|totals| totals.get(0)).collect();
        assert_eq!(errors, [Some(2.0), None, Some(1.0)]);
        let third = [node("a", "1", Some(4.0))];
        let totals = after(&second, &totals, &third);
        assert_eq!((totals.len(), totals[0].get(0), totals[0].get(1)), (1, Some(6.0), None));
    }
}
