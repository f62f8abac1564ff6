//! A node's spec and status.

use super::parts::write_condition;
use crate::kube_store::json::Json;
use crate::kube_store::objects::NodeObject;

/// `status.nodeInfo.osImage`, also a column of `kubectl get nodes -o wide`.
pub(crate) const OS_IMAGE: &str = "Amazon Linux 2023.9.20261110";
/// `status.nodeInfo.kernelVersion`.
pub(crate) const KERNEL_VERSION: &str = "6.12.46-66.121.amzn2023.x86_64";
/// `status.nodeInfo.containerRuntimeVersion`.
pub(crate) const CONTAINER_RUNTIME: &str = "containerd://2.1.4";

/// `spec` and `status`.
pub(super) fn write_body(json: &mut Json, node: &NodeObject) {
    json.object_at("spec", |json| {
        json.str_at("providerID", &node.provider_id);
        if node.unschedulable {
            json.bool_at("unschedulable", true);
        }
        if !node.taints.is_empty() {
            json.array_at("taints", |json| {
                for (key, value, effect) in node.taints.iter() {
                    json.object(|json| {
                        json.str_at("key", key);
                        if !value.is_empty() {
                            json.str_at("value", value);
                        }
                        json.str_at("effect", effect);
                    });
                }
            });
        }
    });
    json.object_at("status", |json| write_status(json, node));
}

fn write_status(json: &mut Json, node: &NodeObject) {
    for key in ["capacity", "allocatable"] {
        json.object_at(key, |json| {
            json.str_at("cpu", &cores(node.cpu_millis));
            json.str_at("ephemeral-storage", "83873772Ki");
            json.str_at("memory", &format!("{}Mi", node.memory_mib));
            json.str_at("pods", &node.max_pods.to_string());
        });
    }
    json.array_at("conditions", |json| {
        for (kind, reason) in [
            ("MemoryPressure", "KubeletHasSufficientMemory"),
            ("DiskPressure", "KubeletHasNoDiskPressure"),
            ("PIDPressure", "KubeletHasSufficientPID"),
        ] {
            write_condition(json, kind, false, node.meta.created_ms, &[("reason", reason)]);
        }
        let reason = if node.ready { "KubeletReady" } else { "KubeletNotReady" };
        write_condition(json, "Ready", node.ready, node.ready_since_ms, &[("reason", reason)]);
    });
    json.array_at("addresses", |json| {
        for (kind, address) in [("InternalIP", node.internal_ip.to_string()), ("Hostname", node.meta.name.to_string())]
        {
            json.object(|json| {
                json.str_at("type", kind);
                json.str_at("address", &address);
            });
        }
    });
    json.object_at("daemonEndpoints", |json| {
        json.object_at("kubeletEndpoint", |json| json.int_at("Port", 10_250));
    });
    let architecture = node.meta.label("kubernetes.io/arch").unwrap_or("amd64");
    json.object_at("nodeInfo", |json| {
        for (key, value) in [
            ("kernelVersion", KERNEL_VERSION),
            ("osImage", OS_IMAGE),
            ("containerRuntimeVersion", CONTAINER_RUNTIME),
            ("kubeletVersion", &node.kubelet_version),
            ("kubeProxyVersion", ""),
            ("operatingSystem", "linux"),
            ("architecture", architecture),
            ("machineID", ""),
            ("systemUUID", ""),
            ("bootID", ""),
        ] {
            json.str_at(key, value);
        }
    });
}

/// Thousandths of a core as a quantity: `4` or `3920m`.
fn cores(cpu_millis: u32) -> String {
    if cpu_millis.is_multiple_of(1000) { (cpu_millis / 1000).to_string() } else { format!("{cpu_millis}m") }
}
