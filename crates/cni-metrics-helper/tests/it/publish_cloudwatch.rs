//! The CloudWatch sink against a scripted service, on a paused clock: hours of outage take moments.

#![expect(clippy::float_cmp, reason = "values are passed on, not computed")]

mod delivery;
mod kit;
mod long;
mod spool;
