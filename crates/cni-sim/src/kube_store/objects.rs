//! The typed objects of the simulated API server, compact enough to keep a hundred thousand of them.
//!
//! Everything that thousands of objects share (labels, containers, image names) sits behind an `Arc`; what differs is
//! numbers. The JSON a client sees is written on demand by [`crate::kube_store::manifest`].

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

pub(crate) use super::template::RenderedTemplate;
pub use super::template::{ContainerTemplate, PodTemplate};

/// Labels or annotations: ordered pairs, shared between the objects that have the same ones.
pub type Pairs = Arc<[(Arc<str>, Arc<str>)]>;

/// Builds [`Pairs`] from plain strings, in key order as the API server would show them.
pub fn pairs<K: AsRef<str>, V: AsRef<str>>(entries: impl IntoIterator<Item = (K, V)>) -> Pairs {
    let mut all: Vec<(Arc<str>, Arc<str>)> =
        entries.into_iter().map(|(key, value)| (Arc::from(key.as_ref()), Arc::from(value.as_ref()))).collect();
    all.sort();
    all.into()
}

/// The labels or annotations of an object that has none.
static NONE: LazyLock<Pairs> = LazyLock::new(|| Arc::from([]));

/// Two equal values become one.
pub(super) fn share<T: ?Sized + PartialEq>(value: &mut Arc<T>, before: &Arc<T>) {
    if !Arc::ptr_eq(value, before) && value == before {
        *value = Arc::clone(before);
    }
}

/// Where an object lives: its namespace (empty for cluster-scoped kinds) and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The namespace; empty for nodes and namespaces.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl ObjectKey {
    /// A key from any two strings.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// A UID, shown as an RFC 4122 string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(pub u128);

impl Uid {
    /// The UID the store gives an object that was written without one: a hash of kind, key and creation time, so the
    /// same cluster has the same UIDs and a recreated object has another.
    pub fn derived(kind: &str, key: &ObjectKey, created_ms: i64) -> Self {
        let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        let parts: [&[u8]; 4] =
            [kind.as_bytes(), key.namespace.as_bytes(), key.name.as_bytes(), &created_ms.to_le_bytes()];
        for part in parts {
            for byte in part.iter().chain(std::iter::once(&0xff)) {
                hash ^= u128::from(*byte);
                hash = hash.wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
            }
        }
        Self(hash)
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Version 4 and variant bits, as the API server's own UIDs have.
        let bits = (self.0 & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            bits >> 96,
            (bits >> 80) & 0xffff,
            (bits >> 64) & 0xffff,
            (bits >> 48) & 0xffff,
            bits & 0xffff_ffff_ffff
        )
    }
}

/// The controller an object belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// `apps/v1`, `batch/v1`, …
    pub api_version: Arc<str>,
    /// `DaemonSet`, `ReplicaSet`, …
    pub kind: Arc<str>,
    /// The owner's name.
    pub name: Arc<str>,
    /// The owner's UID.
    pub uid: Uid,
}

/// What every object has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The namespace; empty for cluster-scoped kinds.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
    /// The UID; zero asks the store to derive one.
    pub uid: Uid,
    /// Creation, simulated milliseconds since the epoch.
    pub created_ms: i64,
    /// Set while the object is being deleted (`kubectl` then says `Terminating`).
    pub deletion_ms: Option<i64>,
    /// Labels.
    pub labels: Pairs,
    /// Annotations.
    pub annotations: Pairs,
    /// The controlling owner, if any.
    pub owner: Option<Arc<Owner>>,
}

impl Meta {
    /// Metadata with a name and a creation time and nothing else.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>, created_ms: i64) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            uid: Uid(0),
            created_ms,
            deletion_ms: None,
            labels: Arc::clone(&NONE),
            annotations: Arc::clone(&NONE),
            owner: None,
        }
    }

    /// What both have in common is kept once.
    pub(super) fn share(&mut self, before: &Self) {
        share(&mut self.namespace, &before.namespace);
        share(&mut self.name, &before.name);
        share(&mut self.labels, &before.labels);
        share(&mut self.annotations, &before.annotations);
    }

    /// The object's key.
    pub fn key(&self) -> ObjectKey {
        ObjectKey { namespace: Arc::clone(&self.namespace), name: Arc::clone(&self.name) }
    }

    /// One label's value.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(name, _)| &**name == key).map(|(_, value)| &**value)
    }
}

/// `status.phase` of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodPhase {
    /// Accepted, not all containers started.
    Pending,
    /// Bound and started.
    #[default]
    Running,
    /// All containers ended with 0.
    Succeeded,
    /// Some container ended otherwise.
    Failed,
    /// The node cannot be asked.
    Unknown,
}

impl PodPhase {
    /// As the API spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Unknown => "Unknown",
        }
    }
}

/// What one container of a pod does now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerPhase {
    /// Running since `ContainerState::started_ms`.
    Running,
    /// Not running yet: `ContainerCreating`, `CrashLoopBackOff`, `ImagePullBackOff`, …
    Waiting(Arc<str>),
    /// Ended.
    Terminated {
        /// `Completed`, `Error`, `OOMKilled`, …
        reason: Arc<str>,
        /// The exit code.
        exit_code: i32,
        /// When, simulated milliseconds since the epoch.
        finished_ms: i64,
    },
}

/// The state of one container, in the order of [`PodTemplate::containers`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerState {
    /// What it does now.
    pub phase: ContainerPhase,
    /// Readiness.
    pub ready: bool,
    /// `restartCount`.
    pub restarts: u32,
    /// `state.running.startedAt`, simulated milliseconds since the epoch.
    pub started_ms: i64,
    /// When the previous run ended, if there was one (`lastState.terminated`).
    pub last_finished_ms: Option<i64>,
}

impl ContainerState {
    /// Running and ready since `started_ms`, never restarted.
    pub fn running(started_ms: i64) -> Self {
        Self { phase: ContainerPhase::Running, ready: true, restarts: 0, started_ms, last_finished_ms: None }
    }
}

/// One pod.
#[derive(Clone, Debug)]
pub struct PodObject {
    /// Name, namespace, labels, owner.
    pub meta: Meta,
    /// What it shares with its siblings.
    pub template: Arc<PodTemplate>,
    /// `spec.nodeName`; none while unscheduled.
    pub node_name: Option<Arc<str>>,
    /// `status.hostIP`.
    pub host_ip: Option<IpAddr>,
    /// `status.podIP` (the node's own for pods on the host network).
    pub pod_ip: Option<IpAddr>,
    /// `status.phase`.
    pub phase: PodPhase,
    /// `status.reason`, for instance `Evicted` or `NodeLost`.
    pub reason: Option<Arc<str>>,
    /// One state per container of the template; missing ones count as `ContainerCreating`.
    pub containers: Box<[ContainerState]>,
}

impl PartialEq for PodObject {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.template, &other.template)
            && self.meta == other.meta
            && self.node_name == other.node_name
            && (self.host_ip, self.pod_ip, self.phase) == (other.host_ip, other.pod_ip, other.phase)
            && self.reason == other.reason
            && self.containers == other.containers
    }
}

impl PodObject {
    /// A running pod: every container of the template started at its creation.
    pub fn running(meta: Meta, template: Arc<PodTemplate>, node_name: Arc<str>, ip: IpAddr) -> Self {
        let containers = template.containers.iter().map(|_| ContainerState::running(meta.created_ms)).collect();
        Self {
            meta,
            template,
            node_name: Some(node_name),
            host_ip: Some(ip),
            pod_ip: Some(ip),
            phase: PodPhase::Running,
            reason: None,
            containers,
        }
    }

    /// Whether every container is ready.
    pub fn ready(&self) -> bool {
        self.phase == PodPhase::Running
            && self.containers.len() >= self.template.containers.len()
            && self.containers.iter().all(|container| container.ready)
    }
}

/// A node's taint: key, value, effect.
pub type Taint = (Arc<str>, Arc<str>, Arc<str>);

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeObject {
    /// Name, labels (instance type, zone, …).
    pub meta: Meta,
    /// `spec.providerID`, for instance `aws:///eu-central-1a/i-0abc`.
    pub provider_id: Arc<str>,
    /// `status.addresses` `InternalIP`.
    pub internal_ip: IpAddr,
    /// Whether the kubelet reports Ready.
    pub ready: bool,
    /// `spec.unschedulable` (cordoned).
    pub unschedulable: bool,
    /// Taints: key, value, effect.
    pub taints: Arc<[Taint]>,
    /// Capacity: thousandths of a core.
    pub cpu_millis: u32,
    /// Capacity: memory, MiB.
    pub memory_mib: u32,
    /// Capacity: pods.
    pub max_pods: u32,
    /// `status.nodeInfo.kubeletVersion`.
    pub kubelet_version: Arc<str>,
    /// When readiness last changed, simulated milliseconds since the epoch.
    pub ready_since_ms: i64,
}

/// One namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceObject {
    /// Name, labels.
    pub meta: Meta,
}

/// One `DaemonSet`.
#[derive(Clone, Debug)]
pub struct DaemonSetObject {
    /// Name, namespace, labels.
    pub meta: Meta,
    /// `spec.selector.matchLabels`, also the labels of the pod template.
    pub selector: Pairs,
    /// The pods' template.
    pub template: Arc<PodTemplate>,
    /// `status.desiredNumberScheduled`.
    pub desired: u32,
    /// `status.currentNumberScheduled`.
    pub current: u32,
    /// `status.numberReady`.
    pub ready: u32,
    /// `status.updatedNumberScheduled`.
    pub updated: u32,
    /// `metadata.generation`.
    pub generation: u32,
}

impl PartialEq for DaemonSetObject {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.template, &other.template)
            && self.meta == other.meta
            && self.selector == other.selector
            && (self.desired, self.current, self.ready, self.updated, self.generation)
                == (other.desired, other.current, other.ready, other.updated, other.generation)
    }
}

/// One object of a kind that a custom resource definition defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomObject {
    /// Name, labels, annotations.
    pub meta: Meta,
    /// `spec`.
    pub spec: serde_json::Map<String, serde_json::Value>,
}

/// One `coordination.k8s.io/v1` Lease, as clients wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseObject {
    /// Name, namespace, labels, annotations.
    pub meta: Meta,
    /// `spec`, kept as written.
    pub spec: serde_json::Map<String, serde_json::Value>,
}
