//! The two watches: what they keep in the index, and what is logged when their state changes.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cni_insight::evidence::InsightLevel;
use futures::FutureExt as _;
use kube::{Api, Client};
use tokio::sync::watch;
use tracing::{Instrument as _, warn};

use super::evidence::Tally;
use super::health::{STALE_AFTER, Staleness, WatchHealth};
use super::index::{Index, IndexReader, Node, Pod};
use super::nodes::SlimNode;
use super::objects::{ClusterObjects, Marks};
use super::pods::SlimPod;
use super::stream::{Cause, ListWatch, Seen, WatchFailure};
use super::watch_log::{Role, WatchLog};
use cni_aws::identity::{ClusterEvidence, Listing};
use cni_runtime::shutdown::Shutdown;
use cni_runtime::text::excerpt;
use cni_types::agent_settings::CLUSTER_NAME;
use cni_types::shard::Shard;

/// The pause after the API server denied a watch: each attempt is a line in its audit log.
const DENIED_PAUSE: Duration = Duration::from_mins(1);

/// Which pods are the agents.
#[derive(Debug, Clone)]
pub struct DiscoverSettings {
    /// Their namespace.
    pub namespace: String,
    /// Their label selector.
    pub selector: String,
    /// The nodes on which they are watched; `None` is all. What is on others is dropped as it is decoded.
    pub shard: Option<Shard>,
    /// The helper's own node, `NODE_NAME`; its EC2 instance is noted whichever shard it belongs to.
    pub own_node: Option<String>,
    /// How much is read for findings.
    pub level: InsightLevel,
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
    /// The table that they update.
    pub index: IndexReader,
    /// How often they listed and failed.
    pub stats: Arc<WatchStats>,
    /// When the pods' watch last heard from the API server.
    pub pods: Arc<WatchHealth>,
    /// When the nodes' watch did.
    pub nodes: Arc<WatchHealth>,
    /// The objects that findings need; `None` where the level does not read them.
    pub objects: Option<Arc<ClusterObjects>>,
    evidence: Arc<watch::Sender<ClusterEvidence>>,
    /// Set when a watch's task has ended although the program has not.
    failure: Arc<watch::Sender<Option<String>>>,
}

impl Discovery {
    /// Starts both watches; they end with `shutdown`.
    pub fn spawn(client: &Client, settings: &DiscoverSettings, shutdown: &Shutdown) -> Self {
        let discovery = Self {
            index: Arc::new(Index::default()),
            stats: Arc::default(),
            pods: Arc::default(),
            nodes: Arc::default(),
            objects: ClusterObjects::of_level(settings.level),
            evidence: Arc::new(watch::Sender::new(ClusterEvidence::default())),
            failure: Arc::new(watch::Sender::new(None)),
        };
        let pods = watch_pods(client.clone(), settings.clone(), discovery.clone());
        let nodes = watch_nodes(client.clone(), settings.clone(), discovery.clone());
        supervise("pods", shutdown, pods, &discovery.failure);
        supervise("nodes", shutdown, nodes, &discovery.failure);
        if let Some(objects) = &discovery.objects {
            let (eni_configs, cni_nodes, daemon_set) = (Arc::clone(objects), Arc::clone(objects), Arc::clone(objects));
            let all = [
                ("ENIConfigs", eni_configs.watch_eni_configs(client.clone()).boxed()),
                ("CNINodes", cni_nodes.watch_cni_nodes(client.clone(), settings.shard).boxed()),
                ("the DaemonSet", daemon_set.watch_daemon_set(client.clone(), settings.namespace.clone()).boxed()),
            ];
            for (what, work) in all {
                supervise(what, shutdown, work, &discovery.failure);
            }
        }
        discovery
    }

    /// Waits until a watch's task has ended although the program goes on, and says which and why. What the index shows
    /// from then on no longer follows the cluster.
    pub async fn failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        let reason = failure.wait_for(Option::is_some).await.map(|reason| reason.clone());
        match reason {
            Ok(Some(reason)) => reason,
            _ => std::future::pending().await,
        }
    }

    /// The cluster's name as objects in the cluster give it, updated by the watches.
    pub fn evidence(&self) -> watch::Receiver<ClusterEvidence> {
        self.evidence.subscribe()
    }

    /// How long ago each watch last heard from the API server.
    pub fn staleness(&self) -> Staleness {
        let nodes = (self.nodes.listing() != Listing::Denied).then(|| self.nodes.age());
        Staleness { pods: self.pods.age(), nodes }
    }

    /// Which list is so old that it may no longer show the cluster, and why; `None` if none is.
    pub fn stale(&self) -> Option<String> {
        let ages = self.staleness();
        let lists = [("pods", Some(ages.pods), &self.pods), ("nodes", ages.nodes, &self.nodes)];
        let (what, age, health) = lists
            .into_iter()
            .filter_map(|(what, age, health)| Some((what, age?, health)))
            .find(|(_, age, _)| *age > STALE_AFTER)?;
        let why = health.trouble().unwrap_or_else(|| "no answer from the API server".to_owned());
        Some(format!("the list of {what} is {} s old: {why}", age.as_secs()))
    }

    fn note(&self, change: impl FnOnce(&mut ClusterEvidence)) {
        self.evidence.send_if_modified(|evidence| {
            let before = evidence.clone();
            change(evidence);
            *evidence != before
        });
    }
}

/// Runs a task to its end; one that ends before the program does is reported once.
fn supervise(
    what: &'static str,
    shutdown: &Shutdown,
    work: impl Future<Output = ()> + Send + 'static,
    failure: &Arc<watch::Sender<Option<String>>>,
) {
    // Lines of the log say which of several clusters they are of.
    let task = tokio::spawn(shutdown.clone().or_ended(work).in_current_span());
    let (shutdown, failure) = (shutdown.clone(), Arc::clone(failure));
    tokio::spawn(async move {
        let how = match task.await {
            Ok(()) if shutdown.is_ended() => return,
            Ok(()) => "it returned".to_owned(),
            Err(error) => excerpt(&error.to_string()),
        };
        failure.send_if_modified(|failure| {
            let is_first = failure.is_none();
            failure.get_or_insert_with(|| format!("the watch of {what} has ended: {how}"));
            is_first
        });
    });
}

async fn watch_pods(client: Client, settings: DiscoverSettings, discovery: Discovery) {
    let api: Api<SlimPod> = Api::namespaced(client, &settings.namespace);
    let mut watch = ListWatch::new(api, Some(&settings.selector));
    let mut pods = Pods { listed: BTreeMap::new(), names: Tally::default(), shard: settings.shard, skipped: 0 };
    let what = format!("pods in namespace {}{}", settings.namespace, of_shard(settings.shard));
    let mut log = WatchLog::new(what, Role::Needed);
    loop {
        let seen = watch.next().await;
        if !matches!(seen, Seen::Failed(_) | Seen::Listing | Seen::Item(_)) {
            discovery.pods.word(matches!(seen, Seen::Listed));
            discovery.index.set_trouble(None);
            log.works();
        }
        if let Seen::Failed(failure) = seen {
            discovery.stats.pod_failures.fetch_add(1, Ordering::Relaxed);
            discovery.index.set_trouble(Some(failure.text.clone()));
            discovery.pods.failed(&failure.text, failure.cause == Cause::Denied);
            discovery.note(|evidence| evidence.pods = discovery.pods.listing());
            log.failed(&failure);
        } else {
            pods.take(seen, &discovery, &mut log);
        }
    }
}

/// The pods' watch between two events.
struct Pods {
    listed: BTreeMap<Arc<str>, Arc<Pod>>,
    names: Tally,
    shard: Option<Shard>,
    /// Objects without name or UID in this list.
    skipped: usize,
}

impl Pods {
    fn take(&mut self, seen: Seen<SlimPod>, discovery: &Discovery, log: &mut WatchLog) {
        match seen {
            Seen::Listing => {
                self.listed.clear();
                (self.names, self.skipped) = (Tally::default(), 0);
            }
            Seen::Item(pod) => {
                if let Some(pod) = self.ours(pod, discovery, Tally::add) {
                    self.listed.insert(Arc::clone(&pod.name), pod);
                }
            }
            Seen::Listed => {
                let pods = std::mem::take(&mut self.listed);
                log.synced(pods.len());
                discovery.index.replace_pods(pods);
                discovery.stats.pod_lists.fetch_add(1, Ordering::Relaxed);
                self.note(discovery);
            }
            Seen::Applied(pod) => {
                let name = pod.name().to_owned();
                match self.ours(pod, discovery, Tally::meet) {
                    Some(pod) => discovery.index.apply_pod(pod),
                    // It may have been an agent until now: a pod that lost the agents' label is not scraped any more.
                    None => discovery.index.remove_pod(&name),
                }
            }
            Seen::Deleted(pod) => discovery.index.remove_pod(pod.name()),
            Seen::Watching | Seen::Bookmark | Seen::Failed(_) => {}
        }
    }

    /// The pod as it is kept, if it is whole and on a node of this shard. Its agent's `CLUSTER_NAME` is noted in any case.
    fn ours(
        &mut self,
        pod: SlimPod,
        discovery: &Discovery,
        count: fn(&mut Tally, Option<&str>) -> bool,
    ) -> Option<Arc<Pod>> {
        if !pod.is_whole() {
            self.skipped = self.skipped.saturating_add(1);
            if self.skipped == 1 {
                warn!("a pod without a name or UID is left out (name {:?})", excerpt(pod.name()));
            }
            return None;
        }
        let is_ours = self.shard.is_none_or(|shard| shard.owns(pod.node()));
        let pod = discovery.index.shared(pod.into_pod());
        let is_new = count(&mut self.names, pod.agent.env(CLUSTER_NAME.name));
        if is_new && discovery.pods.listing() == Listing::Complete {
            self.note(discovery);
        }
        is_ours.then_some(pod)
    }

    fn note(&self, discovery: &Discovery) {
        discovery.note(|evidence| {
            evidence.pods = Listing::Complete;
            evidence.agent_names = self.names.names();
        });
    }
}

async fn watch_nodes(client: Client, settings: DiscoverSettings, discovery: Discovery) {
    let mut watch = ListWatch::new(Api::<SlimNode>::all(client), None);
    let mut log = WatchLog::new(format!("nodes{}", of_shard(settings.shard)), Role::Optional);
    let mut nodes = Nodes { listed: HashMap::new(), marks: HashMap::new(), names: Tally::default(), settings };
    loop {
        let seen = watch.next().await;
        if !matches!(seen, Seen::Failed(_) | Seen::Listing | Seen::Item(_)) {
            discovery.nodes.word(matches!(seen, Seen::Listed));
            log.works();
        }
        if let Seen::Failed(failure) = seen {
            node_failure(&failure, &discovery);
            log.failed(&failure);
            if failure.cause == Cause::Denied {
                tokio::time::sleep(DENIED_PAUSE).await;
            }
        } else {
            nodes.take(seen, &discovery, &mut log);
        }
    }
}

fn node_failure(failure: &WatchFailure, discovery: &Discovery) {
    discovery.stats.node_failures.fetch_add(1, Ordering::Relaxed);
    discovery.nodes.failed(&failure.text, failure.cause == Cause::Denied);
    discovery.note(|evidence| evidence.nodes = discovery.nodes.listing());
    discovery.index.labels_settled();
}

/// The nodes' watch between two events.
struct Nodes {
    listed: HashMap<Box<str>, Node>,
    /// What names the `ENIConfig` of those that are listed, where that is read.
    marks: HashMap<Box<str>, Marks>,
    names: Tally,
    settings: DiscoverSettings,
}

impl Nodes {
    fn take(&mut self, seen: Seen<SlimNode>, discovery: &Discovery, log: &mut WatchLog) {
        match seen {
            Seen::Listing => {
                self.listed.clear();
                self.marks.clear();
                self.names = Tally::default();
            }
            Seen::Item(node) => {
                self.names.add(node.eksctl_cluster());
                self.note_own(&node, discovery);
                if self.is_ours(&node) {
                    let kept = discovery.index.shared_node(node.labels(), node.instance(), node.status());
                    self.listed.insert(Box::from(node.name()), kept);
                    let marks = node.marks();
                    if discovery.objects.is_some() && marks != Marks::default() {
                        self.marks.insert(Box::from(node.name()), marks);
                    }
                }
            }
            Seen::Listed => {
                log.synced(self.listed.len());
                discovery.index.replace_nodes(std::mem::take(&mut self.listed));
                if let Some(objects) = &discovery.objects {
                    objects.marks.replace(std::mem::take(&mut self.marks));
                }
                self.note(discovery);
            }
            Seen::Applied(node) => {
                if self.names.meet(node.eksctl_cluster()) {
                    self.note(discovery);
                }
                self.note_own(&node, discovery);
                if self.is_ours(&node) {
                    discovery.index.apply_node(Box::from(node.name()), node.labels(), node.instance(), node.status());
                    Self::note_marks(discovery, node.name(), node.marks());
                }
            }
            Seen::Deleted(node) => {
                discovery.index.remove_node(node.name());
                Self::note_marks(discovery, node.name(), Marks::default());
            }
            Seen::Watching | Seen::Bookmark | Seen::Failed(_) => {}
        }
    }

    fn note_marks(discovery: &Discovery, node: &str, marks: Marks) {
        if let Some(objects) = &discovery.objects {
            objects.marks.set(node, marks);
        }
    }

    fn is_ours(&self, node: &SlimNode) -> bool {
        !node.name().is_empty() && self.settings.shard.is_none_or(|shard| shard.owns(Some(node.name())))
    }

    fn note(&self, discovery: &Discovery) {
        discovery.note(|evidence| {
            evidence.nodes = Listing::Complete;
            evidence.eksctl_names = self.names.names();
        });
    }

    fn note_own(&self, node: &SlimNode, discovery: &Discovery) {
        if self.settings.own_node.as_deref() != Some(node.name()) {
            return;
        }
        let own = node.instance().text();
        if discovery.evidence.borrow().instance_id != own {
            discovery.note(|evidence| evidence.instance_id = own);
        }
    }
}

fn of_shard(shard: Option<Shard>) -> String {
    shard.map(|shard| format!(" (shard {shard})")).unwrap_or_default()
}

#[cfg(test)]
mod tests;
