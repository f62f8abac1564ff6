//! What the table is about: versions, times between rounds, and what can be read.

use cni_types::version::AgentVersion;

use crate::catalogue::FindingId;
use crate::evidence::Source;

/// The versions that the table is about: those between behave as the one before them.
pub const VERSIONS: [AgentVersion; 8] = [
    AgentVersion::new(1, 12, 6),
    AgentVersion::new(1, 14, 0),
    AgentVersion::new(1, 16, 0),
    AgentVersion::new(1, 18, 0),
    AgentVersion::new(1, 19, 3),
    AgentVersion::new(1, 19, 4),
    AgentVersion::new(1, 23, 1),
    AgentVersion::new(1, 23, 2),
];

/// Times from round to round, seconds.
pub const INTERVALS_S: [i64; 3] = [10, 30, 60];

/// What can be read beside the agents' pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Knowledge {
    /// Level `cluster` with its rights: also `ENIConfig` and `CNINode` objects and the agents' `DaemonSet`.
    Cluster,
    /// Level `basic` with its rights: the agents' pods and the nodes.
    Basic,
    /// The agents' pods, but not the nodes: neither labels nor maximum pods are known.
    WithoutNodes,
    /// Nothing.
    PagesOnly,
}

impl Knowledge {
    /// All, the most first.
    pub const ALL: [Self; 4] = [Self::Cluster, Self::Basic, Self::WithoutNodes, Self::PagesOnly];

    /// As a heading.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "`cluster`",
            Self::Basic => "`basic`",
            Self::WithoutNodes => "without the nodes",
            Self::PagesOnly => "pages only",
        }
    }
}

/// A cell of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// The agents' version.
    pub version: AgentVersion,
    /// From round to round, seconds.
    pub interval_s: i64,
    /// What can be read.
    pub knowledge: Knowledge,
}

/// What a finding is worth in a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// It is named, and nothing else fits.
    Certain,
    /// It is named as likely, and names at least this evidence, which would settle it.
    Likely(&'static [Source]),
    /// It is not named.
    NotPossible {
        /// What is named in its place.
        instead: Option<FindingId>,
        /// The evidence that this names as lacking, at least.
        lacks: &'static [Source],
    },
}

/// Every cell.
pub fn cells() -> impl Iterator<Item = Cell> {
    Knowledge::ALL.into_iter().flat_map(|knowledge| {
        VERSIONS.into_iter().flat_map(move |version| {
            INTERVALS_S.into_iter().map(move |interval_s| Cell { version, interval_s, knowledge })
        })
    })
}
