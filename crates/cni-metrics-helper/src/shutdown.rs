//! Signals become a value that every task holds; a second signal aborts.

use std::future::Future;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

/// From the first signal to the end of the process.
pub const GRACE: Duration = Duration::from_secs(5);

/// The exit code after a second signal, as shells report a death by SIGINT.
const ABORTED: i32 = 130;

/// Held by whoever must end when the program does.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<Option<Instant>>);

/// Ends every holder of the matching [`Shutdown`].
#[derive(Debug, Clone)]
pub struct Trigger(watch::Sender<Option<Instant>>);

impl Shutdown {
    /// A pair that knows nothing of signals (for the demo and for tests).
    pub fn manual() -> (Trigger, Self) {
        let (sender, receiver) = watch::channel(None);
        (Trigger(sender), Self(receiver))
    }

    /// A value that ends on SIGTERM or SIGINT. A second signal ends the process at once.
    pub fn on_signals() -> std::io::Result<Self> {
        let (trigger, shutdown) = Self::manual();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::spawn(async move {
            tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
            info!("stopping: finishing the round in flight and sending what is queued (at most {} s)", GRACE.as_secs());
            trigger.end();
            tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
            warn!("second signal: stopping at once");
            std::process::exit(ABORTED);
        });
        Ok(shutdown)
    }

    /// Already ended.
    pub fn is_ended(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// What is left of [`GRACE`] since the end began.
    pub fn grace_left(&self) -> Duration {
        let since = self.0.borrow().map(|at| at.elapsed()).unwrap_or_default();
        GRACE.saturating_sub(since)
    }

    /// Waits for the end.
    pub async fn ended(&mut self) {
        // A dropped trigger can never end anything: that too is an end, or its holders would wait for ever.
        let _closed = self.0.wait_for(Option::is_some).await;
    }

    /// Runs `work` until it is done or the program ends.
    pub async fn or_ended<F: Future<Output = ()>>(mut self, work: F) {
        tokio::select! {
            () = self.ended() => {}
            () = work => {}
        }
    }
}

impl Trigger {
    /// Ends all holders.
    pub fn end(&self) {
        self.0.send_if_modified(|ended| ended.is_none() && ended.replace(Instant::now()).is_none());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_ends_with_the_trigger() {
        let (trigger, shutdown) = Shutdown::manual();
        let work = tokio::spawn(shutdown.clone().or_ended(std::future::pending()));
        assert!(!shutdown.is_ended());
        trigger.end();
        work.await.unwrap();
        assert!(shutdown.is_ended());
    }

    #[tokio::test(start_paused = true)]
    async fn the_grace_runs_from_the_first_signal() {
        let (trigger, shutdown) = Shutdown::manual();
        assert_eq!(shutdown.grace_left(), GRACE);
        trigger.end();
        tokio::time::sleep(Duration::from_secs(2)).await;
        trigger.end();
        assert_eq!(shutdown.grace_left() + Duration::from_secs(2), GRACE);
        tokio::time::sleep(GRACE).await;
        assert_eq!(shutdown.grace_left(), Duration::ZERO);
    }
}
