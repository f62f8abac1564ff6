//! A map that is a sorted vector: few entries, many maps.

use std::borrow::Borrow;
use std::fmt;

/// A map of some hundred entries at most, without the nodes of a tree: a simulated cluster has hundreds of thousands of them.
#[derive(Clone, PartialEq, Eq)]
pub struct SmallMap<K, V>(Vec<(K, V)>);

impl<K, V> SmallMap<K, V> {
    /// A map without entries, which takes no memory elsewhere.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Entries.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// There are no entries.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Entries in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// Entries in the order of their keys, to change their values.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.0.iter_mut().map(|(key, value)| (&*key, value))
    }

    /// Removes every entry.
    pub fn clear(&mut self) {
        self.0 = Vec::new();
    }

    /// Keys in their order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    /// Values in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }
}

impl<K: Ord, V> SmallMap<K, V> {
    fn place<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.0.binary_search_by(|(known, _)| known.borrow().cmp(key))
    }

    /// The key is in the map.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.place(key).is_ok()
    }

    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.place(key).ok().and_then(|index| self.0.get(index)).map(|(_, value)| value)
    }

    /// The value of a key, to change it.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let index = self.place(key).ok()?;
        self.0.get_mut(index).map(|(_, value)| value)
    }

    /// Sets the value of a key; the answer is the one that it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.place(&key) {
            Ok(index) => self.0.get_mut(index).map(|(_, known)| std::mem::replace(known, value)),
            Err(index) => {
                make_room(&mut self.0);
                self.0.insert(index, (key, value));
                None
            }
        }
    }

    /// The value of a key, to change it; the default one where there is none yet.
    pub fn or_default(&mut self, key: K) -> &mut V
    where
        V: Default,
    {
        let index = self.place(&key).unwrap_or_else(|index| {
            make_room(&mut self.0);
            self.0.insert(index, (key, V::default()));
            index
        });
        #[expect(clippy::indexing_slicing, reason = "the entry was found or inserted here")]
        &mut self.0[index].1
    }

    /// Removes a key; the answer is its value. The last one leaves no memory behind.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let removed = self.place(key).ok().map(|index| self.0.remove(index).1);
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
        removed
    }

    /// Keeps the entries that `keep` says.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        self.0.retain(|(key, value)| keep(key, value));
    }
}

impl<K: Ord, V> Extend<(K, V)> for SmallMap<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for SmallMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<K, V> Default for SmallMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SmallMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Makes room for one more: an eighth of the length at a time, where a vector would double.
pub(crate) fn make_room<T>(entries: &mut Vec<T>) {
    if entries.len() == entries.capacity() {
        entries.reserve_exact(1 + entries.len() / 8);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use cni_types::random::Random;

    use super::*;

    #[test]
    fn it_is_a_map() {
        let (mut ours, mut theirs, mut random) = (SmallMap::new(), BTreeMap::new(), Random::new(7));
        for number in 0..10_000_u64 {
            let key = random.below(100);
            match random.below(5) {
                0 | 1 => {
                    assert_eq!(ours.insert(key, number), theirs.insert(key, number));
                }
                2 => assert_eq!(ours.remove(&key), theirs.remove(&key)),
                3 if key % 2 == 0 => {
                    *ours.or_default(key) += 1;
                    *theirs.entry(key).or_default() += 1;
                }
                3 => assert_eq!(
                    ours.get_mut(&key).map(|value| *value += 1),
                    theirs.get_mut(&key).map(|value| *value += 1)
                ),
                _ if number % 100 == 0 => {
                    ours.retain(|key, _| key % 2 == 0);
                    theirs.retain(|key, _| key % 2 == 0);
                }
                _ => {
                    assert_eq!(ours.get(&key), theirs.get(&key));
                    assert_eq!(ours.contains_key(&key), theirs.contains_key(&key));
                }
            }
            assert_eq!((ours.len(), ours.is_empty()), (theirs.len(), theirs.is_empty()));
            assert!(
                ours.iter().eq(theirs.iter()) && ours.keys().eq(theirs.keys()) && ours.values().eq(theirs.values())
            );
        }
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
        assert!(ours.0.capacity() <= 100 + 100 / 8 + 1);
        (0..100).for_each(|key| assert_eq!(ours.remove(&key), theirs.remove(&key)));
        assert_eq!(ours.0.capacity(), 0, "no entries, no memory");
    }
}
