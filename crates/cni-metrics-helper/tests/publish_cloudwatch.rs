//! The CloudWatch sink against a scripted service, on a paused clock: hours of outage take moments.

#![expect(
    clippy::unwrap_used,
    clippy::float_cmp,
    reason = "a test stops where something is missing; values are passed on, not computed"
)]

#[path = "publish_cloudwatch/delivery.rs"]
mod delivery;
#[path = "publish_cloudwatch/kit.rs"]
mod kit;
#[path = "publish_cloudwatch/long.rs"]
mod long;
#[path = "publish_cloudwatch/spool.rs"]
mod spool;
