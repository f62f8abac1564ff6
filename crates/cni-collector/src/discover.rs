//! Which aws-node pods there are: a watch of pods, and of node labels where that right is granted.
//!
//! A pod costs a few hundred bytes here however large its manifest is: only the fields below are ever decoded. A
//! restarted watch collects the new set beside the old one and replaces it in one step, so that a round never sees half
//! a cluster.

mod agent;
pub mod connect;
mod evidence;
mod health;
mod index;
mod intern;
mod nodes;
mod objects;
mod pods;
mod slim;
mod stream;
mod watch;
mod watch_log;

pub use agent::{AgentSpec, AgentVersion};
pub use health::{STALE_AFTER, Staleness, WatchHealth};
pub use index::{Index, IndexReader, Pod};
pub use objects::ClusterObjects;
pub(crate) use objects::ObjectsNow;
pub use watch::{DiscoverSettings, Discovery, WatchStats};
