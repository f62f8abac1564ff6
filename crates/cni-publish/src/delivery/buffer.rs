//! Points that the destination has not accepted yet, round by round, within a bounded memory.

use std::collections::BTreeMap;
use std::ops::RangeBounds;

use cni_metrics_core::model::UnixMillis;
use cni_types::catalogue::{CATALOGUE, Kind, METRICS, Row};

use crate::selection::ROWS;
use cni_runtime::gate::Span;

/// What a round costs beyond its values: its entry in the tree, its allocation and its place in the allocator, bytes.
const ROUND_BYTES: u64 = 96;
/// One value, bytes.
const VALUE_BYTES: u64 = 8;

/// The bits of the metrics that count events: those that must not be sent twice.
pub const COUNTERS: u32 = {
    let mut bits = 0;
    let mut index = 0;
    while index < METRICS {
        if matches!(CATALOGUE[index].kind, Kind::Counter) {
            bits |= 1 << index;
        }
        index += 1;
    }
    bits
};

// A round remembers which metrics it has in the bits of a u32.
const _: () = assert!(METRICS <= 32);

/// One datum on its way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Which round of this process it belongs to; rounds are numbered as they arrive.
    pub round: u64,
    /// The round's time.
    pub at: UnixMillis,
    /// Which metric.
    pub row: &'static Row,
    /// Its value.
    pub value: f64,
}

impl Point {
    /// It counts events.
    pub fn is_counter(&self) -> bool {
        self.row.kind == Kind::Counter
    }
}

/// Points as their rounds' numbers and the bits of their metrics.
pub fn metrics_by_round<'a>(points: impl IntoIterator<Item = &'a Point>) -> Vec<(u64, u32)> {
    let mut metrics_by_round: Vec<(u64, u32)> = Vec::new();
    for point in points {
        let bit = 1 << point.row.metric as usize;
        match metrics_by_round.last_mut() {
            Some((round, bits)) if *round == point.round => *bits |= bit,
            _ => metrics_by_round.push((point.round, bit)),
        }
    }
    metrics_by_round
}

/// A round's values as they are kept: 8 bytes each.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// The round's time.
    pub at: UnixMillis,
    /// Bit `i` stands for the metric of the catalogue's row `i`.
    pub metrics: u32,
    /// The values of the set bits, lowest bit first.
    pub values: Box<[f64]>,
}

impl Kept {
    /// From values in any order; of two for one metric the later counts.
    pub fn new(at: UnixMillis, values: impl IntoIterator<Item = (&'static Row, f64)>) -> Self {
        let mut slots = [None; METRICS];
        for (row, value) in values {
            if let Some(slot) = slots.get_mut(row.metric as usize) {
                *slot = Some(value);
            }
        }
        let set = |(index, slot): (usize, &Option<f64>)| slot.map_or(0, |_| 1 << index);
        let metrics = slots.iter().enumerate().map(set).sum();
        Self { at, metrics, values: slots.into_iter().flatten().collect() }
    }

    /// The values with their rows.
    pub fn values(&self) -> impl Iterator<Item = (&'static Row, f64)> + '_ {
        let set = (0..METRICS).filter(|index| self.metrics & (1 << index) != 0);
        let rows = set.filter_map(|index| ROWS.get(index));
        rows.zip(self.values.iter().copied())
    }

    /// The same less the metrics of these bits.
    #[must_use]
    pub fn without(&self, gone: u32) -> Self {
        Self::new(self.at, self.values().filter(|(row, _)| gone & (1 << row.metric as usize) == 0))
    }

    /// It has a value that counts events.
    pub fn has_counters(&self) -> bool {
        self.metrics & COUNTERS != 0
    }

    fn bytes(&self) -> u64 {
        ROUND_BYTES + VALUE_BYTES * self.values.len() as u64
    }
}

/// Rounds in the order in which they were measured. Over its limit it gives up the oldest.
#[derive(Debug)]
pub struct Buffer {
    rounds: BTreeMap<u64, Kept>,
    next_round: u64,
    points: u64,
    bytes: u64,
    limit_bytes: u64,
}

impl Buffer {
    /// An empty buffer.
    pub fn new(limit_bytes: u64) -> Self {
        Self { rounds: BTreeMap::new(), next_round: 0, points: 0, bytes: 0, limit_bytes }
    }

    /// The number the next round will get.
    pub fn next_round(&self) -> u64 {
        self.next_round
    }

    /// Drops the rounds of this span; returns how many points that were.
    pub fn forget_between(&mut self, span: Span) -> usize {
        let is_in = |kept: &Kept| (span.from..=span.to).contains(&kept.at);
        let rounds: Vec<u64> = self.rounds.iter().filter(|(_, kept)| is_in(kept)).map(|(round, _)| *round).collect();
        rounds.into_iter().filter_map(|round| self.remove(round)).map(|kept| kept.values.len()).sum()
    }

    /// Points held.
    pub fn points(&self) -> u64 {
        self.points
    }

    /// Bytes they occupy.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The time of the oldest point.
    pub fn oldest(&self) -> Option<UnixMillis> {
        self.rounds.values().next().map(|kept| kept.at)
    }

    /// There is a point in these rounds.
    pub fn has_any(&self, range: impl RangeBounds<u64>) -> bool {
        self.first(range).is_some()
    }

    /// The rounds held, oldest first, with their numbers.
    pub fn rounds(&self) -> impl Iterator<Item = (u64, &Kept)> + Clone {
        self.rounds.iter().map(|(round, kept)| (*round, kept))
    }

    /// The number of the oldest of these rounds that counts no events.
    pub fn without_counters(&self, range: impl RangeBounds<u64>) -> Option<u64> {
        self.rounds.range(range).find(|(_, kept)| !kept.has_counters()).map(|(round, _)| *round)
    }

    /// The number of the oldest of these rounds.
    pub fn first(&self, range: impl RangeBounds<u64>) -> Option<u64> {
        self.rounds.range(range).next().map(|(round, _)| *round)
    }

    /// Adds a round; returns how many of the oldest points were dropped for it.
    pub fn push(&mut self, kept: Kept) -> usize {
        let round = self.next_round;
        self.next_round = self.next_round.saturating_add(1);
        if !kept.values.is_empty() {
            self.insert(round, kept);
        }
        self.make_room()
    }

    /// Takes up to `most` points out of the rounds in `range`, oldest first.
    pub fn take(&mut self, range: impl RangeBounds<u64>, most: usize) -> Vec<Point> {
        let mut wanted = Vec::new();
        let mut found = 0;
        for (round, kept) in self.rounds.range(range) {
            if found >= most {
                break;
            }
            found += kept.values.len();
            wanted.push(*round);
        }
        let mut points = Vec::with_capacity(found.min(most));
        for round in wanted {
            let Some(kept) = self.remove(round) else { continue };
            let room = most - points.len();
            points.extend(kept.values().take(room).map(|(row, value)| Point { round, at: kept.at, row, value }));
            if kept.values.len() > room {
                self.insert(round, Kept::new(kept.at, kept.values().skip(room)));
            }
        }
        points
    }

    /// Puts taken points back in their places; returns how many of the oldest were dropped for them.
    pub fn put_back(&mut self, points: &[Point]) -> usize {
        for group in points.chunk_by(|a, b| a.round == b.round) {
            let Some(first) = group.first() else { continue };
            let returned = group.iter().map(|point| (point.row, point.value));
            let merged = match self.remove(first.round) {
                Some(kept) => Kept::new(first.at, kept.values().chain(returned)),
                None => Kept::new(first.at, returned),
            };
            self.insert(first.round, merged);
        }
        self.make_room()
    }

    /// Drops the rounds up to this time; returns how many points that were.
    pub fn forget_until(&mut self, at: UnixMillis) -> usize {
        let old: Vec<u64> = self.rounds.iter().filter(|(_, kept)| kept.at <= at).map(|(round, _)| *round).collect();
        old.into_iter().filter_map(|round| self.remove(round)).map(|kept| kept.values.len()).sum()
    }

    fn make_room(&mut self) -> usize {
        let mut dropped = 0;
        // The newest round stays, however small the limit: a buffer that can hold nothing delivers nothing.
        while self.bytes > self.limit_bytes && self.rounds.len() > 1 {
            let Some((&oldest, kept)) = self.rounds.first_key_value() else { break };
            dropped += kept.values.len();
            self.remove(oldest);
        }
        dropped
    }

    fn insert(&mut self, round: u64, kept: Kept) {
        self.points = self.points.saturating_add(kept.values.len() as u64);
        self.bytes = self.bytes.saturating_add(kept.bytes());
        self.rounds.insert(round, kept);
    }

    fn remove(&mut self, round: u64) -> Option<Kept> {
        let kept = self.rounds.remove(&round)?;
        self.points = self.points.saturating_sub(kept.values.len() as u64);
        self.bytes = self.bytes.saturating_sub(kept.bytes());
        Some(kept)
    }
}

#[cfg(test)]
mod tests {
    use cni_types::catalogue::MetricSet;

    use super::*;

    fn full_round(at: i64) -> Kept {
        Kept::new(UnixMillis(at), ROWS.iter().map(|row| (row, at as f64 + row.metric as usize as f64)))
    }

    #[test]
    fn the_catalogue_is_indexed_by_metric() {
        for (index, row) in ROWS.iter().enumerate() {
            assert_eq!(index, row.metric as usize);
            assert!(row.set <= MetricSet::Standard);
        }
    }

    #[test]
    fn the_default_memory_holds_far_more_than_a_day() {
        let mut buffer = Buffer::new(64 << 20);
        for round in 0..14 * 2880 {
            assert_eq!(buffer.push(full_round(round * 30_000)), 0);
        }
        assert!(buffer.bytes() < 16 << 20, "two weeks take {} bytes", buffer.bytes());
    }

    #[test]
    fn a_span_is_dropped_and_nothing_else() {
        let mut buffer = Buffer::new(1 << 20);
        for at in 1..=9 {
            buffer.push(full_round(at));
        }
        let span = Span { from: UnixMillis(3), to: UnixMillis(5) };
        assert_eq!(buffer.forget_between(span), 3 * METRICS);
        assert_eq!(buffer.rounds().map(|(_, kept)| kept.at.0).collect::<Vec<_>>(), [1, 2, 6, 7, 8, 9]);
        assert_eq!((buffer.forget_between(span), buffer.points()), (0, 6 * METRICS as u64));
    }

    #[test]
    fn a_round_is_split_where_the_request_is_full_and_mended_when_it_comes_back() {
        let mut buffer = Buffer::new(1 << 20);
        buffer.push(full_round(1));
        buffer.push(full_round(2));
        let kept = |buffer: &Buffer| buffer.rounds().map(|(_, kept)| kept.clone()).collect::<Vec<_>>();
        let before = kept(&buffer);
        let taken = buffer.take(.., METRICS + 5);
        assert_eq!(taken.len(), METRICS + 5);
        assert_eq!(buffer.points(), METRICS as u64 - 5);
        assert_eq!(buffer.put_back(&taken), 0);
        assert_eq!(kept(&buffer), before);
    }
}
