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

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == ScopeKind::Cluster {
            return f.write_str("the cluster");
        }
        write!(f, "{} {}", self.kind.name(), self.name)
    }
}
