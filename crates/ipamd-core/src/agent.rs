//! What one life of the agent knows and counts; every lane works on it.

pub(crate) mod arrivals;
pub(crate) mod attached;
pub(crate) mod backoff;
pub(crate) mod bad;
pub(crate) mod bindings;
pub(crate) mod careful;
pub(crate) mod clock;
pub(crate) mod counting;
pub(crate) mod cx;
pub(crate) mod notes;
pub(crate) mod operations;
pub(crate) mod ours;
pub(crate) mod file;
pub(crate) mod foreign;
pub(crate) mod gate;
pub(crate) mod held;
pub(crate) mod holding;
pub(crate) mod jobs;
pub(crate) mod ledger;
pub(crate) mod managed;
pub(crate) mod memory;
pub(crate) mod reads;
pub(crate) mod released;
pub(crate) mod trouble;
pub(crate) mod veth;
pub(crate) mod wake;
