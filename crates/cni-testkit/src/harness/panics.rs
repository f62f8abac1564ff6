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
        text = format!("{text}\n{}", own_frames(&trace.to_string()));
    }
    text
}

/// A trace from the panic down to the test: above is what made the trace, below the harness, the same in each.
fn own_frames(trace: &str) -> &str {
    let line_of = |text: &str| trace.find(text).map(|at| trace[..at].rfind('\n').map_or(0, |end| end + 1));
    let begin = line_of("core::panicking::").unwrap_or(0);
    let end = line_of("cni_testkit::harness::panics::caught").filter(|end| *end > begin).unwrap_or(trace.len());
    trace[begin..end].trim_end()
}

/// Runs a test in this thread. `Err` is all that panicked in it, if it ended with a panic.
pub(super) fn caught(test: fn() -> Result<(), String>) -> Result<(), String> {
    SAID.set(Some(Vec::new()));
    let result = catch_unwind(test);
    let said = SAID.take().unwrap_or_default();
    result.unwrap_or_else(|_| Err(said.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_cut_to_the_frames_of_the_test() {
        let trace =
            " 0: hook\n 1: core::panicking::panic\n 2: it::a\n 3: cni_testkit::harness::panics::caught\n 4: thread";
        assert_eq!(own_frames(trace), " 1: core::panicking::panic\n 2: it::a");
        assert_eq!(own_frames(" 0: another"), " 0: another");
    }
}
