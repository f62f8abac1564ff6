//! How old what is known of the cluster may be: when each watch last heard from the API server.

use std::time::Duration;

use cni_aws::identity::Listing;
use tokio::sync::watch;
use tokio::time::Instant;

/// A list that is older than this is not what the cluster is: the API server is heard at least once a minute.
pub const STALE_AFTER: Duration = Duration::from_mins(5);

/// One watch's state, for readers.
#[derive(Debug)]
pub struct WatchHealth(watch::Sender<Health>);

#[derive(Debug, Clone)]
struct Health {
    listing: Listing,
    /// The start, then the last time that the API server said anything of this watch.
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
    /// Where it stands.
    pub fn listing(&self) -> Listing {
        self.0.borrow().listing
    }

    /// Time since the API server last said anything of it (since the start, if it never did).
    pub fn age(&self) -> Duration {
        self.0.borrow().last_word.elapsed()
    }

    /// What keeps it from going on, if anything does.
    pub fn trouble(&self) -> Option<String> {
        self.0.borrow().trouble.clone()
    }

    /// The watch works.
    pub(super) fn word(&self, is_list: bool) {
        self.0.send_modify(|health| {
            health.last_word = Instant::now();
            health.trouble = None;
            if is_list {
                health.listing = Listing::Complete;
            }
        });
    }

    /// It does not.
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
    /// Since the last word of the pods' watch.
    pub pods: Duration,
    /// Since the last word of the nodes' watch; `None` where nodes may not be listed.
    pub nodes: Option<Duration>,
}
