//! The built program on a real kube-apiserver and etcd, with stand-in nodes that answer well and badly.
//!
//! Needs root, iproute2 and the programs that `tools/envtest/build.sh` builds: `.ci/run` has them, plain `cargo test`
//! ignores these tests.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::float_cmp,
    reason = "a test stops where something is missing; the values compared are whole numbers that were only added up"
)]

#[path = "e2e/harness.rs"]
mod harness;

#[path = "e2e/stand.rs"]
mod stand;

#[path = "e2e/rights.rs"]
mod rights;

#[path = "e2e/bad_nodes.rs"]
mod bad_nodes;

#[path = "e2e/ways.rs"]
mod ways;

#[path = "e2e/restart.rs"]
mod restart;

#[path = "e2e/stop.rs"]
mod stop;

#[path = "e2e/prometheus.rs"]
mod prometheus;

#[path = "e2e/cloudwatch.rs"]
mod cloudwatch;
