//! The core of a node's agent against what is known of the original.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is not as it must be")]
#![expect(clippy::print_stdout, reason = "figures of the release's checks")]

#[macro_use]
extern crate cni_testkit;

mod comparison;
mod core_scale;
mod differences;
mod machine;
mod memory;
mod original;
mod pages;
mod fuzz_corpus;
mod properties;
mod scale;
mod settings;
mod world;

cni_testkit::main!();
