//! Gauges: which values of a page are plausible, and sums over the scraped nodes that have them.

use crate::agent::AgentFacts;
use crate::model::{FamilySet, Implausibility, NodeFigures, NodeSample, Values, is_ipv6_total};
use cni_types::catalogue::{FAMILIES, Family, Kind};

/// More than any node has of anything.
const LARGEST_GAUGE: f64 = 1e9;

/// Copies a page's gauges, without those that are implausible, which go to `implausible`, and those of which a line was lost.
pub(super) fn read(
    sample: &NodeSample,
    agent: AgentFacts,
    ipv6: bool,
    values: &mut Values,
    implausible: &mut impl FnMut(Family, Implausibility),
) {
    for family in Family::ALL.into_iter().filter(|family| family.kind() == Kind::SumGauge) {
        let Some(own) = sample.get(family).filter(|own| !own.damaged) else { continue };
        match judge(family, own.sum, ipv6) {
            Some(reason) => implausible(family, reason),
            None => values.set(family.metric(), Some(own.sum)),
        }
    }
    if !agent.multi_nic {
        judge_pair(sample, values, implausible);
    }
}

/// Why one gauge by itself is implausible; `None` if it is not.
fn judge(family: Family, value: f64, ipv6: bool) -> Option<Implausibility> {
    match family {
        // On IPv6 nodes agents count releases down and assignments not up.
        Family::AssignedIpPerCidr if ipv6 => None,
        Family::TotalIpAddresses if is_ipv6_total(value) => None,
        Family::TotalIpAddresses if value < 0.0 => Some(Implausibility::NegativeHeld { value }),
        _ if value < 0.0 => Some(Implausibility::Negative { value }),
        _ if value > LARGEST_GAUGE => Some(Implausibility::TooLarge { value }),
        _ => None,
    }
}

/// No more addresses can be assigned than the node holds. Which of the two is wrong shows only where addresses were
/// removed by force.
fn judge_pair(sample: &NodeSample, values: &mut Values, implausible: &mut impl FnMut(Family, Implausibility)) {
    let value = |family: Family| values.get(family.metric());
    let (Some(assigned), Some(held)) = (value(Family::AssignedIpAddresses), value(Family::TotalIpAddresses)) else {
        return;
    };
    if assigned <= held {
        return;
    }
    values.set(Family::TotalIpAddresses.metric(), None);
    let removed = |family| sample.get(family).is_some_and(|own| own.sum > 0.0);
    if removed(Family::ForceRemovedEnis) || removed(Family::ForceRemovedIps) {
        implausible(Family::TotalIpAddresses, Implausibility::HeldAfterForcedRemoval { assigned, held });
    } else {
        values.set(Family::AssignedIpAddresses.metric(), None);
        for family in [Family::AssignedIpAddresses, Family::TotalIpAddresses] {
            implausible(family, Implausibility::AssignedAboveHeld { assigned, held });
        }
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

/// The gauges that a page's agent has, and which are no part of a sum only because nothing was counted yet: labelled ones
/// are absent until first used.
pub(super) fn unused(sample: &NodeSample, has: impl Fn(Family) -> bool) -> FamilySet {
    let labelled = Family::GAUGES_WITH_LABELS;
    labelled.into_iter().filter(|family| sample.get(*family).is_none() && has(*family)).collect()
}
