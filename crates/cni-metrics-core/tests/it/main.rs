//! The parser and the aggregate from outside: real pages, any pages, and a second way to every number.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops where something is not as it must be, and prints its figures"
)]

#[macro_use]
extern crate cni_testkit;

mod agent_pages;
mod aggregate_baselines;
mod aggregate_reference;
mod fuzz_corpus;
mod label_shares;
mod mutate;
mod page_properties;
mod page_work;
mod random;

cni_testkit::main!();
