//! Who publishes, when several replicas run: a Kubernetes Lease.
//!
//! A leader may publish until two thirds of the lease's duration after it *began* its last successful renewal; another
//! replica takes over only after it has watched the lease unchanged for the whole duration, by its own clock. The times
//! in the lease itself do not decide who leads, so clocks may differ; and since [`Leadership::is_leading`] looks at the clock and
//! not at a flag, a process that was stopped for a minute no longer leads when it continues.
//!
//! The lease also says, in an annotation, up to which round everything is published: see [`Leadership::admits`]. It is
//! believed only as far as it can be true by our own clock, and never written later than our own clock and one interval.
//!
//! A second annotation is a text that a leader keeps for its successor: [`Leadership::keep`].
//!
//! A leader that cannot renew keeps measuring as long as no other replica is seen to hold the lease. What it measures
//! meanwhile is its own if it finds the lease as it left it, and is not published otherwise ([`Leadership::rounds_not_ours`]). A replica
//! whose rounds do not complete leaves the lease to others.

mod candidate;
mod lease;
mod settings;

use std::time::Duration;

use kube::Client;
use tokio::sync::watch;

pub use settings::{FINDINGS, LeadSettings, PUBLISHED_UNTIL};

use cni_runtime::gate::Leadership;
use cni_runtime::supervise::Supervisor;

/// The election's task. [`Election::release`] releases the lease; dropped without it, the lease expires.
#[derive(Debug)]
pub struct Election {
    task: tokio::task::JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Election {
    /// Takes part in the election. Each change of the leader is logged.
    pub fn stand(client: Client, settings: LeadSettings, supervisor: &Supervisor) -> (Self, Leadership) {
        let (channels, leadership) = Leadership::elected(settings.is_warm, settings.clock.clone(), settings.interval);
        let (stop, stopped) = watch::channel(false);
        let asked = stopped.clone();
        let task = supervisor
            .spawn_until("election", lease::stand(client, settings, channels, stopped), move || *asked.borrow());
        (Self { task, stop }, leadership)
    }

    /// Releases the lease at once, so that another replica need not wait until it expires.
    pub async fn release(mut self, within: Duration) {
        self.stop.send_replace(true);
        // If the release hangs, the program ends all the same, and the lease expires.
        let _late = tokio::time::timeout(within, &mut self.task).await;
    }
}

impl Drop for Election {
    fn drop(&mut self) {
        self.task.abort();
    }
}
