//! A value that most nodes never change from its empty one: it takes no memory until then.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// A kind of value with an empty one that everything can share.
pub(crate) trait Empty: 'static {
    /// The empty one.
    const EMPTY: &'static Self;

    /// The empty one, to be changed.
    fn empty() -> Self;
}

/// Such a value. Reading takes no memory; the first access that may change it does.
#[derive(Clone)]
pub(crate) struct Rare<T>(Option<Box<T>>);

impl<T> Rare<T> {
    /// The empty value.
    pub(crate) const EMPTY: Self = Self(None);
}

impl<T> Rare<T> {
    /// Changes a value that is there. An empty one stays as it is: nothing can be taken out of it.
    pub(crate) fn when_there<R: Default>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        self.0.as_deref_mut().map(change).unwrap_or_default()
    }
}

impl<T> Default for Rare<T> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<T: Empty> Deref for Rare<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::EMPTY)
    }
}

impl<T: Empty> DerefMut for Rare<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_with(|| Box::new(T::empty()))
    }
}

impl<T: fmt::Debug> fmt::Debug for Rare<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("(empty)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Empty for Vec<u32> {
        const EMPTY: &'static Self = &Self::new();

        fn empty() -> Self {
            Self::new()
        }
    }

    #[test]
    fn only_a_change_takes_memory() {
        let mut rare: Rare<Vec<u32>> = Rare::default();
        assert!(rare.is_empty() && rare.0.is_none());
        assert!(rare.when_there(std::mem::take).is_empty());
        assert!(rare.0.is_none(), "nothing was taken out of nothing");
        rare.push(3);
        assert_eq!((rare.len(), format!("{rare:?}")), (1, "[3]".to_owned()));
        assert_eq!(*rare.clone(), [3]);
        assert_eq!(rare.when_there(std::mem::take), [3]);
    }
}
