//! Where a spool is, and what it may hold.

use std::path::PathBuf;
use std::time::Duration;

use super::origin::Origin;

/// Where a spool is, and what it may hold.
#[derive(Debug, Clone)]
pub struct SpoolSettings {
    /// The folder; `None` keeps nothing.
    pub dir: Option<PathBuf>,
    /// Whose points it holds.
    pub origin: Origin,
    /// The bound of the buffer that is saved, bytes.
    pub buffer_bytes: u64,
    /// How long points wait to share requests; baselines are used up to a multiple of it.
    pub flush_every: Duration,
}
