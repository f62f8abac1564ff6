//! The typed objects of the simulated API server, compact enough to keep a hundred thousand of them.
//!
//! Everything that thousands of objects share (labels, containers, image names) sits behind an `Arc`; what differs is
//! numbers. The JSON a client sees is written on demand by [`crate::kube_store::manifest`].

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use cni_types::agent_settings;

/// Labels or annotations: ordered pairs, shared between the objects that have the same ones.
pub type Pairs = Arc<[(Arc<str>, Arc<str>)]>;

/// Builds [`Pairs`] from plain strings, in key order as the API server would show them.
pub fn pairs<K: AsRef<str>, V: AsRef<str>>(entries: impl IntoIterator<Item = (K, V)>) -> Pairs {
    let mut all: Vec<(Arc<str>, Arc<str>)> =
        entries.into_iter().map(|(key, value)| (Arc::from(key.as_ref()), Arc::from(value.as_ref()))).collect();
    all.sort();
    all.into()
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
            labels: Arc::from([]),
            annotations: Arc::from([]),
            owner: None,
        }
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

/// One container as a pod's spec describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerTemplate {
    /// Name.
    pub name: String,
    /// Image with tag.
    pub image: String,
    /// Plain environment variables.
    pub env: Vec<(String, String)>,
    /// Variables from the downward API: name, field path.
    pub env_fields: Vec<(String, String)>,
    /// Ports: name, number.
    pub ports: Vec<(String, u16)>,
    /// CPU request, thousandths of a core.
    pub cpu_millis: u32,
    /// Memory request, MiB.
    pub memory_mib: u32,
}

/// What pods of one controller share. Build it once, share the `Arc`.
#[derive(Debug, Default)]
pub struct PodTemplate {
    /// Init containers, all shown as completed.
    pub init_containers: Vec<ContainerTemplate>,
    /// Containers.
    pub containers: Vec<ContainerTemplate>,
    /// Service account.
    pub service_account: String,
    /// Priority class and its value.
    pub priority_class: Option<(String, i32)>,
    /// Whether the pods use the node's network.
    pub host_network: bool,
    /// Tolerates everything, as node agents do.
    pub tolerates_everything: bool,
    /// Extra bytes of `managedFields`, so that a manifest gets the size of a real cluster's (an `aws-node` pod of a
    /// live cluster is about 12 KB).
    pub manifest_padding_bytes: usize,
    /// The part of the JSON that no pod differs in, written once.
    pub(crate) rendered: OnceLock<RenderedTemplate>,
}

/// The part of a pod's JSON that all pods of a template share.
#[derive(Debug)]
pub(crate) struct RenderedTemplate {
    /// Members of `spec`, without the braces.
    pub(super) spec: String,
    /// `fieldsV1` of the padding entry, or empty.
    pub(super) padding: String,
}

impl PodTemplate {
    /// The `aws-node` pods of a VPC CNI release (`v1.23.0`): both containers, the init container and the settings that
    /// matter. `env` adds to or overrides the defaults.
    pub fn aws_node(version: &str, env: &[(&str, &str)]) -> Self {
        let registry = "602401143452.dkr.ecr.eu-central-1.amazonaws.com";
        let shipped = agent_settings::manifest().chain(OTHER_ENV.iter().copied());
        let mut settings: Vec<(String, String)> = shipped.map(|(name, value)| (str_of(name), str_of(value))).collect();
        for (name, value) in env {
            match settings.iter_mut().find(|(known, _)| known == name) {
                Some((_, old)) => (*old).replace_range(.., value),
                None => settings.push((str_of(name), str_of(value))),
            }
        }
        settings.sort();
        let field = |name: &str, path: &str| (str_of(name), str_of(path));
        Self {
            init_containers: vec![ContainerTemplate {
                name: str_of("aws-vpc-cni-init"),
                image: format!("{registry}/amazon-k8s-cni-init:{version}"),
                env: vec![field("DISABLE_TCP_EARLY_DEMUX", "false"), field("ENABLE_IPv6", "false")],
                cpu_millis: 25,
                ..ContainerTemplate::default()
            }],
            containers: vec![
                ContainerTemplate {
                    name: str_of("aws-node"),
                    image: format!("{registry}/amazon-k8s-cni:{version}"),
                    env: settings,
                    env_fields: vec![field("MY_NODE_NAME", "spec.nodeName"), field("MY_POD_NAME", "metadata.name")],
                    ports: vec![(str_of("metrics"), 61678)],
                    cpu_millis: 25,
                    memory_mib: 0,
                },
                ContainerTemplate {
                    name: str_of("aws-eks-nodeagent"),
                    image: format!("{registry}/amazon/aws-network-policy-agent:v1.2.7"),
                    env: Vec::new(),
                    env_fields: vec![field("MY_NODE_NAME", "spec.nodeName")],
                    ports: vec![(str_of("agentmetrics"), 8162)],
                    cpu_millis: 25,
                    memory_mib: 0,
                },
            ],
            service_account: str_of("aws-node"),
            priority_class: Some((str_of("system-node-critical"), 2_000_001_000)),
            host_network: true,
            tolerates_everything: true,
            manifest_padding_bytes: 0,
            rendered: OnceLock::new(),
        }
    }

    /// The same with a manifest of about this many more bytes.
    #[must_use]
    pub fn padded(mut self, manifest_padding_bytes: usize) -> Self {
        self.manifest_padding_bytes = manifest_padding_bytes;
        self
    }

    /// A workload pod with one container.
    pub fn workload(name: &str, image: &str) -> Self {
        Self {
            containers: vec![ContainerTemplate {
                name: name.to_owned(),
                image: image.to_owned(),
                cpu_millis: 100,
                memory_mib: 128,
                ..ContainerTemplate::default()
            }],
            service_account: str_of("default"),
            ..Self::default()
        }
    }
}

fn str_of(text: &str) -> String {
    text.to_owned()
}

/// What the manifest of the VPC CNI sets beside the agent's settings ([`agent_settings::manifest`]): for logs, the plugin and
/// the node's network.
const OTHER_ENV: &[(&str, &str)] = &[
    ("AWS_VPC_CNI_NODE_PORT_SUPPORT", "true"),
    ("AWS_VPC_ENI_MTU", "9001"),
    ("AWS_VPC_K8S_CNI_EXTERNALSNAT", "false"),
    ("AWS_VPC_K8S_CNI_LOGLEVEL", "DEBUG"),
    ("AWS_VPC_K8S_CNI_LOG_FILE", "/host/var/log/aws-routed-eni/ipamd.log"),
    ("AWS_VPC_K8S_CNI_RANDOMIZESNAT", "prng"),
    ("AWS_VPC_K8S_CNI_VETHPREFIX", "eni"),
    ("AWS_VPC_K8S_PLUGIN_LOG_FILE", "/var/log/aws-routed-eni/plugin.log"),
    ("AWS_VPC_K8S_PLUGIN_LOG_LEVEL", "DEBUG"),
];

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

/// One `coordination.k8s.io/v1` Lease, as clients wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseObject {
    /// Name, namespace, labels, annotations.
    pub meta: Meta,
    /// `spec`, kept as written.
    pub spec: serde_json::Map<String, serde_json::Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the agent's settings there is one table; what is listed here is none of them.
    #[test]
    fn an_agents_pod_has_the_settings_of_the_shipped_manifest_and_what_is_given() {
        let known = |name: &str| agent_settings::AGENT_SETTINGS.iter().any(|setting| setting.name == name);
        assert!(OTHER_ENV.iter().all(|(name, _)| !known(name)));
        let template = PodTemplate::aws_node("v1.23.2", &[("WARM_ENI_TARGET", "3"), ("MAX_ENI", "4")]);
        let env = &template.containers.first().unwrap().env;
        assert!(env.is_sorted_by(|one, next| one.0 < next.0), "{env:?}");
        let value = |name: &str| env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        for (name, shipped) in agent_settings::manifest().chain(OTHER_ENV.iter().copied()) {
            let expected = if name == "WARM_ENI_TARGET" { "3" } else { shipped };
            assert_eq!(value(name), Some(expected), "{name}");
        }
        assert_eq!(
            (value("MAX_ENI"), env.len()),
            (Some("4"), agent_settings::manifest().count() + OTHER_ENV.len() + 1)
        );
    }
}
