//! Unsent points and the counters' baselines on disk, so that a restart or a crash loses no increment.
//!
//! One file, replaced as a whole: written beside, synced, renamed, and the folder synced. Its layout, little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `CNISPOOL` |
//! | 4 | version: 1, or 2 with a shard |
//! | 4 | CRC-32 of the payload |
//! | 8 | length of the payload |
//! | … | payload: when it was written (ms), namespace, cluster id, shard (version 2), the metric names, the rounds, the baselines |
//!
//! Metrics are stored by name, so that another version of the program with other rows reads them right.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use cni_metrics_core::catalogue::Row;
use cni_metrics_core::model::UnixMillis;

use super::CloudWatchSettings;
use super::buffer::Kept;
use crate::clock::Clock;
use crate::publish::selection::ROWS;
use crate::shard::Shard;

const FILE: &str = "points.spool";
const MAGIC: &[u8; 8] = b"CNISPOOL";
/// One who measures the whole cluster writes what the first version could read.
const VERSION: u32 = 1;
const VERSION_WITH_SHARD: u32 = 2;
const HEADER_BYTES: usize = 24;

/// Why a spool could not be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The folder or the file.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error("{path}: damaged ({what})")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// In which way.
        what: &'static str,
    },
}

/// What an earlier process left.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Restored {
    /// Rounds not accepted by CloudWatch, oldest first.
    pub rounds: Vec<Kept>,
    /// The counters' baselines as they were after the newest round, for their owner.
    pub counters: Option<Vec<u8>>,
    /// When it was written.
    pub saved_at: Option<UnixMillis>,
    /// CloudWatch namespace the points were meant for.
    pub namespace: String,
    /// `CLUSTER_ID` the points were meant for.
    pub cluster_id: String,
    /// `SHARD` the points were meant for; empty for a whole cluster.
    pub shard: String,
}

impl Restored {
    /// Its points are for where these settings send theirs.
    pub fn goes_to(&self, settings: &CloudWatchSettings) -> bool {
        self.namespace == settings.namespace && self.is_of(settings)
    }

    /// It is of the nodes that these settings name: the same cluster, and the same share of it.
    pub fn is_of(&self, settings: &CloudWatchSettings) -> bool {
        let shard = settings.shard.map(|shard| shard.to_string()).unwrap_or_default();
        self.cluster_id == settings.cluster_id && self.shard == shard
    }
}

/// Whose points they are, and when they were written.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Now.
    pub saved_at: UnixMillis,
    /// CloudWatch namespace.
    pub namespace: String,
    /// `CLUSTER_ID`.
    pub cluster_id: String,
    /// `SHARD`.
    pub shard: Option<Shard>,
}

/// Reads what an earlier process left in `dir`. Nothing there is the usual case; a damaged file is set aside under
/// `points.spool.damaged-<unix ms>` with an error in the log, and the program goes on without it.
pub fn restore(dir: &Path, clock: &Clock) -> Restored {
    let path = dir.join(FILE);
    match read(&path) {
        Ok(None) => Restored::default(),
        Ok(Some(restored)) => {
            tracing::info!(
                path = %path.display(),
                rounds = restored.rounds.len(),
                baselines = restored.counters.is_some(),
                "unsent points of an earlier run restored"
            );
            restored
        }
        Err(error) => {
            let aside = set_aside(&path, "damaged", clock.now());
            tracing::error!(%error, set_aside = %aside.display(), "spool not usable; going on without it");
            Restored::default()
        }
    }
}

/// Moves the file out of the way, so that nothing overwrites what may still be looked at.
pub(super) fn set_aside(path: &Path, why: &str, now: UnixMillis) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{why}-{}", now.0));
    let aside = PathBuf::from(name);
    if let Err(error) = fs::rename(path, &aside) {
        tracing::error!(path = %path.display(), %error, "spool could not be set aside");
    }
    aside
}

/// The spool's file in `dir`.
pub(super) fn file(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

fn read(path: &Path) -> Result<Option<Restored>, SpoolError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(SpoolError::Io { path: path.to_owned(), source }),
    };
    decode(&bytes).map(Some).map_err(|what| SpoolError::Damaged { path: path.to_owned(), what })
}

/// Replaces the file by what [`encode`] made. Blocking.
pub fn write(dir: &Path, bytes: &[u8]) -> Result<(), SpoolError> {
    let path = file(dir);
    let fail = |source| SpoolError::Io { path: path.clone(), source };
    let beside = dir.join(format!("{FILE}.new"));
    let written = fs::create_dir_all(dir).and_then(|()| File::create(&beside)).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(fail)?;
    fs::rename(&beside, &path).map_err(fail)?;
    // Without this the rename itself may not survive a crash of the machine.
    File::open(dir).and_then(|folder| folder.sync_all()).map_err(fail)
}

/// The whole file. `counters` are the counters' baselines after the newest round.
pub fn encode<'a>(origin: &Origin, rounds: impl Iterator<Item = &'a Kept> + Clone, counters: Option<&[u8]>) -> Vec<u8> {
    let values: usize = rounds.clone().map(|kept| 12 + 8 * kept.values.len()).sum();
    let mut bytes = Vec::with_capacity(HEADER_BYTES + 1024 + values + counters.map_or(0, <[u8]>::len));
    bytes.resize(HEADER_BYTES, 0);
    bytes.extend(origin.saved_at.0.to_le_bytes());
    put_bytes(&mut bytes, origin.namespace.as_bytes());
    put_bytes(&mut bytes, origin.cluster_id.as_bytes());
    if let Some(shard) = origin.shard {
        put_bytes(&mut bytes, shard.to_string().as_bytes());
    }
    put_count(&mut bytes, ROWS.len());
    for row in &ROWS {
        put_bytes(&mut bytes, row.name.as_bytes());
    }
    put_count(&mut bytes, rounds.clone().count());
    for kept in rounds {
        bytes.extend(kept.at.0.to_le_bytes());
        bytes.extend(kept.metrics.to_le_bytes());
        for value in &kept.values {
            bytes.extend(value.to_bits().to_le_bytes());
        }
    }
    bytes.push(u8::from(counters.is_some()));
    put_bytes(&mut bytes, counters.unwrap_or_default());

    let (header, payload) = bytes.split_at_mut(HEADER_BYTES);
    let version = if origin.shard.is_some() { VERSION_WITH_SHARD } else { VERSION };
    let fields: [&[u8]; 4] =
        [MAGIC, &version.to_le_bytes(), &crc32fast::hash(payload).to_le_bytes(), &(payload.len() as u64).to_le_bytes()];
    header.copy_from_slice(&fields.concat());
    bytes
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend((count as u64).to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend(bytes);
}

fn decode(bytes: &[u8]) -> Result<Restored, &'static str> {
    let mut header = Reader(bytes);
    if header.take(8)? != MAGIC {
        return Err("not a spool file");
    }
    let version = header.u32()?;
    if ![VERSION, VERSION_WITH_SHARD].contains(&version) {
        return Err("written by another version of the format");
    }
    let checksum = header.u32()?;
    let length = header.count()?;
    let payload = header.0;
    if payload.len() != length {
        return Err("its length is wrong: cut off, or written to");
    }
    if crc32fast::hash(payload) != checksum {
        return Err("its checksum is wrong");
    }
    decode_payload(&mut Reader(payload), version == VERSION_WITH_SHARD)
}

fn decode_payload(payload: &mut Reader<'_>, has_shard: bool) -> Result<Restored, &'static str> {
    let saved_at = Some(UnixMillis(payload.i64()?));
    let namespace = payload.text()?.to_owned();
    let cluster_id = payload.text()?.to_owned();
    let shard = if has_shard { payload.text()?.to_owned() } else { String::new() };
    let names = payload.count()?;
    if names > 32 {
        return Err("more metrics than a round can have");
    }
    let rows = (0..names)
        .map(|_| payload.text().map(|name| ROWS.iter().find(|row| row.name == name)))
        .collect::<Result<Vec<Option<&'static Row>>, _>>()?;
    let mut rounds = Vec::new();
    for _ in 0..payload.count()? {
        let at = UnixMillis(payload.i64()?);
        let metrics = payload.u32()?;
        let mut values = Vec::new();
        for (index, row) in rows.iter().enumerate() {
            if metrics & (1 << index) == 0 {
                continue;
            }
            let value = f64::from_bits(u64::from_le_bytes(payload.array()?));
            // A metric this version does not know is not published by it either.
            values.extend(row.map(|row| (row, value)));
        }
        rounds.push(Kept::new(at, values));
    }
    rounds.sort_by_key(|kept| kept.at);
    let has_counters = payload.take(1)? == [1];
    let counters = payload.bytes()?.to_vec();
    if !payload.0.is_empty() {
        return Err("more in it than was written");
    }
    Ok(Restored { rounds, counters: has_counters.then_some(counters), saved_at, namespace, cluster_id, shard })
}

/// Reads from the front; every step is checked against what is left.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], &'static str> {
        let (head, rest) = self.0.split_at_checked(length).ok_or("cut off")?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (head, rest) = self.0.split_first_chunk().ok_or("cut off")?;
        self.0 = rest;
        Ok(*head)
    }

    fn u32(&mut self) -> Result<u32, &'static str> {
        self.array().map(u32::from_le_bytes)
    }

    fn i64(&mut self) -> Result<i64, &'static str> {
        self.array().map(i64::from_le_bytes)
    }

    fn count(&mut self) -> Result<usize, &'static str> {
        usize::try_from(u64::from_le_bytes(self.array()?)).map_err(|_| "a count out of range")
    }

    fn bytes(&mut self) -> Result<&'a [u8], &'static str> {
        let length = self.count()?;
        self.take(length)
    }

    fn text(&mut self) -> Result<&'a str, &'static str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| "text that is not UTF-8")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds() -> [Kept; 2] {
        let round = |at: i64| Kept::new(UnixMillis(at), ROWS.iter().step_by(2).map(|row| (row, at as f64 / 3.0)));
        [round(2_000), round(1_000)]
    }

    fn file() -> Vec<u8> {
        file_of(None)
    }

    fn file_of(shard: Option<Shard>) -> Vec<u8> {
        let origin = Origin {
            saved_at: UnixMillis(3_000),
            namespace: "Kubernetes".to_owned(),
            cluster_id: "prod".to_owned(),
            shard,
        };
        encode(&origin, rounds().iter(), Some(b"baselines"))
    }

    #[test]
    fn what_was_written_comes_back_oldest_first() {
        let restored = decode(&file()).unwrap();
        let [newer, older] = rounds();
        assert_eq!(restored.rounds, [older, newer]);
        assert_eq!(restored.counters.as_deref(), Some(&b"baselines"[..]));
        assert_eq!(restored.saved_at, Some(UnixMillis(3_000)));
        assert_eq!((restored.namespace.as_str(), restored.cluster_id.as_str()), ("Kubernetes", "prod"));
    }

    #[test]
    fn a_shard_is_kept_and_its_lack_is_the_first_version() {
        let shard = "2/3".parse().ok();
        assert_eq!((file()[8], file_of(shard)[8]), (1, 2));
        let (whole, part) = (decode(&file()).unwrap(), decode(&file_of(shard)).unwrap());
        assert_eq!((whole.shard.as_str(), part.shard.as_str()), ("", "2/3"));
        assert_eq!(Restored { shard: String::new(), ..part }, whole);
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_noticed() {
        let bytes = file();
        for index in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[index] ^= 1 << (index % 8);
            assert!(decode(&flipped).is_err(), "bit in byte {index}");
            assert!(decode(&bytes[..index]).is_err(), "cut at {index}");
        }
    }

    proptest::proptest! {
        #[test]
        fn random_payloads_with_a_good_checksum_never_panic(payload in proptest::collection::vec(0_u8..4, 0..300)) {
            let mut bytes = MAGIC.to_vec();
            bytes.extend(VERSION.to_le_bytes());
            bytes.extend(crc32fast::hash(&payload).to_le_bytes());
            bytes.extend((payload.len() as u64).to_le_bytes());
            bytes.extend(&payload);
            let _ = decode(&bytes);
        }
    }
}
