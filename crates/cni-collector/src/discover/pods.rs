//! A pod, trimmed to what discovery needs while it is being decoded.

use std::net::IpAddr;
use std::sync::Arc;

use cni_metrics_core::model::{PodUid, UnixMillis};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::ObjectMeta;
use serde::Deserialize;

use super::agent::{self, SlimContainer, SlimContainerStatus};
use super::index::Pod;

/// A pod with everything else left undecoded.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SlimPod {
    #[serde(deserialize_with = "slim_metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SlimPodSpec,
    #[serde(default)]
    status: SlimStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlimPodSpec {
    node_name: Option<Box<str>>,
    containers: Option<Vec<SlimContainer>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlimStatus {
    phase: Option<Box<str>>,
    #[serde(rename = "podIP")]
    pod_ip: Option<Box<str>>,
    container_statuses: Option<Vec<SlimContainerStatus>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlimPodMeta {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    creation_timestamp: Option<Box<str>>,
    deletion_timestamp: Option<Box<str>>,
}

/// Decodes the six fields of the metadata that are used; labels, annotations and managed fields are skipped unread.
fn slim_metadata<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let slim = SlimPodMeta::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: slim.name,
        namespace: slim.namespace,
        uid: slim.uid,
        resource_version: slim.resource_version,
        creation_timestamp: slim.creation_timestamp.as_deref().and_then(time),
        // A time that cannot be read is one: the pod is being deleted.
        deletion_timestamp: slim.deletion_timestamp.as_deref().map(|text| time(text).unwrap_or(Time(Timestamp::MAX))),
        ..ObjectMeta::default()
    })
}

fn time(text: &str) -> Option<Time> {
    text.parse().ok().map(Time)
}

impl SlimPod {
    /// It has what tells it from other pods.
    pub(crate) fn is_whole(&self) -> bool {
        let said = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        said(&self.metadata.name) && said(&self.metadata.uid)
    }

    /// The key under which the pod is kept.
    pub(crate) fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// The node it is scheduled on.
    pub(crate) fn node(&self) -> Option<&str> {
        self.spec.node_name.as_deref()
    }

    /// What the index keeps of it.
    pub(crate) fn into_pod(self) -> Pod {
        Pod {
            uid: PodUid::new(self.metadata.uid.unwrap_or_default()),
            name: Arc::from(self.metadata.name.unwrap_or_default()),
            node: self.spec.node_name.filter(|node| !node.is_empty()).map(Arc::from),
            ip: self.status.pod_ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok()),
            running: self.status.phase.as_deref() == Some("Running"),
            deleting: self.metadata.deletion_timestamp.is_some(),
            created_at: self.metadata.creation_timestamp.map(|time| UnixMillis(time.0.as_millisecond())),
            agent: Arc::new(agent::spec_of(self.spec.containers.unwrap_or_default())),
            restarts: agent::restarts_of(self.status.container_statuses.as_deref().unwrap_or_default()),
            is_ready: agent::is_ready(self.status.container_statuses.as_deref().unwrap_or_default()),
        }
    }
}

super::slim::slim_resource!(SlimPod, k8s_openapi::NamespaceResourceScope, "Pod", "pods");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_a_round_needs_and_nothing_else() {
        let json = serde_json::json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "aws-node-x7k2p", "namespace": "kube-system", "uid": "u-1", "resourceVersion": "7",
                "creationTimestamp": "2026-11-01T00:00:00Z",
                "labels": {"k8s-app": "aws-node"}, "managedFields": [{"manager": "kubelet"}],
            },
            "spec": {"nodeName": "ip-10-0-0-1", "containers": [{"name": "aws-node", "image": "cni:v1.18.6"}]},
            "status": {
                "phase": "Running", "podIP": "10.0.0.1",
                "containerStatuses": [
                    {"name": "aws-eks-nodeagent", "restartCount": 7, "ready": false},
                    {"name": "aws-node", "restartCount": 3, "ready": true},
                ],
            },
        });
        let slim: SlimPod = serde_json::from_value(json).unwrap();
        assert!(slim.metadata.labels.is_none() && slim.metadata.managed_fields.is_none());
        let pod = slim.into_pod();
        assert_eq!(pod.node.as_deref(), Some("ip-10-0-0-1"));
        assert_eq!(pod.ip, Some("10.0.0.1".parse().unwrap()));
        assert_eq!(pod.created_at, Some(UnixMillis(1_793_491_200_000)));
        assert!(pod.running && !pod.deleting);
        assert_eq!(pod.restarts, 3, "the agent's, not the policy agent's beside it");
        assert_eq!(pod.is_ready, Some(true), "the same");
        assert_eq!(pod.agent.version().map(|version| version.to_string()).as_deref(), Some("v1.18.6"));
    }

    #[test]
    fn odd_fields_cost_what_they_stand_for() {
        let pod = |metadata: &str, rest: &str| -> SlimPod {
            serde_json::from_str(&format!(r#"{{"metadata": {{{metadata}}}{rest}}}"#)).unwrap()
        };
        assert!(!pod(r#""name": "a""#, "").is_whole() && !pod(r#""name": "a", "uid": """#, "").is_whole());
        let odd = r#""name": "a\u001b[31m\n", "uid": "u", "creationTimestamp": "yesterday", "deletionTimestamp": "?""#;
        let status =
            r#", "spec": {"nodeName": "", "containers": null}, "status": {"phase": "Running", "podIP": "here"}"#;
        let odd = pod(odd, status);
        assert!(odd.is_whole());
        let odd = odd.into_pod();
        assert_eq!((odd.ip, odd.node.clone(), odd.created_at), (None, None, None));
        assert!(odd.deleting && !odd.is_target());
        for statuses in ["null", "[]", r#"[{"name": "aws-node"}]"#, r#"[{"restartCount": -1}]"#, "[{}]"] {
            let status = format!(r#", "status": {{"containerStatuses": {statuses}}}"#);
            assert_eq!(pod(r#""name": "a", "uid": "u""#, &status).into_pod().restarts, 0, "{statuses}");
        }
    }
}
