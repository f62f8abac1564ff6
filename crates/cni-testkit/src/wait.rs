//! Waiting for what sends no event: a condition is asked again and again, with a limit. No test sleeps for a fixed time, except
//! where the time that passes is what it is about.

use std::time::{Duration, Instant};

/// Between two looks of a loop that has its own limit.
const PAUSE: Duration = Duration::from_millis(10);

/// The pauses between looks: short at first, since most of what is waited for comes at once, then longer, up to 20 ms.
#[derive(Debug)]
pub struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(Duration::from_millis(1))
    }
}

impl Pauses {
    fn next(&mut self) -> Duration {
        let longer = (self.0 * 5 / 4).min(Duration::from_millis(20));
        std::mem::replace(&mut self.0, longer)
    }

    /// The next pause.
    pub fn pause(&mut self) {
        std::thread::sleep(self.next());
    }

    /// The next pause, in a task of tokio.
    #[cfg(feature = "tokio")]
    pub async fn pause_async(&mut self) {
        tokio::time::sleep(self.next()).await;
    }
}

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
    let (give_up, mut pauses) = (Instant::now() + limit, Pauses::default());
    loop {
        if let Some(found) = wanted() {
            return found;
        }
        assert!(Instant::now() < give_up, "waited {limit:?} in vain: {what}");
        pauses.pause();
    }
}

/// `until` in a task of tokio.
///
/// # Panics
/// After `limit`; `what` is what was waited for.
#[cfg(feature = "tokio")]
pub async fn until_async(what: &str, limit: Duration, mut wanted: impl FnMut() -> bool) {
    let has_come = async {
        let mut pauses = Pauses::default();
        while !wanted() {
            pauses.pause_async().await;
        }
    };
    let has_come = tokio::time::timeout(limit, has_come).await;
    assert!(has_come.is_ok(), "waited {limit:?} in vain: {what}");
}

/// `some` in a task of tokio, with a look that waits itself. One that does not end is given up after `limit`, too.
///
/// # Panics
/// After `limit`; `what` is what was waited for.
#[cfg(feature = "tokio")]
pub async fn some_async<T>(what: &str, limit: Duration, mut wanted: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        let mut pauses = Pauses::default();
        loop {
            if let Some(found) = wanted().await {
                return found;
            }
            pauses.pause_async().await;
        }
    };
    let found = tokio::time::timeout(limit, found).await;
    found.unwrap_or_else(|_| panic!("waited {limit:?} in vain: {what}"))
}

/// The pause between two looks of a loop that has a limit and a report of its own.
pub fn pause() {
    std::thread::sleep(PAUSE);
}

/// The same in a task of tokio.
#[cfg(feature = "tokio")]
pub async fn pause_async() {
    tokio::time::sleep(PAUSE).await;
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
