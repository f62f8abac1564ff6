//! What is concluded of one node: the cause of its refusals, and what else is wrong.

use crate::catalogue::FindingId;
use crate::evidence::{NodeEvidence, Source};
use crate::scope::{Scope, ScopeKind, UNKNOWN};
use crate::severity::Certainty;

/// The figures that a verdict stands on.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Figures {
    /// Requests refused since the verdict began.
    pub(crate) refused: f64,
    /// Of those, in the newest round.
    pub(crate) refused_now: f64,
    pub(crate) is_inferred: bool,
    /// The API that failed, and its code.
    pub(crate) api: Option<Box<str>>,
    pub(crate) code: Option<Box<str>>,
    /// How often, lately.
    pub(crate) errors: f64,
    pub(crate) assigned: Option<f64>,
    pub(crate) held: Option<f64>,
    pub(crate) usable: Option<f64>,
    pub(crate) max_pods: Option<u32>,
    /// Pods of the node that are expected to need an address.
    pub(crate) type_enis: Option<u32>,
    /// The value of the setting that the verdict is about.
    pub(crate) setting: Option<u32>,
    /// What was counted where it is none of these: restarts, passes, failures, what vanished.
    pub(crate) count: f64,
    /// A word that the verdict is about: a setting, a kind of failure.
    pub(crate) word: Option<Box<str>>,
}

/// What a rule says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) id: FindingId,
    pub(crate) certainty: Certainty,
    pub(crate) lacks: Vec<Source>,
    pub(crate) figures: Figures,
    /// It is info here, whatever its finding may be.
    pub(crate) is_info: bool,
}

impl Verdict {
    /// A verdict without a page.
    pub(crate) fn without_page(id: FindingId) -> Self {
        Self { id, certainty: Certainty::Certain, lacks: Vec::new(), figures: Figures::default(), is_info: false }
    }

    /// Something else looks the same, and this would tell.
    pub(crate) fn likely(mut self, lacks: Source) -> Self {
        self.certainty = Certainty::Likely;
        self.lacking(lacks)
    }

    /// This would say more, and change nothing.
    pub(crate) fn lacking(mut self, lacks: Source) -> Self {
        if !self.lacks.contains(&lacks) {
            self.lacks.push(lacks);
        }
        self
    }

    /// It is info where this applies.
    pub(crate) fn only_info(mut self, applies: bool) -> Self {
        self.is_info |= applies;
        self
    }

    /// It is about a setting with this value.
    pub(crate) fn with_setting(mut self, value: u32) -> Self {
        self.figures.setting = Some(value);
        self
    }

    /// It is about a number of its own.
    pub(crate) fn with_count(mut self, count: f64) -> Self {
        self.figures.count = count;
        self
    }

    /// It is about something that has a name.
    pub(crate) fn with_word(mut self, word: &str) -> Self {
        self.figures.word = Some(word.into());
        self
    }
}

/// The cause of a node's refusals, while it lasts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NodeCause {
    pub(crate) verdict: Verdict,
    pub(crate) scope: Scope,
    /// Since when, and when there was the last refusal, in the time of the engine.
    pub(crate) since_ms: i64,
    pub(crate) refused_ms: i64,
    /// It is no more only info.
    pub(crate) has_lasted: bool,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NodeTrouble {
    pub(crate) verdict: Verdict,
    pub(crate) scope: Scope,
    /// Since when, in the time of the engine.
    pub(crate) since_ms: i64,
}

/// What a finding at this node is about. Made of the node's labels only.
pub(crate) fn scope_of(id: FindingId, node: &NodeEvidence<'_>) -> Scope {
    let kind = id.facts().scope;
    let group = node.node_group.or(node.instance_type).unwrap_or(UNKNOWN);
    let name = match kind {
        ScopeKind::Cluster => String::new(),
        ScopeKind::Pool => format!("{}/{group}", node.zone.unwrap_or(UNKNOWN)),
        ScopeKind::Group => group.to_owned(),
        ScopeKind::Node => node.name.to_owned(),
    };
    Scope { kind, name: name.into() }
}
