//! The datastore: ENIs, their addresses and the pods that use them.
//!
//! An address is in one of four places: with the subnet (then it is not here at all), free, assigned to a pod, or
//! cooling after a pod left it. `pool` holds ENIs and CIDRs, `assign` gives addresses to pods and takes them back, `ledger`
//! does each change together with the gauges that the original writes at it, `decide` holds the arithmetic of when to grow
//! and shrink, `release` chooses what may go, `order` says which address a careful agent gives next, `occupied` keeps what the host shows in use, `usable` says what can be given now.

mod assign;
mod cidr;
mod clean_up;
pub mod decide;
mod ipv6;
mod ledger;
mod occupied;
mod order;
mod pool;
mod refused;
mod release;
mod twice;
mod usable;

pub use crate::block::Block;
pub use crate::chooser::Placement;
pub use assign::Assignment;
pub use clean_up::EXCLUDED_CLEAN_UP_MS;
pub use decide::{Need, Stats, Targets};
pub use ledger::Ledger;
pub use pool::{Place, Pool, PoolEni};
pub use refused::Refused;
pub use release::MINIMUM_ENI_AGE_MS;
