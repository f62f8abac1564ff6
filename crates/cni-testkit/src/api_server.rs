//! A real cluster on one machine: etcd and kube-apiserver in a network namespace of the test's own, stand-ins for the
//! nodes beside them.
//!
//! The namespace is needed because the API server's pod proxy refuses loopback addresses: inside it, 10.77.0.0/16 is
//! this machine, so that a pod can have an address that something real answers on. A test thread moves into its
//! namespace; the processes and threads that it starts are then born there.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::missing_errors_doc,
    reason = "a test stops where something is not as it must be"
)]

pub mod assets;
pub mod cluster;
pub mod control_plane;
pub mod kubectl;
pub mod namespace;
pub mod page;
pub mod stand_in;
