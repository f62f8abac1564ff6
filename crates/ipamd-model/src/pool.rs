//! The datastore: ENIs, their addresses and the pods that use them.
//!
//! An address is in one of four places: with the subnet (then it is not here at all), free, assigned to a pod, or
//! cooling after a pod left it. `decide` holds the arithmetic of when to grow and shrink, `release` chooses what may go.

mod datastore;
pub mod decide;
mod ipv6;
mod ipv6_prefix;
mod release;

pub use datastore::{Place, Placement, PodKey, Pool, PoolEni};
pub use decide::{Need, Stats, Targets};
