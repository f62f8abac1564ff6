//! What the level `cluster` adds: objects of the API server that say how agents are meant to work.

use cni_types::version::AgentVersion;

/// How far an update of the agents is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DaemonSetStatus {
    /// Nodes whose agent is made from the newest template.
    pub updated: u32,
    /// Nodes that should have an agent.
    pub desired: u32,
    /// The agent's version by the image of the newest template.
    pub version: Option<AgentVersion>,
}

impl DaemonSetStatus {
    /// Some agents are still of an older template.
    pub const fn is_rolling_out(self) -> bool {
        self.updated < self.desired
    }
}

/// The `ENIConfig` of a node: with custom networking its agent makes ENIs by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EniConfigEvidence<'a> {
    /// Its name, as the node's labels and annotations give it.
    pub name: &'a str,
    /// What is in it; `None` if there is no object of this name.
    pub content: Option<EniConfigContent<'a>>,
}

/// What an `ENIConfig` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EniConfigContent<'a> {
    /// The subnet in which ENIs are made; empty if it says none.
    pub subnet: &'a str,
}

/// A node's `CNINode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CniNodeEvidence {
    /// The node asks for a trunk ENI (feature `SecurityGroupsForPods`). Its agent adds that while an ENI slot is free.
    pub wants_trunk: bool,
}
