//! Equal values kept once, for as long as they are used outside of the set.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

/// Entries below which looking for unused ones is not worth it.
const SMALL: usize = 64;

/// A set of shared values. It holds at most [`SMALL`] more than twice the values that were in use when it was last swept.
#[derive(Debug)]
pub(super) struct Interner<T> {
    known: HashSet<Arc<T>>,
    /// At this size unused values are looked for.
    sweep_at: usize,
}

impl<T: Eq + Hash> Default for Interner<T> {
    fn default() -> Self {
        Self { known: HashSet::new(), sweep_at: SMALL }
    }
}

impl<T: Eq + Hash> Interner<T>
where
    Arc<T>: Borrow<T>,
{
    /// The shared form of this value.
    pub(super) fn shared(&mut self, value: T) -> Arc<T> {
        if let Some(known) = self.known.get(&value) {
            return Arc::clone(known);
        }
        if self.known.len() >= self.sweep_at {
            self.sweep();
        }
        let shared = Arc::new(value);
        self.known.insert(Arc::clone(&shared));
        shared
    }

    /// This value is held already, or fewer than `most` are in use.
    pub(super) fn has_room(&mut self, value: &T, most: usize) -> bool {
        if self.known.len() >= most && !self.known.contains(value) {
            self.sweep();
        }
        self.known.len() < most || self.known.contains(value)
    }

    /// Drops the values that only this set still holds.
    pub(super) fn sweep(&mut self) {
        self.known.retain(|shared| Arc::strong_count(shared) > 1);
        self.sweep_at = self.known.len().saturating_mul(2).saturating_add(SMALL);
        if self.known.capacity() / 4 > self.sweep_at {
            self.known.shrink_to(self.sweep_at);
        }
    }

    /// Values held, in use or not.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_shared_and_unused_ones_are_dropped() {
        let mut interner = Interner::default();
        let kept = interner.shared(0_u64);
        assert!(Arc::ptr_eq(&kept, &interner.shared(0)));
        for value in 1..100_000 {
            interner.shared(value);
            assert!(interner.len() <= 2 + 2 * SMALL, "{value}: {}", interner.len());
        }
        assert!(Arc::ptr_eq(&kept, &interner.shared(0)), "a value in use stays");
        drop(kept);
        interner.sweep();
        assert_eq!(interner.len(), 0);
    }
}
