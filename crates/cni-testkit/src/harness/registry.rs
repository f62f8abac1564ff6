//! Tests and child programs, as the attributes register them.

use std::io::Write as _;

/// The flag that starts a child program instead of the tests.
pub(crate) const CHILD_PROGRAM: &str = "--child-program";
/// The flag that runs one test in this very process.
pub(super) const OWN_PROCESS: &str = "--own-process";

/// A test, as `#[test]` registers it.
#[derive(Debug)]
pub struct Test {
    /// Crate, modules and function.
    pub name: &'static str,
    /// Why it is not run unless that is asked for.
    pub ignored: Option<&'static str>,
    /// Whether it gets a process of its own.
    pub own_process: bool,
    /// Tests with the same text here never run at the same time.
    pub serial: Option<&'static str>,
    /// The test.
    pub run: fn() -> Result<(), String>,
}

inventory::collect!(Test);

/// What a test starts as a child, as `#[child_program]` registers it.
#[derive(Debug)]
pub struct ChildProgram {
    /// Crate, modules and function.
    pub name: &'static str,
    /// The program.
    pub run: fn(),
}

inventory::collect!(ChildProgram);

/// What a test function may return.
pub trait Verdict {
    /// `Err` says why it failed.
    fn verdict(self) -> Result<(), String>;
}

impl Verdict for () {
    fn verdict(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: std::fmt::Debug> Verdict for Result<(), E> {
    fn verdict(self) -> Result<(), String> {
        self.map_err(|error| format!("Error: {error:?}"))
    }
}

/// A program of tests.
#[derive(Debug)]
pub struct Program {
    /// As `module_path!()` gives it in `main.rs`.
    pub crate_name: &'static str,
    /// The folder of `main.rs`.
    pub sources: &'static str,
}

impl Program {
    /// The path within the crate: filters do not begin with the crate's name.
    pub(super) fn short(&self, name: &'static str) -> &'static str {
        name.strip_prefix(self.crate_name).and_then(|rest| rest.strip_prefix("::")).unwrap_or(name)
    }
}

/// Writes to standard error. Where there is none, there is nothing that could be told.
pub(super) fn report(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
