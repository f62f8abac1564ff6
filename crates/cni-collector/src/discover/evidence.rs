//! The cluster's name as objects in the cluster give it, collected from the watches: this needs no further request and no
//! further permission.

use std::collections::BTreeMap;

/// Distinct names kept. A cluster has one.
const MOST_NAMES: usize = 16;

/// How many objects carry which name: counted anew with each list, and added to by what changes afterwards.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeMap<Box<str>, usize>);

impl Tally {
    /// Counts a name; true if it is the first of this name.
    pub(super) fn add(&mut self, name: Option<&str>) -> bool {
        let Some(name) = name.map(str::trim).filter(|name| !name.is_empty()) else { return false };
        if let Some(count) = self.0.get_mut(name) {
            *count = count.saturating_add(1);
            return false;
        }
        self.0.len() < MOST_NAMES && self.0.insert(name.into(), 1).is_none()
    }

    /// The same for an object that may have been counted before.
    pub(super) fn meet(&mut self, name: Option<&str>) -> bool {
        name.is_some_and(|name| !self.0.contains_key(name.trim())) && self.add(name)
    }

    /// The names, that of most objects first.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<(&Box<str>, &usize)> = self.0.iter().collect();
        names.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), (*name).clone()));
        names.into_iter().map(|(name, _)| name.to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_most_objects_comes_first_and_their_number_is_bounded() {
        let mut tally = Tally::default();
        for name in [Some("old"), Some("prod"), None, Some(" "), Some("prod"), Some("also")] {
            tally.add(name);
        }
        assert_eq!(tally.names(), ["prod", "also", "old"]);
        assert!(tally.meet(Some("new")) && !tally.meet(Some("new")) && !tally.meet(None));
        for number in 0..1000 {
            tally.add(Some(&format!("node-{number}")));
        }
        assert_eq!(tally.names().len(), MOST_NAMES);
    }
}
