//! What the code under test logs.

use std::cell::RefCell;
use std::io::Write;
use std::sync::Once;

thread_local! {
    /// `None` in threads whose log is not wanted.
    static LOG: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// Each test's log is its own thread's. One subscriber for the whole process, since scoped ones of parallel tests can
/// hide each other's lines.
struct ThreadLog;

impl Write for ThreadLog {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.with_borrow_mut(|log| log.as_mut().map(|log| log.extend(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// From now on, lines of level INFO and above that are logged in a test's own thread are kept for it. Tests of a runtime with
/// worker threads see only what their own thread logs.
pub fn capture() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing_subscriber::fmt().with_writer(|| ThreadLog).with_ansi(false).init());
    LOG.set(Some(Vec::new()));
}

/// What this thread has logged since `capture`.
pub fn captured() -> String {
    LOG.with_borrow(|log| String::from_utf8_lossy(log.as_deref().unwrap_or_default()).into_owned())
}
