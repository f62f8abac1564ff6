//! What goes in: one round's pages, and what is known of their nodes and agents beside them.
//!
//! Everything is borrowed from the caller. What was not measured is `None` and never 0.

mod objects;

use cni_types::agent_settings::AgentSetting;
use cni_types::catalogue::LabelledFamily;
use cni_types::version::AgentVersion;

pub use objects::{CniNodeEvidence, DaemonSetStatus, EniConfigContent, EniConfigEvidence};

/// How much is read for findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum InsightLevel {
    /// Nothing is concluded.
    Off,
    /// What needs no right beyond those that the helper has anyway.
    #[default]
    Basic,
    /// The same with objects of the API server that need rights of their own: `ENIConfig`, `CNINode`, the agents' `DaemonSet`.
    Cluster,
}

impl InsightLevel {
    /// The word of the setting `INSIGHT`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Basic => "basic",
            Self::Cluster => "cluster",
        }
    }
}

/// A kind of evidence. Findings name those that would settle what they leave open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The agents' pages, round by round.
    Rounds,
    /// A second page of the same node.
    SecondPage,
    /// The agents' pods: settings, image, restarts, readiness.
    AgentPods,
    /// The nodes: zone, type, node group, maximum number of pods, cordon.
    Nodes,
    /// The `ENIConfig` objects of custom networking.
    EniConfigs,
    /// The `CNINode` objects, by which nodes ask for trunk ENIs.
    CniNodes,
    /// The agents' `DaemonSet`: how far an update of the agents is.
    DaemonSet,
    /// EC2's subnets: free addresses, tags.
    Subnets,
    /// EC2's network interfaces: free blocks, what else holds addresses.
    Interfaces,
    /// The pods of all namespaces.
    Pods,
    /// The agent's log on its node.
    AgentLog,
}

impl Source {
    /// The stable name: JSON value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rounds => "rounds",
            Self::SecondPage => "second_page",
            Self::AgentPods => "agent_pods",
            Self::Nodes => "nodes",
            Self::EniConfigs => "eniconfigs",
            Self::CniNodes => "cninodes",
            Self::DaemonSet => "daemonset",
            Self::Subnets => "subnets",
            Self::Interfaces => "interfaces",
            Self::Pods => "pods",
            Self::AgentLog => "agent_log",
        }
    }

    /// How a person gets it, in the words of a sentence.
    pub const fn how(self) -> &'static str {
        match self {
            Self::Rounds => "the agents' pages",
            Self::SecondPage => "a second page (once --for 60s, or run)",
            Self::AgentPods => "the agents' pods (settings, image)",
            Self::Nodes => "the nodes (right: list nodes)",
            Self::EniConfigs => "the ENIConfigs (INSIGHT=cluster and its rights, or kubectl get eniconfigs -o yaml)",
            Self::CniNodes => "the CNINodes (INSIGHT=cluster and its rights, or kubectl get cninodes -o yaml)",
            Self::DaemonSet => {
                "the agents' DaemonSet (INSIGHT=cluster and its rights, or kubectl -n kube-system get ds aws-node)"
            }
            Self::Subnets => "the subnet's free addresses (aws ec2 describe-subnets)",
            Self::Interfaces => "the subnet's interfaces and prefixes (aws ec2 describe-network-interfaces)",
            Self::Pods => "the node's pods (kubectl get pods -A -o wide --field-selector spec.nodeName=NODE)",
            Self::AgentLog => "the agent's log (/var/log/aws-routed-eni/ipamd.log on the node)",
        }
    }
}

/// What a source is worth now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SourceState {
    /// It is read; its last news came this long ago, milliseconds.
    Present {
        /// Since the last news.
        age_ms: u64,
    },
    /// It is read, and what it shows may be old.
    Lagging {
        /// Since the last news, milliseconds.
        age_ms: u64,
    },
    /// It cannot be read now.
    Failed,
    /// The right to read it is missing.
    NotGranted,
    /// The cluster does not have this kind of object, so that there is none.
    NoKind,
    /// It is not read.
    #[default]
    Off,
}

impl SourceState {
    /// What it shows is as things are now.
    pub const fn is_sure(self) -> bool {
        matches!(self, Self::Present { .. } | Self::NoKind)
    }
}

/// The state of each source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sources {
    /// The agents' pods.
    pub agent_pods: SourceState,
    /// The nodes.
    pub nodes: SourceState,
    /// The `ENIConfig` objects.
    pub eni_configs: SourceState,
    /// The `CNINode` objects.
    pub cni_nodes: SourceState,
    /// The agents' `DaemonSet`.
    pub daemon_set: SourceState,
}

/// What the counters of a round's pages count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// Since the node's page before.
    Increases,
    /// Since the agent's start: there is one page of each node.
    Totals,
}

/// What is the same for all nodes of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundFacts {
    /// When the round began, milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// From one round to the next, milliseconds.
    pub interval_ms: i64,
    /// What its counters count.
    pub counting: Counting,
    /// What the sources are worth.
    pub sources: Sources,
    /// How far an update of the agents is; `None` where that is not known.
    pub daemon_set: Option<DaemonSetStatus>,
}

/// The agent's environment: names and values, the last of the same name counts.
pub type Environment<'a> = &'a [(Box<str>, Box<str>)];

/// One node in one round.
#[derive(Debug, Clone, Copy)]
pub struct NodeEvidence<'a> {
    /// The UID of its agent's pod: what is remembered of it.
    pub uid: &'a str,
    /// The node's name.
    pub name: &'a str,
    /// Its availability zone.
    pub zone: Option<&'a str>,
    /// Its instance type.
    pub instance_type: Option<&'a str>,
    /// Its node group.
    pub node_group: Option<&'a str>,
    /// What the API server says of the node beside its labels; `None` where it is not known.
    pub status: Option<NodeStatus>,
    /// The `ENIConfig` by which its agent makes ENIs; `None` where it is not known which, or whether there is one.
    pub eni_config: Option<EniConfigEvidence<'a>>,
    /// Its `CNINode`; `None` where that is not known.
    pub cni_node: Option<CniNodeEvidence>,
    /// What its agent's pod says; `None` for saved pages.
    pub agent: Option<AgentEvidence<'a>>,
    /// The version of its agent, as far as page, image and the page's families tell.
    pub version: Option<AgentVersion>,
    /// Its page, or the kind of failure with which it was not read.
    pub page: Result<PageEvidence<'a>, &'static str>,
}

/// A node's own state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeStatus {
    /// The maximum number of its pods (`status.allocatable.pods`).
    pub max_pods: Option<u32>,
    /// It is cordoned (`spec.unschedulable`).
    pub is_cordoned: bool,
    /// Its condition `Ready`, where it has one.
    pub is_ready: Option<bool>,
}

/// An agent's pod.
#[derive(Debug, Clone, Copy)]
pub struct AgentEvidence<'a> {
    /// The environment of its container; `None` where that is not kept.
    pub env: Option<Environment<'a>>,
    /// How often the container was restarted.
    pub restarts: u32,
    /// The container is ready; `None` where its status does not say.
    pub is_ready: Option<bool>,
}

/// What one page says.
#[derive(Debug, Clone, Copy, Default)]
pub struct PageEvidence<'a> {
    /// The pool holds IPv6 prefixes.
    pub is_ipv6: bool,
    /// Lines of it could not be read, or values were left out as implausible.
    pub is_doubtful: bool,
    /// The agent counts refused requests; `None` where that is not known.
    pub counts_refusals: Option<bool>,
    /// Addresses assigned to pods.
    pub assigned: Option<f64>,
    /// Addresses held, assigned or not.
    pub held: Option<f64>,
    /// `ip_max`.
    pub most: Option<f64>,
    /// The largest number of addresses that the node can have for pods.
    pub usable: Option<u32>,
    /// ENIs attached.
    pub enis: Option<f64>,
    /// ENIs that can be attached.
    pub most_enis: Option<f64>,
    /// Pool actions that run now.
    pub in_progress: Option<f64>,
    /// Requests for an address that were refused.
    pub refused: Option<f64>,
    /// Requests for an address.
    pub requests: Option<f64>,
    /// ENIs that vanished while pods used them.
    pub forced_enis: Option<f64>,
    /// Addresses that vanished while pods used them.
    pub forced_addresses: Option<f64>,
    /// Counters by label set, as far as findings use them.
    pub counts: &'a [LabelCount<'a>],
}

/// One label set's part of a counter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LabelCount<'a> {
    /// The counter.
    pub family: LabelledFamily,
    /// The value of its first label.
    pub first: &'a str,
    /// The value of its second label; empty where it has one.
    pub second: &'a str,
    /// As [`RoundFacts::counting`].
    pub value: f64,
}

/// True for the counters whose label sets findings use: callers need not hand over others.
pub const fn is_used(family: LabelledFamily) -> bool {
    match family {
        LabelledFamily::AwsApiErrorCount
        | LabelledFamily::IpamdErrorCount
        | LabelledFamily::Ec2ApiErrorCount
        | LabelledFamily::PodEniErrorCount
        | LabelledFamily::ReconcileCount => true,
        LabelledFamily::AwsUtilsErrorCount | LabelledFamily::DelIpReqCount | LabelledFamily::Ec2ApiReqCount => false,
    }
}

/// How settings of a type are read; see [`AgentSetting`].
pub(crate) trait ReadSetting<'a> {
    /// What the agent makes of a text.
    type Value;
    /// Reads it from an environment.
    fn of(&self, env: Environment<'a>) -> Self::Value;
}

/// The text of a variable.
pub(crate) fn variable<'a>(env: Environment<'a>, name: &str) -> Option<&'a str> {
    env.iter().rev().find(|(known, _)| **known == *name).map(|(_, value)| value.as_ref())
}

macro_rules! read_setting {
    ($($type:ty => $value:ty),+) => {
        $(impl<'a> ReadSetting<'a> for AgentSetting<$type> {
            type Value = $value;

            fn of(&self, env: Environment<'a>) -> $value {
                self.read(variable(env, self.name))
            }
        })+
    };
}

read_setting!(bool => bool, u32 => u32, i64 => i64);
