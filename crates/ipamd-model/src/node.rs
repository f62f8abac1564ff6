//! One agent process on one node: init, loop, reconcile, RPCs.
//!
//! The agent's work is cut into steps, one decision each. A step asks EC2 at once but its effects on store and counters
//! are journaled at the times at which the calls return, so that a page rendered in between shows a step in progress and
//! none of its results. The next step starts after the journal has run out, like the agent's single goroutine.

mod background;
mod call;
mod effect;
mod growth;
mod init;
mod outside;
mod reconcile;
mod rpc;
mod run;
mod shrink;
mod state;
mod store;

pub use crate::pool::PodKey;
pub use state::{
    AddOutcome, DelOutcome, DelReason, ForeignEni, InitFailure, Node, NodeError, NodeSpec, Phase, TrunkController,
};
