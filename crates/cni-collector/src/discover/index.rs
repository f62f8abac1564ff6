//! The one shared table: written by the watches, read by the round.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use cni_insight::evidence::NodeStatus;
use cni_metrics_core::model::{NodeLabels, NodeName, PodUid, Target, UnixMillis};
use tokio::sync::watch;
use tracing::{info, warn};

use super::agent::AgentSpec;
use super::intern::Interner;
use super::nodes::InstanceId;
use cni_runtime::text::excerpt;

/// An agent pod younger than this is not expected to answer yet (its node may still be initialising).
const GRACE_MS: i64 = 60_000;

/// Distinct images and environments of agents kept whole; of further ones only the image is kept.
const MOST_AGENT_SPECS: usize = 1024;

/// An aws-node pod as the watch last showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its UID.
    pub uid: PodUid,
    /// Its name.
    pub name: Arc<str>,
    /// The node it is scheduled on.
    pub node: Option<Arc<str>>,
    /// Its address: the node's, since the agent uses the host network.
    pub ip: Option<IpAddr>,
    /// Its phase is Running.
    pub running: bool,
    /// It is being deleted.
    pub deleting: bool,
    /// When it was created, by the API server's clock.
    pub created_at: Option<UnixMillis>,
    /// Image and environment of its container, shared by all pods with the same.
    pub agent: Arc<AgentSpec>,
    /// How often that container was restarted; 0 if the API server does not say.
    pub restarts: u32,
    /// That container is ready; `None` if the API server does not say.
    pub is_ready: Option<bool>,
}

impl Pod {
    /// Scheduled, Running and not being deleted: it is asked each round.
    pub fn is_target(&self) -> bool {
        self.running && !self.deleting && self.node.is_some()
    }

    /// Past its first 60 s at `now` (the API server's clock), so that silence counts as a failure.
    pub fn is_settled(&self, now: UnixMillis) -> bool {
        self.created_at.is_none_or(|created| now.0.saturating_sub(created.0) >= GRACE_MS)
    }
}

/// Pods by name and node labels by node, behind the only lock of the program.
#[derive(Debug)]
pub struct Index {
    tables: RwLock<Tables>,
    synced: watch::Sender<bool>,
    labelled: watch::Sender<bool>,
    trouble: watch::Sender<Option<String>>,
    hasher: RandomState,
    /// Pods left out of the last round because of another pod's UID.
    repeated: AtomicUsize,
}

/// What is kept of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    labels: Arc<NodeLabels>,
    instance: InstanceId,
    status: NodeStatus,
}

// An agent's image and environment and a node's instance cost 16 bytes per node, its state another 16.
const _: () = assert!(size_of::<InstanceId>() + size_of::<Arc<AgentSpec>>() <= 16);
const _: () = assert!(size_of::<Node>() <= 32);

#[derive(Debug, Default)]
struct Tables {
    pods: BTreeMap<Arc<str>, Arc<Pod>>,
    nodes: HashMap<Box<str>, Node>,
    /// Label sets in use, so that 10,000 nodes of one group share one allocation.
    label_sets: Interner<NodeLabels>,
    /// Agents' images and environments in use.
    agents: Interner<AgentSpec>,
}

/// What a round reads.
pub type IndexReader = Arc<Index>;

impl Default for Index {
    fn default() -> Self {
        Self {
            tables: RwLock::default(),
            synced: watch::Sender::new(false),
            labelled: watch::Sender::new(false),
            trouble: watch::Sender::new(None),
            hasher: RandomState::new(),
            repeated: AtomicUsize::new(0),
        }
    }
}

impl Index {
    /// The pod as it is kept: with the shared form of what many pods have in common. Lists are shared page by page, so
    /// that the environments of a large cluster are never all in memory.
    pub(crate) fn shared(&self, pod: Pod) -> Arc<Pod> {
        self.write().shared(pod)
    }

    /// Replaces all pods at once: a watch was restarted.
    pub(crate) fn replace_pods(&self, pods: BTreeMap<Arc<str>, Arc<Pod>>) {
        let mut tables = self.write();
        let before = std::mem::replace(&mut tables.pods, pods);
        drop(before);
        tables.agents.sweep();
        drop(tables);
        self.synced.send_replace(true);
    }

    /// Adds or replaces one pod, which is a [`Index::shared`] one.
    pub(crate) fn apply_pod(&self, pod: Arc<Pod>) {
        self.write().pods.insert(Arc::clone(&pod.name), pod);
    }

    /// Removes one pod.
    pub(crate) fn remove_pod(&self, name: &str) {
        self.write().pods.remove(name);
    }

    /// The node as it is kept.
    pub(crate) fn shared_node(&self, labels: NodeLabels, instance: InstanceId, status: NodeStatus) -> Node {
        Node { labels: self.write().label_sets.shared(labels), instance, status }
    }

    /// Replaces all nodes at once.
    pub(crate) fn replace_nodes(&self, nodes: HashMap<Box<str>, Node>) {
        let mut tables = self.write();
        let before = std::mem::replace(&mut tables.nodes, nodes);
        drop(before);
        tables.label_sets.sweep();
        drop(tables);
        self.labels_settled();
    }

    /// The node labels are listed, or may not be listed: nothing waits for them any more.
    pub(crate) fn labels_settled(&self) {
        self.labelled.send_replace(true);
    }

    /// Adds or replaces one node.
    pub(crate) fn apply_node(&self, name: Box<str>, labels: NodeLabels, instance: InstanceId, status: NodeStatus) {
        let mut tables = self.write();
        let labels = tables.label_sets.shared(labels);
        tables.nodes.insert(name, Node { labels, instance, status });
    }

    /// Removes one node.
    pub(crate) fn remove_node(&self, name: &str) {
        self.write().nodes.remove(name);
    }

    /// The pods to ask this round, each with its node's labels, by pod name; and how many pods match in all.
    pub fn targets(&self) -> (Vec<(Arc<Pod>, Target)>, usize) {
        let tables = self.read();
        let none = Arc::new(NodeLabels::default());
        let mut targets: Vec<(Arc<Pod>, Target)> = tables
            .pods
            .values()
            .filter(|pod| pod.is_target())
            .filter_map(|pod| {
                let node = pod.node.as_ref()?;
                let labels = tables.nodes.get(node.as_ref()).map_or(&none, |node| &node.labels);
                let target = Target {
                    uid: pod.uid.clone(),
                    node: NodeName::new(Arc::clone(node)),
                    created_at: pod.created_at,
                    labels: Arc::clone(labels),
                    agent: pod.agent.facts(),
                };
                Some((Arc::clone(pod), target))
            })
            .collect();
        let pods = tables.pods.len();
        drop(tables);
        self.leave_out_repeated(&mut targets);
        (targets, pods)
    }

    /// Of pods with one UID only the first by name is asked: counters are kept by UID. Kubernetes never gives a UID twice,
    /// so this looks closely only where two fingerprints are equal.
    fn leave_out_repeated(&self, targets: &mut Vec<(Arc<Pod>, Target)>) {
        let mut prints: Vec<u64> = targets.iter().map(|(pod, _)| self.hasher.hash_one(&pod.uid)).collect();
        prints.sort_unstable();
        let mut first = None;
        let before = targets.len();
        if prints.windows(2).any(|pair| pair.first() == pair.last()) {
            let mut seen = HashSet::with_capacity(targets.len());
            targets.retain(|(pod, _)| {
                let is_new = seen.insert(pod.uid.clone());
                if !is_new {
                    first.get_or_insert_with(|| Arc::clone(pod));
                }
                is_new
            });
        }
        let repeated = before.saturating_sub(targets.len());
        if self.repeated.swap(repeated, Ordering::Relaxed) == repeated {
            return;
        }
        let Some(pod) = first else {
            info!("every pod has a UID of its own again");
            return;
        };
        warn!(
            "{repeated} pods have the UID of another pod and are not scraped (such as {:?} with UID {:?}); the first by \
             name is",
            excerpt(&pod.name),
            excerpt(pod.uid.as_str()),
        );
    }

    /// How many nodes are kept.
    pub fn labelled_nodes(&self) -> usize {
        self.read().nodes.len()
    }

    /// The EC2 instance that a node is, from its `spec.providerID`.
    pub fn instance_id(&self, node: &str) -> Option<String> {
        self.read().nodes.get(node)?.instance.text()
    }

    /// The maximum number of pods, the cordon and the readiness of a node that is listed.
    pub fn node_status(&self, node: &str) -> Option<NodeStatus> {
        self.read().nodes.get(node).map(|node| node.status)
    }

    /// Turns true once the first list of pods is complete.
    pub fn synced(&self) -> watch::Receiver<bool> {
        self.synced.subscribe()
    }

    /// Why the pods' watch does not work now; `None` while it works.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    pub(crate) fn set_trouble(&self, trouble: Option<String>) {
        self.trouble.send_replace(trouble);
    }

    /// Turns true once the node labels are listed, or known to be out of reach.
    pub fn labelled(&self) -> watch::Receiver<bool> {
        self.labelled.subscribe()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Tables> {
        self.tables.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Tables> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn shared(&mut self, mut pod: Pod) -> Arc<Pod> {
        let own = std::mem::take(&mut pod.agent);
        let own = Arc::unwrap_or_clone(own);
        // In a cluster whose agents nearly all differ, a copy of the environment per node is more than it is worth.
        let spec = if self.agents.has_room(&own, MOST_AGENT_SPECS) { own } else { own.without_env() };
        Arc::new(Pod { agent: self.agents.shared(spec), ..pod })
    }
}

#[cfg(test)]
impl Pod {
    /// A running pod on a node, with its name for a UID.
    pub(crate) fn running(name: &str, node: &str) -> Self {
        Self {
            uid: PodUid::new(name),
            name: name.into(),
            node: Some(node.into()),
            ip: None,
            running: true,
            deleting: false,
            created_at: None,
            agent: Arc::default(),
            restarts: 0,
            is_ready: None,
        }
    }
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> Pod {
        Pod { created_at: Some(UnixMillis(1_000)), ..Pod::running(name, &format!("node-{name}")) }
    }

    #[test]
    fn only_scheduled_running_pods_that_stay_are_targets() {
        let index = Index::default();
        index.apply_pod(Arc::new(pod("a")));
        index.apply_pod(Arc::new(Pod { running: false, ..pod("b") }));
        index.apply_pod(Arc::new(Pod { deleting: true, ..pod("c") }));
        index.apply_pod(Arc::new(Pod { node: None, ..pod("d") }));
        let (targets, pods) = index.targets();
        assert_eq!(pods, 4);
        assert_eq!(targets.iter().map(|(pod, _)| pod.name.as_ref()).collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn a_restarted_watch_replaces_the_set() {
        let index = Index::default();
        index.apply_pod(Arc::new(pod("old")));
        assert!(!*index.synced().borrow());
        index.replace_pods(BTreeMap::from([(Arc::from("new"), Arc::new(pod("new")))]));
        let (targets, _) = index.targets();
        assert_eq!(targets.iter().map(|(pod, _)| pod.name.as_ref()).collect::<Vec<_>>(), ["new"]);
        assert!(*index.synced().borrow());
    }

    #[test]
    fn nodes_with_equal_labels_share_them() {
        let index = Index::default();
        let labels = NodeLabels { zone: Some(Arc::from("a")), ..NodeLabels::default() };
        index.apply_pod(Arc::new(pod("a")));
        index.apply_pod(Arc::new(pod("b")));
        index.apply_node("node-a".into(), labels.clone(), InstanceId::default(), NodeStatus::default());
        index.apply_node("node-b".into(), labels, InstanceId::default(), NodeStatus::default());
        let (targets, _) = index.targets();
        assert!(Arc::ptr_eq(&targets[0].1.labels, &targets[1].1.labels));
    }

    #[test]
    fn a_pod_settles_after_its_first_minute() {
        assert!(!pod("a").is_settled(UnixMillis(60_999)));
        assert!(pod("a").is_settled(UnixMillis(61_000)));
    }

    #[test]
    fn of_pods_with_one_uid_the_first_by_name_is_asked_and_all_others_as_ever() {
        let index = Index::default();
        for name in ["c", "a", "b"] {
            index.apply_pod(Arc::new(Pod { uid: PodUid::new("same"), ..pod(name) }));
        }
        index.apply_pod(Arc::new(pod("d")));
        let names = |index: &Index| index.targets().0.iter().map(|(pod, _)| pod.name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(&index), ["a", "d"]);
        index.remove_pod("a");
        assert_eq!(names(&index), ["b", "d"]);
    }

    #[test]
    fn agents_that_nearly_all_differ_keep_their_image_only() {
        let index = Index::default();
        let spec = |value: usize| AgentSpec {
            image: "cni:v1.18.6".into(),
            env: Box::from([("POD".into(), value.to_string().into())]),
        };
        let shared = |value| index.shared(Pod { agent: Arc::new(spec(value)), ..pod(&value.to_string()) });
        let pods: Vec<Arc<Pod>> = (0..MOST_AGENT_SPECS + 100).map(shared).collect();
        let first = &pods[0].agent;
        assert!(Arc::ptr_eq(first, &shared(0).agent), "one that is known is shared");
        let last = &pods[pods.len() - 1].agent;
        assert_eq!((first.env("POD"), last.env("POD"), &*last.image), (Some("0"), None, "cni:v1.18.6"));
        drop(pods);
        assert_eq!(shared(MOST_AGENT_SPECS + 99).agent.env.len(), 1, "there is room again");
    }
}
