//! CloudWatch: every point once, with its own round's time, whatever the service or the network do meanwhile.
//!
//! The task reads rounds as they come and keeps their points until the service has accepted them. At each flush the
//! points measured since the last one become due. One request is under way at a time; while it is, and while the task
//! backs off, rounds are still read. See [`requests`](crate::delivery::requests) for the order in which points are sent.
//!
//! PutMetricData cannot be told that a request is a repetition. So a request whose answer was lost on the way is never
//! repeated as a whole: its counters are given up and counted as in doubt, its gauges are sent again. A request that the
//! end of the process cut off is treated the same by the next start, which finds it claimed in the spool.

pub mod advice;
mod awaiting;
mod books;
pub mod client;
mod deadline;
pub mod limits;
mod settings;
mod task;

pub use client::{AwsCloudWatch, MetricSink, PutError};
pub use limits::CloudWatchSettingsError;
pub use settings::{CloudWatchSettings, DEFAULT_BUFFER_BYTES};

use super::Publisher;
use crate::delivery::spool::Opened;
use cni_aws::identity::IdentityReader;
use cni_runtime::clock::Clock;

/// Adds the sink. `opened` is what [`open`](crate::delivery::spool::open) found in the spool's folder.
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
        let opened = opened.named(&settings.spool(), &clock).await;
        task::Task::new(settings, sink, clock, intake, opened).holding(held).run().await;
    });
}
