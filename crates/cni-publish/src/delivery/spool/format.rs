//! The spool's bytes: an image of what is unsent, and behind it a journal of what became of it since.
//!
//! All numbers are little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `CNISPOOL` |
//! | 4 | version: 3 (1 and 2, without and with a shard, are still read) |
//! | 4 | CRC-32 of the payload |
//! | 8 | length of the payload |
//! | 8 | points in it, so that a damaged file still says how many are lost (from version 3 on) |
//! | … | payload: when it was written (ms), namespace, cluster id, shard, the metric names, the rounds, the claim, the baselines |
//! | … | journal, from version 3 on: records of 4 bytes length, 4 bytes CRC-32, and the record |
//!
//! Metrics are stored by name, so that another version of the program with other rows reads them right. A journal's last
//! record may be cut off: then the write that it belonged to was never confirmed, hence nothing was sent because of it.

mod reader;

use std::collections::BTreeMap;

use cni_metrics_core::model::UnixMillis;
use cni_types::catalogue::Row;

use self::reader::Reader;
use super::origin::Origin;
use crate::delivery::buffer::{COUNTERS, Kept};
use crate::selection::ROWS;

const MAGIC: &[u8; 8] = b"CNISPOOL";
const VERSION: u32 = 3;
const VERSION_WITH_SHARD: u32 = 2;
const OLDEST_VERSION: u32 = 1;
const HEADER_BYTES: usize = 32;
const CLAIM: u8 = 1;
const SETTLED: u8 = 2;

/// Points by their round's number, and the bits of their metrics.
pub(super) type MetricsByRound = Vec<(u64, u32)>;

/// What is written as a whole.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a, R> {
    /// Whose points these are.
    pub origin: &'a Origin,
    /// When this was written.
    pub saved_at: UnixMillis,
    /// The newest round that the destination has accepted or may have accepted.
    pub newest_sent: Option<u64>,
    /// Every round with unsent points, with its number; one number may come in parts.
    pub rounds: R,
    /// The request that is under way.
    pub claim: &'a [(u64, u32)],
    /// The counters' baselines.
    pub counters: Option<Counters<'a>>,
}

/// Baselines and the round after which they were taken.
#[derive(Debug, Clone, Copy)]
pub struct Counters<'a> {
    /// That round's time.
    pub at: UnixMillis,
    /// That round's number.
    pub round: u64,
    /// For their owner.
    pub bytes: &'a [u8],
}

/// What a file says, image and journal together.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Content {
    pub(super) saved_at: UnixMillis,
    pub(super) namespace: String,
    pub(super) cluster_id: String,
    pub(super) shard: String,
    pub(super) newest_sent: Option<u64>,
    pub(super) rounds: Vec<(u64, Kept)>,
    pub(super) claim: MetricsByRound,
    pub(super) counters: Option<(UnixMillis, u64, Vec<u8>)>,
}

/// Why a file cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// In which way it is damaged.
    Damaged(&'static str),
    /// Of a later version of the program.
    Newer(u32),
}

impl From<&'static str> for Unreadable {
    fn from(what: &'static str) -> Self {
        Self::Damaged(what)
    }
}

/// The whole file, without a journal.
pub fn encode<'a, R: Iterator<Item = (u64, &'a Kept)> + Clone>(image: &Image<'a, R>) -> Vec<u8> {
    let values: usize = image.rounds.clone().map(|(_, kept)| 20 + 8 * kept.values.len()).sum();
    let points: u64 = image.rounds.clone().map(|(_, kept)| kept.values.len() as u64).sum();
    let counters = image.counters.map_or(0, |counters| counters.bytes.len());
    let mut bytes = Vec::with_capacity(HEADER_BYTES + 2048 + values + counters);
    bytes.resize(HEADER_BYTES, 0);
    bytes.extend(image.saved_at.0.to_le_bytes());
    put_bytes(&mut bytes, image.origin.namespace.as_bytes());
    put_bytes(&mut bytes, image.origin.cluster_id.as_str().as_bytes());
    let shard = image.origin.shard.map(|shard| shard.to_string()).unwrap_or_default();
    put_bytes(&mut bytes, shard.as_bytes());
    put_count(&mut bytes, ROWS.len());
    for row in &ROWS {
        put_bytes(&mut bytes, row.name.as_bytes());
    }
    // 0 is none, since rounds are stored one higher.
    bytes.extend(image.newest_sent.map_or(0, |round| round.saturating_add(1)).to_le_bytes());
    put_count(&mut bytes, image.rounds.clone().count());
    for (number, kept) in image.rounds.clone() {
        bytes.extend(number.to_le_bytes());
        bytes.extend(kept.at.0.to_le_bytes());
        bytes.extend(kept.metrics.to_le_bytes());
        for value in &kept.values {
            bytes.extend(value.to_bits().to_le_bytes());
        }
    }
    put_metrics_by_round(&mut bytes, image.claim);
    bytes.push(u8::from(image.counters.is_some()));
    if let Some(counters) = image.counters {
        bytes.extend(counters.at.0.to_le_bytes());
        bytes.extend(counters.round.to_le_bytes());
        put_bytes(&mut bytes, counters.bytes);
    }

    let (header, payload) = bytes.split_at_mut(HEADER_BYTES);
    let fields: [&[u8]; 5] = [
        MAGIC,
        &VERSION.to_le_bytes(),
        &crc32fast::hash(payload).to_le_bytes(),
        &(payload.len() as u64).to_le_bytes(),
        &points.to_le_bytes(),
    ];
    header.copy_from_slice(&fields.concat());
    bytes
}

/// A journal's record: these points are about to be sent.
pub fn claim(points: &[(u64, u32)]) -> Vec<u8> {
    let mut record = vec![CLAIM];
    put_metrics_by_round(&mut record, points);
    framed(&record)
}

/// A journal's record: the claim is over, and these points need not be sent any more: accepted, or given up.
pub fn settled(gone: &[(u64, u32)], was_sent: bool) -> Vec<u8> {
    let mut record = vec![SETTLED, u8::from(was_sent)];
    put_metrics_by_round(&mut record, gone);
    framed(&record)
}

fn framed(record: &[u8]) -> Vec<u8> {
    let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes(), &crc32fast::hash(record).to_le_bytes(), record].concat()
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend((count as u64).to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend(bytes);
}

fn put_metrics_by_round(out: &mut Vec<u8>, metrics_by_round: &[(u64, u32)]) {
    put_count(out, metrics_by_round.len());
    for (round, metrics) in metrics_by_round {
        out.extend(round.to_le_bytes());
        out.extend(metrics.to_le_bytes());
    }
}

/// How many points a file holds by its header, less those that its journal says are gone: all that is known of a file
/// whose payload is damaged.
pub(super) fn points_by_header(bytes: &[u8]) -> Option<u64> {
    let mut header = Reader(bytes);
    if header.take(8).ok()? != MAGIC || header.u32().ok()? != VERSION {
        return None;
    }
    header.u32().ok()?;
    let length = header.count().ok()?;
    let points = header.u64().ok()?;
    // Each point takes 8 bytes, so a count that does not fit the payload is damaged too.
    if points > (length / 8) as u64 {
        return None;
    }
    let mut gone = BTreeMap::new();
    if header.take(length).is_ok() {
        let same: Rows = ROWS.iter().map(Some).collect();
        while let Some(record) = header.record() {
            let mut record = Reader(record);
            if matches!(record.take(2), Ok([SETTLED, _])) {
                collect(&mut gone, &decode_metrics_by_round(&mut record, &same).unwrap_or_default());
            }
        }
    }
    let gone: u64 = gone.values().map(|bits| u64::from(bits.count_ones())).sum();
    Some(points.saturating_sub(gone))
}

pub(super) fn decode(bytes: &[u8]) -> Result<Content, Unreadable> {
    let mut header = Reader(bytes);
    if header.take(8)? != MAGIC {
        return Err("not a spool file".into());
    }
    let version = header.u32()?;
    if version > VERSION {
        return Err(Unreadable::Newer(version));
    }
    if version < OLDEST_VERSION {
        return Err("no such version of the format".into());
    }
    let checksum = header.u32()?;
    let length = header.count()?;
    if version == VERSION {
        header.u64()?;
    }
    let payload = header.take(length).map_err(|_| "its length is wrong: cut off, or written to")?;
    let journal = header.0;
    if version < VERSION && !journal.is_empty() {
        return Err("its length is wrong: cut off, or written to".into());
    }
    if crc32fast::hash(payload) != checksum {
        return Err("its checksum is wrong".into());
    }
    let mut content = if version == VERSION {
        let (mut content, rows) = decode_payload(&mut Reader(payload))?;
        content.replay(journal, &rows)?;
        content
    } else {
        decode_old_payload(&mut Reader(payload), version == VERSION_WITH_SHARD)?
    };
    content.rounds.sort_by_key(|(_, kept)| kept.at);
    Ok(content)
}

fn decode_payload(payload: &mut Reader<'_>) -> Result<(Content, Rows), &'static str> {
    let saved_at = UnixMillis(payload.i64()?);
    let namespace = payload.text()?.to_owned();
    let cluster_id = payload.text()?.to_owned();
    let shard = payload.text()?.to_owned();
    let rows = decode_rows(payload)?;
    let newest_sent = payload.u64()?.checked_sub(1);
    let mut rounds = Vec::new();
    for _ in 0..payload.count()? {
        let number = payload.u64()?;
        rounds.push((number, decode_round(payload, &rows)?));
    }
    let claim = decode_metrics_by_round(payload, &rows)?;
    let counters = if payload.take(1)? == [1] {
        Some((UnixMillis(payload.i64()?), payload.u64()?, payload.bytes()?.to_vec()))
    } else {
        None
    };
    if !payload.0.is_empty() {
        return Err("more in it than was written");
    }
    Ok((Content { saved_at, namespace, cluster_id, shard, newest_sent, rounds, claim, counters }, rows))
}

/// Versions 1 and 2: no claims, and the baselines are those after the newest round.
fn decode_old_payload(payload: &mut Reader<'_>, has_shard: bool) -> Result<Content, &'static str> {
    let saved_at = UnixMillis(payload.i64()?);
    let namespace = payload.text()?.to_owned();
    let cluster_id = payload.text()?.to_owned();
    let shard = if has_shard { payload.text()?.to_owned() } else { String::new() };
    let rows = decode_rows(payload)?;
    let mut rounds = Vec::new();
    for number in 0..payload.count()? as u64 {
        rounds.push((number, decode_round(payload, &rows)?));
    }
    let has_counters = payload.take(1)? == [1];
    let counters = payload.bytes()?.to_vec();
    if !payload.0.is_empty() {
        return Err("more in it than was written");
    }
    let counters = has_counters.then_some((saved_at, u64::MAX, counters));
    Ok(Content {
        saved_at,
        namespace,
        cluster_id,
        shard,
        newest_sent: None,
        rounds,
        claim: MetricsByRound::new(),
        counters,
    })
}

type Rows = Vec<Option<&'static Row>>;

fn decode_rows(payload: &mut Reader<'_>) -> Result<Rows, &'static str> {
    let names = payload.count()?;
    if names > 32 {
        return Err("more metrics than a round can have");
    }
    (0..names).map(|_| payload.text().map(|name| ROWS.iter().find(|row| row.name == name))).collect()
}

fn decode_round(payload: &mut Reader<'_>, rows: &Rows) -> Result<Kept, &'static str> {
    let at = UnixMillis(payload.i64()?);
    let metrics = payload.u32()?;
    let mut values = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        if metrics & (1 << index) == 0 {
            continue;
        }
        let value = f64::from_bits(payload.u64()?);
        // A metric this version does not know is not published by it either.
        values.extend(row.map(|row| (row, value)));
    }
    Ok(Kept::new(at, values))
}

/// The file's bits as bits of our own rows.
fn known(bits: u32, rows: &Rows) -> u32 {
    let set = rows.iter().enumerate().filter(|(index, _)| bits & (1 << index) != 0);
    set.filter_map(|(_, row)| *row).fold(0, |known, row| known | 1 << row.metric as usize)
}

impl Content {
    /// Applies the journal's records in their order. Their bits are those of the image's names.
    fn replay(&mut self, journal: &[u8], rows: &Rows) -> Result<(), &'static str> {
        let mut journal = Reader(journal);
        let mut gone = BTreeMap::new();
        while let Some(record) = journal.record() {
            let mut record = Reader(record);
            match record.take(1)? {
                [CLAIM] => self.claim = decode_metrics_by_round(&mut record, rows)?,
                [SETTLED] => {
                    if record.take(1)? == [1] {
                        self.newest_sent = self.newest_sent.max(newest(&self.claim));
                    }
                    self.claim.clear();
                    collect(&mut gone, &decode_metrics_by_round(&mut record, rows)?);
                }
                _ => return Err("a record of an unknown kind"),
            }
        }
        self.remove(&gone);
        Ok(())
    }

    /// Takes these points out.
    fn remove(&mut self, metrics_by_round: &BTreeMap<u64, u32>) -> Vec<Kept> {
        let mut removed = Vec::new();
        for (number, kept) in &mut self.rounds {
            let gone = kept.metrics & metrics_by_round.get(number).copied().unwrap_or(0);
            if gone != 0 {
                removed.push(kept.without(!gone));
                *kept = kept.without(gone);
            }
        }
        self.rounds.retain(|(_, kept)| !kept.values.is_empty());
        removed
    }

    /// Takes the counters of the request out that was under way when its process ended: the destination may have taken them.
    /// Its gauges stay, since sending those again changes no average, minimum or maximum.
    pub(super) fn give_up_claim(&mut self) -> Vec<Kept> {
        let mut metrics_by_round = BTreeMap::new();
        collect(&mut metrics_by_round, &std::mem::take(&mut self.claim));
        self.newest_sent = self.newest_sent.max(metrics_by_round.keys().next_back().copied());
        for bits in metrics_by_round.values_mut() {
            *bits &= COUNTERS;
        }
        self.remove(&metrics_by_round)
    }
}

fn newest(metrics_by_round: &[(u64, u32)]) -> Option<u64> {
    metrics_by_round.iter().map(|(round, _)| *round).max()
}

fn collect(into: &mut BTreeMap<u64, u32>, metrics_by_round: &[(u64, u32)]) {
    for (round, bits) in metrics_by_round {
        *into.entry(*round).or_default() |= bits;
    }
}

/// Points by round, with the bits of our own rows.
fn decode_metrics_by_round(from: &mut Reader<'_>, rows: &Rows) -> Result<MetricsByRound, &'static str> {
    let mut metrics_by_round = MetricsByRound::new();
    for _ in 0..from.count()? {
        metrics_by_round.push((from.u64()?, known(from.u32()?, rows)));
    }
    Ok(metrics_by_round)
}

#[cfg(test)]
mod tests;
