//! A node group of the scenario, resolved: limits, settings and subnets of its nodes.

use crate::scenario::{Agent, NodeGroup, PlacementSpec, SubnetSpec};
use cni_types::agent_settings::AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG;
use cni_types::limits::InstanceLimits;
use ipamd_model::metrics::{PageFlavour, Release};
use ipamd_model::pool::Placement;
use ipamd_model::settings::Settings;
use std::sync::Arc;

/// What the nodes of one group are made of.
#[derive(Debug)]
pub(super) struct GroupPlan {
    pub(super) limits: InstanceLimits,
    pub(super) settings: Settings,
    pub(super) subnet: u32,
    pub(super) pod_subnet: Option<u32>,
    pub(super) zone: Arc<str>,
    pub(super) max_pods: u32,
    pub(super) placement: Placement,
    pub(super) flavour: PageFlavour,
}

impl GroupPlan {
    /// `None` for a group that names what does not exist, which a checked scenario never does.
    pub(super) fn new(group: &NodeGroup, subnets: &[SubnetSpec]) -> Option<Self> {
        let limits = cni_types::limits::find(&group.instance_type.value)?;
        let position = |name: &str| subnets.iter().position(|subnet| subnet.name == name);
        let subnet = position(&group.subnet.value)?;
        let pod_subnet = group.pod_subnet.as_ref().and_then(|at| position(&at.value));
        let custom_networking = pod_subnet.map(|_| (AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG.name, "true"));
        let values: Vec<(&str, String)> = group.env.iter().map(|(name, at)| (&**name, at.value.to_string())).collect();
        let given = values.iter().map(|(name, value)| (*name, value.as_str()));
        Some(Self {
            limits,
            settings: Settings::manifest_with(custom_networking.into_iter().chain(given)),
            subnet: u32::try_from(subnet).ok()?,
            pod_subnet: pod_subnet.and_then(|index| u32::try_from(index).ok()),
            zone: subnets.get(subnet)?.zone.as_str().into(),
            max_pods: group.max_pods.unwrap_or_else(|| limits.listed_max_pods()),
            placement: match group.placement {
                PlacementSpec::Random => Placement::Random,
                PlacementSpec::FirstFit => Placement::FirstFit,
            },
            flavour: match group.agent {
                Agent::Current => PageFlavour::V1_23,
                Agent::CountersAsGauges => PageFlavour::CountersAsGauges,
                Agent::Legacy => PageFlavour::Legacy(Release::of_tag(group.image_tag()).unwrap_or(Release::OLD)),
            },
        })
    }
}
