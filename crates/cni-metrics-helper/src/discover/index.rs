//! The one shared table: written by the watches, read by the round.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use cni_metrics_core::model::{NodeLabels, NodeName, PodUid, Target, UnixMillis};
use tokio::sync::watch;

use super::agent::AgentSpec;
use super::intern::Interner;

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
}

impl Pod {
    /// Scheduled, Running and not being deleted: it is asked each round.
    pub fn is_target(&self) -> bool {
        self.running && !self.deleting && self.node.is_some()
    }

    /// Past its first 60 s at `now` (the API server's clock), so that silence counts as a failure.
    pub fn is_settled(&self, now: UnixMillis) -> bool {
        self.created_at.is_none_or(|created| now.0 - created.0 >= GRACE_MS)
    }
}

/// Pods by name and node labels by node, behind the only lock of the program.
#[derive(Debug)]
pub struct Index {
    tables: RwLock<Tables>,
    synced: watch::Sender<bool>,
    labelled: watch::Sender<bool>,
    trouble: watch::Sender<Option<String>>,
}

#[derive(Debug, Default)]
struct Tables {
    pods: BTreeMap<Arc<str>, Arc<Pod>>,
    labels: HashMap<Box<str>, Arc<NodeLabels>>,
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

    /// Adds or replaces one pod.
    pub(crate) fn apply_pod(&self, pod: Pod) {
        let mut tables = self.write();
        let pod = tables.shared(pod);
        tables.pods.insert(Arc::clone(&pod.name), pod);
    }

    /// Removes one pod.
    pub(crate) fn remove_pod(&self, name: &str) {
        self.write().pods.remove(name);
    }

    /// Replaces all node labels at once.
    pub(crate) fn replace_labels(&self, labels: Vec<(Box<str>, NodeLabels)>) {
        let mut tables = self.write();
        tables.labels.clear();
        for (node, labels) in labels {
            tables.set_labels(node, labels);
        }
        tables.label_sets.sweep();
        drop(tables);
        self.labels_settled();
    }

    /// There is nothing more to wait for: the labels are listed, or may not be.
    pub(crate) fn labels_settled(&self) {
        self.labelled.send_replace(true);
    }

    /// Sets one node's labels.
    pub(crate) fn apply_labels(&self, node: Box<str>, labels: NodeLabels) {
        self.write().set_labels(node, labels);
    }

    /// Forgets one node's labels.
    pub(crate) fn remove_labels(&self, node: &str) {
        self.write().labels.remove(node);
    }

    /// The pods to ask this round, each with its node's labels, by pod name; and how many pods match in all.
    pub fn targets(&self) -> (Vec<(Arc<Pod>, Target)>, usize) {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        let none = Arc::new(NodeLabels::default());
        let targets = tables
            .pods
            .values()
            .filter(|pod| pod.is_target())
            .filter_map(|pod| {
                let node = pod.node.as_ref()?;
                let labels = tables.labels.get(node.as_ref()).unwrap_or(&none);
                let target = Target {
                    uid: pod.uid.clone(),
                    node: NodeName::new(Arc::clone(node)),
                    created_at: pod.created_at,
                    labels: Arc::clone(labels),
                };
                Some((Arc::clone(pod), target))
            })
            .collect();
        (targets, tables.pods.len())
    }

    /// How many nodes' labels are kept.
    pub fn labelled_nodes(&self) -> usize {
        self.tables.read().unwrap_or_else(PoisonError::into_inner).labels.len()
    }

    /// Turns true once the first list of pods is complete.
    pub fn synced(&self) -> watch::Receiver<bool> {
        self.synced.subscribe()
    }

    /// What keeps the pods' watch from going on, if anything does.
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

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Tables> {
        self.tables.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn set_labels(&mut self, node: Box<str>, labels: NodeLabels) {
        let shared = self.label_sets.shared(labels);
        self.labels.insert(node, shared);
    }

    fn shared(&mut self, mut pod: Pod) -> Arc<Pod> {
        let own = std::mem::take(&mut pod.agent);
        let own = Arc::unwrap_or_clone(own);
        // In a cluster whose agents nearly all differ, a copy of the environment per node is more than it is worth.
        let spec = if self.agents.has_room(&own, MOST_AGENT_SPECS) { own } else { own.without_env() };
        Arc::new(Pod { agent: self.agents.shared(spec), ..pod })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> Pod {
        Pod {
            uid: PodUid::new(name),
            name: Arc::from(name),
            node: Some(Arc::from(format!("node-{name}"))),
            ip: None,
            running: true,
            deleting: false,
            created_at: Some(UnixMillis(1_000)),
            agent: Arc::default(),
        }
    }

    #[test]
    fn only_scheduled_running_pods_that_stay_are_targets() {
        let index = Index::default();
        index.apply_pod(pod("a"));
        index.apply_pod(Pod { running: false, ..pod("b") });
        index.apply_pod(Pod { deleting: true, ..pod("c") });
        index.apply_pod(Pod { node: None, ..pod("d") });
        let (targets, pods) = index.targets();
        assert_eq!(pods, 4);
        assert_eq!(targets.iter().map(|(pod, _)| pod.name.as_ref()).collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn a_restarted_watch_replaces_the_set() {
        let index = Index::default();
        index.apply_pod(pod("old"));
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
        index.apply_pod(pod("a"));
        index.apply_pod(pod("b"));
        index.apply_labels("node-a".into(), labels.clone());
        index.apply_labels("node-b".into(), labels);
        let (targets, _) = index.targets();
        assert!(Arc::ptr_eq(&targets[0].1.labels, &targets[1].1.labels));
    }

    #[test]
    fn a_pod_settles_after_its_first_minute() {
        assert!(!pod("a").is_settled(UnixMillis(60_999)));
        assert!(pod("a").is_settled(UnixMillis(61_000)));
    }
}
