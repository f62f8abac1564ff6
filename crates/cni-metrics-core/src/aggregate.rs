//! Many samples to one snapshot.
//!
//! The aggregator remembers each node, by pod UID, since its first good scrape: the last value of each counter, and the
//! process it came from. A node keeps its memory while rounds miss it, and for [`KEPT_ROUNDS`] rounds and [`KEPT_MS`] after
//! it leaves the list, so that a flapping watch does not make a known node new. Of a forgotten pod a tombstone stays, so that
//! nothing of it counts twice should it come back.
//!
//! What is absent is not zero. A node's value of a counter is known where there is a page before to compare with, or where
//! the whole process was watched; an absent labelled family is 0 only if the agent's version has it ([`AgentVersion`]); an
//! implausible value, or one that is only a lower bound because a line was lost, is left out. Each is shown in the coverage.
//!
//! [`AgentVersion`]: cni_types::version::AgentVersion

mod aggregator;
mod baselines;
mod capacity;
mod counter;
mod damage;
mod gauge;
mod labels;
mod latency;
mod mode;
mod node;
mod round;
mod tombstones;
mod total;

pub use aggregator::{Aggregator, KEPT_MS, KEPT_ROUNDS, LabelSeries, MOST_KEPT_ROUNDS};
pub use baselines::BaselinesError;
pub use damage::DAMAGED_PAGES;
pub use labels::MAX_CLUSTER_SETS;
pub use mode::{CounterMode, HelperStart};
pub use round::Round;

#[cfg(test)]
mod tests;
