//! The cluster as the Kubernetes API shows it.

pub(super) use super::slot::AGENT_NAMESPACE;
use super::slot::{AgentShown, Shown, Slot};
use crate::kube_store::{
    ContainerPhase, ContainerState, CustomObject, DaemonSetObject, Expect, Kind, KubeStore, Meta, NamespaceObject,
    NodeObject, Object, ObjectKey, Owner, Pairs, PodObject, PodPhase, PodTemplate, Taint, Uid, pairs,
};
use crate::scenario::Scenario;
use cni_types::agent_settings::{AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG, CLUSTER_NAME, ENABLE_POD_ENI};
use cni_types::eni_config;
use serde_json::json;
use std::net::IpAddr;
use std::sync::Arc;

const AGENT: &str = "aws-node";

/// What all objects of one node group share.
#[derive(Debug)]
pub(super) struct GroupObjects {
    template: Arc<PodTemplate>,
    node_labels: Pairs,
    instance_type: String,
    cluster: Arc<str>,
    /// Security groups for pods are on: each node has a `CNINode`, by which it asks for a trunk.
    has_cni_nodes: bool,
}

/// Texts that all objects have in common.
#[derive(Debug)]
struct Texts {
    agent_namespace: Arc<str>,
    hostname: Arc<str>,
    zone: Arc<str>,
    old_zone: Arc<str>,
    node_ip: Arc<str>,
    kubelet_version: Arc<str>,
    /// By whether the node is cordoned, and whether it is ready.
    taints: [[Arc<[Taint]>; 2]; 2],
}

impl Texts {
    fn new() -> Self {
        let taint = |key: &str| -> Taint { (key.into(), "".into(), "NoSchedule".into()) };
        let (cordoned, not_ready) = (taint("node.kubernetes.io/unschedulable"), taint("node.kubernetes.io/not-ready"));
        Self {
            agent_namespace: AGENT_NAMESPACE.into(),
            hostname: "kubernetes.io/hostname".into(),
            zone: "topology.kubernetes.io/zone".into(),
            old_zone: "failure-domain.beta.kubernetes.io/zone".into(),
            node_ip: "alpha.kubernetes.io/provided-node-ip".into(),
            kubelet_version: "v1.33.4-eks-1".into(),
            taints: [
                [[not_ready.clone()].into(), [].into()],
                [[cordoned.clone(), not_ready].into(), [cordoned].into()],
            ],
        }
    }

    fn taints(&self, shown: &Shown) -> Arc<[Taint]> {
        let [free, cordoned] = &self.taints;
        let [not_ready, ready] = if shown.cordoned { cordoned } else { free };
        Arc::clone(if shown.node_ready { ready } else { not_ready })
    }
}

/// What all objects of the cluster share.
#[derive(Debug)]
pub(super) struct Objects {
    pub(super) groups: Vec<GroupObjects>,
    agent_labels: Pairs,
    owner: Arc<Owner>,
    created_ms: i64,
    workload: Arc<PodTemplate>,
    workload_labels: Pairs,
    texts: Texts,
}

impl Objects {
    pub(super) fn new(scenario: &Scenario, created_ms: i64) -> Self {
        let groups = scenario.node_groups.iter().map(|group| {
            let mut env: Vec<(String, String)> = vec![(CLUSTER_NAME.name.to_owned(), scenario.cluster.name.clone())];
            if group.pod_subnet.is_some() {
                env.push((AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG.name.to_owned(), "true".to_owned()));
            }
            env.extend(group.env.iter().map(|(name, at)| (name.clone(), at.value.to_string())));
            let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let mut template = PodTemplate::aws_node(group.image_tag(), &env);
            template.manifest_padding_bytes = scenario.cluster.manifest_padding_bytes;
            let mut node_labels: Vec<(String, String)> =
                group.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
            let own = [
                ("eks.amazonaws.com/nodegroup", group.name.as_str()),
                ("alpha.eksctl.io/nodegroup-name", &group.name),
                ("alpha.eksctl.io/cluster-name", &scenario.cluster.name),
                ("node.kubernetes.io/instance-type", &group.instance_type.value),
                ("topology.kubernetes.io/region", &scenario.cluster.region),
                ("kubernetes.io/os", "linux"),
                ("kubernetes.io/arch", "amd64"),
            ];
            let pods = group.pod_subnet.as_ref().map(|subnet| (eni_config::USUAL_KEY, subnet.value.as_str()));
            let own = own.into_iter().chain(pods);
            let missing = own.filter(|(key, _)| !group.labels.contains_key(*key));
            node_labels.extend(missing.map(|(key, value)| (key.to_owned(), value.to_owned())));
            let pod_eni = group.env.get(ENABLE_POD_ENI.name).map(|at| at.value.to_string());
            GroupObjects {
                has_cni_nodes: ENABLE_POD_ENI.read(pod_eni.as_deref()),
                template: Arc::new(template),
                node_labels: pairs(node_labels),
                instance_type: group.instance_type.value.clone(),
                cluster: scenario.cluster.name.as_str().into(),
            }
        });
        let key = ObjectKey::new(AGENT_NAMESPACE, AGENT);
        let uid = Uid::derived("DaemonSet", &key, created_ms);
        Self {
            groups: groups.collect(),
            agent_labels: pairs([
                ("k8s-app", AGENT),
                ("app.kubernetes.io/name", AGENT),
                ("app.kubernetes.io/instance", "aws-vpc-cni"),
                ("controller-revision-hash", "7d9b5c5f6c"),
                ("pod-template-generation", "1"),
            ]),
            owner: Arc::new(Owner { api_version: "apps/v1".into(), kind: "DaemonSet".into(), name: AGENT.into(), uid }),
            created_ms,
            workload: Arc::new(PodTemplate::workload("web", "registry.example/web:1")),
            workload_labels: pairs([("app", "web")]),
            texts: Texts::new(),
        }
    }

    /// What is there before any node.
    pub(super) fn found(&self, kube: &KubeStore) {
        for namespace in ["default", AGENT_NAMESPACE, "kube-public", "kube-node-lease"] {
            let mut meta = Meta::new("", namespace, self.created_ms);
            meta.labels = pairs([("kubernetes.io/metadata.name", namespace)]);
            kube.upsert_namespace(NamespaceObject { meta });
        }
        self.daemon_set(kube, 0, 0);
    }

    /// The `ENIConfig` of a subnet for pods.
    pub(super) fn eni_config(&self, kube: &KubeStore, name: &str, subnet: &str) {
        let meta = Meta::new("", name, self.created_ms);
        let spec = serde_json::Map::from_iter([("subnet".to_owned(), json!(subnet))]);
        kube.upsert(Object::EniConfig(Arc::new(CustomObject { meta, spec })));
    }

    /// The agents' `DaemonSet`.
    pub(super) fn daemon_set(&self, kube: &KubeStore, desired: u32, ready: u32) {
        let Some(group) = self.groups.first() else { return };
        let mut meta = Meta::new(AGENT_NAMESPACE, AGENT, self.created_ms);
        meta.uid = self.owner.uid;
        meta.labels = self.agent_labels.clone();
        kube.upsert_daemon_set(DaemonSetObject {
            meta,
            selector: pairs([("k8s-app", AGENT)]),
            template: Arc::clone(&group.template),
            desired,
            current: desired,
            ready,
            updated: desired,
            generation: 1,
        });
    }

    /// A node's `CNINode`, where its group has them.
    fn cni_node(&self, kube: &KubeStore, slot: &Slot) {
        if self.groups.get(slot.group).is_some_and(|group| group.has_cni_nodes) {
            let meta = Meta::new("", Arc::clone(&slot.node_name), slot.created_ms);
            let features = json!([{ "name": "SecurityGroupsForPods", "value": "" }]);
            let spec = serde_json::Map::from_iter([("features".to_owned(), features)]);
            kube.upsert(Object::CniNode(Arc::new(CustomObject { meta, spec })));
        }
    }

    /// A node that is gone.
    pub(super) fn node_deleted(&self, kube: &KubeStore, slot: &Slot) {
        kube.delete_node(&slot.node_name);
        if self.groups.get(slot.group).is_some_and(|group| group.has_cni_nodes) {
            let key = ObjectKey::new("", Arc::clone(&slot.node_name));
            // It goes with its node, and a scenario may have deleted it before.
            let _gone = kube.delete(Kind::CniNode, &key, Expect::Present);
        }
    }

    /// A node.
    pub(super) fn node(&self, kube: &KubeStore, slot: &Slot, shown: &Shown) {
        let Some(group) = self.groups.get(slot.group) else { return };
        let own = [
            (&self.texts.hostname, &slot.node_name),
            (&self.texts.zone, &slot.zone),
            (&self.texts.old_zone, &slot.zone),
        ];
        let own = own.map(|(key, value)| (Arc::clone(key), Arc::clone(value)));
        let mut labels: Vec<_> = group.node_labels.iter().cloned().chain(own).collect();
        labels.sort();
        let mut meta = Meta::new("", Arc::clone(&slot.node_name), slot.created_ms);
        meta.labels = labels.into();
        meta.annotations = [(Arc::clone(&self.texts.node_ip), slot.ip.to_string().into())].into();
        kube.upsert_node(NodeObject {
            meta,
            provider_id: format!("aws:///{}/{}", slot.zone, slot.instance).into(),
            internal_ip: IpAddr::V4(slot.ip),
            ready: shown.node_ready,
            unschedulable: shown.cordoned,
            taints: self.texts.taints(shown),
            cpu_millis: 4_000,
            memory_mib: 16_384,
            max_pods: slot.max_pods,
            kubelet_version: Arc::clone(&self.texts.kubelet_version),
            ready_since_ms: shown.node_ready_since_ms.unwrap_or(slot.created_ms),
        });
        self.cni_node(kube, slot);
    }

    /// An agent's pod.
    pub(super) fn agent(&self, kube: &KubeStore, slot: &Slot, shown: &Shown) {
        let Some(group) = self.groups.get(slot.group) else { return };
        let name = Arc::clone(&slot.pod_name);
        let mut meta = Meta::new(Arc::clone(&self.texts.agent_namespace), name, slot.created_ms);
        meta.labels = self.agent_labels.clone();
        meta.owner = Some(Arc::clone(&self.owner));
        let template = Arc::clone(&group.template);
        let mut pod = PodObject::running(meta, template, Arc::clone(&slot.node_name), IpAddr::V4(slot.ip));
        let mut states = pod.containers.to_vec();
        if let Some(agent) = states.first_mut() {
            *agent = container(shown);
        }
        pod.containers = states.into();
        pod.phase = PodPhase::Running;
        kube.upsert_pod(pod);
    }

    /// The UID the agent's pod gets.
    pub(super) fn agent_uid(name: &Arc<str>, created_ms: i64) -> Uid {
        Uid::derived("Pod", &ObjectKey::new(AGENT_NAMESPACE, Arc::clone(name)), created_ms)
    }

    /// A pod of the workload. One that has waited stays the same pod.
    pub(super) fn workload_pod(&self, kube: &KubeStore, slot: &Slot, number: u64, ip: IpAddr, now_ms: i64) {
        let mut meta = Meta::new("default", workload_name(number), now_ms);
        meta.labels = self.workload_labels.clone();
        let mut pod = PodObject::running(meta, Arc::clone(&self.workload), Arc::clone(&slot.node_name), ip);
        if let Some(waited) = kube.pod(&pod.meta.key()) {
            (pod.meta.created_ms, pod.meta.uid) = (waited.meta.created_ms, waited.meta.uid);
        }
        pod.host_ip = Some(IpAddr::V4(slot.ip));
        kube.upsert_pod(pod);
    }

    /// A pod of the workload whose sandbox has no address yet: Pending, its container `ContainerCreating`.
    pub(super) fn waiting_pod(&self, kube: &KubeStore, slot: &Slot, number: u64, now_ms: i64) {
        let mut meta = Meta::new("default", workload_name(number), now_ms);
        meta.labels = self.workload_labels.clone();
        kube.upsert_pod(PodObject {
            meta,
            template: Arc::clone(&self.workload),
            node_name: Some(Arc::clone(&slot.node_name)),
            host_ip: Some(IpAddr::V4(slot.ip)),
            pod_ip: None,
            phase: PodPhase::Pending,
            reason: None,
            containers: Box::default(),
        });
    }

    /// Instance type of a group.
    pub(super) fn instance_type(&self, group: usize) -> &str {
        self.groups.get(group).map_or("", |group| group.instance_type.as_str())
    }

    /// Name of the cluster.
    pub(super) fn cluster(&self) -> &str {
        self.groups.first().map_or("", |group| &group.cluster)
    }

    /// The same, to be kept.
    pub(super) fn shared_cluster(&self) -> Option<Arc<str>> {
        self.groups.first().map(|group| Arc::clone(&group.cluster))
    }
}

/// Name of a workload pod.
pub(super) fn workload_name(number: u64) -> String {
    format!("web-{number:x}")
}

fn container(shown: &Shown) -> ContainerState {
    let phase = match shown.agent {
        AgentShown::Starting | AgentShown::Serving => ContainerPhase::Running,
        AgentShown::BackOff => ContainerPhase::Waiting("CrashLoopBackOff".into()),
    };
    ContainerState {
        phase,
        ready: shown.agent == AgentShown::Serving && !shown.probe_fails,
        restarts: shown.restarts,
        started_ms: shown.started_ms,
        last_finished_ms: (shown.restarts > 0).then_some(shown.started_ms),
    }
}
