//! What holds of the public interface of this crate.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is missing")]

#[macro_use]
extern crate cni_testkit;

mod fourth_sink;

cni_testkit::main!();
