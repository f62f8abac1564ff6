//! Counters with lines that cannot be read, page after page.
//!
//! For two pages such a counter waits: usually the next page is whole, and then nothing is lost. From the third on it
//! counts by the series that could be read, between pages on which these were the same. What is counted so is added to the
//! counter's baseline: once the whole family is read again, only what is above it counts, so that nothing counts twice and
//! the events of the unreadable series count then.

use crate::model::FamilySample;
use cni_types::catalogue::Family;

/// From which damaged page in a row on a counter counts by its readable series.
pub const DAMAGED_PAGES: u8 = 3;

/// One counter of a node while it is damaged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Damage {
    pub(super) family: Family,
    /// Pages in a row, up to [`DAMAGED_PAGES`].
    pub(super) pages: u8,
    /// Which series could be read.
    pub(super) readable: u64,
    /// Their sum, as far as it was counted.
    pub(super) sum: f64,
}

/// A node's damaged counters: none, with nearly all nodes, hence small.
#[derive(Debug, Default)]
pub(super) struct Damages(Option<Box<[Damage]>>);

impl Damages {
    pub(super) fn new(damages: Vec<Damage>) -> Self {
        Self((!damages.is_empty()).then(|| damages.into_boxed_slice()))
    }

    pub(super) fn all(&self) -> &[Damage] {
        self.0.as_deref().unwrap_or_default()
    }

    pub(super) fn clear(&mut self) {
        self.0 = None;
    }

    /// The whole family was read.
    pub(super) fn heal(&mut self, family: Family) {
        if self.0.is_some() {
            *self = Self::new(self.all().iter().copied().filter(|damage| damage.family != family).collect());
        }
    }

    /// Takes in a damaged family, and returns what counts of it. All that it shows is new if its process `began_anew`.
    pub(super) fn advance(&mut self, family: Family, now: FamilySample, began_anew: bool) -> Option<f64> {
        let known = self.0.iter_mut().flatten().find(|damage| damage.family == family);
        let Some(known) = known else {
            let sum = if began_anew { 0.0 } else { now.sum };
            let first = Damage { family, pages: 1, readable: now.readable, sum };
            *self = Self::new(self.all().iter().copied().chain([first]).collect());
            return None;
        };
        known.pages = known.pages.saturating_add(1).min(DAMAGED_PAGES);
        if known.readable != now.readable {
            (known.readable, known.sum) = (now.readable, now.sum);
            return None;
        }
        // Where no series could be read, nothing is known.
        if known.pages < DAMAGED_PAGES || now.readable == 0 {
            return None;
        }
        let counted = (now.sum - known.sum).max(0.0);
        known.sum = now.sum;
        Some(counted)
    }
}
