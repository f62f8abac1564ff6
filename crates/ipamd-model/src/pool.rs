//! The datastore of the core, with the keys of the model's pods.

pub use ipamd_core::store::{MINIMUM_ENI_AGE_MS, Need, Place, Placement, PoolEni, Stats, Targets, decide};

/// A pod's network attachment, by a number its owner chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodKey(pub u64);

/// The pool of one node.
pub type Pool = ipamd_core::store::Pool<PodKey>;
