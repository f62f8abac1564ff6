//! Facts with one home each: what names may be, what identifies a cluster, how nodes are shared out, how a text is hashed. The standard library only.

pub mod cluster_id;
pub mod hash;
pub mod names;
pub mod shard;
