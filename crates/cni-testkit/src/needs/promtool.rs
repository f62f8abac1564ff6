//! Prometheus' own tool.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test stops where something is not as it must be"
)]

use std::io::Write;
use std::process::{Command, Stdio};

/// `promtool check metrics` on a page.
pub fn check_metrics(page: &str) {
    let promtool = super::program("promtool", "Debian has it in the package prometheus");
    let mut command = Command::new(promtool);
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}\n{page}", String::from_utf8_lossy(&said));
}
