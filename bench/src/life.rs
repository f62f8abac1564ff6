//! Long runs: does the program do in round 10,000 what it does in round 10, and with no more memory?
//!
//! `--lockstep N` runs the helper of this process against a simulated cluster in a process of its own, as fast as both
//! can; `--started N` watches the started program in real time. Both compare every point with the truth.

mod findings;
mod ledger;
mod lockstep;
mod scenario;
mod script;
mod trend;

pub(crate) use lockstep::lockstep;
pub(crate) use scenario::scenario;
pub(crate) use trend::Trend;
