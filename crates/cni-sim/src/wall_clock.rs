//! The machine's clock, as opposed to the simulated one.

use std::time::SystemTime;

/// Unix milliseconds by the machine's clock. Deliveries are stamped with it, because the collector lives in it.
pub(crate) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
