//! The nodes of one cause and scope, added up.

use std::collections::{BTreeMap, BTreeSet};

use cni_types::version::AgentVersion;

use crate::catalogue::FindingId;
use crate::evidence::{Counting, NodeEvidence, Source};
use crate::finding::{Certainty, Identity, Severity};
use crate::memory::Moment;
use crate::verdict::{Figures, NodeCause, NodeTrouble, Verdict};

/// Nodes that a finding names.
pub(crate) const EXAMPLES: usize = 3;
/// Calls, words and instance types that a finding names.
const NAMED: usize = 4;
/// A cause that must last is critical at a single node after this time, milliseconds.
const ALONE_MS: i64 = 600_000;

/// The smallest and the largest of a figure over the nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Span(Option<(f64, f64)>);

impl Span {
    fn add(&mut self, value: Option<f64>) {
        if let Some(value) = value {
            self.0 = Some(self.0.map_or((value, value), |(least, most)| (least.min(value), most.max(value))));
        }
    }

    /// The largest.
    pub(crate) fn most(self) -> Option<f64> {
        self.0.map(|(_, most)| most)
    }

    /// `27`, or `18 to 27`; `?` where it is not known.
    pub(crate) fn text(self) -> String {
        match self.0 {
            None => "?".to_owned(),
            Some((least, most)) if least >= most => format!("{least}"),
            Some((least, most)) => format!("{least} to {most}"),
        }
    }
}

/// The nodes of one finding.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each says something else of the same nodes")]
pub(crate) struct Group {
    pub(crate) nodes: usize,
    /// The worst first.
    worst: Vec<(f64, Box<str>)>,
    uncertain: usize,
    /// Nodes at which it has lasted, and for how long at the first of them, milliseconds.
    lasted: usize,
    oldest_ms: i64,
    /// The evidence showed it in this round.
    pub(crate) is_seen: bool,
    pub(crate) lacks: BTreeSet<Source>,
    pub(crate) refused: f64,
    pub(crate) refused_now: f64,
    /// Nodes of agents that do not count refusals.
    pub(crate) inferred: usize,
    pub(crate) errors: BTreeMap<(Box<str>, Box<str>), f64>,
    pub(crate) words: BTreeMap<Box<str>, usize>,
    pub(crate) types: BTreeSet<Box<str>>,
    pub(crate) count: f64,
    pub(crate) assigned: Span,
    pub(crate) held: Span,
    pub(crate) usable: Span,
    pub(crate) max_pods: Span,
    pub(crate) setting: Span,
    pub(crate) type_enis: Span,
    /// The oldest agent; `None` if one's version is not known.
    oldest: Option<AgentVersion>,
    has_unknown_version: bool,
    pub(crate) counting_totals: bool,
    /// Other nodes of the cluster are measured by other replicas.
    pub(crate) is_of_shard: bool,
    /// What was counted of its nodes over hours, where that is what it is about.
    share: Option<f64>,
}

impl Group {
    /// Adds a node with a cause of refusals.
    pub(crate) fn add_cause(&mut self, node: &NodeEvidence<'_>, cause: &NodeCause, now: Moment) {
        let refused = cause.verdict.figures.refused;
        self.add(node, &cause.verdict, refused, now);
        self.is_seen |= cause.refused_ms >= now.now_ms;
        if cause.has_lasted {
            self.lasted += 1;
            self.oldest_ms = self.oldest_ms.max(now.now_ms.saturating_sub(cause.since_ms));
        }
    }

    /// Adds a node with another trouble.
    pub(crate) fn add_trouble(&mut self, node: &NodeEvidence<'_>, trouble: &NodeTrouble, now: Moment) {
        let order = trouble.verdict.figures.count;
        self.add(node, &trouble.verdict, order, now);
        self.is_seen = true;
        self.lasted += usize::from(!trouble.verdict.is_info);
        self.oldest_ms = self.oldest_ms.max(now.now_ms.saturating_sub(trouble.since_ms));
    }

    /// Nodes that were counted elsewhere, of which some are named.
    pub(crate) fn of_nodes(nodes: usize, named: &[Box<str>], verdict: &Verdict) -> Self {
        let Figures { assigned, held, count, word, .. } = &verdict.figures;
        let mut group = Self { nodes, is_seen: true, share: Some(*count), count: *count, ..Self::default() };
        group.worst = named.iter().take(EXAMPLES).map(|name| (0.0, name.clone())).collect();
        group.lasted = usize::from(!verdict.is_info);
        group.uncertain = usize::from(verdict.certainty == Certainty::Likely);
        group.lacks.extend(verdict.lacks.iter().copied());
        group.words.extend(word.iter().map(|word| (word.clone(), nodes)));
        group.assigned.add(*assigned);
        group.held.add(*held);
        group
    }

    fn add(&mut self, node: &NodeEvidence<'_>, verdict: &Verdict, order: f64, now: Moment) {
        let figures = &verdict.figures;
        self.nodes += 1;
        self.counting_totals = now.counting == Counting::Totals;
        let before = |(one, name): &(f64, Box<str>)| *one > order || (*one >= order && **name < *node.name);
        let place = self.worst.iter().filter(|worst| before(worst)).count();
        if place < EXAMPLES {
            self.worst.insert(place, (order, node.name.into()));
            self.worst.truncate(EXAMPLES);
        }
        self.uncertain += usize::from(verdict.certainty == Certainty::Likely);
        self.lacks.extend(verdict.lacks.iter().copied());
        self.refused += figures.refused;
        self.refused_now += figures.refused_now;
        self.inferred += usize::from(figures.is_inferred);
        self.count += figures.count;
        if let (Some(api), Some(code)) = (&figures.api, &figures.code) {
            let key = (api.clone(), code.clone());
            if self.errors.len() < NAMED || self.errors.contains_key(&key) {
                *self.errors.entry(key).or_default() += figures.errors;
            }
        }
        if let Some(word) = &figures.word
            && (self.words.len() < NAMED || self.words.contains_key(word))
        {
            *self.words.entry(word.clone()).or_default() += 1;
        }
        if let Some(instance_type) = node.instance_type
            && self.types.len() < NAMED
        {
            self.types.insert(instance_type.into());
        }
        self.assigned.add(figures.assigned);
        self.held.add(figures.held);
        self.usable.add(figures.usable);
        self.max_pods.add(figures.max_pods.map(f64::from));
        self.setting.add(figures.setting.map(f64::from));
        self.type_enis.add(figures.type_enis.map(f64::from));
        match node.version {
            Some(version) => self.oldest = Some(self.oldest.map_or(version, |oldest| oldest.min(version))),
            None => self.has_unknown_version = true,
        }
    }

    /// All its agents are at least of this version; false where one's is not known.
    pub(crate) fn agents_have(&self, since: Option<AgentVersion>) -> bool {
        let oldest = self.oldest.filter(|_| !self.has_unknown_version);
        since.is_none_or(|since| oldest.is_some_and(|oldest| oldest >= since))
    }

    /// It is made of shares over hours, and not of nodes that refuse requests now.
    pub(crate) fn is_share(&self) -> bool {
        self.share.is_some()
    }

    /// Certain if it is at every node.
    pub(crate) fn certainty(&self) -> Certainty {
        if self.uncertain == 0 { Certainty::Certain } else { Certainty::Likely }
    }

    /// What it is by its nodes and its age.
    pub(crate) fn severity(&self, id: FindingId) -> Severity {
        let facts = id.facts();
        if self.lasted == 0 {
            return Severity::Info;
        }
        let is_alone = facts.must_last && self.lasted == 1 && self.oldest_ms < ALONE_MS;
        let most = if is_alone || self.counting_totals { Severity::Warning } else { Severity::Critical };
        // The worst severity is the smallest.
        facts.severity.max(most)
    }

    /// The names of some nodes, the worst first.
    pub(crate) fn examples(&self) -> Vec<String> {
        self.worst.iter().map(|(_, name)| name.to_string()).collect()
    }

    /// The nodes, in words: `node ip-10-0-0-1`, or `4 nodes of general-a`, and `of this shard` where there are others.
    pub(crate) fn who(&self, identity: &Identity) -> String {
        let mut name = match (self.nodes, self.worst.first()) {
            (1, Some((_, name))) => return format!("node {name}"),
            (nodes, _) => format!("{nodes} nodes"),
        };
        let scope = &identity.scope;
        if !scope.name.is_empty() && !scope.is_unknown() {
            name = format!("{name} of {}", scope.name);
        }
        if self.is_of_shard { format!("{name} of this shard") } else { name }
    }

    /// The word that most nodes have.
    pub(crate) fn word(&self) -> Option<&str> {
        self.words.iter().max_by_key(|(_, nodes)| **nodes).map(|(word, _)| &**word)
    }
}
