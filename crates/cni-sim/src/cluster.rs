//! The simulated cluster: nodes with one ipamd each, the subnets they share, the pods that come and go, and the faults.
//!
//! [`SimulatedCluster`] is advanced by the owner of its clock and read by the servers. Its state follows from scenario,
//! seed and simulated time alone: the size of the steps does not matter. (Pages also count the scrapes they served, as real
//! ones do.) Advancing is done by one thread at a time; pages are rendered under their node's own lock meanwhile.

mod active;
mod advance;
mod agents;
mod demand;
mod engine;
mod faults;
mod group_plan;
mod interference;
mod nodes;
mod objects;
mod others;
mod sdk;
mod serving;
mod slot;
mod state;
mod views;
mod whole;
mod why;
mod workload;

pub use crate::answer::{Answer, PodKey, ServeTicket, Via};
pub use advance::SimulatedClusterError;
pub use state::SimulatedCluster;
pub use views::{ClusterStatus, SubnetStatus};
pub use why::RefusalCounts;
