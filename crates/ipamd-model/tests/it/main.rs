//! The world and its calculators against what is known of the agent: its decisions, limits, settings and page.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops where something is not as it must be"
)]

#[macro_use]
extern crate cni_testkit;

mod decisions;
mod page;
mod settings;
mod vectors;
mod world;

cni_testkit::main!();
