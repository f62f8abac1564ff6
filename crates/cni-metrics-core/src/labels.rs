//! Labels that are kept: which counters keep theirs, and what a page says by label set.
//!
//! A *label set* is the values of the labels that a family keeps ([`cni_types::catalogue::LabelledFamily::label_names`]); whatever other labels a
//! series has, it is added to its set. Three layers hold them:
//!
//! 1. [`PageLabels`]: a page's sums by label set, made by [`crate::parse`], bounded by [`MAX_PAGE_SETS`] and
//!    [`MAX_GROWTH_SETS`].
//! 2. Each node's series in the [`crate::aggregate::Aggregator`], 16 bytes each, bounded by [`MAX_NODE_SETS`] and
//!    [`MAX_GROWTH_SETS`]; readable by [`crate::aggregate::Aggregator::label_series`]. Beyond [`RESERVED_GROWTH_SETS`] per
//!    node, all nodes together have [`MAX_SHARED_SETS`].
//! 3. [`LabelShare`]s in a [`crate::model::Snapshot`]: how a counter's value of one node
//!    ([`crate::model::NodeFigures::shares`]) or of the cluster ([`crate::model::Breakdown`]) is made up. They add up to
//!    that value, always: what no label set explains is the share of [`Rest::Unattributed`].

mod names;
mod page;
mod set;

use std::sync::Arc;

pub(crate) use names::LabelNames;
pub(crate) use page::is_kept_as_written;
pub use page::{PageLabels, PageSet};
pub(crate) use set::{LabelKey, Room};
pub use set::{
    LabelSet, MAX_GROWTH_SETS, MAX_NODE_SETS, MAX_PAGE_SETS, MAX_SHARED_SETS, MAX_VALUE_BYTES, RESERVED_GROWTH_SETS,
    Rest,
};

/// One label set's share of a counter's value.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelShare {
    /// Which.
    pub set: Arc<LabelSet>,
    /// Above 0; as the counter's value an increase, or a total (see [`crate::aggregate::CounterMode`]). A whole number,
    /// unless it is unattributed.
    pub value: f64,
}
