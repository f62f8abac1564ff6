//! Conclusions in bulk: what many nodes cost, and evidence that cannot be trusted.

#![expect(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]
#![expect(clippy::print_stdout, reason = "figures of the checks")]

#[macro_use]
extern crate cni_testkit;

mod bad_evidence;
mod memory;

cni_testkit::main!();
