//! The watches themselves, and what is logged when their state changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_of};
use kube::{Api, Client};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::index::{Index, IndexReader, Pod};
use super::nodes::SlimNode;
use super::pods::SlimPod;
use crate::shard::Shard;
use crate::shutdown::Shutdown;

/// How long a watch that the API server denies is left alone: each try is a line in its audit log.
const DENIED_PAUSE: Duration = Duration::from_mins(1);

/// A failure that comes again within this time is the same one.
const STILL_THE_SAME: Duration = Duration::from_mins(5);

/// Which pods are the agents.
#[derive(Debug, Clone)]
pub struct DiscoverSettings {
    /// Their namespace.
    pub namespace: String,
    /// Their label selector.
    pub selector: String,
    /// The nodes on which they are watched; `None` is all. What is on others is dropped as it is decoded.
    pub shard: Option<Shard>,
}

/// How often each watch had to begin anew.
#[derive(Debug, Default)]
pub struct WatchStats {
    /// Complete lists of pods taken (1 is the first).
    pub pod_lists: AtomicU64,
    /// Failures of the pods' watch.
    pub pod_failures: AtomicU64,
    /// Failures of the nodes' watch.
    pub node_failures: AtomicU64,
}

/// The running watches.
#[derive(Debug, Clone)]
pub struct Discovery {
    /// The table they keep.
    pub index: IndexReader,
    /// Their history.
    pub stats: Arc<WatchStats>,
}

impl Discovery {
    /// Starts both watches; they end with `shutdown`.
    pub fn spawn(client: &Client, settings: &DiscoverSettings, shutdown: &Shutdown) -> Self {
        let discovery = Self { index: Arc::new(Index::default()), stats: Arc::default() };
        let pods = watch_pods(client.clone(), settings.clone(), discovery.clone());
        let nodes = watch_nodes(client.clone(), settings.shard, discovery.clone());
        for watch in [tokio::spawn(shutdown.clone().or_ended(pods)), tokio::spawn(shutdown.clone().or_ended(nodes))] {
            drop(watch);
        }
        discovery
    }
}

async fn watch_pods(client: Client, settings: DiscoverSettings, discovery: Discovery) {
    let api: Api<SlimPod> = Api::namespaced(client, &settings.namespace);
    let config = watcher::Config::default().labels(&settings.selector);
    let mut stream = watch_of(api, config).default_backoff().boxed();
    let mut listed: BTreeMap<Arc<str>, Arc<Pod>> = BTreeMap::new();
    let what = format!("pods in namespace {}{}", settings.namespace, of_shard(settings.shard));
    let mut state = WatchState::new(what, Role::Needed);
    let is_ours = |pod: &SlimPod| settings.shard.is_none_or(|shard| shard.owns(pod.node()));
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(pod)) if !is_ours(&pod) => {}
            Ok(Event::InitApply(pod)) => {
                let pod = discovery.index.shared(pod.into_pod());
                listed.insert(Arc::clone(&pod.name), pod);
            }
            Ok(Event::InitDone) => {
                let pods = std::mem::take(&mut listed);
                state.synced(pods.len());
                discovery.index.replace_pods(pods);
                discovery.index.set_trouble(None);
                discovery.stats.pod_lists.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Event::Apply(pod)) => {
                state.recovered();
                if is_ours(&pod) {
                    discovery.index.apply_pod(pod.into_pod());
                }
            }
            Ok(Event::Delete(pod)) => {
                state.recovered();
                discovery.index.remove_pod(pod.name());
            }
            Err(error) => {
                discovery.stats.pod_failures.fetch_add(1, Ordering::Relaxed);
                discovery.index.set_trouble(Some(sentence(&error)));
                state.failed(&error).await;
            }
        }
    }
}

async fn watch_nodes(client: Client, shard: Option<Shard>, discovery: Discovery) {
    let mut stream = watch_of(Api::<SlimNode>::all(client), watcher::Config::default()).default_backoff().boxed();
    let mut listed = Vec::new();
    let mut state = WatchState::new(format!("nodes{}", of_shard(shard)), Role::Optional);
    let is_ours = |node: &SlimNode| shard.is_none_or(|shard| shard.owns(Some(node.name())));
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(node)) if !is_ours(&node) => {}
            Ok(Event::InitApply(node)) => listed.push((Box::from(node.name()), node.labels())),
            Ok(Event::InitDone) => {
                state.synced(listed.len());
                discovery.index.replace_labels(std::mem::take(&mut listed));
            }
            Ok(Event::Apply(node)) => {
                state.recovered();
                if is_ours(&node) {
                    discovery.index.apply_labels(Box::from(node.name()), node.labels());
                }
            }
            Ok(Event::Delete(node)) => {
                state.recovered();
                discovery.index.remove_labels(node.name());
            }
            Err(error) => {
                discovery.stats.node_failures.fetch_add(1, Ordering::Relaxed);
                discovery.index.labels_settled();
                state.failed(&error).await;
            }
        }
    }
}

fn of_shard(shard: Option<Shard>) -> String {
    shard.map(|shard| format!(" (shard {shard})")).unwrap_or_default()
}

/// Whether the helper can do without this watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Needed,
    Optional,
}

/// Logs each change of a watch's state once.
#[derive(Debug)]
struct WatchState {
    what: String,
    role: Role,
    /// The failure last logged, and when it last occurred.
    failure: Option<(String, Instant)>,
}

impl WatchState {
    fn new(what: String, role: Role) -> Self {
        Self { what, role, failure: None }
    }

    fn synced(&mut self, objects: usize) {
        self.failure = None;
        info!("watching {}: {objects} listed", self.what);
    }

    fn recovered(&mut self) {
        if self.failure.take().is_some() {
            info!("watching {} again", self.what);
        }
    }

    /// Logs the failure if it is a new one, and waits where asking again at once would be rude. The back-off between
    /// ordinary tries is the stream's own.
    async fn failed(&mut self, error: &watcher::Error) {
        let denied = is_denied(error);
        let text = sentence(error);
        // A watch that went on in silence says nothing of its recovery: the same failure much later is news again.
        let known = self.failure.as_ref().is_some_and(|(last, at)| *last == text && at.elapsed() < STILL_THE_SAME);
        if known {
            debug!("watch of {} failed again: {text}", self.what);
        } else if denied && self.role == Role::Optional {
            info!("{} may not be listed ({text}); zone, instance type and node group are left out", self.what);
        } else if denied {
            warn!("{} may not be watched: {text}; a Role with get, list and watch on pods is needed there", self.what);
        } else if is_expired(error) {
            debug!("watch of {} expired, listing anew", self.what);
            return;
        } else {
            warn!("watch of {} failed, trying again: {text}", self.what);
        }
        self.failure = Some((text, Instant::now()));
        if denied && self.role == Role::Optional {
            tokio::time::sleep(DENIED_PAUSE).await;
        }
    }
}

fn status_code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}

fn is_denied(error: &watcher::Error) -> bool {
    matches!(status_code(error), Some(401 | 403))
}

fn is_expired(error: &watcher::Error) -> bool {
    status_code(error) == Some(410)
}

/// The innermost useful text: the API server's own message, or the chain of causes once each.
fn sentence(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status.message.clone(),
        watcher::Error::InitialListFailed(inner)
        | watcher::Error::WatchStartFailed(inner)
        | watcher::Error::WatchFailed(inner) => super::connect::causes(inner),
        watcher::Error::NoResourceVersion => error.to_string(),
    }
}
