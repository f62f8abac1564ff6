//! Waiting for what sends no event: a condition is asked again and again, with a limit. No test sleeps for a fixed time, except
//! where the time that passes is what it is about.

use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until `wanted` is true.
///
/// # Panics
/// After `limit`; `what` is what was waited for.
pub fn until(what: &str, limit: Duration, mut wanted: impl FnMut() -> bool) {
    some(what, limit, || wanted().then_some(()));
}

/// Waits until `wanted` gives something.
///
/// # Panics
/// After `limit`; `what` is what was waited for.
pub fn some<T>(what: &str, limit: Duration, mut wanted: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + limit;
    loop {
        if let Some(found) = wanted() {
            return found;
        }
        assert!(Instant::now() < give_up, "waited {limit:?} in vain: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// `until` in a task of tokio.
///
/// # Panics
/// After `limit`; `what` is what was waited for.
#[cfg(feature = "tokio")]
pub async fn until_async(what: &str, limit: Duration, mut wanted: impl AsyncFnMut() -> bool) {
    some_async(what, limit, async || wanted().await.then_some(())).await;
}

/// `some` in a task of tokio. A look that does not end is given up after `limit`, too.
///
/// # Panics
/// After `limit`; `what` is what was waited for.
#[cfg(feature = "tokio")]
pub async fn some_async<T>(what: &str, limit: Duration, mut wanted: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = wanted().await {
                return found;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let found = tokio::time::timeout(limit, found).await;
    found.unwrap_or_else(|_| panic!("waited {limit:?} in vain: {what}"))
}

/// Time that passes as a part of the test: a node that is slow, a process that is stopped.
pub fn sleep_as_input(time: Duration) {
    std::thread::sleep(time);
}

/// The same in a task of tokio.
#[cfg(feature = "tokio")]
pub async fn sleep_as_input_async(time: Duration) {
    tokio::time::sleep(time).await;
}
