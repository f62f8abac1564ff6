//! Chart, manifests, guides and program agree: rights, variables, defaults, ports, the time to stop.
//!
//! The guide is the common ground: `docs/install.md` is compared with what the chart renders (by `.ci/run`, which has helm), with
//! the manifests, and with what the program really asks of a simulated API server.

mod documents;
mod features;
mod program;
mod rights;
mod spool;
mod variables;
