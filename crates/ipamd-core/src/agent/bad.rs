//! Inputs that were not used, counted by what was wrong with them.

use std::collections::BTreeMap;

use crate::input::BadInput;

/// Counts by name, and the last of all.
#[derive(Debug, Clone, Default)]
pub(crate) struct BadInputs {
    counts: BTreeMap<&'static str, u64>,
    last: Option<BadInput>,
}

impl BadInputs {
    /// Counts one.
    pub(crate) fn add(&mut self, bad: BadInput) {
        let count = self.counts.entry(bad.name()).or_default();
        *count = count.saturating_add(1);
        self.last = Some(bad);
    }

    /// Counts by name.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.counts.iter().map(|(name, count)| (*name, *count))
    }

    /// The last of all.
    pub(crate) fn last(&self) -> Option<&BadInput> {
        self.last.as_ref()
    }
}
