//! Counters of one process life and the page that shows them.
//!
//! A labelled family is invisible until one of its series was touched, plain ones read 0 from the first page on; gauges
//! hold what the store last wrote, which is not always what the store has.

mod agent;
mod codes;
mod counts;
mod flavour;
mod labels;
mod number;
mod page;
mod per_cidr;
mod runtime;
mod truth;

pub use agent::Shown;
pub use counts::{Call, Metrics, Timed};
pub use flavour::{PageFlavour, Release};
pub use labels::{Action, IpamdError, PodEniError, Reconcile, UtilsError};
pub use per_cidr::PerCidr;
pub use truth::{LabelCount, LatencyTruth, Truth};
