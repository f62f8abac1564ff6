//! A node, trimmed to its zone, instance type and node group.

use std::collections::BTreeMap;
use std::sync::Arc;

use cni_metrics_core::model::NodeLabels;
use kube::core::ObjectMeta;
use serde::Deserialize;

const ZONE: &str = "topology.kubernetes.io/zone";
const INSTANCE_TYPE: &str = "node.kubernetes.io/instance-type";
/// In order of preference: EKS managed node groups, eksctl, Karpenter.
const NODE_GROUPS: [&str; 3] =
    ["eks.amazonaws.com/nodegroup", "alpha.eksctl.io/nodegroup-name", "karpenter.sh/nodepool"];
const EKSCTL_CLUSTER: &str = "alpha.eksctl.io/cluster-name";

/// A node with everything but a few labels left undecoded.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SlimNode {
    #[serde(deserialize_with = "slim_metadata")]
    metadata: ObjectMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlimMeta {
    name: Option<String>,
    resource_version: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

fn slim_metadata<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let mut slim = SlimMeta::deserialize(deserializer)?;
    slim.labels.retain(|label, _| {
        let label = label.as_str();
        label == ZONE || label == INSTANCE_TYPE || label == EKSCTL_CLUSTER || NODE_GROUPS.contains(&label)
    });
    Ok(ObjectMeta {
        name: slim.name,
        resource_version: slim.resource_version,
        labels: Some(slim.labels),
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

    /// What the index keeps of it.
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

super::slim_resource!(SlimNode, k8s_openapi::ClusterResourceScope, "Node", "nodes");

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
}
