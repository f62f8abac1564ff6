//! What is concluded of nodes beside each other, and of settings by themselves. Nothing of it is remembered per node: a cluster
//! of which every node has the same setting costs no memory for it.

mod judged;
mod pools;
mod spread;

use std::collections::{BTreeMap, HashMap};

use crate::catalogue::FindingId;
use crate::evidence::{NodeEvidence, RoundFacts};
use crate::finding::Identity;
use crate::grouped::Group;
use crate::memory::Moment;
use crate::verdict::{NodeTrouble, scope_of};

use judged::{Judged, PoolKey};
use pools::{Pools, PoolsRound};
use spread::{Seen, Spread};

/// Distinct environments of a round that are judged once each; a cluster has one, or some. Those beyond are judged for each node.
const KNOWN_ENVIRONMENTS: usize = 16;

/// What lasts between rounds, by node group.
#[derive(Debug, Default)]
pub(crate) struct Fleet(HashMap<Box<str>, GroupMemory>);

#[derive(Debug, Default)]
struct GroupMemory {
    settings: Spread<PoolKey>,
    versions: Spread<cni_types::version::AgentVersion>,
    pools: Pools,
}

/// A round's nodes, by node group.
#[derive(Debug, Default)]
pub(crate) struct FleetRound {
    known: Vec<Known>,
    groups: BTreeMap<Box<str>, GroupRound>,
}

#[derive(Debug, Default)]
struct GroupRound {
    settings: Seen<PoolKey>,
    versions: Seen<cni_types::version::AgentVersion>,
    pools: PoolsRound,
}

/// An environment of the round, with what it says.
#[derive(Debug)]
struct Known {
    environment: Box<[(Box<str>, Box<str>)]>,
    judged: Judged,
}

impl FleetRound {
    /// Takes in a node. `cause` is that of its refusals in this round.
    pub(crate) fn observe(
        &mut self,
        node: &NodeEvidence<'_>,
        cause: Option<FindingId>,
        (facts, now): (&RoundFacts, Moment),
        groups: &mut BTreeMap<Identity, Group>,
    ) {
        let name = node.node_group.or(node.instance_type).unwrap_or(crate::scope::UNKNOWN);
        if !self.groups.contains_key(name) {
            self.groups.insert(name.into(), GroupRound::default());
        }
        let Self { known, groups: of_round } = self;
        let Some(group) = of_round.get_mut(name) else { return };
        if let Some(version) = node.version {
            group.versions.add(version, node.name);
        }
        group.pools.add(node, cause);
        let Some(env) = node.agent.and_then(|agent| agent.env) else { return };
        let judged_now;
        let judged = match known.iter().position(|known| *known.environment == *env) {
            Some(at) => &known[at].judged,
            None if known.len() < KNOWN_ENVIRONMENTS => {
                known.push(Known { environment: env.into(), judged: Judged::of(env) });
                let Some(Known { judged, .. }) = known.last() else { return };
                judged
            }
            None => {
                judged_now = Judged::of(env);
                &judged_now
            }
        };
        group.settings.add(judged.key, node.name);
        for verdict in judged.verdicts(node, (facts, cause)) {
            let scope = scope_of(verdict.id, node);
            let identity = Identity { id: verdict.id, scope: scope.clone() };
            let trouble = NodeTrouble { verdict, scope, since_ms: now.now_ms };
            groups.entry(identity).or_default().add_trouble(node, &trouble, now);
        }
    }

    /// What the groups' nodes say beside each other.
    pub(crate) fn finish(
        self,
        fleet: &mut Fleet,
        (facts, now): (&RoundFacts, Moment),
        groups: &mut BTreeMap<Identity, Group>,
    ) {
        fleet.0.retain(|name, _| self.groups.contains_key(name));
        for (name, group) in self.groups {
            let memory = fleet.0.entry(name.clone()).or_default();
            let settings = memory.settings.differ(group.settings, (FindingId::SettingsDiffer, facts), now);
            let versions = memory.versions.differ(group.versions, (FindingId::AgentVersionsDiffer, facts), now);
            let pools = memory.pools.conclude(&group.pools, facts, now);
            for (nodes, named, verdict) in settings.into_iter().chain(versions).chain(pools) {
                let scope = crate::finding::Scope { kind: verdict.id.facts().scope, name: name.clone() };
                let identity = Identity { id: verdict.id, scope };
                // What nodes themselves show is more than what they add up to.
                groups.entry(identity).or_insert_with(|| Group::of_nodes(nodes, &named, &verdict));
            }
        }
    }
}

#[cfg(test)]
mod tests;
