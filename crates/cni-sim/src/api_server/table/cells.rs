//! The cells of one row, computed as the API server's printers do.

use crate::kube_store::json::Json;
use crate::kube_store::manifest::{CONTAINER_RUNTIME, KERNEL_VERSION, OS_IMAGE};
use crate::kube_store::{ContainerPhase, DaemonSetObject, NodeObject, Object, PodObject};

const NONE: &str = "<none>";

/// Writes the cells in column order.
pub(super) fn write(json: &mut Json, object: &Object, now_ms: i64) {
    let meta = object.meta();
    json.str(&meta.name);
    let age = age(meta.created_ms, now_ms);
    match object {
        Object::Pod(pod) => write_pod(json, pod, &age, now_ms),
        Object::Node(node) => write_node(json, node, &age),
        Object::Namespace(_) => {
            json.str(if meta.deletion_ms.is_some() { "Terminating" } else { "Active" });
            json.str(&age);
        }
        Object::DaemonSet(set) => write_daemon_set(json, set, &age),
        Object::Lease(lease) => {
            json.str(lease.spec.get("holderIdentity").and_then(serde_json::Value::as_str).unwrap_or_default());
            json.str(&age);
        }
        Object::EniConfig(_) | Object::CniNode(_) => json.str(&age),
    }
}

fn write_pod(json: &mut Json, pod: &PodObject, age: &str, now_ms: i64) {
    let ready = pod.containers.iter().filter(|container| container.ready).count();
    json.str(&format!("{ready}/{}", pod.template.containers.len()));
    json.str(&pod_status(pod));
    json.str(&restarts(pod, now_ms));
    json.str(age);
    json.str(&pod.pod_ip.map_or_else(|| NONE.to_owned(), |ip| ip.to_string()));
    json.str(pod.node_name.as_deref().unwrap_or(NONE));
    json.str(NONE);
    json.str(NONE);
}

fn pod_status(pod: &PodObject) -> String {
    if pod.meta.deletion_ms.is_some() {
        let lost = pod.reason.as_deref() == Some("NodeLost");
        return if lost { "Unknown" } else { "Terminating" }.to_owned();
    }
    let mut status = pod.reason.as_deref().unwrap_or(pod.phase.as_str()).to_owned();
    // The first container that is not simply running names the pod's trouble.
    for container in pod.containers.iter().rev() {
        match &container.phase {
            ContainerPhase::Running => {}
            ContainerPhase::Waiting(reason) | ContainerPhase::Terminated { reason, .. } => {
                reason.as_ref().clone_into(&mut status);
            }
        }
    }
    status
}

fn restarts(pod: &PodObject, now_ms: i64) -> String {
    let total: u32 = pod.containers.iter().map(|container| container.restarts).sum();
    match pod.containers.iter().filter_map(|container| container.last_finished_ms).max() {
        Some(last) if total > 0 => format!("{total} ({} ago)", age(last, now_ms)),
        _ => total.to_string(),
    }
}

fn write_node(json: &mut Json, node: &NodeObject, age: &str) {
    let ready = if node.ready { "Ready" } else { "NotReady" };
    let cordoned = if node.unschedulable { ",SchedulingDisabled" } else { "" };
    json.str(&format!("{ready}{cordoned}"));
    let role = |key: &str| key.strip_prefix("node-role.kubernetes.io/").map(str::to_owned);
    let roles: Vec<String> = node.meta.labels.iter().filter_map(|(key, _)| role(key)).collect();
    json.str(if roles.is_empty() { NONE.to_owned() } else { roles.join(",") }.as_str());
    json.str(age);
    json.str(&node.kubelet_version);
    json.str(&node.internal_ip.to_string());
    json.str(NONE);
    json.str(OS_IMAGE);
    json.str(KERNEL_VERSION);
    json.str(CONTAINER_RUNTIME);
}

fn write_daemon_set(json: &mut Json, set: &DaemonSetObject, age: &str) {
    for number in [set.desired, set.current, set.ready, set.updated, set.ready] {
        json.int(number);
    }
    json.str(NONE);
    json.str(age);
    let containers = &set.template.containers;
    json.str(&containers.iter().map(|container| container.name.as_str()).collect::<Vec<_>>().join(","));
    json.str(&containers.iter().map(|container| container.image.as_str()).collect::<Vec<_>>().join(","));
    json.str(&set.selector.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(","));
}

/// A duration as `kubectl` abbreviates it: two units while the larger one is small.
fn age(since_ms: i64, now_ms: i64) -> String {
    let seconds = now_ms.saturating_sub(since_ms).div_euclid(1000).max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |large: i64, unit: char, small: i64, small_unit: char| match small {
        0 => format!("{large}{unit}"),
        small => format!("{large}{unit}{small}{small_unit}"),
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, 'm', seconds % 60, 's'),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => two(hours, 'h', minutes % 60, 'm'),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 => two(days, 'd', hours % 24, 'h'),
        () if days < 730 => format!("{days}d"),
        () if days < 2920 => two(days / 365, 'y', days % 365, 'd'),
        () => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::age;

    #[test]
    fn ages_are_abbreviated_as_kubectl_does() {
        for (seconds, expected) in [
            (-5, "0s"),
            (119, "119s"),
            (120, "2m"),
            (150, "2m30s"),
            (600, "10m"),
            (3 * 3600, "3h"),
            (3 * 3600 + 90, "3h1m"),
            (9 * 3600, "9h"),
            (49 * 3600, "2d1h"),
            (9 * 86_400, "9d"),
            (800 * 86_400, "2y70d"),
            (3000 * 86_400, "8y"),
        ] {
            assert_eq!(age(0, seconds * 1000), expected);
        }
    }
}
