//! Whose points a file of the spool holds.

use cni_types::cluster_id::ClusterId;
use cni_types::shard::Shard;

/// Whose points a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The destination's namespace.
    pub namespace: String,
    /// `CLUSTER_ID`.
    pub cluster_id: ClusterId,
    /// `SHARD`.
    pub shard: Option<Shard>,
}
