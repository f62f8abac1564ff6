//! Nodes on which no agent runs: the Kubernetes API shows them, and nothing else of them is simulated.

use crate::kube_store::{KubeStore, Meta, NodeObject, pairs};
use crate::scenario::{OtherKind, Scenario};
use std::net::{IpAddr, Ipv4Addr};

/// Where EKS says what runs a node.
const COMPUTE_TYPE: &str = "eks.amazonaws.com/compute-type";

/// Adds the scenario's nodes without agents. They stay as they are.
pub(super) fn add(scenario: &Scenario, kube: &KubeStore, created_ms: i64) {
    let all = scenario.other_nodes.iter().flat_map(|nodes| (0..nodes.count).map(|_| nodes.kind));
    for (number, kind) in (1_u32..).zip(all) {
        kube.upsert_node(node(scenario, (number, kind), created_ms));
    }
}

fn node(scenario: &Scenario, (number, kind): (u32, OtherKind), created_ms: i64) -> NodeObject {
    let region = &scenario.cluster.region;
    let zone = scenario.subnets.first().map_or("", |subnet| subnet.zone.as_str());
    let [_, _, high, low] = number.to_be_bytes();
    let address = Ipv4Addr::new(172, 31, high, low);
    let instance = format!("i-{number:017x}");
    let dashed = address.to_string().replace('.', "-");
    let (name, provider_id, own): (String, String, &[(&str, &str)]) = match kind {
        OtherKind::AutoMode => (instance.clone(), on_ec2(zone, &instance), &[(COMPUTE_TYPE, "auto")]),
        OtherKind::Fargate => (
            format!("fargate-ip-{dashed}.{region}.compute.internal"),
            format!("aws:///{zone}/{number:010x}-{number:032x}/fargate-ip-{dashed}.{region}.compute.internal"),
            &[(COMPUTE_TYPE, "fargate")],
        ),
        OtherKind::Windows => (
            format!("ip-{dashed}.{region}.compute.internal"),
            on_ec2(zone, &instance),
            &[("eks.amazonaws.com/nodegroup", "windows"), ("node.kubernetes.io/instance-type", "m5.large")],
        ),
        OtherKind::Hybrid => {
            let name = format!("mi-{number:017x}");
            let id = format!("eks-hybrid:///{region}/{}/{name}", scenario.cluster.name);
            (name, id, &[(COMPUTE_TYPE, "hybrid")])
        }
    };
    let os = if kind == OtherKind::Windows { "windows" } else { "linux" };
    let mut meta = Meta::new("", name.as_str(), created_ms);
    let common = [("kubernetes.io/os", os), ("kubernetes.io/hostname", name.as_str()), ("kubernetes.io/arch", "amd64")];
    let zoned = (kind != OtherKind::Hybrid).then_some(("topology.kubernetes.io/zone", zone));
    meta.labels = pairs(common.into_iter().chain(zoned).chain(own.iter().copied()));
    let taint = (kind == OtherKind::Fargate).then(|| (COMPUTE_TYPE.into(), "fargate".into(), "NoSchedule".into()));
    NodeObject {
        meta,
        provider_id: provider_id.into(),
        internal_ip: IpAddr::V4(address),
        ready: true,
        unschedulable: false,
        taints: taint.into_iter().collect(),
        cpu_millis: 4_000,
        memory_mib: 16_384,
        max_pods: 110,
        kubelet_version: "v1.33.4-eks-1".into(),
        ready_since_ms: created_ms,
    }
}

fn on_ec2(zone: &str, instance: &str) -> String {
    format!("aws:///{zone}/{instance}")
}
