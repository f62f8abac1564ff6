//! For tests only: what the programs `tests/it` of this workspace share.
//!
//! A crate has one program of integration tests. Its `main.rs` is
//!
//! ```ignore
//! #[macro_use]
//! extern crate cni_testkit;
//!
//! mod some_tests;
//!
//! cni_testkit::main!();
//! ```
//!
//! with `harness = false` in the manifest. `#[macro_use]` puts this crate's `#[test]` in the place of the compiler's in every
//! module, so that a test is written as everywhere, and has the name `module::function`. Filters and flags are those of the
//! usual harness.

#![expect(clippy::panic, reason = "a test stops where something is not as it must be")]

#[cfg(feature = "api-server")]
pub mod api_server;
pub mod harness;
pub mod http;
#[cfg(feature = "inputs")]
pub mod inputs;
#[cfg(feature = "log")]
pub mod log;
pub mod needs;
#[cfg(feature = "original")]
pub mod original;
#[cfg(feature = "pages")]
pub mod pages;
#[cfg(feature = "processes")]
pub mod process;
#[cfg(feature = "tokio")]
pub mod relay;
mod sources;
pub mod wait;

use std::process::Command;

pub use cni_testkit_macros::{child_program, test};
pub use tempfile::TempDir;

/// The test program's `main`.
#[macro_export]
macro_rules! main {
    () => {
        fn main() -> ::std::process::ExitCode {
            $crate::harness::run(&$crate::harness::Program {
                crate_name: module_path!(),
                sources: concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it"),
            })
        }
    };
}

/// A function with `#[child_program]` as a process of its own: `name` is its path in the crate, `module::function`.
///
/// # Errors
/// If the path of the test program is not known.
pub fn child_program(name: &str) -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([harness::CHILD_PROGRAM, name]);
    Ok(command)
}

/// A new folder, which is removed when the value is dropped.
///
/// # Panics
/// If it cannot be made.
pub fn temporary_folder() -> TempDir {
    let made = tempfile::Builder::new().prefix("cni-test-").tempdir();
    made.unwrap_or_else(|error| panic!("no temporary folder below {}: {error}", std::env::temp_dir().display()))
}
