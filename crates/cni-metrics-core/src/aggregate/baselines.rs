//! The aggregator's memory as bytes, so that counters go on after a restart where they were.
//!
//! Layout: the version; the helper's start by both clocks and its rounds; the published names and their totals; the
//! counter families' names; then each node by UID, and the tombstones of deleted pods. Names rather than positions, so that
//! another version with other rows reads them right. Version 2, which is read as well, had totals of one number, no
//! damaged counters and no process starts of deleted pods.
//! Numbers are LEB128 of their bytes in reverse: small whole numbers, which counters are, take two or three bytes and
//! every other value is kept exactly. Nothing is a checksum here: the file around it has one.

use std::collections::HashMap;

use super::aggregator::Aggregator;
use super::capacity::Recent;
use super::counter::{Baseline, Baselines};
use super::damage::{DAMAGED_PAGES, Damage, Damages};
use super::labels::LabelBaselines;
use super::latency::LatencyBaselines;
use super::mode::{CounterMode, HelperStart};
use super::node::NodeMemory;
use super::tombstones::{MOST_TOMBSTONES, Tombstone, Tombstones};
use super::total::Total;
use crate::model::{FamilySet, LARGEST_COUNT, LATEST_START_SECONDS, PodUid, UnixMillis};
use cni_types::catalogue::Family;

/// The version that is written.
const VERSION: u8 = 3;

/// The oldest version that is read.
const OLDEST_VERSION: u8 = 2;

/// How many APIs' latencies were ever saved of a node.
const SAVED_APIS: usize = 512;

/// Why saved baselines cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BaselinesError {
    /// Another version of the format.
    #[error("written in version {0} of the format; this program reads versions {OLDEST_VERSION} to {VERSION}")]
    Version(u8),
    /// They end too early.
    #[error("cut off")]
    CutOff,
    /// There is something that was never written.
    #[error("damaged: {0}")]
    Damaged(&'static str),
}

impl Aggregator {
    /// Everything that counters need to go on in another process.
    pub fn export(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512 + self.nodes.len() * 128);
        out.push(VERSION);
        put_millis(&mut out, Some(self.start.clock));
        put_millis(&mut out, self.start.api_server);
        put_varint(&mut out, self.round);
        let totals =
            || Family::COUNTERS.into_iter().zip(self.totals).filter_map(|(family, total)| Some((family, total?)));
        put_count(&mut out, totals().count());
        for (family, total) in totals() {
            put_text(&mut out, family.metric().name());
            put_varint(&mut out, total.whole);
            put_value(&mut out, total.part);
        }
        put_count(&mut out, Family::COUNTER_COUNT);
        for family in Family::COUNTERS {
            put_text(&mut out, family.name());
        }
        // In order, so that the same state gives the same bytes.
        let mut nodes: Vec<_> = self.nodes.iter().collect();
        nodes.sort_by_key(|(uid, _)| *uid);
        put_count(&mut out, nodes.len());
        for (uid, state) in nodes {
            put_text(&mut out, uid.as_str());
            put_node(&mut out, state);
        }
        put_forgotten(&mut out, &self.tombstones);
        out
    }

    /// Goes on where [`Aggregator::export`] was called: for the counters, this process is then the same as that one. On
    /// an error nothing is changed.
    pub fn import(&mut self, bytes: &[u8]) -> Result<(), BaselinesError> {
        let mut input = BaselineReader { left: bytes, version: VERSION };
        match input.byte()? {
            version @ OLDEST_VERSION..=VERSION => input.version = version,
            other => return Err(BaselinesError::Version(other)),
        }
        let clock = input.millis()?.ok_or(BaselinesError::Damaged("no start"))?;
        let start = HelperStart { clock, api_server: input.millis()? };
        let round = input.varint()?;
        let mut totals = [None; Family::COUNTER_COUNT];
        for _ in 0..input.count()? {
            let name = input.text()?;
            let total = input.total()?;
            // A total that this version does not publish is dropped.
            let own = Family::COUNTERS.into_iter().zip(&mut totals).find(|(family, _)| family.metric().name() == name);
            if let Some((_, slot)) = own {
                *slot = total;
            }
        }
        let families = input.count()?;
        let mut slots = Vec::new();
        for _ in 0..families {
            let name = input.text()?;
            slots.push(Family::COUNTERS.into_iter().position(|family| family.name() == name));
        }
        let mut nodes = HashMap::new();
        for _ in 0..input.count()? {
            let uid = PodUid::new(input.text()?);
            nodes.insert(uid, Box::new(input.node(&slots, round)?));
        }
        let tombstones = input.tombstones()?;
        if !input.left.is_empty() {
            return Err(BaselinesError::Damaged("more in it than was written"));
        }
        // Totals of a single look are not sums over rounds.
        if self.mode == CounterMode::Increase {
            self.totals = totals;
        }
        (self.start, self.nodes, self.tombstones, self.round) = (start, nodes, tombstones, round);
        Ok(())
    }
}

fn put_node(out: &mut Vec<u8>, state: &NodeMemory) {
    let has_start = state.process_start_seconds.is_some();
    out.push(u8::from(state.ipv6) | u8::from(state.latency.unknown) << 1 | u8::from(has_start) << 2);
    if let Some(seconds) = state.process_start_seconds {
        put_value(out, seconds);
    }
    put_varint(out, state.last_listed);
    put_time(out, state.last_listed_at);
    put_time(out, state.last_scraped_at);
    put_varint(out, state.implausible.0.into());
    for baseline in state.counters.all {
        let (tag, value) = match baseline {
            Baseline::Absent(from) => (0, Some(from)),
            Baseline::Read(last) => (1, Some(last)),
            Baseline::Unknown => (2, None),
        };
        out.push(tag);
        if let Some(value) = value {
            put_value(out, value);
        }
    }
    put_count(out, state.counters.damages.all().len());
    for damage in state.counters.damages.all() {
        let slot = Family::COUNTERS.into_iter().position(|family| family == damage.family);
        put_count(out, slot.unwrap_or_default());
        out.push(damage.pages);
        out.extend(damage.readable.to_le_bytes());
        put_value(out, damage.sum);
    }
    put_count(out, state.latency.to_save().len());
    for (key, sum_ms, count) in state.latency.to_save() {
        out.extend(key.to_le_bytes());
        put_value(out, sum_ms);
        put_value(out, count);
    }
}

fn put_forgotten(out: &mut Vec<u8>, tombstones: &Tombstones) {
    put_millis(out, tombstones.given_up);
    let mut entries: Vec<_> = tombstones.entries.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| **key);
    put_count(out, entries.len());
    for (key, entry) in entries {
        out.extend(key.to_le_bytes());
        put_time(out, entry.last_scraped_at);
        // No process starts at -1.
        put_value(out, entry.process_start_seconds.unwrap_or(-1.0));
    }
}

/// A time, short where it is of our days.
fn put_time(out: &mut Vec<u8>, time: UnixMillis) {
    put_varint(out, time.0.cast_unsigned());
}

fn put_millis(out: &mut Vec<u8>, time: Option<UnixMillis>) {
    out.push(u8::from(time.is_some()));
    out.extend(time.map_or(0, |time| time.0).to_le_bytes());
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    put_varint(out, count as u64);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_count(out, text.len());
    out.extend(text.as_bytes());
}

fn put_value(out: &mut Vec<u8>, value: f64) {
    put_varint(out, value.to_bits().swap_bytes());
}

#[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7F {
        out.push(0x80 | (value & 0x7F) as u8);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads from the front; every step is checked against what is left.
struct BaselineReader<'a> {
    left: &'a [u8],
    version: u8,
}

impl<'a> BaselineReader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], BaselinesError> {
        let (head, rest) = self.left.split_at_checked(length).ok_or(BaselinesError::CutOff)?;
        self.left = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BaselinesError> {
        let (head, rest) = self.left.split_first_chunk().ok_or(BaselinesError::CutOff)?;
        self.left = rest;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, BaselinesError> {
        self.array().map(|[byte]| byte)
    }

    fn varint(&mut self) -> Result<u64, BaselinesError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(BaselinesError::Damaged("a number out of range"))
    }

    fn count(&mut self) -> Result<usize, BaselinesError> {
        usize::try_from(self.varint()?).map_err(|_| BaselinesError::Damaged("a number out of range"))
    }

    fn text(&mut self) -> Result<&'a str, BaselinesError> {
        let length = self.count()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| BaselinesError::Damaged("text that is not UTF-8"))
    }

    fn finite(&mut self) -> Result<f64, BaselinesError> {
        let value = f64::from_bits(self.varint()?.swap_bytes());
        if value.is_finite() { Ok(value) } else { Err(BaselinesError::Damaged("a value that is not finite")) }
    }

    /// A count of events. Version 2 also kept what no counter can have: one node's must not cost the others theirs.
    fn counted(&mut self) -> Result<f64, BaselinesError> {
        self.finite().map(|value| value.clamp(0.0, LARGEST_COUNT))
    }

    /// A total; `None` for one that version 2 let a single node's impossible value make useless.
    fn total(&mut self) -> Result<Option<Total>, BaselinesError> {
        if self.version < 3 {
            let total = self.finite()?;
            return Ok((0.0..=LARGEST_COUNT).contains(&total).then(|| Total::from(total)));
        }
        let (whole, part) = (self.varint()?, self.finite()?);
        let is_part = (0.0..1.0).contains(&part);
        if is_part { Ok(Some(Total { whole, part })) } else { Err(BaselinesError::Damaged("a part of 1 or more")) }
    }

    fn start(&mut self) -> Result<f64, BaselinesError> {
        // As one that is read from a page.
        self.finite().map(|start| start.min(LATEST_START_SECONDS))
    }

    fn millis(&mut self) -> Result<Option<UnixMillis>, BaselinesError> {
        let is_there = self.byte()?;
        let time = UnixMillis(i64::from_le_bytes(self.array()?));
        match is_there {
            0 => Ok(None),
            1 => Ok(Some(time)),
            _ => Err(BaselinesError::Damaged("neither yes nor no")),
        }
    }

    fn time(&mut self) -> Result<UnixMillis, BaselinesError> {
        self.varint().map(|time| UnixMillis(time.cast_signed()))
    }

    fn tombstones(&mut self) -> Result<Tombstones, BaselinesError> {
        let mut tombstones = Tombstones { given_up: self.millis()?, ..Tombstones::default() };
        let count = self.count()?;
        if count > MOST_TOMBSTONES {
            return Err(BaselinesError::Damaged("more entries than are kept"));
        }
        for _ in 0..count {
            let key = u64::from_le_bytes(self.array()?);
            let last_scraped_at = self.time()?;
            let start = if self.version < 3 { None } else { Some(self.start()?) };
            let process_start_seconds = start.filter(|start| *start >= 0.0);
            tombstones.entries.insert(key, Tombstone { last_scraped_at, process_start_seconds });
        }
        Ok(tombstones)
    }

    /// A node whose counters are those of `slots`: their positions in this version, if it has them.
    fn node(&mut self, slots: &[Option<usize>], round: u64) -> Result<NodeMemory, BaselinesError> {
        let flags = self.byte()?;
        if flags > 0b111 {
            return Err(BaselinesError::Damaged("unknown flags"));
        }
        let process_start_seconds = if flags & 0b100 == 0 { None } else { Some(self.start()?) };
        let last_listed = self.varint()?;
        let (last_listed_at, last_scraped_at) = (self.time()?, self.time()?);
        if last_listed > round {
            return Err(BaselinesError::Damaged("a node from the future"));
        }
        let implausible = if self.version < 3 { 0 } else { self.varint()? };
        let mut counters = Baselines::default();
        for slot in slots {
            let baseline = match self.byte()? {
                0 => Baseline::Absent(self.counted()?),
                1 => Baseline::Read(self.counted()?),
                2 => Baseline::Unknown,
                _ => return Err(BaselinesError::Damaged("an unknown kind of baseline")),
            };
            if let Some(own) = slot.and_then(|slot| counters.all.get_mut(slot)) {
                *own = baseline;
            }
        }
        if self.version >= 3 {
            counters.damages = self.damages(slots)?;
        }
        let mut apis = Vec::new();
        let count = self.count()?;
        if count > SAVED_APIS {
            return Err(BaselinesError::Damaged("more APIs than were ever saved"));
        }
        for _ in 0..count {
            apis.push((u64::from_le_bytes(self.array()?), self.finite()?, self.finite()?));
        }
        let latency = LatencyBaselines::saved(&apis, flags & 0b010 != 0);
        let ipv6 = flags & 0b001 != 0;
        let implausible = FamilySet(u32::try_from(implausible).unwrap_or_default());
        Ok(NodeMemory {
            process_start_seconds,
            counters,
            latency,
            // Not saved: what rises over a restart of the helper is unattributed.
            labels: LabelBaselines::unknown(),
            ipv6,
            implausible,
            recent: Recent::default(),
            last_listed,
            last_listed_at,
            last_scraped_at,
        })
    }

    fn damages(&mut self, slots: &[Option<usize>]) -> Result<Damages, BaselinesError> {
        let count = self.count()?;
        if count > slots.len() {
            return Err(BaselinesError::Damaged("more damaged counters than there are"));
        }
        let mut damages = Vec::new();
        for _ in 0..count {
            let slot = self.count()?;
            let (pages, readable, sum) =
                (self.byte()?.min(DAMAGED_PAGES), u64::from_le_bytes(self.array()?), self.counted()?);
            let slot = slots.get(slot).copied().ok_or(BaselinesError::Damaged("no such counter"))?;
            if let Some(family) = slot.and_then(|slot| Family::COUNTERS.get(slot).copied()) {
                damages.push(Damage { family, pages, readable, sum });
            }
        }
        Ok(Damages::new(damages))
    }
}
