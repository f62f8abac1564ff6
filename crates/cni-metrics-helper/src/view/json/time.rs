//! Times as JSON.

use cni_metrics_core::model::UnixMillis;
use jiff::Timestamp;

/// The time as RFC 3339 in UTC, to the millisecond.
pub fn rfc3339(at: UnixMillis) -> String {
    Timestamp::from_millisecond(at.0).map_or_else(|_| at.0.to_string(), |time| format!("{time:.3}"))
}
