//! The values of one node by label set: counters, and gauges whose labels are kept.
//!
//! The family's value, as [`super::counter`] finds it, is a budget. Each label set's increase since its baseline is taken
//! from it, then that of the label sets beyond the bounds, and what is left is unattributed: so the shares add up to the
//! value whatever a page says. A whole family sets all baselines to what the page shows, as it sets the family's own. Of
//! a damaged one they move only by what was taken, so that the rest is taken once the whole family is read again. A gauge's
//! label sets take what the page shows.

mod sums;

use crate::labels::{LabelKey, LabelNames, LabelShare, PageSet, Rest, Room};
use crate::model::{NodeFigures, NodeSample, UnixMillis, Values};
use cni_types::catalogue::{LABELLED_FAMILIES, LabelledFamily};

pub(super) use sums::LabelSums;
pub use sums::MAX_CLUSTER_SETS;

/// The bits of all families.
const ALL: u32 = u32::MAX >> (u32::BITS as usize - LABELLED_FAMILIES);

/// The bits of gauges: their label sets have no baselines, a share is what the page shows.
const GAUGES: u32 = {
    let (mut bits, mut left) = (0, LabelledFamily::ALL.as_slice());
    while let [family, rest @ ..] = left {
        if !family.family().is_counter() {
            bits |= 1 << *family as u32;
        }
        left = rest;
    }
    bits
};

const fn is_gauge(family: LabelledFamily) -> bool {
    GAUGES >> family as u32 & 1 != 0
}

const _: () = assert!(LABELLED_FAMILIES <= u32::BITS as usize, "a bit for each family");
const _: () = assert!(size_of::<LabelBaselines>() == 24, "there is one for each node");

/// A node's label sets at its last good scrape.
#[derive(Debug)]
pub(super) struct LabelBaselines {
    /// Label sets in the order in which pages have them, then the rests.
    series: Box<[StoredSeries]>,
    /// A bit for each family of which all baselines are known: a label set without a series counts from 0.
    based: u32,
    /// A bit for each [`Room`] in which a label set found none: what is new to it counts under [`Rest::Other`].
    closed: u8,
}

/// One label set of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct StoredSeries {
    value: u64,
    /// Its number in [`LabelNames`].
    set: u32,
    /// Unix seconds; 0 if it did not increase since it was first seen.
    increased_s: u32,
}

const _: () = assert!(size_of::<StoredSeries>() == 16, "there are millions of them");

/// What a page says of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// Nothing by which baselines could move.
    Nothing,
    /// Baselines, whose past is not known.
    Baselines,
    /// All of it.
    Whole,
    /// Lines of it are lost.
    Part,
}

impl LabelBaselines {
    /// Nothing is known of what was counted before.
    pub(super) fn unknown() -> Self {
        Self { series: Box::default(), based: 0, closed: 0 }
    }

    /// A process that is new: its label sets count from 0.
    pub(super) fn begin_anew(&mut self) {
        *self = Self { based: ALL, ..Self::unknown() };
    }

    /// Numbers of the label sets that have series.
    pub(super) fn sets(&self) -> impl Iterator<Item = u32> {
        self.series.iter().map(|series| series.set)
    }

    /// Each label set's number, its count, and when it last increased.
    pub(super) fn counts(&self) -> impl Iterator<Item = (u32, u64, Option<UnixMillis>)> {
        let time = |seconds: u32| (seconds > 0).then(|| UnixMillis(i64::from(seconds) * 1000));
        self.series.iter().map(move |own| (own.set, own.value, time(own.increased_s)))
    }

    /// How many of its series count towards [`crate::labels::MAX_SHARED_SETS`].
    pub(super) fn beyond_reserved(&self, names: &LabelNames) -> usize {
        let sizes = sizes(&self.series, names);
        Room::ALL.into_iter().zip(sizes).map(|(room, size)| size.saturating_sub(room.reserved())).sum()
    }

    /// True if the baselines of all families are known.
    pub(super) fn has_all_baselines(&self) -> bool {
        self.based | GAUGES == ALL
    }

    /// A family that is not on the page, and counted nothing yet: its label sets will count from 0.
    pub(super) fn counts_from_0(&mut self, family: LabelledFamily) {
        self.based |= 1 << family as u32;
    }

    /// Takes a page in, and sets the shares of its node's `figures`, whose values are known. `shares` is empty, and is there
    /// to be used again.
    pub(super) fn advance(
        &mut self,
        sample: &NodeSample,
        figures: &mut NodeFigures,
        at: UnixMillis,
        (names, shares): (&mut LabelNames, &mut Vec<LabelShare>),
    ) {
        let mut series = std::mem::take(&mut self.series).into_vec();
        if series.is_empty() {
            // A node's label sets hardly change after its first page; room for more would be paid for 100,000 times.
            series.reserve_exact(sample.labels.len());
        }
        let mut page = Page {
            series,
            place: 0,
            shown: LabelledFamily::ALL.map(|family| self.shown(family, sample, &figures.values)),
            left: LabelledFamily::ALL.map(|family| figures.values.get(family.family().metric()).unwrap_or(0.0)),
            others: sample.labels.all_beyond(),
            hidden: sample.labels.all_beyond(),
            closed: self.closed,
            sizes: None,
            now_s: u32::try_from(at.0.div_euclid(1000)).unwrap_or(0),
            names,
            shares: std::mem::take(shares),
        };
        for set in sample.labels.iter() {
            page.take(set);
        }
        page.end();
        page.take_others();
        if self.based | GAUGES != ALL {
            for (family, shown) in LabelledFamily::ALL.into_iter().zip(page.shown) {
                if matches!(shown, Shown::Baselines | Shown::Whole) {
                    self.based |= 1 << family as u32;
                }
            }
        }
        self.closed = page.closed;
        self.series = page.series.into_boxed_slice();
        figures.labels_overflowed = self.closed != 0;
        figures.shares = page.shares.drain(..).collect();
        *shares = page.shares;
    }

    fn shown(&self, family: LabelledFamily, sample: &NodeSample, values: &Values) -> Shown {
        let is_based = (self.based | GAUGES) & (1 << family as u32) != 0;
        let is_known = values.get(family.family().metric()).is_some();
        match sample.get(family.family()) {
            Some(own) if own.damaged => {
                if is_based && is_known {
                    Shown::Part
                } else {
                    Shown::Nothing
                }
            }
            Some(_) if is_based && is_known => Shown::Whole,
            Some(_) => Shown::Baselines,
            None => Shown::Nothing,
        }
    }
}

/// By room, how many label sets there are.
fn sizes(series: &[StoredSeries], names: &LabelNames) -> [usize; Room::ALL.len()] {
    let mut sizes = [0; Room::ALL.len()];
    let sets = series.iter().filter_map(|series| names.get(series.set));
    for set in sets.filter(|set| set.rest().is_none()) {
        if let Some(size) = sizes.get_mut(set.room() as usize) {
            *size += 1;
        }
    }
    sizes
}

/// A page that is being taken in.
struct Page<'a> {
    series: Vec<StoredSeries>,
    /// The first of `series` that the page was not compared with.
    place: usize,
    shown: [Shown; LABELLED_FAMILIES],
    /// Of each family's value, what has no share yet.
    left: [f64; LABELLED_FAMILIES],
    /// What the page shows of label sets without series.
    others: [u64; LABELLED_FAMILIES],
    /// Of `others`, what its sample does not hold.
    hidden: [u64; LABELLED_FAMILIES],
    closed: u8,
    /// By room, how many of `series` are its label sets; counted when it is first asked for.
    sizes: Option<[usize; Room::ALL.len()]>,
    now_s: u32,
    names: &'a mut LabelNames,
    shares: Vec<LabelShare>,
}

impl Page<'_> {
    /// Takes in a label set. They come in order, and so are the series.
    #[inline]
    fn take(&mut self, page_set: PageSet<'_>) {
        let family = page_set.key.family;
        while let Some(series) = self.series.get(self.place)
            && let Some(set) = self.names.get(series.set)
        {
            if set.is(page_set.key) {
                self.count(self.place, family, page_set.value);
                self.place += 1;
                return;
            }
            if set.order(page_set.key).is_gt() {
                break;
            }
            let vanished = set.family();
            self.miss(vanished);
            self.place += 1;
        }
        self.take_new(page_set);
    }

    /// A label set that has no series: gives it one where there is room.
    #[cold]
    fn take_new(&mut self, page_set: PageSet<'_>) {
        let PageSet { key, value } = page_set;
        match self.shown_of(key.family) {
            Shown::Nothing => return,
            Shown::Part if self.left_of(key.family) < 1.0 => return,
            Shown::Part | Shown::Whole | Shown::Baselines => {}
        }
        let room = key.room();
        match self.number_in(room, key) {
            Some(set) => {
                self.series.insert(self.place, StoredSeries { value: 0, set, increased_s: 0 });
                self.count(self.place, key.family, value);
                self.place += 1;
            }
            None => self.add_other(key.family, room, value),
        }
    }

    /// The number of a label set that is to have a series; `None` if the room is full, or was full before.
    fn number_in(&mut self, room: Room, key: LabelKey<'_>) -> Option<u32> {
        if self.closed & room.bit() != 0 {
            return None;
        }
        let size = self.sizes.get_or_insert_with(|| sizes(&self.series, self.names)).get_mut(room as usize)?;
        let is_reserved = *size < room.reserved();
        if !is_reserved && (*size >= room.limit() || !self.names.has_shared_room()) {
            return None;
        }
        let number = self.names.number_of(key)?;
        *size += 1;
        if !is_reserved {
            self.names.set_shared(self.names.shared() + 1);
        }
        Some(number)
    }

    fn add_other(&mut self, family: LabelledFamily, room: Room, value: u64) {
        self.closed |= room.bit();
        if let Some(others) = self.others.get_mut(family as usize) {
            *others = others.saturating_add(value);
        }
    }

    /// The series that the page did not show.
    fn end(&mut self) {
        while let Some(series) = self.series.get(self.place)
            && let Some(set) = self.names.get(series.set).filter(|set| set.rest().is_none())
        {
            let vanished = set.family();
            self.miss(vanished);
            self.place += 1;
        }
    }

    /// The series at the place is not on the page.
    fn miss(&mut self, family: LabelledFamily) {
        let is_hidden = self.hidden.get(family as usize).is_some_and(|hidden| *hidden > 0);
        if matches!(self.shown_of(family), Shown::Whole | Shown::Baselines)
            && !is_hidden
            && let Some(series) = self.series.get_mut(self.place)
        {
            series.value = 0;
        }
    }

    /// Takes in what has no series, and what is left of the families' values.
    fn take_others(&mut self) {
        let has_rest = self.place < self.series.len();
        if !has_rest && self.others == [0; LABELLED_FAMILIES] && self.left.iter().all(|left| *left <= 0.0) {
            return;
        }
        for family in LabelledFamily::ALL {
            let index = family as usize;
            let others = self.others.get(index).copied().unwrap_or(0);
            if self.hidden.get(index).is_some_and(|hidden| *hidden > 0) {
                let room = if family == LabelledFamily::AwsApiErrorCount { Room::Api } else { Room::Others };
                self.closed |= room.bit();
            }
            let number = LabelNames::rest(family, Rest::Other);
            let known = self.series.get(self.place..).unwrap_or_default().iter().position(|own| own.set == number);
            match known {
                Some(at) => self.count(self.place + at, family, others),
                None if others > 0 => {
                    self.series.push(StoredSeries { value: 0, set: number, increased_s: 0 });
                    self.count(self.series.len() - 1, family, others);
                }
                None => {}
            }
            let left = self.left_of(family);
            if left > 0.0 {
                self.share(LabelNames::rest(family, Rest::Unattributed), left);
            }
        }
    }

    /// Takes from the family's value what the series at `at` increased by, and moves its baseline to `value`.
    #[inline]
    fn count(&mut self, at: usize, family: LabelledFamily, value: u64) {
        let shown = self.shown_of(family);
        let Some(series) = self.series.get_mut(at) else { return };
        let before = if is_gauge(family) { 0 } else { series.value };
        let increase = value.saturating_sub(before);
        match shown {
            Shown::Nothing => return,
            Shown::Baselines => {
                series.value = value;
                return;
            }
            Shown::Whole => series.value = value,
            Shown::Part => {}
        }
        if increase == 0 {
            return;
        }
        let Some(left) = self.left.get_mut(family as usize) else { return };
        let taken = (increase as f64).min(left.floor());
        if taken < 1.0 {
            return;
        }
        *left -= taken;
        series.increased_s = self.now_s;
        if shown == Shown::Part {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number within 2^53")]
            let taken = taken as u64;
            series.value = series.value.saturating_add(taken);
        }
        let set = series.set;
        self.share(set, taken);
    }

    fn share(&mut self, set: u32, value: f64) {
        if let Some(set) = self.names.get(set) {
            self.shares.push(LabelShare { set: set.clone(), value });
        }
    }

    #[inline]
    fn shown_of(&self, family: LabelledFamily) -> Shown {
        self.shown.get(family as usize).copied().unwrap_or(Shown::Nothing)
    }

    #[inline]
    fn left_of(&self, family: LabelledFamily) -> f64 {
        self.left.get(family as usize).copied().unwrap_or(0.0)
    }
}
