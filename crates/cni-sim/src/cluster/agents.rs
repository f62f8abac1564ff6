//! The agent of a node: what each life of its process is made of.

use cni_types::random::{Random, mix};
use ipamd_core::chooser::{Placement, Seeded};
use ipamd_core::id::Epoch;
use ipamd_core::{Config, Core};
use ipamd_model::world::{Agents, WorldNode};
use std::sync::Arc;

/// A node of the cluster.
pub(super) type SimNode = WorldNode<AgentMaker>;

/// Makes the agents of one node.
#[derive(Debug)]
pub(super) struct AgentMaker {
    /// Shared by the nodes of a group.
    pub(super) config: Arc<Config>,
    /// How the agent chooses among free addresses.
    pub(super) placement: Placement,
    /// Seed of what it draws.
    pub(super) seed: u64,
}

impl Agents for AgentMaker {
    type Agent = Core<u64>;

    fn begin(&mut self, epoch: Epoch) -> Core<u64> {
        let random = Random::new(mix(self.seed ^ mix(u64::from(epoch.0))));
        Core::new(Arc::clone(&self.config), Box::new(Seeded { random, placement: self.placement }))
    }
}
