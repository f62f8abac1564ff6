//! Objects of the API server that say how agents are meant to work: `ENIConfig`, `CNINode`, the agents' `DaemonSet`. They are
//! watched with `INSIGHT=cluster` only, each with a right of its own. One that cannot be read never touches a round.

mod kinds;
mod marks;
mod table;

use std::sync::Arc;

use cni_insight::evidence::{
    CniNodeEvidence, DaemonSetStatus, EniConfigContent, EniConfigEvidence, InsightLevel, Sources,
};
use cni_types::agent_settings::AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG;
use cni_types::eni_config;
use cni_types::rights::{AGENTS_DAEMON_SET, CNI_NODES, DAEMON_SET, ENI_CONFIGS};
use cni_types::shard::Shard;
use kube::{Api, Client};
use tokio::sync::watch;

use self::kinds::{SlimCniNode, SlimDaemonSet, SlimEniConfig};
pub(crate) use self::marks::{Marks, MarksTable};
use self::table::{ObjectTable, Objects};
use super::agent::AgentSpec;
use super::stream::ListWatch;

/// The watches of the level `cluster`, as they last showed the objects.
#[derive(Debug, Default)]
pub struct ClusterObjects {
    /// Subnets of the `ENIConfig` objects.
    eni_configs: ObjectTable<Box<str>>,
    cni_nodes: ObjectTable<CniNodeEvidence>,
    daemon_sets: ObjectTable<DaemonSetStatus>,
    /// Filled by the watch of nodes.
    pub(super) marks: MarksTable,
}

impl ClusterObjects {
    /// `None` where the level does not read them.
    pub(super) fn of_level(level: InsightLevel) -> Option<Arc<Self>> {
        (level >= InsightLevel::Cluster).then(Arc::default)
    }

    /// Watches `ENIConfig` objects for ever.
    pub(super) async fn watch_eni_configs(self: Arc<Self>, client: Client) {
        let watch = ListWatch::new(Api::<SlimEniConfig>::all(client), None);
        self.eni_configs.follow(watch, ENI_CONFIGS, |object| Some(object.subnet())).await;
    }

    /// Watches the `CNINode` objects of the shard's nodes for ever.
    pub(super) async fn watch_cni_nodes(self: Arc<Self>, client: Client, shard: Option<Shard>) {
        let watch = ListWatch::new(Api::<SlimCniNode>::all(client), None);
        let is_ours = |object: &SlimCniNode| shard.is_none_or(|shard| shard.owns(Some(object.name())));
        self.cni_nodes.follow(watch, CNI_NODES, |object| is_ours(&object).then(|| object.evidence())).await;
    }

    /// Watches the agents' `DaemonSet`, in their namespace, for ever.
    pub(super) async fn watch_daemon_set(self: Arc<Self>, client: Client, namespace: String) {
        let api = Api::<SlimDaemonSet>::namespaced(client, &namespace);
        let watch = ListWatch::new(api, None).of_name(AGENTS_DAEMON_SET);
        self.daemon_sets.follow(watch, DAEMON_SET, |object| Some(object.status())).await;
    }

    /// Waits until each source was listed, or is known to be out of reach.
    pub async fn settled(&self) {
        self.eni_configs.settled().await;
        self.cni_nodes.settled().await;
        self.daemon_sets.settled().await;
    }

    /// The states of the sources, in place of those that these have.
    pub(crate) fn states(&self, sources: Sources) -> Sources {
        Sources {
            eni_configs: self.eni_configs.state(),
            cni_nodes: self.cni_nodes.state(),
            daemon_set: self.daemon_sets.state(),
            ..sources
        }
    }

    /// All of them for the time of one conclusion; changes wait meanwhile.
    pub(crate) fn read(&self) -> ObjectsNow<'_> {
        ObjectsNow {
            eni_configs: self.eni_configs.read(),
            cni_nodes: self.cni_nodes.read(),
            daemon_sets: self.daemon_sets.read(),
            marks: self.marks.read(),
        }
    }
}

/// The objects as they are now.
#[derive(Debug)]
pub(crate) struct ObjectsNow<'a> {
    eni_configs: Objects<'a, Box<str>>,
    cni_nodes: Objects<'a, CniNodeEvidence>,
    daemon_sets: Objects<'a, DaemonSetStatus>,
    marks: watch::Ref<'a, marks::NodeMarksByName>,
}

impl ObjectsNow<'_> {
    /// How far an update of the agents is.
    pub(crate) fn daemon_set(&self) -> Option<DaemonSetStatus> {
        self.daemon_sets.get(AGENTS_DAEMON_SET).copied()
    }

    /// The node's `CNINode`. Nodes that have none do not ask for a trunk; where there is no such kind, none can.
    pub(crate) fn cni_node(&self, node: &str) -> Option<CniNodeEvidence> {
        let is_known = self.cni_nodes.is_known() && !self.cni_nodes.is_without_kind();
        is_known.then(|| self.cni_nodes.get(node).copied().unwrap_or(CniNodeEvidence { wants_trunk: false }))
    }

    /// The `ENIConfig` of a node with custom networking.
    pub(crate) fn eni_config<'s>(
        &'s self,
        agent: &AgentSpec,
        node: &str,
        zone: Option<&'s str>,
    ) -> Option<EniConfigEvidence<'s>> {
        let switch = AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG;
        if !switch.read(agent.env(switch.name)) || !self.eni_configs.is_known() {
            return None;
        }
        let marks = self.marks.marks(node)?;
        let marks = eni_config::NodeMarks { zone, ..marks };
        let (annotation, label) = (eni_config::ANNOTATION_VARIABLE, eni_config::LABEL_VARIABLE);
        let name = eni_config::name(marks, agent.env(annotation), agent.env(label))?;
        let content = self.eni_configs.get(name).map(|subnet| EniConfigContent { subnet });
        Some(EniConfigEvidence { name, content })
    }
}

#[cfg(test)]
mod tests;
