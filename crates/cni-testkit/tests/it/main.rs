//! The harness on itself.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test stops where something is not as it must be")]

#[macro_use]
extern crate cni_testkit;

mod fixture;
mod original_codes;
mod original_datastore;
mod original_node;
mod running;

cni_testkit::main!();
