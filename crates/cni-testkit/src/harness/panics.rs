//! Where a test panicked and what it said, for the report at the end.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic::{PanicHookInfo, catch_unwind, set_hook, take_hook};

thread_local! {
    /// What has panicked in the test that this thread runs; `None` in other threads.
    static SAID: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// From now on a panic in a test's own thread is kept for its report. Panics of other threads, such as workers of the test's
/// runtime, are printed when they happen, as without this.
pub(super) fn catch() {
    let before = take_hook();
    set_hook(Box::new(move |info| {
        let kept = SAID.try_with(|said| {
            let mut said = said.try_borrow_mut().ok()?;
            said.as_mut()?.push(text(info));
            Some(())
        });
        if !matches!(kept, Ok(Some(()))) {
            before(info);
        }
    }));
}

fn text(info: &PanicHookInfo<'_>) -> String {
    let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let said = info.payload_as_str().unwrap_or("(a value that is no text)");
    let mut text = format!("panicked at {place}:\n{said}");
    // With RUST_BACKTRACE only.
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        let trace = trace.to_string();
        // What is below the test is the harness, the same in each trace.
        let own = trace.find("cni_testkit::harness::panics::caught").unwrap_or(trace.len());
        text = format!("{text}\n{}", trace[..own].trim_end_matches(|mark| mark != '\n').trim_end());
    }
    text
}

/// Runs a test in this thread. `Err` is all that panicked in it, if it ended with a panic.
pub(super) fn caught(test: fn() -> Result<(), String>) -> Result<(), String> {
    SAID.set(Some(Vec::new()));
    let result = catch_unwind(test);
    let said = SAID.take().unwrap_or_default();
    result.unwrap_or_else(|_| Err(said.join("\n")))
}
