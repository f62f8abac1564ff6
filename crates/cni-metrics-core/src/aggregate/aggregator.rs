//! The aggregator's memory: its nodes, the tombstones of others, the totals.

use std::collections::HashMap;
use std::sync::Arc;

use super::mode::{CounterMode, HelperStart};
use super::node::NodeMemory;
use super::tombstones::Tombstones;
use super::total::Total;
use crate::labels::{LabelNames, LabelSet};
use crate::model::{PodUid, UnixMillis, Values};
use cni_types::catalogue::Family;

/// For how many rounds a node that left the list is remembered at least. Long enough for a watch that restarts, short
/// enough that the memory follows the cluster.
pub const KEPT_ROUNDS: u64 = 10;

/// For how long a node that left the list is remembered at least, however short the rounds, milliseconds.
pub const KEPT_MS: u64 = 600_000;

/// Maximum number of rounds for which a node that left the list is remembered, independent of the clock.
pub const MOST_KEPT_ROUNDS: u64 = 1_000;

/// Folds rounds of observations into snapshots.
#[derive(Debug)]
pub struct Aggregator {
    pub(super) start: HelperStart,
    pub(super) mode: CounterMode,
    pub(super) round: u64,
    /// Boxed: a table that grows moves pointers, and its free places cost little.
    pub(super) nodes: HashMap<PodUid, Box<NodeMemory>>,
    pub(super) tombstones: Tombstones,
    /// In the order of [`Family::COUNTERS`]; `None` until first measured.
    pub(super) totals: [Option<Total>; Family::COUNTER_COUNT],
    pub(super) names: LabelNames,
}

/// One label set of one node, since its agent's process started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelSeries {
    /// Which.
    pub set: Arc<LabelSet>,
    /// What the last good page counts.
    pub count: u64,
    /// The round, to the second, in which it was last found increased; `None` if it has not increased since the helper first
    /// saw it.
    pub last_increase: Option<UnixMillis>,
}

impl Aggregator {
    /// An aggregator that knows no node yet.
    pub fn new(start: HelperStart, mode: CounterMode) -> Self {
        Self {
            start,
            mode,
            round: 0,
            nodes: HashMap::new(),
            tombstones: Tombstones::default(),
            totals: [None; Family::COUNTER_COUNT],
            names: LabelNames::default(),
        }
    }

    /// How many nodes are remembered.
    pub fn known_nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The label sets of a remembered node that have series of their own, in ascending order, and the rest of the families
    /// of which there are more. Empty for a node that is not known.
    pub fn label_series(&self, uid: &PodUid) -> impl Iterator<Item = LabelSeries> {
        let counts = self.nodes.get(uid).into_iter().flat_map(|state| state.labels.counts());
        counts.filter_map(|(number, count, last_increase)| {
            Some(LabelSeries { set: self.names.get(number)?.clone(), count, last_increase })
        })
    }

    /// Forgets who left the list long ago. A clock that was set, either way, leaves the decision to the rounds.
    pub(super) fn forget(&mut self, at: UnixMillis) {
        let oldest = self.round.saturating_sub(KEPT_ROUNDS);
        let longest_ago = self.round.saturating_sub(MOST_KEPT_ROUNDS);
        let tombstones = &mut self.tombstones;
        self.nodes.retain(|uid, state| {
            let is_recent = at.0.abs_diff(state.last_listed_at.0) < KEPT_MS && state.last_listed >= longest_ago;
            let kept = state.last_listed >= oldest || is_recent;
            if !kept {
                tombstones.note(uid, state.entry());
            }
            kept
        });
        tombstones.shrink(self.nodes.len());
    }

    /// Adds a round's increases, and returns all totals. One that was never measured stays absent.
    pub(super) fn add_totals(&mut self, metrics: &Values) -> Values {
        let mut shown = Values::default();
        for (family, total) in Family::COUNTERS.into_iter().zip(&mut self.totals) {
            match (self.mode, metrics.get(family.metric())) {
                (CounterMode::Totals, value) => *total = value.map(Total::from),
                (CounterMode::Increase, Some(increase)) => *total.get_or_insert_default() += increase,
                (CounterMode::Increase, None) => {}
            }
            shown.set(family.metric(), total.map(Total::get));
        }
        shown
    }
}
