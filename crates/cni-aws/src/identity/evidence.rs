//! What the cluster itself says of its name: handed in by what watches it, so that no request of its own is needed.

/// Where a watch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// No complete list yet, and no denial.
    Awaited,
    /// A list was completed.
    Complete,
    /// The API server has denied it, and no list was ever completed.
    Denied,
}

/// What the watches have shown so far, of all nodes, whichever shard is theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterEvidence {
    /// Where the pods' watch stands.
    pub pods: Listing,
    /// `CLUSTER_NAME` of the agents' containers; the name of most pods first.
    pub agent_names: Vec<String>,
    /// Where the nodes' watch stands.
    pub nodes: Listing,
    /// Node label `alpha.eksctl.io/cluster-name`; the name of most nodes first.
    pub eksctl_names: Vec<String>,
    /// The EC2 instance of the helper's own node, from its `spec.providerID`.
    pub instance_id: Option<String>,
}

impl Default for ClusterEvidence {
    fn default() -> Self {
        Self {
            pods: Listing::Awaited,
            agent_names: Vec::new(),
            nodes: Listing::Awaited,
            eksctl_names: Vec::new(),
            instance_id: None,
        }
    }
}
