//! Unsent points and the counters' baselines on disk, so that a restart or a crash loses no increment and repeats none.
//!
//! One file, replaced as a whole after each round, and a journal behind it: each request is claimed there before it is
//! sent, and settled after its answer. So a start knows what was sent, what was not, and which one request is in doubt.
//! What is found at a start is used only where it proves itself: the folder is locked and can be written, the file is
//! whole and of this destination, and the baselines are young and of a round after which nothing was sent.

mod folder;
mod format;
mod keeper;
mod origin;
mod settings;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cni_metrics_core::model::UnixMillis;

pub use format::{Counters, Image, claim, encode, settled};
use keeper::Taken;
pub(crate) use keeper::{Claims, Health, Spool};
pub use origin::Origin;
pub use settings::SpoolSettings;

use self::folder::{Done, FILE, Folder, Found, Job, Waited};
use self::format::{Content, Unreadable};
use super::buffer::Kept;
use cni_runtime::clock::Clock;

/// The longest wait of a start for the folder, its lock included.
const OPEN_LIMIT: Duration = Duration::from_secs(4);
/// Baselines older than this many flushes (of two intervals each) are not used: what happened since would come as one
/// interval's events.
const BASELINE_FLUSHES: i64 = 5;
/// Room in the file beside the buffer's points: names, baselines, journal.
const BESIDE_POINTS_BYTES: u64 = 512 << 20;

/// Why a spool's file could not be looked at.
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
    /// The file is of a later version.
    #[error("{path}: written by a later version of this program (format {version})")]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

/// What a spool's file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Restored {
    /// Rounds that the destination has not accepted, oldest first, less what is in doubt.
    pub rounds: Vec<Kept>,
    /// What counts events in the request that was under way when the process ended, and in rounds of a lapse of the lease
    /// that may be another replica's: given up.
    pub in_doubt: Vec<Kept>,
    /// The counters' baselines, for their owner.
    pub counters: Option<Vec<u8>>,
    /// The time of the round after which they were taken.
    pub counters_at: Option<UnixMillis>,
    /// When it was written.
    pub saved_at: UnixMillis,
    /// The namespace the points were meant for.
    pub namespace: String,
    /// `CLUSTER_ID` the points were meant for.
    pub cluster_id: String,
    /// `SHARD` the points were meant for; empty for a whole cluster.
    pub shard: String,
}

impl Restored {
    /// Its points are of this origin, so they go where those of this origin go.
    pub fn goes_to(&self, origin: &Origin) -> bool {
        self.namespace == origin.namespace && self.is_of(origin)
    }

    /// It is of the same nodes: the same cluster, and the same share of it.
    pub fn is_of(&self, origin: &Origin) -> bool {
        origin.cluster_id == *self.cluster_id && self.is_of_shard(origin)
    }

    /// It is of the same share of a cluster.
    fn is_of_shard(&self, origin: &Origin) -> bool {
        self.shard == origin.shard.map(|shard| shard.to_string()).unwrap_or_default()
    }
}

/// The spool as a start found it. Only what proved itself is in here.
#[derive(Debug, Default)]
pub struct Opened {
    pub(crate) spool: Option<Spool>,
    /// Rounds to send.
    pub(crate) rounds: Vec<Kept>,
    /// Points given up because their request was under way, or the lease had lapsed, when the process before ended.
    pub(crate) in_doubt: u64,
    /// Points in files that were set aside.
    pub(crate) unusable: u64,
    /// Baselines to go on from, and the time of their round.
    pub(crate) counters: Option<(Arc<[u8]>, UnixMillis)>,
    /// A folder that was taken over before the cluster's name was known: whose its points are is still to be decided.
    unnamed: Option<Box<Unnamed>>,
}

#[derive(Debug)]
struct Unnamed {
    folder: Folder,
    taken: Taken,
    trouble: Option<String>,
    restored: Option<Restored>,
}

impl Opened {
    /// No spool.
    pub fn none() -> Self {
        Self::default()
    }

    /// The counters' baselines, where they may be used.
    pub fn baselines(&self) -> Option<Arc<[u8]>> {
        self.counters.as_ref().map(|(bytes, _)| Arc::clone(bytes))
    }
}

/// What the file in `dir` says now, without taking it over: for tools, beside a helper that may be at work. Blocking.
pub fn look(dir: &Path) -> Result<Option<Restored>, SpoolError> {
    let path = dir.join(FILE);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(SpoolError::Io { path, source }),
    };
    match format::decode(&bytes) {
        Ok(content) => Ok(Some(restored(content).0)),
        Err(Unreadable::Damaged(what)) => Err(SpoolError::Damaged { path, what }),
        Err(Unreadable::Newer(version)) => Err(SpoolError::Newer { path, version }),
    }
}

/// The content as a start sees it, and whether its baselines are of a round after which something was sent.
fn restored(mut content: Content) -> (Restored, bool) {
    let in_doubt = content.give_up_claim();
    let overtaken = content.counters.as_ref().is_some_and(|(_, round, _)| content.newest_sent > Some(*round));
    let (counters_at, counters) = content.counters.map_or((None, None), |(at, _, counters)| (Some(at), Some(counters)));
    let restored = Restored {
        rounds: content.rounds.into_iter().map(|(_, kept)| kept).collect(),
        in_doubt,
        counters,
        counters_at,
        saved_at: content.saved_at,
        namespace: content.namespace,
        cluster_id: content.cluster_id,
        shard: content.shard,
    };
    (restored, overtaken)
}

/// Takes the folder of these settings over, if they name one. Whatever is wrong with it costs the spool and never the
/// start: it is logged and shown as the sink's trouble.
pub async fn open(settings: &SpoolSettings, clock: &Clock) -> Opened {
    take_over(settings, clock, true).await.named(settings, clock).await
}

/// The same before the cluster's name is known: baselines of any cluster id count, and the points wait for
/// [`Opened::named`].
pub async fn open_unnamed(settings: &SpoolSettings, clock: &Clock) -> Opened {
    take_over(settings, clock, false).await
}

async fn take_over(settings: &SpoolSettings, clock: &Clock, is_named: bool) -> Opened {
    let Some(dir) = settings.dir.clone() else { return Opened::none() };
    let largest = settings.buffer_bytes.saturating_mul(2).saturating_add(BESIDE_POINTS_BYTES);
    let mut folder = Folder::new(dir, largest);
    folder.begin(Job::Open);
    let began = Instant::now();
    let waited = folder.wait(began.checked_add(OPEN_LIMIT).unwrap_or(began)).await;
    let mut opened = Opened::none();
    let mut restored = None;
    let (taken, trouble) = match waited {
        Waited::Done(Ok(Done::Opened(found, full))) => {
            restored = opened.take(found, settings, clock.now(), is_named, &folder);
            (Taken::Yes, full.map(|error| without(&error)))
        }
        Waited::Done(Ok(_)) => (Taken::No, None),
        Waited::Done(Err(error)) => (Taken::No, Some(without(&error))),
        Waited::NotYet => {
            folder.give_up();
            (Taken::Hangs, Some(without(&no_answer())))
        }
    };
    if let Some(trouble) = &trouble {
        let earlier = if taken == Taken::Yes { "are used" } else { "are not used" };
        tracing::warn!(
            "{trouble}. Delivery goes on; unsent points and baselines of an earlier run {earlier}. See that the volume is \
             writable, not full, answers, and belongs to this helper alone"
        );
    }
    opened.unnamed = Some(Box::new(Unnamed { folder, taken, trouble, restored }));
    opened
}

fn no_answer() -> String {
    format!("the volume did not answer within {} s", OPEN_LIMIT.as_secs())
}

fn without(error: &impl std::fmt::Display) -> String {
    format!("SPOOL_DIR cannot be written: {error}; a restart loses the points that are not sent yet")
}

impl Opened {
    /// What is readable, after its baselines were judged.
    fn take(
        &mut self,
        found: Found,
        settings: &SpoolSettings,
        now: UnixMillis,
        is_named: bool,
        folder: &Folder,
    ) -> Option<Restored> {
        match found {
            Found::Nothing => None,
            Found::Unreadable(unreadable, aside) => {
                let what = match unreadable {
                    Unreadable::Damaged(what) => format!("it is damaged ({what})"),
                    Unreadable::Newer(version) => {
                        format!("a later version of this program wrote it (format {version})")
                    }
                };
                self.unusable = aside.points.unwrap_or(0);
                tracing::error!(
                    path = %folder.path().display(),
                    set_aside = %aside.path.display(),
                    points = aside.points,
                    "spool not usable: {what}; set aside, its points are not sent, counting begins anew"
                );
                None
            }
            Found::Usable(content) => {
                let (restored, overtaken) = restored(*content);
                let origin = &settings.origin;
                let is_ours = if is_named { restored.is_of(origin) } else { restored.is_of_shard(origin) };
                self.counters = baselines(&restored, is_ours, overtaken, settings.flush_every, now);
                Some(restored)
            }
        }
    }

    /// The spool of a cluster whose name is known: its points are restored if they are this cluster's.
    pub async fn named(mut self, settings: &SpoolSettings, clock: &Clock) -> Self {
        let Some(unnamed) = self.unnamed.take() else { return self };
        let Unnamed { mut folder, mut taken, mut trouble, restored } = *unnamed;
        if let Some(restored) = restored
            && !self.restore(restored, settings, clock, &mut folder).await
        {
            (taken, trouble) = (Taken::Hangs, Some(without(&no_answer())));
        }
        self.spool = Some(Spool::keep(folder, taken, trouble, clock.clone()));
        self
    }

    /// False where the volume does not answer: the folder's thread is still at its job.
    async fn restore(
        &mut self,
        restored: Restored,
        settings: &SpoolSettings,
        clock: &Clock,
        folder: &mut Folder,
    ) -> bool {
        let mut answers = true;
        if !restored.goes_to(&settings.origin) {
            let kept = restored.rounds.iter().chain(&restored.in_doubt);
            let points: usize = kept.map(|kept| kept.values.len()).sum();
            if points > 0 {
                self.unusable = points as u64;
                let aside = set_aside(folder, clock).await;
                answers = aside.is_some();
                let aside = aside.unwrap_or_else(|| format!("not yet: {}", no_answer()));
                tracing::error!(
                    namespace = restored.namespace,
                    cluster_id = restored.cluster_id,
                    shard = restored.shard,
                    points,
                    set_aside = aside,
                    "the spool's points belong to another namespace, cluster id or shard; not sent"
                );
            }
            return answers;
        }
        self.in_doubt = restored.in_doubt.iter().map(|kept| kept.values.len() as u64).sum();
        if self.in_doubt > 0 {
            tracing::warn!(
                points = self.in_doubt,
                "an earlier run ended while a request was under way, or in a lapse of the lease: those counters may or may not have arrived; they are \
                 not sent again, and counted as dropped (in_doubt)"
            );
        }
        tracing::info!(
            path = %folder.path().display(),
            rounds = restored.rounds.len(),
            baselines = self.counters.is_some(),
            "unsent points of an earlier run restored"
        );
        self.rounds = restored.rounds;
        answers
    }
}

/// What became of the file; `None` where the volume does not answer.
async fn set_aside(folder: &mut Folder, clock: &Clock) -> Option<String> {
    folder.begin(Job::SetAside { why: "foreign", now: clock.now() });
    let began = Instant::now();
    match folder.wait(began.checked_add(OPEN_LIMIT).unwrap_or(began)).await {
        Waited::Done(Ok(Done::SetAside(aside))) => Some(aside.path.display().to_string()),
        Waited::Done(Err(error)) => Some(format!("not at all: {error}")),
        Waited::Done(Ok(_)) | Waited::NotYet => {
            folder.give_up();
            None
        }
    }
}

/// The baselines, if they may be used; says why not.
fn baselines(
    restored: &Restored,
    is_ours: bool,
    overtaken: bool,
    flush_every: Duration,
    now: UnixMillis,
) -> Option<(Arc<[u8]>, UnixMillis)> {
    let bytes = restored.counters.as_deref()?;
    let at = restored.counters_at.unwrap_or(restored.saved_at);
    let age_ms = now.0.saturating_sub(at.0);
    let flush_ms = i64::try_from(flush_every.as_millis()).unwrap_or(i64::MAX);
    let why_not = if !is_ours {
        Some(format!("they are of cluster id {:?}, shard {:?}", restored.cluster_id, restored.shard))
    } else if overtaken {
        Some("points of a later round than theirs were sent".to_owned())
    } else if age_ms > flush_ms.saturating_mul(BASELINE_FLUSHES) {
        Some(format!("they are {} s old, more than ten intervals", age_ms / 1000))
    } else if age_ms < flush_ms.saturating_neg() {
        let ahead_s = age_ms.saturating_neg() / 1000;
        Some(format!("their time is {ahead_s} s ahead of the clock: it was set back, and their age is not known"))
    } else {
        None
    };
    if let Some(why) = why_not {
        tracing::warn!(
            baselines_at_unix_ms = at.0,
            "the saved counters are not used: {why}; counting begins anew, and events between then and the first round \
             of this run are not published"
        );
        return None;
    }
    Some((Arc::from(bytes), at))
}

#[cfg(test)]
mod tests;
