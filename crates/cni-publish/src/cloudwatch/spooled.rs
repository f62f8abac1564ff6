//! The task's end of the spool: images, claims, settlements, and what is wrong with it. Without a spool all of it does
//! nothing.

use std::future::pending;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::delivery::buffer::{Point, metrics_by_round};
use crate::delivery::spool::{self, Claims, Health, Spool};

/// The longest wait for the spool's last write.
const LAST_WRITE: Duration = Duration::from_secs(2);
/// A spool's journal this long is made short by writing the whole file anew.
const LONG_JOURNAL_BYTES: usize = 4 << 20;

/// The task's end of the spool.
pub(super) struct Spooled {
    spool: Option<Spool>,
    health: Option<watch::Receiver<Health>>,
    /// How many of the spool's points that were set aside are counted.
    set_aside: u64,
    journal_bytes: usize,
}

impl Spooled {
    pub(super) fn new(spool: Option<Spool>) -> Self {
        Self { health: spool.as_ref().map(Spool::health), spool, set_aside: 0, journal_bytes: 0 }
    }

    /// There is a spool.
    pub(super) fn is_kept(&self) -> bool {
        self.spool.is_some()
    }

    /// What a request of these points claims.
    pub(super) fn claim(&mut self, points: &[Point]) -> Option<(Claims, Vec<u8>)> {
        let claims = self.spool.as_ref()?.claims();
        let record = spool::claim(&metrics_by_round(points));
        self.journal_bytes += record.len();
        Some((claims, record))
    }

    /// Says what became of a claim.
    pub(super) fn settle(&mut self, record: Vec<u8>) {
        if let Some(spool) = &self.spool {
            self.journal_bytes += record.len();
            spool.settle(record);
        }
    }

    /// Hands the whole state over.
    pub(super) fn save(&mut self, image: Vec<u8>) {
        if let Some(spool) = &self.spool {
            spool.save(image);
            self.journal_bytes = 0;
        }
    }

    /// The journal is to be made short.
    pub(super) fn is_long(&self) -> bool {
        self.journal_bytes > LONG_JOURNAL_BYTES
    }

    /// What is wrong, and how many points were set aside since this was asked last; `None` without a spool.
    pub(super) fn health(&mut self) -> Option<(Option<String>, u64)> {
        let health = self.health.as_mut()?.borrow_and_update().clone();
        let more = health.set_aside.saturating_sub(std::mem::replace(&mut self.set_aside, health.set_aside));
        Some((health.trouble, more))
    }

    /// Waits until its state changes; false if the task that writes it has ended.
    pub(super) async fn changed(&mut self) -> bool {
        match &mut self.health {
            Some(health) => health.changed().await.is_ok(),
            None => pending().await,
        }
    }

    /// The last write; true if all that is unsent is on disk.
    pub(super) async fn flush(&self, by: Instant) -> bool {
        let Some(spool) = &self.spool else { return false };
        let left = by.saturating_duration_since(Instant::now()).min(LAST_WRITE);
        tokio::time::timeout(left, spool.flush(left)).await.unwrap_or(false)
    }
}
