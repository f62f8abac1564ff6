//! One cluster: discover its agents, scrape them, measure a round, hold the lease.
//!
//! Modules in the order in which the data flows.

pub mod discover;
pub mod scrape;
pub mod round;
pub mod self_stats;
pub mod lead;
pub mod keeper;
mod client_error;
#[cfg(test)]
mod captured;
