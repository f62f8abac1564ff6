//! How CloudWatch is fed: what the operator sets.

use std::path::PathBuf;
use std::time::Duration;

use super::limits::{self, CloudWatchSettingsError};
use crate::delivery::spool::{Origin, SpoolSettings};
use crate::selection::Selection;
use cni_types::cluster_id::ClusterId;
use cni_types::shard::Shard;

/// The buffer's default bound, bytes.
pub const DEFAULT_BUFFER_BYTES: u64 = 64 << 20;

/// How CloudWatch is fed.
#[derive(Debug, Clone)]
pub struct CloudWatchSettings {
    /// CloudWatch namespace.
    pub namespace: String,
    /// The dimension's value.
    pub cluster_id: ClusterId,
    /// The value of a second dimension, where several replicas share the cluster.
    pub shard: Option<Shard>,
    /// The metrics that are sent.
    pub selection: Selection,
    /// Storage resolution, 1 or 60 seconds.
    pub resolution_seconds: u32,
    /// Points wait for this long, to share requests: two intervals.
    pub flush_every: Duration,
    /// Memory for points that cannot be sent, bytes.
    pub buffer_bytes: u64,
    /// Where unsent points and counters' baselines survive the process, if anywhere.
    pub spool_dir: Option<PathBuf>,
}

impl CloudWatchSettings {
    /// The spool's part of them.
    pub fn spool(&self) -> SpoolSettings {
        SpoolSettings {
            dir: self.spool_dir.clone(),
            origin: Origin {
                namespace: self.namespace.clone(),
                cluster_id: self.cluster_id.clone(),
                shard: self.shard,
            },
            buffer_bytes: self.buffer_bytes,
            flush_every: self.flush_every,
        }
    }

    /// Every value that the service would refuse.
    pub fn check(&self) -> Result<(), Vec<CloudWatchSettingsError>> {
        let resolution = match self.resolution_seconds {
            1 | 60 => Ok(()),
            other => Err(CloudWatchSettingsError::Resolution(other)),
        };
        let checks = [limits::check_namespace(&self.namespace), resolution];
        let errors: Vec<_> = checks.into_iter().filter_map(Result::err).collect();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}
