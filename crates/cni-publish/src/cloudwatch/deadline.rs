//! When the task stops before the program does.

use std::time::Duration;

use tokio::time::Instant;

/// Some of the time that is left is for the spool.
pub(super) fn leave_time(stop_by: Instant) -> Instant {
    let left = stop_by.saturating_duration_since(Instant::now());
    stop_by.checked_sub((left / 10).min(Duration::from_millis(500))).unwrap_or(stop_by)
}

/// The last moment at which a request begins: an answer may take what is left until then, up to a second.
pub(super) fn last_start(leave: Instant) -> Instant {
    let left = leave.saturating_duration_since(Instant::now());
    leave.checked_sub((left / 5).min(Duration::from_secs(1))).unwrap_or(leave)
}
