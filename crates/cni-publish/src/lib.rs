//! The way out: every finished round is handed to each sink's own task behind one bounded, drop-oldest queue.
//!
//! [`Sink`] is the interface of a sink, [`Publisher`] the list of those that run. Each sink has a module with a folder:
//! [`cloudwatch`], [`prometheus`], [`log`]. What a sink may use to deliver is in [`delivery`].

pub mod cloudwatch;
pub mod delivery;
pub mod listen;
pub mod log;
mod messages;
pub mod prometheus;
mod publisher;
pub mod selection;
mod sink;
pub mod sink_metrics;
pub mod stats;

pub use messages::Published;
pub use publisher::{Publisher, SinkEnded, SinkWatch};
pub use selection::{Selection, SelectionError};
pub use sink::Sink;
pub use stats::{SinkStats, Stats};
