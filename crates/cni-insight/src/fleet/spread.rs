//! Nodes of one group that should be alike: which variants there are, and for how long there has been more than one.

use std::collections::BTreeMap;

use cni_types::version::AgentVersion;

use crate::catalogue::FindingId;
use crate::evidence::{RoundFacts, Source};
use crate::memory::Moment;
use crate::verdict::Verdict;

/// Nodes that are named of each.
const NAMED: usize = 3;

/// What nodes should have alike.
pub(super) trait Variant: Copy + Ord {
    /// In what two differ, in words.
    fn differences(&self, other: &Self) -> String;
}

impl Variant for AgentVersion {
    fn differences(&self, other: &Self) -> String {
        format!("{self} and {other}")
    }
}

/// The variants of a round. There are as many at most as the group has nodes.
#[derive(Debug)]
pub(super) struct Seen<T>(BTreeMap<T, Nodes>);

/// The nodes of a variant.
#[derive(Debug, Default)]
struct Nodes {
    count: usize,
    /// The first by name.
    named: Vec<Box<str>>,
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Variant> Seen<T> {
    pub(super) fn add(&mut self, variant: T, name: &str) {
        let nodes = self.0.entry(variant).or_default();
        nodes.count += 1;
        let place = nodes.named.iter().filter(|known| ***known < *name).count();
        if place < NAMED {
            nodes.named.insert(place, name.into());
            nodes.named.truncate(NAMED);
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
        let variants = seen.0;
        let nodes_of = |variant: &T| variants.get(variant).map_or(0, |nodes| nodes.count);
        if self.before.iter().any(|(variant, nodes)| nodes_of(variant) < *nodes) {
            self.moved_ms = Some(now.now_ms);
        }
        self.before = variants.iter().map(|(variant, nodes)| (*variant, nodes.count)).collect();
        if variants.len() < 2 {
            (self.differs_since_ms, self.moved_ms) = (None, None);
            return None;
        }
        let hold_ms = id.hold().ms;
        let since = *self.differs_since_ms.get_or_insert(now.now_ms);
        if now.now_ms.saturating_sub(since) < hold_ms {
            return None;
        }
        let mut variants: Vec<(T, Nodes)> = variants.into_iter().collect();
        // Equally frequent ones: by the first name.
        variants.sort_by(|(_, one), (_, other)| other.count.cmp(&one.count).then_with(|| one.named.cmp(&other.named)));
        let (most, of_most) = variants.remove(0);
        let nodes: usize = variants.iter().map(|(_, nodes)| nodes.count).sum();
        let word = variants.first().map(|(other, _)| most.differences(other)).unwrap_or_default();
        let mut named: Vec<Box<str>> = variants.into_iter().flat_map(|(_, nodes)| nodes.named).collect();
        named.sort_unstable();
        let is_moving = self.moved_ms.is_some_and(|at| now.now_ms.saturating_sub(at) < hold_ms);
        let mut verdict =
            Verdict::without_page(id).with_word(&word).with_count(of_most.count as f64).only_info(is_moving);
        if !facts.sources.agent_pods.is_sure() {
            verdict = verdict.likely(Source::AgentPods);
        }
        if facts.daemon_set.is_none() {
            verdict = verdict.lacking(Source::DaemonSet);
        }
        Some((nodes, named, verdict))
    }
}
