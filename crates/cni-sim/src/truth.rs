//! What a perfect collector would publish, computed from the models' own numbers.
//!
//! Nothing here reads a page's text, and nothing is shared with the program under test: the rules of baselines,
//! restarts and coverage are written down a second time, naively, as a replay of every page that was handed over.

pub mod cause;
pub mod log;
pub mod numbers;
mod record;
mod replay;

pub use cause::{TrueCause, TrueRefusals};
pub use log::Truth;
pub use numbers::NodeNumbers;
pub use record::PodFacts;
pub use replay::{RoundTruth, Window};

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the figures are whole numbers")]
mod tests;
