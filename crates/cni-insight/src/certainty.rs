//! What each finding is worth, by the agents' version, the time between rounds, and what can be read beside the pages.
//!
//! The table is a contract: it stands in `docs/insight.md`, and a test plays every cell of it.

mod cell;
mod rows;
mod written;

pub use cell::{Cell, INTERVALS_S, Knowledge, VERSIONS, Worth, cells};
pub use rows::worth;
pub use written::markdown;

#[cfg(test)]
mod tests;
