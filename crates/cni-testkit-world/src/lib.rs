//! For tests only: everything of [`cni_testkit`], and a simulated cluster with helpers in lockstep.
//!
//! It is a crate of its own because it uses the helper. As a feature of `cni-testkit` it would be on for the tests of all
//! crates whenever the whole workspace is built, and each change of the helper would build them again.
//!
//! A crate whose tests need it names it `cni-testkit` in its manifest, which is the name that the attribute `#[test]` uses:
//! `cni-testkit = { package = "cni-testkit-world", … }`.

pub mod world;

pub use cni_testkit::*;
