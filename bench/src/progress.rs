//! Progress and results on standard output.

use std::io::Write;

/// Prints a line.
pub(crate) fn say(text: &str) {
    // Nothing can be done for a reader that closed its end.
    let _ = writeln!(std::io::stdout(), "{text}");
}
