//! The kinds, trimmed to what is concluded from.

use cni_insight::evidence::{CniNodeEvidence, DaemonSetStatus};
use cni_types::eni_config;
use cni_types::rights::{CNI_NODES, DAEMON_SET, ENI_CONFIGS};
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::core::ObjectMeta;
use serde::Deserialize;

use crate::discover::agent::{SlimContainer, spec_of};
use crate::discover::slim::slim_resource;

/// The feature by which a node asks for a trunk ENI.
const TRUNK_FEATURE: &str = "SecurityGroupsForPods";
/// A longer id of a subnet is none.
const LONGEST_SUBNET: usize = 64;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlimMeta {
    name: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
}

/// Decodes the three fields that are used.
fn slim_metadata<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let SlimMeta { name, resource_version, generation } = SlimMeta::deserialize(deserializer)?;
    Ok(ObjectMeta { name, resource_version, generation, ..ObjectMeta::default() })
}

/// An `ENIConfig`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct SlimEniConfig {
    #[serde(deserialize_with = "slim_metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SlimEniConfigSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct SlimEniConfigSpec {
    subnet: Option<Box<str>>,
}

impl SlimEniConfig {
    /// The subnet in which ENIs are made.
    pub(super) fn subnet(self) -> Box<str> {
        self.spec.subnet.filter(|subnet| subnet.len() <= LONGEST_SUBNET).unwrap_or_default()
    }
}

slim_resource!(
    SlimEniConfig,
    ClusterResourceScope,
    "ENIConfig",
    eni_config::GROUP,
    eni_config::VERSION,
    ENI_CONFIGS.resource
);

/// A `CNINode`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct SlimCniNode {
    #[serde(deserialize_with = "slim_metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SlimCniNodeSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct SlimCniNodeSpec {
    features: Option<Vec<SlimFeature>>,
}

#[derive(Debug, Clone, Deserialize)]
struct SlimFeature {
    name: Option<Box<str>>,
}

impl SlimCniNode {
    /// The node's name, which is the object's.
    pub(super) fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// What it says.
    pub(super) fn evidence(&self) -> CniNodeEvidence {
        let mut features = self.spec.features.iter().flatten();
        CniNodeEvidence { wants_trunk: features.any(|feature| feature.name.as_deref() == Some(TRUNK_FEATURE)) }
    }
}

slim_resource!(SlimCniNode, ClusterResourceScope, "CNINode", CNI_NODES.group, "v1alpha1", CNI_NODES.resource);

/// The agents' `DaemonSet`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct SlimDaemonSet {
    #[serde(deserialize_with = "slim_metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SlimDaemonSetSpec,
    #[serde(default)]
    status: SlimDaemonSetStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct SlimDaemonSetSpec {
    #[serde(default)]
    template: SlimTemplate,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct SlimTemplate {
    #[serde(default)]
    spec: SlimTemplateSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct SlimTemplateSpec {
    containers: Option<Vec<SlimContainer>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlimDaemonSetStatus {
    updated_number_scheduled: Option<i64>,
    desired_number_scheduled: Option<i64>,
    observed_generation: Option<i64>,
}

impl SlimDaemonSet {
    /// How far an update is. A change that the controller has not seen yet has updated no node.
    pub(super) fn status(self) -> DaemonSetStatus {
        let SlimDaemonSetStatus { updated_number_scheduled, desired_number_scheduled, observed_generation } =
            self.status;
        let number = |value: Option<i64>| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(0);
        let is_seen = self.metadata.generation.zip(observed_generation).is_none_or(|(newest, seen)| seen >= newest);
        DaemonSetStatus {
            updated: if is_seen { number(updated_number_scheduled) } else { 0 },
            desired: number(desired_number_scheduled),
            version: spec_of(self.spec.template.spec.containers.unwrap_or_default()).version(),
        }
    }
}

slim_resource!(SlimDaemonSet, NamespaceResourceScope, "DaemonSet", DAEMON_SET.group, "v1", DAEMON_SET.resource);

#[cfg(test)]
mod tests {
    use cni_types::version::AgentVersion;
    use serde_json::{Value, from_value, json};

    use super::*;

    #[test]
    fn an_update_is_as_far_as_the_controller_has_seen_it() {
        let set = |generation: i64, seen: i64| {
            json!({
                "metadata": {"name": "aws-node", "generation": generation},
                "spec": {"template": {"spec": {"containers": [{"name": "aws-node", "image": "r/cni:v1.23.2"}]}}},
                "status": {"updatedNumberScheduled": 7, "desiredNumberScheduled": 7, "observedGeneration": seen},
            })
        };
        let status = |object: Value| from_value::<SlimDaemonSet>(object).unwrap().status();
        let version = Some(AgentVersion::new(1, 23, 2));
        assert_eq!(status(set(3, 3)), DaemonSetStatus { updated: 7, desired: 7, version });
        assert!(status(set(4, 3)).is_rolling_out() && !status(set(4, 4)).is_rolling_out());
        let empty = DaemonSetStatus { updated: 0, desired: 0, version: None };
        assert_eq!(status(json!({"metadata": {"name": "aws-node"}})), empty);
        assert_eq!(status(json!({"metadata": {}, "status": {"updatedNumberScheduled": -1}})), empty);
    }

    #[test]
    fn odd_objects_say_nothing() {
        let node = |spec: Value| {
            let object: SlimCniNode = from_value(json!({"metadata": {"name": "n"}, "spec": spec})).unwrap();
            object.evidence().wants_trunk
        };
        assert!(node(json!({"features": [{"name": "CustomNetworking", "value": "a"}, {"name": TRUNK_FEATURE}]})));
        for none in [json!({}), json!({"features": null}), json!({"features": [{}]}), json!({"tags": {}})] {
            assert!(!node(none.clone()), "{none}");
        }
        let config = |spec: Value| {
            from_value::<SlimEniConfig>(json!({"metadata": {"name": "a"}, "spec": spec})).unwrap().subnet()
        };
        assert_eq!(&*config(json!({"subnet": "subnet-1", "securityGroups": ["sg-1"]})), "subnet-1");
        assert_eq!(&*config(json!({})), "");
        assert_eq!(&*config(json!({"subnet": "x".repeat(1 << 10)})), "");
    }
}
