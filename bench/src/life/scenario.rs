//! The cluster of the long runs.

use std::path::Path;

use anyhow::Context;

/// The cluster of both runs: forty nodes whose pods come and go, and which grow and shrink.
const SCENARIO: &str = include_str!("long-life.yaml");

/// Writes the scenario where `sim` can read it.
pub(crate) fn scenario(out: &Path) -> anyhow::Result<std::path::PathBuf> {
    let path = out.join("long-life.yaml");
    std::fs::write(&path, SCENARIO).with_context(|| path.display().to_string())?;
    Ok(path)
}
