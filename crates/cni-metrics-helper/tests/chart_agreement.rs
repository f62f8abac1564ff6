//! Chart, manifests, guides and program agree: rights, variables, defaults, ports, the time to stop.
//!
//! The guide is the common ground: `docs/install.md` is compared with what the chart renders (by `.ci/run`, which has helm), with
//! the manifests, and with what the program really asks of a simulated API server.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test stops where something is missing, and shows the last lines of what it started"
)]

#[path = "chart_tools/helm.rs"]
mod helm;
#[expect(dead_code, reason = "written for the end-to-end tests; this one uses a part of it")]
#[path = "e2e/process.rs"]
mod process;

#[path = "chart_agreement/documents.rs"]
mod documents;
#[path = "chart_agreement/features.rs"]
mod features;
#[path = "chart_agreement/program.rs"]
mod program;
#[path = "chart_agreement/rights.rs"]
mod rights;
#[path = "chart_agreement/spool.rs"]
mod spool;
#[path = "chart_agreement/variables.rs"]
mod variables;
