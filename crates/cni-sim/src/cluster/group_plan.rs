//! A node group of the scenario, resolved: limits, settings and subnets of its nodes.

use super::agents::AgentMaker;
use crate::cidr::Cidr;
use crate::scenario::{Agent, CniNode, NodeGroup, PlacementSpec, Scenario};
use cni_types::agent_settings::{AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG, CLUSTER_NAME, DISABLE_METRICS};
use cni_types::limits::InstanceLimits;
use cni_types::version::AgentVersion;
use ipamd_core::Config;
use ipamd_core::chooser::Placement;
use ipamd_core::id::{SubnetId, VpcId};
use ipamd_core::metrics::{PageFlavour, Release};
use ipamd_core::settings::Settings;
use ipamd_model::world::host::HostSpec;
use ipamd_model::world::imds::ImdsSpec;
use ipamd_model::world::kube::Controller;
use ipamd_model::world::kubelet::{KubeletSpec, LinksTold};
use std::sync::Arc;

/// How long after a change of an ENI the instance metadata service shows it, milliseconds.
const IMDS_LAG_MS: (i64, i64) = (0, 3_000);

/// How long after a node asked for a trunk ENI the VPC resource controller attaches one, milliseconds.
const TRUNK_MS: (i64, i64) = (5_000, 60_000);

/// The plugin of the original says nothing of the interfaces that it makes.
const KUBELET: KubeletSpec = KubeletSpec {
    retry_ms: (8_000, 14_000),
    add_limit_ms: 120_000,
    broken_namespaces: 0.0,
    links_told: LinksTold::None,
};

/// What the nodes of one group are made of.
#[derive(Debug)]
pub(super) struct GroupPlan {
    pub(super) limits: InstanceLimits,
    pub(super) config: Arc<Config>,
    pub(super) imds: Arc<ImdsSpec>,
    pub(super) host: Arc<HostSpec>,
    pub(super) kubelet: Arc<KubeletSpec>,
    pub(super) controller: Controller,
    pub(super) subnet: SubnetId,
    pub(super) pod_subnet: Option<SubnetId>,
    pub(super) zone: Arc<str>,
    pub(super) max_pods: u32,
    pub(super) placement: Placement,
    pub(super) flavour: PageFlavour,
    /// Its agents give metrics pages.
    pub(super) has_metrics: bool,
}

impl GroupPlan {
    /// `None` for a group that names what does not exist, which a checked scenario never does.
    pub(super) fn new(group: &NodeGroup, scenario: &Scenario, ids: &[SubnetId], vpc: VpcId) -> Option<Self> {
        let limits = cni_types::limits::find(&group.instance_type.value)?;
        let position = |name: &str| scenario.subnets.iter().position(|subnet| subnet.name == name);
        let subnet = position(&group.subnet.value)?;
        let pod_subnet = group.pod_subnet.as_ref().and_then(|at| position(&at.value));
        let custom_networking = pod_subnet.map(|_| (AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG.name, "true"));
        let cluster = (CLUSTER_NAME.name, scenario.cluster.name.as_str());
        let values: Vec<(&str, String)> = group.env.iter().map(|(name, at)| (&**name, at.value.to_string())).collect();
        let metrics = values.iter().find(|(name, _)| *name == DISABLE_METRICS.name).map(|(_, value)| value.as_str());
        let has_metrics = !DISABLE_METRICS.read(metrics);
        let given = values.iter().map(|(name, value)| (*name, value.as_str()));
        let settings = Settings::manifest_with(std::iter::once(cluster).chain(custom_networking).chain(given));
        let mut config = Config::upstream(settings);
        config.unknown_subnet_serves = unknown_subnet_serves(group.image_tag());
        let block = Cidr::read(&scenario.subnets.first()?.cidr.value).ok()?;
        let [a, b, ..] = block.base.octets();
        let mut imds = ImdsSpec::new(vpc, vec![format!("{a}.{b}.0.0/16").into()]);
        imds.lag_ms = IMDS_LAG_MS;
        imds.region = scenario.cluster.region.as_str().into();
        let (from_ms, to_ms) = TRUNK_MS;
        let controller = match group.cni_node {
            CniNode::Absent => Controller::Absent,
            CniNode::Present if limits.trunk_compatible => Controller::Attaches(from_ms, to_ms),
            CniNode::Present | CniNode::Silent => Controller::Silent,
        };
        Some(Self {
            limits,
            config: Arc::new(config),
            imds: Arc::new(imds),
            host: Arc::new(HostSpec { tracks_connections: false, ..HostSpec::default() }),
            kubelet: Arc::new(KUBELET),
            controller,
            subnet: *ids.get(subnet)?,
            pod_subnet: pod_subnet.and_then(|index| ids.get(index)).copied(),
            zone: scenario.subnets.get(subnet)?.zone.as_str().into(),
            max_pods: group.max_pods.unwrap_or_else(|| limits.listed_max_pods()),
            placement: match group.placement {
                PlacementSpec::Random => Placement::Random,
                PlacementSpec::FirstFit => Placement::FirstFit,
            },
            flavour: flavour(group),
            has_metrics,
        })
    }

    /// The agents of one node of the group.
    pub(super) fn agents(&self, seed: u64) -> AgentMaker {
        AgentMaker { config: Arc::clone(&self.config), placement: self.placement, seed }
    }

    /// Its agents look pods up in the API server.
    pub(super) fn asks_for_pods(&self) -> bool {
        self.config.settings.pod_eni || self.config.settings.annotate_pod_ip
    }
}

/// The page of the group's agents: that of their version, unless the scenario says otherwise.
fn flavour(group: &NodeGroup) -> PageFlavour {
    let release = Release::of_tag(group.image_tag());
    match (group.agent, release) {
        (Agent::CountersAsGauges, _) => PageFlavour::CountersAsGauges,
        (Agent::Current, Some(release)) if release < Release::CURRENT => PageFlavour::Legacy(release),
        (Agent::Current, _) => PageFlavour::V1_23,
        (Agent::Legacy, release) => PageFlavour::Legacy(release.unwrap_or(Release::OLD)),
    }
}

/// Agents 1.22.0 to 1.23.1 leave an ENI half set up whose subnet they cannot look up at their start.
fn unknown_subnet_serves(tag: &str) -> bool {
    let affected = AgentVersion::new(1, 22, 0)..AgentVersion::new(1, 23, 2);
    AgentVersion::parse(tag).is_none_or(|version| !affected.contains(&version))
}

#[cfg(test)]
mod tests {
    use super::unknown_subnet_serves;

    #[test]
    fn agents_from_1_22_0_to_before_1_23_2_need_their_subnets() {
        let serves = ["v1.21.1", "v1.22.0", "v1.23.1-eksbuild.1", "v1.23.2", "latest"].map(unknown_subnet_serves);
        assert_eq!(serves, [true, false, false, true, true]);
    }
}
