//! One node's ipamd as a deterministic state machine.
//!
//! Time, randomness and the answers of EC2 and IMDS are inputs; pool operations and the metrics page are outputs.
//! Settings, datastore, counters and page are those of `ipamd-core`. Read in this order: `ec2` (the outside as the agent sees
//! it), `node` (the process: init, loop, reconcile, RPCs), `plan` (the same model as a calculator) and `world` (what answers an agent that asks).

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

pub mod ec2;
pub mod node;
pub mod plan;
pub mod pool;
pub mod world;

pub use ipamd_core::{metrics, settings};
