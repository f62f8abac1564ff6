//! Who publishes, when several replicas run: a Kubernetes Lease.
//!
//! A leader may publish until two thirds of the lease's duration after it *began* its last successful renewal; another
//! replica takes over only after it has watched the lease unchanged for the whole duration, by its own clock. The times
//! in the lease itself decide nothing, so clocks may differ; and since [`Leadership::is_leading`] looks at the clock and
//! not at a flag, a process that was stopped for a minute no longer leads when it goes on.

mod candidate;
mod lease;

use std::time::Duration;

use kube::Client;
use tokio::sync::watch;
use tokio::time::Instant;

/// How the election is held.
#[derive(Debug, Clone)]
pub struct LeadSettings {
    /// The lease's namespace: the helper's own.
    pub namespace: String,
    /// The lease's name.
    pub name: String,
    /// Unique to this process.
    pub identity: String,
    /// How long a lease lasts without renewal.
    pub duration: Duration,
}

/// The share of the duration in which a leader may publish after a renewal.
const PUBLISH_SHARE: f64 = 2.0 / 3.0;

/// How often a lease is looked at: so often within its duration.
const LOOKS_PER_LEASE: u32 = 8;

/// Whether this process leads, and until when. Without an election it always does.
#[derive(Debug, Clone)]
pub struct Leadership(Option<watch::Receiver<Option<Instant>>>);

/// The election's task; it releases the lease when it ends.
#[derive(Debug)]
pub struct Election {
    task: tokio::task::JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Leadership {
    /// The only replica.
    pub fn always() -> Self {
        Self(None)
    }

    /// May publish at this very moment.
    pub fn is_leading(&self) -> bool {
        match &self.0 {
            None => true,
            Some(until) => until.borrow().is_some_and(|until| Instant::now() < until),
        }
    }

    /// There is an election.
    pub fn is_elected(&self) -> bool {
        self.0.is_some()
    }

    /// Waits until this process leads.
    pub async fn gained(&mut self) {
        let Some(until) = &mut self.0 else { return };
        // The election's task outlives every reader; if it is gone, so is the program.
        if until.wait_for(|until| until.is_some_and(|until| Instant::now() < until)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Election {
    /// Stands for election. What happens is logged as it changes.
    pub fn stand(client: Client, settings: LeadSettings) -> (Self, Leadership) {
        let (sender, receiver) = watch::channel(None);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(lease::stand(client, settings, sender, stopped));
        (Self { task, stop }, Leadership(Some(receiver)))
    }

    /// Gives the lease back at once, so that another replica need not wait for it to run out.
    pub async fn resign(self, within: Duration) {
        self.stop.send_replace(true);
        // A release that hangs is no reason to stay: the lease then runs out by itself.
        let _late = tokio::time::timeout(within, self.task).await;
    }
}
