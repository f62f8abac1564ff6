//! A node, trimmed to its zone, instance type, node group, EC2 instance, maximum number of pods, cordon and readiness.

use std::collections::BTreeMap;
use std::sync::Arc;

use cni_insight::evidence::NodeStatus;
use cni_metrics_core::model::NodeLabels;
use cni_types::eni_config;
use kube::core::ObjectMeta;
use serde::Deserialize;

use super::objects::Marks;

const ZONE: &str = "topology.kubernetes.io/zone";
const INSTANCE_TYPE: &str = "node.kubernetes.io/instance-type";
/// In order of preference: EKS managed node groups, eksctl, Karpenter.
const NODE_GROUPS: [&str; 3] =
    ["eks.amazonaws.com/nodegroup", "alpha.eksctl.io/nodegroup-name", "karpenter.sh/nodepool"];
const EKSCTL_CLUSTER: &str = "alpha.eksctl.io/cluster-name";
/// Labels that name the node's `ENIConfig`.
const ENI_CONFIG_LABELS: [&str; 2] = [eni_config::EXTERNAL_LABEL, eni_config::USUAL_KEY];

/// A node with everything but what is named here left undecoded.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SlimNode {
    #[serde(deserialize_with = "slim_metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SlimNodeSpec,
    #[serde(default)]
    status: SlimNodeStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct SlimNodeSpec {
    #[serde(rename = "providerID")]
    provider_id: Option<Box<str>>,
    unschedulable: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct SlimNodeStatus {
    allocatable: Option<SlimResources>,
    conditions: Option<Vec<SlimCondition>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct SlimResources {
    pods: Option<Box<str>>,
}

#[derive(Debug, Clone, Deserialize)]
struct SlimCondition {
    #[serde(rename = "type")]
    kind: Option<Box<str>>,
    status: Option<Box<str>>,
}

/// An EC2 instance's id in 8 bytes: `i-` and 8 hexadecimal digits, or 17 of which the first is 0, as all are that AWS has
/// given out so far. Other ids, and those of nodes that are no instances, are not kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct InstanceId(u64);

impl InstanceId {
    /// `aws:///eu-west-1a/i-0123456789abcdef0` ends in the instance's id.
    fn of_provider(provider_id: &str) -> Self {
        let digits = provider_id.rsplit('/').next().and_then(|id| id.strip_prefix("i-")).unwrap_or_default();
        let is_id = match digits.len() {
            8 => true,
            17 => digits.starts_with('0'),
            _ => false,
        };
        let is_id = is_id && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        Self(if is_id { u64::from_str_radix(digits, 16).unwrap_or(0) } else { 0 })
    }

    /// The id as EC2 writes it; `None` if the node is no instance.
    pub(crate) fn text(self) -> Option<String> {
        match self.0 {
            0 => None,
            short if u32::try_from(short).is_ok() => Some(format!("i-{short:08x}")),
            long => Some(format!("i-{long:017x}")),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlimNodeMeta {
    name: Option<String>,
    resource_version: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: SlimAnnotations,
}

/// The one annotation that is read; the others are skipped as they are decoded.
#[derive(Default, Deserialize)]
struct SlimAnnotations {
    #[serde(rename = "k8s.amazonaws.com/eniConfig")]
    eni_config: Option<String>,
}

fn slim_metadata<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let mut slim = SlimNodeMeta::deserialize(deserializer)?;
    slim.labels.retain(|label, _| {
        let label = label.as_str();
        label == ZONE
            || label == INSTANCE_TYPE
            || label == EKSCTL_CLUSTER
            || NODE_GROUPS.contains(&label)
            || ENI_CONFIG_LABELS.contains(&label)
    });
    let annotation = slim.annotations.eni_config;
    Ok(ObjectMeta {
        name: slim.name,
        resource_version: slim.resource_version,
        labels: Some(slim.labels),
        annotations: annotation.map(|name| BTreeMap::from([(eni_config::USUAL_KEY.to_owned(), name)])),
        ..ObjectMeta::default()
    })
}

impl SlimNode {
    /// The node's name.
    pub(crate) fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// The cluster's name as eksctl labels it.
    pub(crate) fn eksctl_cluster(&self) -> Option<&str> {
        self.label(EKSCTL_CLUSTER)
    }

    /// The EC2 instance it is.
    pub(crate) fn instance(&self) -> InstanceId {
        self.spec.provider_id.as_deref().map(InstanceId::of_provider).unwrap_or_default()
    }

    /// Its maximum number of pods, cordon and readiness.
    pub(crate) fn status(&self) -> NodeStatus {
        let max_pods =
            self.status.allocatable.as_ref().and_then(|allocatable| allocatable.pods.as_deref()?.parse().ok());
        let conditions = self.status.conditions.as_deref().unwrap_or_default();
        let ready = conditions.iter().find(|condition| condition.kind.as_deref() == Some("Ready"));
        NodeStatus {
            max_pods,
            is_cordoned: self.spec.unschedulable == Some(true),
            // `Unknown`: the kubelet no longer reports.
            is_ready: ready.and_then(|ready| ready.status.as_deref()).map(|status| status == "True"),
        }
    }

    /// What names its `ENIConfig`.
    pub(crate) fn marks(&self) -> Marks {
        let annotation = self.metadata.annotations.as_ref().and_then(|all| all.get(eni_config::USUAL_KEY));
        // An empty value is a name for the agent, too.
        let label = |label: &str| self.metadata.labels.as_ref()?.get(label).map(|text| Box::from(text.as_str()));
        Marks {
            external: label(eni_config::EXTERNAL_LABEL),
            annotation: annotation.map(|text| Box::from(text.as_str())),
            label: label(eni_config::USUAL_KEY),
        }
    }

    /// What the index keeps of its labels.
    pub(crate) fn labels(&self) -> NodeLabels {
        let owned = |label: &str| self.label(label).map(Arc::from);
        NodeLabels {
            zone: owned(ZONE),
            instance_type: owned(INSTANCE_TYPE),
            node_group: NODE_GROUPS.iter().find_map(|label| owned(label)),
        }
    }

    fn label(&self, label: &str) -> Option<&str> {
        self.metadata.labels.as_ref()?.get(label).map(String::as_str).filter(|text| !text.is_empty())
    }
}

super::slim::slim_resource!(SlimNode, k8s_openapi::ClusterResourceScope, "Node", "nodes");

#[cfg(test)]
mod tests {
    use super::*;

    fn node(labels: &serde_json::Value) -> SlimNode {
        serde_json::from_value(serde_json::json!({"metadata": {"name": "n", "labels": labels}})).unwrap()
    }

    #[test]
    fn the_managed_node_group_wins_over_the_others() {
        let labels = node(&serde_json::json!({
            "topology.kubernetes.io/zone": "eu-west-1a", "node.kubernetes.io/instance-type": "m5.large",
            "karpenter.sh/nodepool": "pool", "eks.amazonaws.com/nodegroup": "ng-1", "other": "x",
        }))
        .labels();
        assert_eq!(labels.zone.as_deref(), Some("eu-west-1a"));
        assert_eq!(labels.instance_type.as_deref(), Some("m5.large"));
        assert_eq!(labels.node_group.as_deref(), Some("ng-1"));
    }

    #[test]
    fn a_missing_or_empty_label_is_none() {
        let labels = node(&serde_json::json!({"topology.kubernetes.io/zone": ""})).labels();
        assert_eq!(labels, NodeLabels::default());
    }

    #[test]
    fn a_nodes_state_is_read_where_it_is_told() {
        let status = |object: serde_json::Value| serde_json::from_value::<SlimNode>(object).unwrap().status();
        let whole = status(serde_json::json!({
            "metadata": {"name": "n"}, "spec": {"unschedulable": true},
            "status": {"allocatable": {"cpu": "2", "pods": "58"}, "capacity": {"pods": "110"}, "conditions": [
                {"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "Unknown"},
            ]},
        }));
        assert_eq!(whole, NodeStatus { max_pods: Some(58), is_cordoned: true, is_ready: Some(false) });
        let ready =
            serde_json::json!({"metadata": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        assert_eq!(status(ready), NodeStatus { max_pods: None, is_cordoned: false, is_ready: Some(true) });
        let odd = serde_json::json!({"metadata": {}, "status": {"allocatable": {"pods": "many"}, "conditions": [{}]}});
        assert_eq!(status(odd), NodeStatus::default());
        assert_eq!(status(serde_json::json!({"metadata": {"name": "n"}})), NodeStatus::default());
    }

    #[test]
    fn an_instances_id_is_read_from_the_providers_id() {
        let id = |provider: &str| InstanceId::of_provider(provider).text();
        for known in ["i-0123456789abcdef0", "i-1234abcd", "i-00000001"] {
            assert_eq!(id(&format!("aws:///eu-west-1a/{known}")).as_deref(), Some(known));
        }
        let others =
            ["", "i-", "aws:///eu-west-1a/fargate-ip-10-0-0-1", "eks-hybrid:///eu-west-1/c/mi-0123456789abcdef0"];
        for other in
            others.into_iter().chain(["aws:///a/i-0123456789ABCDEF0", "aws:///a/i-123", "kind://docker/kind/node"])
        {
            assert_eq!(id(other), None, "{other}");
        }
        assert_eq!(id(&format!("aws:///a/i-{}", "f".repeat(1 << 16))), None);
    }
}
