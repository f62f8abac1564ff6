//! Cluster metrics of the Amazon VPC CNI: discover the aws-node pods, scrape each, aggregate exactly, publish.
//!
//! Modules in the order in which the data flows; see ARCHITECTURE.md for the picture.

pub mod cli;
pub mod config;
pub mod logging;
pub mod clock;
pub mod shutdown;
pub mod supervise;
pub mod app;
pub mod identity;
pub mod aws;
pub mod lead;
pub mod shard;
pub mod discover;
pub mod scrape;
pub mod round;
pub mod publish;
pub mod listen;
pub mod text;
pub mod backoff;
pub mod self_stats;
pub mod admin;
pub mod view;
pub mod demo;
