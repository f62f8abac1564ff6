//! The objects behind the simulated API server: one store, one growing resourceVersion, a bounded history for watches.
//!
//! Writers (the cluster, and clients for leases) replace whole objects; readers get `Arc`s and never hold the lock while
//! they render or send. A watcher is only a number, the last resourceVersion it has seen: it asks for what came after,
//! and one that fell behind the history gets [`Expired`], as with etcd's compaction would.

pub mod json;
mod kinds;
pub mod manifest;
pub mod objects;
mod template;
mod store;

pub use kinds::{Kind, Object, Stored};
pub use objects::{
    ContainerPhase, ContainerState, ContainerTemplate, CustomObject, DaemonSetObject, LeaseObject, Meta,
    NamespaceObject, NodeObject, ObjectKey, Owner, Pairs, PodObject, PodPhase, PodTemplate, Taint, Uid, pairs,
};
pub use store::{Change, Chunk, DEFAULT_HISTORY, Expect, Expired, KubeStore, WriteConflict};
