//! Cluster metrics of the Amazon VPC CNI: discover the aws-node pods, scrape each, aggregate exactly, publish.
//!
//! Modules in the order in which the data flows; see ARCHITECTURE.md for the picture.

pub mod clock;
pub mod shutdown;
pub mod discover;
pub mod scrape;
