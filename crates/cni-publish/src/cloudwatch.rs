//! CloudWatch: every point once, with its own round's time, whatever the service or the network do meanwhile.
//!
//! The task reads rounds as they come and keeps their points until the service has accepted them. At each flush the
//! points measured since the last one become due. One request is under way at a time; while it is, and while the task
//! backs off, rounds are still read. See [`delivery`] for the order in which points are sent.
//!
//! PutMetricData cannot be told that a request is a repetition. So a request whose answer was lost on the way is never
//! repeated as a whole: its counters are given up and counted as in doubt, its gauges are sent again. A request that the
//! end of the process cut off is treated the same by the next start, which finds it claimed in the spool.

pub mod advice;
mod awaiting;
mod books;
pub mod buffer;
pub mod client;
pub mod delivery;
pub mod limits;
pub mod pacing;
pub mod spool;
mod task;

use std::path::PathBuf;
use std::time::Duration;

pub use client::{AwsCloudWatch, MetricSink, PutError};
pub use limits::CloudWatchSettingsError;
pub use spool::{Opened, Restored};

use super::{Publisher, Selection};
use cni_aws::identity::IdentityReader;
use cni_runtime::clock::Clock;
use cni_types::shard::Shard;

/// The buffer's default bound, bytes.
pub const DEFAULT_BUFFER_BYTES: u64 = 64 << 20;

/// How CloudWatch is fed.
#[derive(Debug, Clone)]
pub struct CloudWatchSettings {
    /// CloudWatch namespace.
    pub namespace: String,
    /// The dimension's value.
    pub cluster_id: String,
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
    /// Every value that the service would refuse.
    pub fn check(&self) -> Result<(), Vec<CloudWatchSettingsError>> {
        let resolution = match self.resolution_seconds {
            1 | 60 => Ok(()),
            other => Err(CloudWatchSettingsError::Resolution(other)),
        };
        let checks = [limits::check_namespace(&self.namespace), limits::check_cluster_id(&self.cluster_id), resolution];
        let errors: Vec<_> = checks.into_iter().filter_map(Result::err).collect();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

/// Adds the sink. `opened` is what [`spool::open`] found in the spool's folder.
pub fn spawn<S: MetricSink>(
    publisher: &mut Publisher,
    settings: CloudWatchSettings,
    sink: S,
    clock: Clock,
    opened: Opened,
) {
    publisher.spawn("cloudwatch", |intake| task::Task::new(settings, sink, clock, intake, opened).run());
}

/// Adds the sink before the cluster's name is known: `settings` have everything but that. Until it is, rounds are kept.
pub fn spawn_when_known(
    publisher: &mut Publisher,
    mut settings: CloudWatchSettings,
    identity: IdentityReader,
    clock: Clock,
    opened: Opened,
) {
    publisher.spawn("cloudwatch", |mut intake| async move {
        let Some((identity, held)) = awaiting::identity(&settings, identity, &mut intake).await else { return };
        settings.cluster_id.clone_from(&identity.cluster_id.value);
        let sink = AwsCloudWatch::new(&identity.sdk, &settings);
        let opened = opened.named(&settings, &clock).await;
        task::Task::new(settings, sink, clock, intake, opened).holding(held).run().await;
    });
}
