//! PutMetricData's documented limits, checked before anything is sent: one bad datum fails its whole request.

use std::time::Duration;

use cni_types::cluster_id::ClusterId;
use cni_types::names::{self, NAMESPACE_RULE};

use crate::delivery::requests::RequestLimits;
use crate::stats::DropReason;

/// Data in one request.
pub const MAX_DATA: usize = 1000;
/// One request before compression, bytes. The service allows 1 MB; the rest is room for what the estimate misses.
const MAX_REQUEST_BYTES: usize = 950_000;
/// What a datum takes beyond its metric's and its cluster's name, bytes: measured at 112 all in, and 40 more with a
/// shard, so generous.
const DATUM_OVERHEAD_BYTES: usize = 200;
/// The longest metric name of the catalogue, with room to grow.
const NAME_BYTES: usize = 64;
/// The age at which the service refuses a datum.
pub const MAX_AGE: Duration = Duration::from_hours(14 * 24);
/// How far ahead of the clock the service takes a datum.
const MAX_AHEAD: Duration = Duration::from_hours(2);

/// A setting that CloudWatch would refuse with every request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloudWatchSettingsError {
    /// See the text.
    #[error("CLOUDWATCH_NAMESPACE {0:?}: {NAMESPACE_RULE}")]
    Namespace(String),
    /// See the text.
    #[error("CLOUDWATCH_RESOLUTION {0}: 1 or 60 (seconds)")]
    Resolution(u32),
}

/// Checks a namespace.
pub fn check_namespace(namespace: &str) -> Result<(), CloudWatchSettingsError> {
    if names::is_namespace(namespace) { Ok(()) } else { Err(CloudWatchSettingsError::Namespace(namespace.to_owned())) }
}

/// How many data points of this cluster fit into one request.
pub fn data_per_request(cluster_id: &ClusterId) -> usize {
    (MAX_REQUEST_BYTES / (DATUM_OVERHEAD_BYTES + NAME_BYTES + cluster_id.as_str().len())).clamp(1, MAX_DATA)
}

/// Checks a datum's value: finite, and at most 2^360.
pub fn check_value(value: f64) -> Result<(), DropReason> {
    // 2^360 exactly; the comparison is false for NaN and the infinities.
    if value.abs() <= 2.0_f64.powi(360) { Ok(()) } else { Err(DropReason::BadValue) }
}

/// What CloudWatch takes of this cluster.
pub fn requests_of(cluster_id: &ClusterId) -> RequestLimits {
    RequestLimits { data: data_per_request(cluster_id), max_age: MAX_AGE, max_ahead: MAX_AHEAD }
}

#[cfg(test)]
mod tests {
    use cni_metrics_core::model::UnixMillis;

    use super::*;

    #[test]
    fn values_are_finite_and_at_most_two_to_the_360() {
        for good in [0.0, -1.5, 2.0_f64.powi(360), -(2.0_f64.powi(360)), f64::MIN_POSITIVE] {
            assert_eq!(check_value(good), Ok(()), "{good}");
        }
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 2.0_f64.powi(361), 1e308] {
            assert_eq!(check_value(bad), Err(DropReason::BadValue), "{bad}");
        }
    }

    #[test]
    fn times_are_at_most_two_weeks_old_and_two_hours_ahead() {
        let now = UnixMillis(2_000_000_000_000);
        let check_time = |at, now| requests_of(&ClusterId::fallback()).check_time(at, now);
        let day = 86_400_000;
        assert_eq!(check_time(UnixMillis(now.0 - 14 * day), now), Ok(()));
        assert_eq!(check_time(UnixMillis(now.0 - 14 * day - 1), now), Err(DropReason::TooOld));
        assert_eq!(check_time(UnixMillis(now.0 + day / 12), now), Ok(()));
        assert_eq!(check_time(UnixMillis(now.0 + day / 12 + 1), now), Err(DropReason::InFuture));
    }

    #[test]
    fn names_the_service_would_refuse_are_mistakes() {
        for good in ["Kubernetes", "My/Name.space-1_#:x", "a"] {
            assert_eq!(check_namespace(good), Ok(()), "{good}");
        }
        for bad in ["", " ", ":x", "AWS/EC2", "ümlaut", &"x".repeat(256)] {
            assert!(check_namespace(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_long_cluster_name_makes_requests_smaller() {
        assert_eq!(data_per_request(&"prod".parse().unwrap()), MAX_DATA);
        let most = data_per_request(&"x".repeat(1024).parse().unwrap());
        assert!(most < MAX_DATA && most * (1024 + 112) < 1_000_000 && most > 500, "{most}");
    }
}
