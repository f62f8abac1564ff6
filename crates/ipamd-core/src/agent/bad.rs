//! Inputs that were not used, counted by what was wrong with them.

use crate::input::BadInput;
use crate::rare::Empty;
use crate::small_map::SmallMap;

/// Counts by name, and the last of all.
#[derive(Debug, Clone)]
pub(crate) struct BadInputs {
    counts: SmallMap<&'static str, u64>,
    last: Option<BadInput>,
}

impl Empty for BadInputs {
    const EMPTY: &'static Self = &Self { counts: SmallMap::new(), last: None };

    fn empty() -> Self {
        Self { counts: SmallMap::new(), last: None }
    }
}

impl BadInputs {
    /// Counts one.
    pub(crate) fn add(&mut self, bad: BadInput) {
        let count = self.counts.or_default(bad.name());
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
