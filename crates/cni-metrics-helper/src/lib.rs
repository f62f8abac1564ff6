//! Cluster metrics of the Amazon VPC CNI: discover the aws-node pods, scrape each, aggregate exactly, publish.
//!
//! Modules in the order in which the data flows; see ARCHITECTURE.md for the picture.

pub mod admin;
pub mod app;
pub mod aws;
pub mod cli;
pub mod clock;
pub mod config;
pub mod discover;
pub mod identity;
pub mod lead;
pub mod logging;
pub mod publish;
pub mod round;
pub mod scrape;
pub mod self_stats;
pub mod shutdown;
pub mod view;
pub mod demo;
