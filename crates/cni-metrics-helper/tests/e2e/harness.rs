//! A real cluster on one machine: etcd and kube-apiserver in a network namespace of the test's own, stand-ins for the
//! nodes, and the built program beside them.
//!
//! The namespace is needed because the API server's pod proxy refuses loopback addresses: inside it, 10.77.0.0/16 is
//! this machine, so that a pod can have an address that something real answers on. A test thread moves into its
//! namespace; the processes and threads that it starts are then born there.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test stops where something is missing, and says on the terminal what it skips and what its processes said"
)]

pub(crate) mod assets;
pub(crate) mod cluster;
pub(crate) mod control_plane;
pub(crate) mod http;
pub(crate) mod kubectl;
pub(crate) mod namespace;
pub(crate) mod page;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod stand_in;
