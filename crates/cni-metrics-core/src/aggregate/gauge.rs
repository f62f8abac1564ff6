//! Gauges: sums over the scraped nodes that have the family.

use crate::catalogue::{FAMILIES, Family, Kind};
use crate::model::{NodeFigures, NodeSample, Values};

/// Copies a page's gauges. A sum of 0 whose lines were damaged was not measured.
pub(super) fn read(sample: &NodeSample, values: &mut Values) {
    for family in Family::ALL.into_iter().filter(|family| family.kind() == Kind::SumGauge) {
        let measured = sample.get(family).filter(|own| !own.damaged || own.sum.abs() > 0.0);
        values.set(family.metric(), measured.map(|own| own.sum));
    }
}

/// The cluster's sums, by family.
#[derive(Debug, Default)]
pub(super) struct GaugeSums([Option<f64>; FAMILIES]);

impl GaugeSums {
    /// Adds a node. An IPv6 node's addresses are no part of the IPv4 totals; its interfaces are.
    pub(super) fn add(&mut self, node: &NodeFigures) {
        for (family, sum) in Family::ALL.into_iter().zip(&mut self.0) {
            if family.kind() != Kind::SumGauge || (node.ipv6 && family.counts_ipv4()) {
                continue;
            }
            if let Some(value) = node.values.get(family.metric()) {
                *sum = Some(sum.unwrap_or(0.0) + value);
            }
        }
    }

    /// The sum; `None` if no node has the family.
    pub(super) fn get(&self, family: Family) -> Option<f64> {
        self.0.get(family as usize).copied().flatten()
    }
}
