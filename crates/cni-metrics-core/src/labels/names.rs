//! The label sets of all nodes, each once.

use std::sync::Arc;

use cni_types::catalogue::{LABELLED_FAMILIES, LabelledFamily};

use super::set::{LabelKey, LabelSet, MAX_SHARED_SETS, Rest};

/// How many label sets are kept for all nodes together. Healthy clusters have some fifty, clusters in trouble some hundred.
/// What finds no room here counts under [`Rest::Other`]. Growth APIs with codes that are known always find it.
const MAX_NAMES: usize = 16_384;

/// Two for each family.
const RESTS: usize = 2 * LABELLED_FAMILIES;

/// Label sets by number.
#[derive(Debug)]
pub(crate) struct LabelNames {
    /// The rests first, then label sets; `None` where one is used no more.
    sets: Vec<Option<Arc<LabelSet>>>,
    /// Numbers of the label sets in the order of their keys.
    order: Vec<u32>,
    /// Numbers that are used no more.
    free: Vec<u32>,
    /// How many label sets there may be.
    room: usize,
    /// How many series of nodes count towards [`MAX_SHARED_SETS`].
    shared: usize,
}

impl Default for LabelNames {
    fn default() -> Self {
        Self::with_room(MAX_NAMES)
    }
}

impl LabelNames {
    pub(crate) fn with_room(room: usize) -> Self {
        let rests =
            LabelledFamily::ALL.into_iter().flat_map(|family| [(family, Rest::Other), (family, Rest::Unattributed)]);
        let sets = rests.zip(0..).map(|((family, rest), slot)| {
            Some(Arc::new(LabelSet { family, rest: Some(rest), first: Box::default(), second: Box::default(), slot }))
        });
        Self { sets: sets.collect(), order: Vec::new(), free: Vec::new(), room, shared: 0 }
    }

    /// The number of a family's rest.
    pub(crate) fn rest(family: LabelledFamily, rest: Rest) -> u32 {
        2 * family as u32 + rest as u32
    }

    /// One more than the largest number.
    pub(crate) fn len(&self) -> usize {
        self.sets.len()
    }

    /// The label set with this number.
    #[inline]
    pub(crate) fn get(&self, number: u32) -> Option<&Arc<LabelSet>> {
        self.sets.get(number as usize)?.as_ref()
    }

    /// The number of a label set, which is made if it is new; `None` if there is no room.
    pub(crate) fn number_of(&mut self, key: LabelKey<'_>) -> Option<u32> {
        let found = self
            .order
            .binary_search_by(|number| self.get(*number).map_or(std::cmp::Ordering::Less, |set| set.order(key)));
        let at = match found {
            Ok(at) => return self.order.get(at).copied(),
            Err(at) => at,
        };
        if self.is_full() && !key.is_listed_growth_error() {
            return None;
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => u32::try_from(self.sets.len()).ok()?,
        };
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned().into_boxed_str();
        let set = LabelSet { family: key.family, rest: None, first: text(key.first), second: text(key.second), slot };
        match self.sets.get_mut(slot as usize) {
            Some(place) => *place = Some(Arc::new(set)),
            None => self.sets.push(Some(Arc::new(set))),
        }
        self.order.insert(at, slot);
        Some(slot)
    }

    /// True if there is no room for another label set.
    pub(crate) fn is_full(&self) -> bool {
        self.order.len() >= self.room
    }

    /// How many series of nodes count towards [`MAX_SHARED_SETS`].
    pub(crate) fn shared(&self) -> usize {
        self.shared
    }

    /// Sets their number, when nodes have left.
    pub(crate) fn set_shared(&mut self, series: usize) {
        self.shared = series;
    }

    /// True if all nodes together have room for one more such series.
    pub(crate) fn has_shared_room(&self) -> bool {
        self.shared < MAX_SHARED_SETS
    }

    /// Drops all label sets but those with these numbers.
    pub(crate) fn keep(&mut self, used: impl Iterator<Item = u32>) {
        let mut is_used = vec![false; self.sets.len()];
        for number in used {
            if let Some(place) = is_used.get_mut(number as usize) {
                *place = true;
            }
        }
        let is_used = |number: u32| is_used.get(number as usize).copied().unwrap_or(false);
        for number in self.order.iter().copied().filter(|number| !is_used(*number)) {
            if let Some(place) = self.sets.get_mut(number as usize) {
                *place = None;
            }
            self.free.push(number);
        }
        self.order.retain(|number| is_used(*number));
    }
}

const _: () = assert!(RESTS == 2 * LabelledFamily::ALL.len(), "two for each family");

#[cfg(test)]
mod tests {
    use super::*;

    fn key(first: &str) -> LabelKey<'_> {
        LabelKey { family: LabelledFamily::ReconcileCount, first: first.as_bytes(), second: b"" }
    }

    #[test]
    fn a_label_set_has_one_number_until_it_is_used_no_more() {
        let mut names = LabelNames::with_room(3);
        let numbers = ["b", "a", "c"].map(|name| names.number_of(key(name)).unwrap());
        assert_eq!(["b", "a", "c"].map(|name| names.number_of(key(name)).unwrap()), numbers);
        assert_eq!(names.number_of(key("d")), None);
        names.keep([numbers[0], numbers[2]].into_iter());
        assert_eq!(names.get(numbers[1]), None);
        let new = names.number_of(key("d")).unwrap();
        assert_eq!(new, numbers[1]);
        assert_eq!(names.get(new).unwrap().label("fn"), Some("d"));
        assert_eq!(names.number_of(key("a")), None);
        assert_eq!(names.len(), RESTS + 3);
    }

    #[test]
    fn a_growth_error_with_a_known_code_has_a_number_when_there_is_no_room() {
        let error = |api: &'static str, code: &'static str| LabelKey {
            family: LabelledFamily::AwsApiErrorCount,
            first: api.as_bytes(),
            second: code.as_bytes(),
        };
        let mut names = LabelNames::with_room(1);
        names.number_of(key("a")).unwrap();
        let known = error("CreateNetworkInterface", "InsufficientFreeAddressesInSubnet");
        let number = names.number_of(known).unwrap();
        assert!(names.get(number).unwrap().is(known));
        assert_eq!(names.number_of(error("CreateNetworkInterface", "MadeUp")), None);
        assert_eq!(names.number_of(error("CreateTags", "InsufficientFreeAddressesInSubnet")), None);
        assert_eq!(names.number_of(key("InsufficientFreeAddressesInSubnet")), None);
    }

    #[test]
    fn every_family_has_its_rests() {
        let names = LabelNames::default();
        for family in LabelledFamily::ALL {
            for rest in [Rest::Other, Rest::Unattributed] {
                let set = names.get(LabelNames::rest(family, rest)).unwrap();
                assert_eq!((set.family(), set.rest(), set.labels().count()), (family, Some(rest), 0));
            }
        }
    }
}
