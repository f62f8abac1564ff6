//! How many pod addresses a node can use, and whether it is full.

use crate::agent::{AgentFacts, PoolSettings};
use crate::model::{NodeFigures, NodeLabels};
use cni_types::catalogue::Metric;
use cni_types::limits;

/// The largest number of addresses that a node can have for pods. Custom networking gives pods none of the primary ENI's,
/// and security groups for pods reserve an ENI for the trunk, on instance types that can have one. `None` where the page or
/// the agent's settings do not say: IPv6 nodes, agents that report one network card after the other, pages without
/// `ip_max`.
pub(super) fn usable(figures: &NodeFigures, agent: AgentFacts) -> Option<u32> {
    let PoolSettings { custom_networking, pod_eni } = agent.pool?;
    let most = largest(figures, agent)?;
    let has_trunk = pod_eni && may_have_trunk(&figures.labels);
    let reserved = u8::from(custom_networking) + u8::from(has_trunk);
    if reserved == 0 {
        return Some(whole(most));
    }
    let enis = figures.values.get(Metric::EniMaxAvailable).filter(|enis| *enis >= 1.0)?;
    Some(whole(most - f64::from(reserved) * (most / enis)))
}

/// `ip_max`, where it is a limit of the whole node.
fn largest(figures: &NodeFigures, agent: AgentFacts) -> Option<f64> {
    if figures.ipv6 || agent.multi_nic {
        return None;
    }
    figures.values.get(Metric::MaxIpAddresses)
}

/// Instance types that are not known may have one.
fn may_have_trunk(labels: &NodeLabels) -> bool {
    let known = labels.instance_type.as_deref().and_then(limits::find);
    known.is_none_or(|limits| limits.trunk_compatible)
}

/// A gauge that is no whole number is rounded down; what a page can say fits ([`super::gauge`]).
fn whole(addresses: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the conversion saturates")]
    let addresses = addresses.max(0.0) as u32;
    addresses
}

/// What a node did in its last rounds, as far as that decides whether it is full: one bit per round, the newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Recent {
    refused: u8,
    used_up: u8,
}

/// A node that can get no more addresses is full while it refused a request in one of this number of rounds...
const REFUSED_ROUNDS: u32 = 2;
/// ... or while all of its addresses were assigned in one of this number: those of pods that have just ended are in
/// cool-down, so that a full node rarely has all assigned at the moment of a scrape.
const USED_UP_ROUNDS: u32 = 4;

impl Recent {
    /// A number of rounds later.
    pub(super) fn pass(&mut self, rounds: u64) {
        let rounds = u32::try_from(rounds).unwrap_or(u32::MAX);
        self.refused = self.refused.checked_shl(rounds).unwrap_or(0);
        self.used_up = self.used_up.checked_shl(rounds).unwrap_or(0);
    }

    /// Takes in this round's page. `refused` is the number of refused requests since the page before, if that is known.
    pub(super) fn note(&mut self, figures: &NodeFigures, refused: Option<f64>) {
        let value = |metric| figures.values.get(metric);
        let used_up = match (value(Metric::AssignIpAddresses), value(Metric::TotalIpAddresses)) {
            (Some(assigned), Some(held)) => held > 0.0 && assigned >= held,
            _ => false,
        };
        self.refused |= u8::from(refused.is_some_and(|refused| refused > 0.0));
        self.used_up |= u8::from(used_up);
    }

    /// Whether the node refused a request in this round.
    pub(super) fn refuses(self) -> bool {
        self.refused & 1 != 0
    }

    /// The node holds all addresses that it can use, and needed them. Where the agent's settings are not known, `ip_max`
    /// is the limit: no node can use more.
    pub(super) fn is_full(self, figures: &NodeFigures, agent: AgentFacts) -> bool {
        let limit = match figures.usable_ip_addresses {
            Some(usable) => Some(f64::from(usable)),
            None if agent.pool.is_none() => largest(figures, agent),
            None => None,
        };
        let held = figures.values.get(Metric::TotalIpAddresses);
        let holds_all = limit.zip(held).is_some_and(|(limit, held)| held > 0.0 && held >= limit);
        holds_all && (within(self.refused, REFUSED_ROUNDS) || within(self.used_up, USED_UP_ROUNDS))
    }
}

/// True if one of the newest bits is set.
fn within(bits: u8, rounds: u32) -> bool {
    bits & ((1 << rounds) - 1) != 0
}
