//! What many nodes have in common is kept once: label sets of errors, and the words of their verdicts.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use cni_types::catalogue::LabelledFamily;

use crate::catalogue::FindingId;
use crate::evidence::Source;
use crate::scope::Scope;
use crate::severity::Certainty;
use crate::verdict::{Figures, NodeCause, Verdict};

/// Equal values, kept once.
#[derive(Debug)]
pub(crate) struct Interned<T>(HashSet<Arc<T>>);

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self(HashSet::new())
    }
}

impl<T: Hash + Eq> Interned<T> {
    /// The value that is kept, which is this one if it is new.
    fn get(&mut self, value: T) -> Arc<T> {
        if let Some(known) = self.0.get(&value) {
            return Arc::clone(known);
        }
        let new = Arc::new(value);
        self.0.insert(Arc::clone(&new));
        new
    }

    /// Drops what nothing else has any more.
    fn forget_unused(&mut self) {
        self.0.retain(|value| Arc::strong_count(value) > 1);
        if self.0.len() < self.0.capacity() / 4 {
            self.0.shrink_to_fit();
        }
    }
}

/// What nodes share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    labels: Interned<Labels>,
    words: Interned<Words>,
}

impl Shared {
    /// A label set.
    pub(crate) fn labels(&mut self, family: LabelledFamily, (first, second): (&str, &str)) -> Arc<Labels> {
        self.labels.get(Labels { family, first: first.into(), second: second.into() })
    }

    /// Drops what no node has any more.
    pub(crate) fn forget_unused(&mut self) {
        self.labels.forget_unused();
        self.words.forget_unused();
    }

    /// How many values there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.labels.0.len() + self.words.0.len()
    }
}

/// A label set of a counter of errors.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Labels {
    pub(crate) family: LabelledFamily,
    pub(crate) first: Box<str>,
    pub(crate) second: Box<str>,
}

/// What verdicts of the same kind have in common, at nodes of the same kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Words {
    id: FindingId,
    certainty: Certainty,
    lacks: Vec<Source>,
    scope: Scope,
    is_info: bool,
    is_inferred: bool,
    api: Option<Box<str>>,
    code: Option<Box<str>>,
    word: Option<Box<str>>,
    max_pods: Option<u32>,
    type_enis: Option<u32>,
    setting: Option<u32>,
    /// The number's bits.
    usable: Option<u64>,
}

/// The cause of a node's refusals between two rounds: what [`NodeCause`] says, in few bytes.
#[derive(Debug)]
pub(crate) struct KeptCause {
    words: Arc<Words>,
    refused: f64,
    refused_now: f64,
    errors: f64,
    count: f64,
    assigned: Figure,
    held: Figure,
    since_ms: i64,
    refused_ms: i64,
    has_lasted: bool,
}

/// A number that may not be known, in its own eight bytes: what is not a number is not known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figure(f64);

impl Figure {
    pub(crate) fn new(value: Option<f64>) -> Self {
        Self(value.unwrap_or(f64::NAN))
    }

    pub(crate) fn get(self) -> Option<f64> {
        (!self.0.is_nan()).then_some(self.0)
    }
}

impl KeptCause {
    /// Keeps a cause.
    pub(crate) fn new(cause: NodeCause, shared: &mut Shared) -> Self {
        let NodeCause { verdict, scope, since_ms, refused_ms, has_lasted } = cause;
        let Verdict { id, certainty, lacks, figures, is_info } = verdict;
        let Figures {
            refused,
            refused_now,
            is_inferred,
            api,
            code,
            errors,
            assigned,
            held,
            usable,
            max_pods,
            type_enis,
            setting,
            count,
            word,
        } = figures;
        let usable = usable.map(f64::to_bits);
        let words = Words {
            id,
            certainty,
            lacks,
            scope,
            is_info,
            is_inferred,
            api,
            code,
            word,
            max_pods,
            type_enis,
            setting,
            usable,
        };
        Self {
            words: shared.words.get(words),
            refused,
            refused_now,
            errors,
            count,
            assigned: Figure::new(assigned),
            held: Figure::new(held),
            since_ms,
            refused_ms,
            has_lasted,
        }
    }

    /// The cause as it was.
    pub(crate) fn cause(self) -> NodeCause {
        let words = Arc::unwrap_or_clone(self.words);
        let Words {
            id,
            certainty,
            lacks,
            scope,
            is_info,
            is_inferred,
            api,
            code,
            word,
            max_pods,
            type_enis,
            setting,
            usable,
        } = words;
        let figures = Figures {
            refused: self.refused,
            refused_now: self.refused_now,
            is_inferred,
            api,
            code,
            errors: self.errors,
            assigned: self.assigned.get(),
            held: self.held.get(),
            usable: usable.map(f64::from_bits),
            max_pods,
            type_enis,
            setting,
            count: self.count,
            word,
        };
        NodeCause {
            verdict: Verdict { id, certainty, lacks, figures, is_info },
            scope,
            since_ms: self.since_ms,
            refused_ms: self.refused_ms,
            has_lasted: self.has_lasted,
        }
    }
}
