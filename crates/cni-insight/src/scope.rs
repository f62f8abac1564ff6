//! What a finding is about.

use std::fmt;

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScopeKind {
    /// The whole cluster.
    Cluster,
    /// The nodes of a node group in a zone, which have their addresses from one subnet, or from few.
    Pool,
    /// The nodes of a node group.
    Group,
    /// One node.
    Node,
}

impl ScopeKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Cluster, Self::Pool, Self::Group, Self::Node];

    /// The stable name: JSON value, label of the metric.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Pool => "pool",
            Self::Group => "group",
            Self::Node => "node",
        }
    }
}

/// What a finding is about, by name. It is made of the nodes' labels only, so that it stays when other evidence comes or goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    /// What kind of thing.
    pub kind: ScopeKind,
    /// Which: `ZONE/GROUP`, the node group (without one the instance type), or the node; empty for the cluster.
    pub name: Box<str>,
}

/// What stands for a label that is not known.
pub(crate) const UNKNOWN: &str = "unknown";

impl Scope {
    /// None of the labels that it is made of is known.
    pub(crate) fn is_unknown(&self) -> bool {
        !self.name.is_empty() && self.name.split('/').all(|label| label == UNKNOWN)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == ScopeKind::Cluster {
            return f.write_str("the cluster");
        }
        if self.is_unknown() {
            return f.write_str("nodes without known labels");
        }
        write!(f, "{} {}", self.kind.name(), self.name)
    }
}
