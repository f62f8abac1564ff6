//! A node group of the scenario, resolved: limits, settings and subnets of its nodes.

use crate::scenario::{Agent, NodeGroup, PlacementSpec, SubnetSpec};
use ipamd_model::limits::InstanceLimits;
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
        let limits = ipamd_model::limits::find(&group.instance_type.value)?;
        let position = |name: &str| subnets.iter().position(|subnet| subnet.name == name);
        let subnet = position(&group.subnet.value)?;
        let pod_subnet = group.pod_subnet.as_ref().and_then(|at| position(&at.value));
        let mut env: Vec<(String, String)> =
            MANIFEST.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        if pod_subnet.is_some() {
            env.push(("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG".to_owned(), "true".to_owned()));
        }
        for (name, value) in &group.env {
            env.retain(|(known, _)| known != name);
            env.push((name.clone(), value.to_string()));
        }
        Some(Self {
            limits,
            settings: Settings::from_env(env.iter().map(|(name, value)| (name.as_str(), value.as_str()))),
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

/// The shipped manifest's settings that the model reads.
const MANIFEST: &[(&str, &str)] = &[
    ("ENABLE_IPv4", "true"),
    ("ENABLE_IPv6", "false"),
    ("WARM_ENI_TARGET", "1"),
    ("WARM_PREFIX_TARGET", "1"),
    ("ENABLE_SUBNET_DISCOVERY", "true"),
    ("NETWORK_POLICY_ENFORCING_MODE", "standard"),
];
