//! The keys of a scenario. `docs/scenarios.md` documents each.

use super::faults::FaultSpec;
use super::span::{At, Share, Span};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::Ipv6Addr;

/// A cluster, what runs on it, and what goes wrong with it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Short name.
    pub name: String,
    /// One or two sentences: what there is to see.
    #[serde(default)]
    pub description: String,
    /// Rounds that the demo runs unless told otherwise; without it, the demo's own default.
    #[serde(default)]
    pub rounds: Option<u32>,
    /// How long the cluster has been up when the clock starts.
    #[serde(default = "default_warm_up")]
    pub warm_up: Span,
    /// The cluster as a whole.
    #[serde(default)]
    pub cluster: ClusterSpec,
    /// The subnets nodes and pods live in.
    pub subnets: Vec<SubnetSpec>,
    /// The nodes.
    pub node_groups: Vec<NodeGroup>,
    /// Nodes that have no agent.
    #[serde(default)]
    pub other_nodes: Vec<OtherNodes>,
    /// What runs on them; entries add up.
    #[serde(default)]
    pub workload: Vec<Workload>,
    /// What goes wrong, and when.
    #[serde(default)]
    pub faults: Vec<FaultSpec>,
}

/// Properties of the cluster as a whole.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterSpec {
    /// Cluster name.
    pub name: String,
    /// AWS region.
    pub region: String,
    /// AWS account, twelve digits.
    pub account_id: String,
    /// Shows workload pods in the Kubernetes API too.
    pub workload_pods: bool,
    /// Pads an aws-node pod's manifest by this much (a live cluster's is about 12,000 bytes).
    pub manifest_padding_bytes: usize,
    /// How long an agent takes to answer a scrape, whatever its answer is.
    pub node_latency: Span,
    /// Tags of the instance the helper runs on, besides `eks:cluster-name`.
    pub instance_tags: BTreeMap<String, String>,
    /// Gives every instance the tag `eks:cluster-name`.
    pub tag_cluster_name: bool,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            name: "demo".to_owned(),
            region: "eu-central-1".to_owned(),
            account_id: "123456789012".to_owned(),
            workload_pods: false,
            manifest_padding_bytes: 0,
            node_latency: Span::default(),
            instance_tags: BTreeMap::new(),
            tag_cluster_name: true,
        }
    }
}

/// One subnet.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubnetSpec {
    /// Name, used by node groups and faults.
    pub name: String,
    /// IPv4 block, `/16` to `/28`.
    pub cidr: At<String>,
    /// Availability zone.
    pub zone: String,
    /// Share of the addresses that others use, in one piece.
    #[serde(default)]
    pub used: Share,
    /// Share of the free /28 blocks in which others use one address.
    #[serde(default)]
    pub fragmented: Share,
    /// Tag `kubernetes.io/role/cni`.
    #[serde(default)]
    pub role: Role,
    /// IPv6 /64, for IPv6 clusters.
    #[serde(default)]
    pub ipv6: Option<Ipv6Addr>,
}

/// The tag that says whether pods may use a subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// No tag.
    #[default]
    Untagged,
    /// "0".
    Off,
    /// "1".
    On,
}

/// A number of equal nodes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeGroup {
    /// Name; the nodes carry it as `eks.amazonaws.com/nodegroup`.
    pub name: String,
    /// EC2 instance type.
    pub instance_type: At<String>,
    /// How many nodes there are at the start.
    pub count: u32,
    /// Subnet of the primary ENIs; its zone is the nodes' zone.
    pub subnet: At<String>,
    /// Custom networking: the subnet of the pods' ENIs.
    #[serde(default)]
    pub pod_subnet: Option<At<String>>,
    /// aws-node's environment, over the shipped manifest's defaults.
    #[serde(default)]
    pub env: BTreeMap<String, At<EnvValue>>,
    /// What the agents' pages look like.
    #[serde(default)]
    pub agent: Agent,
    /// The image tag shown for the agents.
    #[serde(default = "default_agent_version")]
    pub agent_version: String,
    /// Further node labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The nodes' pod capacity; without it, what EKS would set for the type.
    #[serde(default)]
    pub max_pods: Option<u32>,
    /// How ipamd chooses among free addresses.
    #[serde(default)]
    pub placement: PlacementSpec,
    /// The nodes' `CNINode` objects, by which agents ask for a trunk ENI.
    #[serde(default)]
    pub cni_node: CniNode,
}

/// Nodes on which no `aws-node` pod runs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherNodes {
    /// Why they have none.
    pub kind: OtherKind,
    /// How many.
    pub count: u32,
}

/// Nodes that the VPC CNI has no part in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OtherKind {
    /// Of EKS Auto Mode, which brings its own networking.
    AutoMode,
    /// Of AWS Fargate, one for each pod.
    Fargate,
    /// Of Windows.
    Windows,
    /// EKS Hybrid Nodes, outside AWS.
    Hybrid,
}

/// A node's `CNINode` object, and the VPC resource controller behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CniNode {
    /// It exists, and the controller attaches a trunk ENI where the instance type can have one.
    #[default]
    Present,
    /// It exists, and no trunk ENI comes.
    Silent,
    /// There is none.
    Absent,
}

/// A value of an environment variable; numbers and booleans need no quotes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum EnvValue {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Number(i64),
    /// Anything else.
    Text(String),
}

impl std::fmt::Display for EnvValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
        }
    }
}

/// Which agent's page a node shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Agent {
    /// That of `agent_version`; agents before v1.23 have families, names and labels of their own.
    #[default]
    Current,
    /// v1.23 with its counters declared as gauges.
    CountersAsGauges,
    /// An agent from before v1.23: the families, names and labels of its `agent_version`, v1.7.10 if none is given.
    Legacy,
}

/// How ipamd chooses among free addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlacementSpec {
    /// As Go's maps do: any.
    #[default]
    Random,
    /// The lowest.
    FirstFit,
}

/// How many pods run, and how they move.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Only this node group.
    #[serde(default)]
    pub group: Option<At<String>>,
    /// Pods on each node at all times (fractions average over nodes).
    #[serde(default)]
    pub pods_per_node: f64,
    /// Pods replaced on each node every minute.
    #[serde(default)]
    pub churn_per_minute: f64,
    /// A wave of one period, highest at half of it.
    #[serde(default)]
    pub diurnal: Option<Diurnal>,
    /// Deployments that surge.
    #[serde(default)]
    pub waves: Option<Waves>,
}

/// Slow rise and fall.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Diurnal {
    /// Pods per node on top, at the peak.
    pub extra: f64,
    /// From peak to peak.
    pub period: Span,
}

/// Sudden rise and fall.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waves {
    /// Pods per node on top, while a wave lasts.
    pub extra: f64,
    /// From wave to wave.
    pub every: Span,
    /// Length of a wave.
    pub lasts: Span,
}

impl NodeGroup {
    /// The tag of the agents' image.
    pub fn image_tag(&self) -> &str {
        if self.agent == Agent::Legacy && self.agent_version == default_agent_version() {
            return LEGACY_VERSION;
        }
        &self.agent_version
    }
}

/// The version of a legacy agent that names none.
const LEGACY_VERSION: &str = "v1.7.10";

pub(crate) fn default_warm_up() -> Span {
    Span::minutes(5)
}

pub(crate) fn default_agent_version() -> String {
    "v1.23.1".to_owned()
}

impl Scenario {
    /// Number of nodes at the start.
    pub fn nodes(&self) -> u32 {
        self.node_groups.iter().map(|group| group.count).sum()
    }
}
