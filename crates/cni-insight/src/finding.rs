//! What comes out.

use cni_types::shard::Shard;

use crate::catalogue::FindingId;
use crate::evidence::Source;
pub use crate::scope::{Scope, ScopeKind};
pub use crate::severity::{Certainty, Severity};

/// What stays the same of a finding while it lasts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// What is wrong.
    pub id: FindingId,
    /// With what.
    pub scope: Scope,
}

/// A figure that a finding stands on.
#[derive(Debug, Clone, PartialEq)]
pub struct EvidenceItem {
    /// What it counts.
    pub what: String,
    /// The figure.
    pub value: f64,
    /// Where it comes from.
    pub source: Source,
}

/// What can be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remedy {
    /// In words.
    pub says: String,
    /// A command that does it, or shows what to do; words in capital letters are to be filled in.
    pub command: Option<String>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What, and with what.
    pub identity: Identity,
    /// How bad it is.
    pub severity: Severity,
    /// How sure it is.
    pub certainty: Certainty,
    /// When it was first concluded, milliseconds since the Unix epoch.
    pub since_ms: i64,
    /// When the evidence last showed it.
    pub last_seen_ms: i64,
    /// How many nodes have it.
    pub nodes: usize,
    /// The names of some of them, those that refused most first.
    pub examples: Vec<String>,
    /// In a sentence.
    pub says: String,
    /// The figures.
    pub evidence: Vec<EvidenceItem>,
    /// What can be done, the best first.
    pub remedy: Vec<Remedy>,
    /// Evidence that would make it certain, or say more.
    pub lacks: Vec<Source>,
    /// It is switched off by `FINDINGS_MUTE`: it is listed and counts nowhere.
    pub is_muted: bool,
}

/// What happened to a finding in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It is new.
    Opened,
    /// It is over.
    Closed,
}

impl Turn {
    /// The stable name: JSON value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Closed => "closed",
        }
    }
}

/// The beginning or the end of a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FindingEvent {
    /// Which finding.
    pub identity: Identity,
    /// Its severity in that round.
    pub severity: Severity,
    /// What happened.
    pub turn: Turn,
    /// It was there when conclusions began, and nothing is known of before: when it began is not known.
    pub is_at_start: bool,
}

/// A finding that is open, as far as another process goes on from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFinding {
    /// Which.
    pub identity: Identity,
    /// How bad it is.
    pub severity: Severity,
    /// When it was first concluded, milliseconds since the Unix epoch.
    pub since_ms: i64,
}

/// What is concluded from a round.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Conclusion {
    /// The worst first, then those of most nodes, then the oldest; muted ones last.
    pub findings: Vec<Finding>,
    /// What began and ended in this round.
    pub events: Vec<FindingEvent>,
    /// Findings that were left out because there are more than [`crate::insight::MAX_FINDINGS`].
    pub left_out: usize,
    /// Findings that an earlier process left open, and that no evidence of this one has shown yet: they are neither listed nor over.
    pub awaited: Vec<Identity>,
    /// The share of the nodes that it is about; `None` for all.
    pub shard: Option<Shard>,
    /// Requests for a pod address that were refused, by cause, since the first round; without causes of which there were none.
    pub refused_by_cause: Vec<(FindingId, f64)>,
}

impl Conclusion {
    /// How many findings have this severity, muted ones left out.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity && !finding.is_muted).count()
    }
}
