//! Nodes of one group that should be alike: which variants there are, and for how long there has been more than one.

use cni_types::version::AgentVersion;

use crate::catalogue::FindingId;
use crate::evidence::{RoundFacts, Source};
use crate::memory::Moment;
use crate::verdict::Verdict;

/// Variants that are told apart in a group; the nodes of further ones count as one of them.
const MOST_VARIANTS: usize = 16;
/// Nodes that are named of each.
const NAMED: usize = 3;

/// What nodes should have alike.
pub(super) trait Variant: Copy + PartialEq {
    /// In what two differ, in words.
    fn differences(&self, other: &Self) -> String;
}

impl Variant for AgentVersion {
    fn differences(&self, other: &Self) -> String {
        format!("{self} and {other}")
    }
}

/// The variants of a round.
#[derive(Debug)]
pub(super) struct Seen<T>(Vec<SeenVariant<T>>);

#[derive(Debug)]
struct SeenVariant<T> {
    variant: T,
    nodes: usize,
    named: Vec<Box<str>>,
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Variant> Seen<T> {
    pub(super) fn add(&mut self, variant: T, name: &str) {
        let at = match self.0.iter().position(|seen| seen.variant == variant) {
            Some(at) => at,
            None if self.0.len() < MOST_VARIANTS => {
                self.0.push(SeenVariant { variant, nodes: 0, named: Vec::new() });
                self.0.len() - 1
            }
            None => MOST_VARIANTS - 1,
        };
        let Some(seen) = self.0.get_mut(at) else { return };
        seen.nodes += 1;
        // The order in which nodes come leaves no trace: the first by name.
        let place = seen.named.iter().filter(|known| ***known < *name).count();
        if place < NAMED {
            seen.named.insert(place, name.into());
            seen.named.truncate(NAMED);
        }
    }
}

/// What lasts between rounds.
#[derive(Debug)]
pub(super) struct Spread<T> {
    /// Nodes of each variant in the round before.
    before: Vec<(T, usize)>,
    /// Since when there has been more than one.
    differs_since_ms: Option<i64>,
    /// When a variant last lost nodes: an update goes on.
    moved_ms: Option<i64>,
}

impl<T> Default for Spread<T> {
    fn default() -> Self {
        Self { before: Vec::new(), differs_since_ms: None, moved_ms: None }
    }
}

impl<T: Variant> Spread<T> {
    /// Takes in a round. The finding is about the nodes of all variants but the most frequent.
    pub(super) fn differ(
        &mut self,
        seen: Seen<T>,
        (id, facts): (FindingId, &RoundFacts),
        now: Moment,
    ) -> Option<(usize, Vec<Box<str>>, Verdict)> {
        let mut variants = seen.0;
        let nodes_of = |variant: &T| variants.iter().find(|seen| seen.variant == *variant).map_or(0, |seen| seen.nodes);
        if self.before.iter().any(|(variant, nodes)| nodes_of(variant) < *nodes) {
            self.moved_ms = Some(now.now_ms);
        }
        self.before = variants.iter().map(|seen| (seen.variant, seen.nodes)).collect();
        if variants.len() < 2 {
            (self.differs_since_ms, self.moved_ms) = (None, None);
            return None;
        }
        let hold_ms = id.hold().ms;
        let since = *self.differs_since_ms.get_or_insert(now.now_ms);
        if now.now_ms.saturating_sub(since) < hold_ms {
            return None;
        }
        // Equally frequent ones: by the first name.
        variants.sort_by(|one, other| other.nodes.cmp(&one.nodes).then_with(|| one.named.cmp(&other.named)));
        let most = variants.remove(0);
        let nodes: usize = variants.iter().map(|seen| seen.nodes).sum();
        let word = variants.first().map(|other| most.variant.differences(&other.variant)).unwrap_or_default();
        let mut named: Vec<Box<str>> = variants.into_iter().flat_map(|seen| seen.named).collect();
        named.sort_unstable();
        let is_moving = self.moved_ms.is_some_and(|at| now.now_ms.saturating_sub(at) < hold_ms);
        let mut verdict = Verdict::without_page(id).with_word(&word).with_count(most.nodes as f64).only_info(is_moving);
        if !facts.sources.agent_pods.is_sure() {
            verdict = verdict.likely(Source::AgentPods);
        }
        if facts.daemon_set.is_none() {
            verdict = verdict.lacking(Source::DaemonSet);
        }
        Some((nodes, named, verdict))
    }
}
