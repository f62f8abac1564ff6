//! The runtime of an `async` test.

use std::thread;

use tokio::runtime::Builder;

/// The arguments of `#[test]`, with the meaning that `#[tokio::test]` gives them.
#[derive(Debug, Clone, Copy)]
pub struct Runtime {
    /// Worker threads; without, all runs in the test's thread.
    pub multi_thread: bool,
    /// Number of worker threads, by default that of the machine's cores.
    pub worker_threads: Option<usize>,
    /// Time stands still and moves on when all tasks wait for it.
    pub start_paused: bool,
}

impl Runtime {
    /// As without arguments.
    pub const DEFAULT: Self = Self { multi_thread: false, worker_threads: None, start_paused: false };
}

/// Runs a future to its end.
///
/// # Panics
/// If the runtime cannot be made, and if the future panics.
pub fn block_on<T>(settings: Runtime, test: impl Future<Output = T>) -> T {
    let mut builder = if settings.multi_thread { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    if let Some(number) = settings.worker_threads {
        builder.worker_threads(number);
    }
    if let Some(name) = thread::current().name() {
        // What panics in a worker is printed with the name of its thread.
        builder.thread_name(name);
    }
    let runtime = builder.enable_all().start_paused(settings.start_paused).build();
    runtime.unwrap_or_else(|error| panic!("no runtime: {error}")).block_on(test)
}
