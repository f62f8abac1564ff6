//! The decisions of one node's ipamd, without IO, clock or randomness.
//!
//! The owner of a core hands it one [`Input`] at a time together with the time, performs the [`Output`]s it gets back, and
//! hands their answers in as inputs. The core knows only what it was answered: an effect may be answered late, partly, twice,
//! with an error, or never.
//!
//! Read in this order: `id` (names of AWS resources and of operations), `input`, `output`, `settings` (the agent's
//! environment), `store` (the datastore and its decisions), `metrics` (counters and the page), `core` (takes an input and says
//! what is to be done), `lanes` (sequences of their own), `steps` (sequences that lanes share), `agent` (the memory that all
//! work on).

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod agent;
pub mod block;
pub mod chooser;
pub mod config;
pub mod core;
pub mod id;
pub mod input;
mod lanes;
pub mod metrics;
pub mod output;
mod rare;
pub mod settings;
pub mod small_ip;
pub mod small_map;
mod steps;
pub mod store;

pub use self::core::{Core, Phase};
pub use agent::careful::Waits;
pub use agent::memory::PodKey;
pub use agent::veth::suffix as veth_suffix;
pub use config::{Config, Policy};
pub use input::Input;
pub use output::Output;
