//! The cluster's name as objects in the cluster give it: passed in by the watches, so that no further request is needed.

use super::state::Found;
use cni_types::cluster_id::ClusterId;

/// Where the nodes' label is, as messages name it.
pub(super) const NODE_LABEL: &str = "node label alpha.eksctl.io/cluster-name";
/// Where the agents' setting is, as messages name it.
pub(super) const AGENT_VARIABLE: &str = "aws-node's CLUSTER_NAME";

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

impl ClusterEvidence {
    /// The cluster's own name for itself: that on its nodes, else that of its agents. A name that cannot be an id is passed
    /// over.
    pub fn own_name(&self) -> Option<Found<ClusterId>> {
        let names = self.eksctl_names.iter().map(|name| (name, NODE_LABEL));
        let mut names = names.chain(self.agent_names.iter().map(|name| (name, AGENT_VARIABLE)));
        names.find_map(|(name, source)| Some(Found { value: name.parse().ok()?, source: source.to_owned() }))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nodes_name_counts_before_the_agents_and_an_unusable_one_not_at_all() {
        let of = |nodes: &[&str], agents: &[&str]| {
            let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let seen = ClusterEvidence {
                eksctl_names: names(nodes),
                agent_names: names(agents),
                ..ClusterEvidence::default()
            };
            seen.own_name().map(|found| found.to_string())
        };
        assert_eq!(of(&["prod"], &["other"]).unwrap(), "prod (from node label alpha.eksctl.io/cluster-name)");
        assert_eq!(of(&["m\u{fc}nchen", "prod"], &[]).unwrap(), "prod (from node label alpha.eksctl.io/cluster-name)");
        assert_eq!(of(&[":"], &["other"]).unwrap(), "other (from aws-node's CLUSTER_NAME)");
        assert_eq!((of(&[], &[]), of(&[""], &[":"])), (None, None));
    }
}
