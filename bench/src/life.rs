//! Long runs: does the program do in round 10,000 what it does in round 10, and with no more memory?
//!
//! `--lockstep N` runs the helper of this process against a simulated cluster in a process of its own, as fast as both
//! can; `--started N` watches the started program in real time. Both compare every point with the truth.

mod ledger;
mod lockstep;
mod script;
mod trend;

use std::path::Path;

use anyhow::Context;

pub(crate) use lockstep::lockstep;
pub(crate) use trend::Trend;

/// The cluster of both runs: forty nodes whose pods come and go, and which grow and shrink.
const SCENARIO: &str = include_str!("life/long-life.yaml");

/// Writes the scenario where `sim` can read it.
pub(crate) fn scenario(out: &Path) -> anyhow::Result<std::path::PathBuf> {
    let path = out.join("long-life.yaml");
    std::fs::write(&path, SCENARIO).with_context(|| path.display().to_string())?;
    Ok(path)
}
