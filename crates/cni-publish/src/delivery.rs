//! Delivery: what a sink may use so that a slow destination, an outage or a restart costs as little as possible.
//!
//! | part | what | used by |
//! |---|---|---|
//! | `queue` | the rounds that a sink has not read yet; each sink has one | all sinks |
//! | [`buffer`] | the data points that the destination has not accepted yet, within a bounded memory | CloudWatch |
//! | [`requests`] | which of them the next request contains, and what its answer means for them | CloudWatch |
//! | [`retry`] | how long to wait before the next request | CloudWatch |
//! | [`spool`] | unsent data points and baselines on disk, with a claim on what is being sent | CloudWatch |
//!
//! None of it knows a sink, so a new sink that must not lose data points uses the same parts.

pub mod buffer;
pub(crate) mod queue;
pub mod requests;
pub mod retry;
pub mod spool;
