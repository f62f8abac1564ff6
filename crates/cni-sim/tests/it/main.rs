//! The simulated cluster as its clients meet it, and its repeatability.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where something is not as it must be, and prints its figures"
)]

#[macro_use]
extern crate cni_testkit;

mod api_server;
mod aws_services;
mod cluster_memory;
mod findings;
mod world_determinism;
mod world_kept_pages;
mod world_messages;
mod world_runtime;
mod world_scenarios;
mod world_sim;
mod world_waiting;

cni_testkit::main!();
