//! Which aws-node pods there are: a watch of pods, and of node labels where that right is granted.
//!
//! A pod costs a few hundred bytes here however large its manifest is: only the fields below are ever decoded. A
//! restarted watch collects the new set beside the old one and replaces it in one step, so that a round never sees half
//! a cluster.

/// Makes a trimmed type stand for one of Kubernetes' own v1 kinds. Its field `metadata` holds what was kept.
macro_rules! slim_resource {
    ($slim:ty, $scope:ty, $kind:literal, $plural:literal) => {
        impl kube::core::Resource for $slim {
            type DynamicType = ();
            type Scope = $scope;

            fn kind((): &()) -> std::borrow::Cow<'_, str> {
                $kind.into()
            }

            fn group((): &()) -> std::borrow::Cow<'_, str> {
                "".into()
            }

            fn version((): &()) -> std::borrow::Cow<'_, str> {
                "v1".into()
            }

            fn plural((): &()) -> std::borrow::Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}
use slim_resource;

mod agent;
pub mod connect;
mod evidence;
mod health;
mod index;
mod intern;
mod nodes;
mod pods;
mod stream;
mod watch;
mod watch_log;

pub use agent::{AgentSpec, AgentVersion};
pub use health::{STALE_AFTER, Staleness, WatchHealth};
pub use index::{Index, IndexReader, Pod};
pub use watch::{DiscoverSettings, Discovery, WatchStats};
