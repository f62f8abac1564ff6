//! Which aws-node pods there are: a watch of pods, and of node labels where that right is granted.
//!
//! A pod costs a few hundred bytes here however large its manifest is: only the fields below are ever decoded. A
//! restarted watch collects the new set beside the old one and replaces it in one step, so that a round never sees half
//! a cluster.

pub mod connect;
mod hints;
mod index;
mod nodes;
mod pods;
mod watch;

pub use hints::{ClusterNames, cluster_names};
pub use index::{Index, IndexReader, Pod};
pub use watch::{DiscoverSettings, Discovery, WatchStats};
