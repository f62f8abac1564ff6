//! The datastore: ENIs, their addresses and the pods that use them.
//!
//! An address is in one of four places: with the subnet (then it is not here at all), free, assigned to a pod, or
//! cooling after a pod left it. `decide` holds the arithmetic of when to grow and shrink, `release` chooses what may go.

pub mod decide;
mod ipv6;
mod ipv6_prefix;
mod pool;
mod release;

pub use crate::block::Block;
pub use decide::{Need, Stats, Targets};
pub use pool::{Place, Placement, Pool, PoolEni};
pub use release::MINIMUM_ENI_AGE_MS;
