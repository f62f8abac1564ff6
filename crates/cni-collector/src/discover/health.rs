//! The age of the lists of pods and nodes: when each watch last heard from the API server.

use std::time::Duration;

use cni_aws::identity::Listing;
use cni_insight::evidence::SourceState;
use tokio::sync::watch;
use tokio::time::Instant;

/// A list that is older than this may no longer show the cluster: the API server sends something at least once a minute.
pub const STALE_AFTER: Duration = Duration::from_mins(5);

/// What a source is worth that was listed, and last heard from the API server this long ago.
pub(crate) fn by_age(age: Duration) -> SourceState {
    let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    if age > STALE_AFTER { SourceState::Lagging { age_ms } } else { SourceState::Present { age_ms } }
}

/// One watch's state, for readers.
#[derive(Debug)]
pub struct WatchHealth(watch::Sender<Health>);

#[derive(Debug, Clone)]
struct Health {
    listing: Listing,
    /// The start, then the last time that this watch heard from the API server.
    last_word: Instant,
    /// The last failure, until the watch works again.
    trouble: Option<String>,
}

impl Default for WatchHealth {
    fn default() -> Self {
        Self(watch::Sender::new(Health { listing: Listing::Awaited, last_word: Instant::now(), trouble: None }))
    }
}

impl WatchHealth {
    /// How far its first list is.
    pub fn listing(&self) -> Listing {
        self.0.borrow().listing
    }

    /// Time since the API server last sent something for it (since the start, if it never did).
    pub fn age(&self) -> Duration {
        self.0.borrow().last_word.elapsed()
    }

    /// What it is worth as a source.
    pub(crate) fn state(&self) -> SourceState {
        match self.listing() {
            Listing::Denied => SourceState::NotGranted,
            Listing::Complete => by_age(self.age()),
            Listing::Awaited => SourceState::Failed,
        }
    }

    /// Why it does not work now; `None` while it works.
    pub fn trouble(&self) -> Option<String> {
        self.0.borrow().trouble.clone()
    }

    /// Notes that the watch works.
    pub(super) fn word(&self, is_list: bool) {
        self.0.send_modify(|health| {
            health.last_word = Instant::now();
            health.trouble = None;
            if is_list {
                health.listing = Listing::Complete;
            }
        });
    }

    /// Notes that a request of the watch failed.
    pub(super) fn failed(&self, text: &str, is_denied: bool) {
        self.0.send_modify(|health| {
            health.trouble = Some(text.to_owned());
            if is_denied && health.listing == Listing::Awaited {
                health.listing = Listing::Denied;
            }
        });
    }
}

/// How old the lists are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Staleness {
    /// Time since the pods' watch last heard from the API server.
    pub pods: Duration,
    /// The same for the nodes' watch; `None` where nodes may not be listed.
    pub nodes: Option<Duration>,
}
