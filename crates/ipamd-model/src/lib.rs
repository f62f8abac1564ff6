//! The world around a node's agent, in virtual time, and calculators that ask it.
//!
//! The decisions of an agent, its settings, datastore, counters and page are those of `ipamd-core`. Read in this order: `world`
//! (what answers an agent that asks) and `plan` (what a node settles at, as a calculator over a world of one node).

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

pub mod plan;
pub mod world;

pub use ipamd_core::{metrics, settings};
