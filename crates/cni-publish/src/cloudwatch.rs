//! CloudWatch: every data point once, with the time of its round, also through outages of the service or the network.
//!
//! The sink takes rounds as they come and keeps their points until the service has accepted them. At each flush the
//! points measured since the last one become due. There is at most one open request; while it is open, and while the sink
//! backs off, rounds are still taken. See [`requests`](crate::delivery::requests) for the order in which points are sent.
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
mod request;
mod settings;
mod sink;
mod spooled;
mod task;

pub use client::{AwsCloudWatch, MetricClient, PutError};
pub use limits::CloudWatchSettingsError;
pub use settings::{CloudWatchSettings, DEFAULT_BUFFER_BYTES};
pub use sink::CloudWatchSink;
