//! The built program on a real kube-apiserver and etcd, with stand-in nodes that answer well and badly.
//!
//! Needs root, iproute2 and the programs that `tools/envtest/build.sh` builds: `.ci/run` has them, plain `cargo test`
//! ignores these tests.

#![expect(clippy::float_cmp, reason = "the values compared are whole numbers that were only added up")]

mod stand;

mod bad_nodes;
mod cloudwatch;
mod prometheus;
mod restart;
mod rights;
mod stop;
mod ways;
