//! A page's sums by label set.

use std::borrow::Cow;

use cni_types::catalogue::{LABELLED_FAMILIES, LabelledFamily};

use super::set::{LabelKey, MAX_VALUE_BYTES, Room};

/// What a page says by label set: those whose count is 1 or more.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageLabels {
    /// The values of all label sets, one after the other.
    text: Vec<u8>,
    /// In ascending order, each label set once.
    sets: Vec<Entry>,
    /// By room: how many of `sets`.
    sizes: [u16; Room::ALL.len()],
    /// By family: the sum of the label sets that found no room.
    beyond: Option<Box<[u64; LABELLED_FAMILIES]>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    value: u64,
    start: u32,
    first: u16,
    second: u16,
    family: LabelledFamily,
}

/// One label set on a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSet<'a> {
    pub(crate) key: LabelKey<'a>,
    /// Its count, without parts of an event.
    pub value: u64,
}

impl<'a> PageSet<'a> {
    /// The family.
    pub fn family(self) -> LabelledFamily {
        self.key.family
    }

    /// Names and values of the labels. A value that is not plain text, or too long, is as it is shown.
    pub fn labels(self) -> impl Iterator<Item = (&'static str, Cow<'a, str>)> {
        let values = [self.key.first, self.key.second].map(String::from_utf8_lossy);
        self.key.family.label_names().iter().copied().zip(values)
    }
}

impl PageLabels {
    /// True if no label set counted anything.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// How many label sets there are.
    pub fn len(&self) -> usize {
        self.sets.len()
    }

    /// The label sets, in the order of families and values.
    pub fn iter(&self) -> impl Iterator<Item = PageSet<'_>> {
        self.sets.iter().map(|entry| PageSet { key: self.key(entry), value: entry.value })
    }

    /// What the family's label sets count that found no room.
    pub fn beyond(&self, family: LabelledFamily) -> u64 {
        self.beyond.as_ref().and_then(|beyond| beyond.get(family as usize)).copied().unwrap_or(0)
    }

    /// The same of all families.
    pub(crate) fn all_beyond(&self) -> [u64; LABELLED_FAMILIES] {
        self.beyond.as_ref().map_or([0; LABELLED_FAMILIES], |beyond| **beyond)
    }

    /// Adds a series: the values of its labels as written, and what it counts.
    pub(crate) fn add(&mut self, family: LabelledFamily, first: &[u8], second: &[u8], value: f64) {
        let (first, second) = (clean(first), clean(second));
        self.add_set(LabelKey { family, first: &first, second: &second }, value);
    }

    /// The same with values as they are kept.
    #[inline]
    pub(crate) fn add_set(&mut self, key: LabelKey<'_>, value: f64) {
        // Not negative and at most 2^53, or the reader would have refused it.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "parts of an event are cut")]
        let value = value as u64;
        if value == 0 {
            return;
        }
        match self.sets.last().copied() {
            None => {
                // What a page of a healthy node has.
                self.sets.reserve(16);
                self.text.reserve(512);
                self.insert(0, key, value);
            }
            Some(last) if self.key(&last) < key => self.insert(self.sets.len(), key, value),
            Some(_) => match self.sets.binary_search_by(|entry| self.key(entry).cmp(&key)) {
                Ok(at) => {
                    if let Some(known) = self.sets.get_mut(at) {
                        known.value = known.value.saturating_add(value);
                    }
                }
                Err(at) => self.insert(at, key, value),
            },
        }
    }

    #[inline]
    fn insert(&mut self, at: usize, key: LabelKey<'_>, value: u64) {
        let room = key.room();
        let size = self.sizes.get_mut(room as usize);
        let (Some(size), Ok(start), Ok(first), Ok(second)) = (
            size.filter(|size| usize::from(**size) < room.page_limit()),
            u32::try_from(self.text.len()),
            u16::try_from(key.first.len()),
            u16::try_from(key.second.len()),
        ) else {
            return self.add_beyond(key.family, value);
        };
        *size += 1;
        self.text.extend_from_slice(key.first);
        if second > 0 {
            self.text.extend_from_slice(key.second);
        }
        let entry = Entry { value, start, first, second, family: key.family };
        if at == self.sets.len() {
            self.sets.push(entry);
        } else {
            self.sets.insert(at, entry);
        }
    }

    #[cold]
    fn add_beyond(&mut self, family: LabelledFamily, value: u64) {
        if let Some(beyond) = self.beyond.get_or_insert_default().get_mut(family as usize) {
            *beyond = beyond.saturating_add(value);
        }
    }

    #[inline]
    fn key(&self, entry: &Entry) -> LabelKey<'_> {
        let text = self.text.get(entry.start as usize..).unwrap_or_default();
        let (first, rest) = text.split_at_checked(entry.first.into()).unwrap_or_default();
        LabelKey { family: entry.family, first, second: rest.get(..entry.second.into()).unwrap_or_default() }
    }
}

/// A value as it is kept and shown: short and without anything that acts. `raw` is as written on the page.
#[cold]
fn clean(raw: &[u8]) -> Cow<'_, [u8]> {
    if is_kept_as_written(raw) { Cow::Borrowed(raw) } else { Cow::Owned(shown(raw)) }
}

/// True for a value that is kept as it is written: short, and plain text without quotes.
#[inline]
pub(crate) fn is_kept_as_written(raw: &[u8]) -> bool {
    raw.len() <= MAX_VALUE_BYTES && is_plain(raw)
}

/// True for printable ASCII without a backslash or a quote. Eight bytes at a time: it is asked for each value of each page.
#[inline]
fn is_plain(text: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    let Some(last) = text.last_chunk::<8>() else {
        return text.iter().all(|byte| matches!(byte, b' ' | b'!' | b'#'..=b'[' | b']'..=b'~'));
    };
    let odd = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        let (backslash, quote) = (word ^ (0x5C * ONES), word ^ (0x22 * ONES));
        // The high bit of a byte is set, at the latest in the first that is odd: below a space, a backslash or a quote; not
        // ASCII; or the last of ASCII.
        let low = (word.wrapping_sub(0x20 * ONES) & !word) | (backslash.wrapping_sub(ONES) & !backslash);
        low | (quote.wrapping_sub(ONES) & !quote) | word | word.wrapping_add(ONES)
    };
    let mut found = odd(last);
    for word in text.as_chunks::<8>().0 {
        found |= odd(word);
    }
    found & HIGH == 0
}

/// The same for a value that is long, or not plain.
fn shown(raw: &[u8]) -> Vec<u8> {
    // More than is shown of it, so that a cut is seen.
    let mut text = Vec::with_capacity(MAX_VALUE_BYTES + 1);
    let mut left = raw.iter();
    while text.len() <= MAX_VALUE_BYTES
        && let Some(byte) = left.next()
    {
        text.push(match byte {
            b'\\' => match left.next() {
                Some(b'n') => b'\n',
                Some(other) => *other,
                None => b'\\',
            },
            byte => *byte,
        });
    }
    crate::text::excerpt(&text, MAX_VALUE_BYTES).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::super::set::MAX_PAGE_SETS;
    use super::*;

    fn listed(labels: &PageLabels) -> Vec<(Vec<String>, u64)> {
        labels.iter().map(|set| (set.labels().map(|(_, value)| value.into_owned()).collect(), set.value)).collect()
    }

    #[test]
    fn series_are_added_to_their_label_set_in_whatever_order_they_come() {
        use LabelledFamily::{AwsApiErrorCount, IpamdErrorCount};
        let mut labels = PageLabels::default();
        labels.add(IpamdErrorCount, b"b", b"", 1.0);
        labels.add(AwsApiErrorCount, b"Create", b"Y", 2.0);
        labels.add(IpamdErrorCount, b"a", b"", 4.9);
        labels.add(AwsApiErrorCount, b"Create", b"X", 8.0);
        labels.add(IpamdErrorCount, b"b", b"", 16.0);
        labels.add(IpamdErrorCount, b"never", b"", 0.9);
        let set = |values: &[&str], value| (values.iter().map(ToString::to_string).collect::<Vec<_>>(), value);
        let expected = [set(&["Create", "X"], 8), set(&["Create", "Y"], 2), set(&["a"], 4), set(&["b"], 17)];
        assert_eq!(listed(&labels), expected);
    }

    #[test]
    fn values_are_short_and_nothing_in_them_acts() {
        let mut labels = PageLabels::default();
        let family = LabelledFamily::IpamdErrorCount;
        labels.add(family, br#"a\\b\"c\nd"#, b"", 1.0);
        labels.add(family, "é\u{202E}".as_bytes(), b"", 1.0);
        let long = "x".repeat(MAX_VALUE_BYTES);
        labels.add(family, long.as_bytes(), b"", 1.0);
        labels.add(family, format!("{long}1").as_bytes(), b"", 2.0);
        labels.add(family, format!("{long}2").as_bytes(), b"", 4.0);
        let found: Vec<_> = listed(&labels).into_iter().map(|(mut values, count)| (values.remove(0), count)).collect();
        let expected =
            [("a\\b\"c\\nd".to_owned(), 1), (long.clone(), 1), (format!("{long}…"), 6), ("é\\u{202e}".to_owned(), 1)];
        assert_eq!(found, expected);
    }

    #[test]
    fn plain_text_is_told_from_any_other_at_every_place() {
        for length in 0..20 {
            for byte in 0..=u8::MAX {
                for at in 0..length {
                    let mut text = vec![b'A'; length];
                    text[at] = byte;
                    let expected = (byte.is_ascii_graphic() || byte == b' ') && byte != b'\\' && byte != b'"';
                    assert_eq!(is_plain(&text), expected, "{byte} at {at} of {length}");
                    // Whatever stands beside it.
                    text.iter_mut().skip(at + 1).for_each(|other| *other = b' ');
                    assert_eq!(is_plain(&text), expected, "{byte} at {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn what_finds_no_room_is_added_up_and_growth_has_room_of_its_own() {
        let mut labels = PageLabels::default();
        for number in 0..2_000_u32 {
            let number = number.to_string();
            labels.add(LabelledFamily::AwsApiErrorCount, b"CreateTags", number.as_bytes(), 1.0);
            labels.add(LabelledFamily::ReconcileCount, number.as_bytes(), b"", 2.0);
        }
        labels.add(LabelledFamily::AwsApiErrorCount, b"CreateNetworkInterface", b"X", 3.0);
        assert_eq!(labels.len(), 2 * MAX_PAGE_SETS + 1);
        assert_eq!(labels.beyond(LabelledFamily::AwsApiErrorCount), 2_000 - 512);
        assert_eq!(labels.beyond(LabelledFamily::ReconcileCount), 2 * (2_000 - 512));
        assert_eq!(labels.beyond(LabelledFamily::IpamdErrorCount), 0);
    }
}
