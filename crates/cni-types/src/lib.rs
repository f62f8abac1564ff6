//! Facts with one home each: what names may be, how nodes are shared out, how a text is hashed. The standard library only.

pub mod hash;
pub mod names;
pub mod shard;
