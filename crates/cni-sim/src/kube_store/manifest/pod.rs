//! A pod's spec and status.

use std::net::IpAddr;

use super::parts::{rfc3339, write_condition};
use crate::kube_store::json::Json;
use crate::kube_store::objects::{
    ContainerPhase, ContainerState, ContainerTemplate, PodObject, PodPhase, PodTemplate, RenderedTemplate,
};

impl PodTemplate {
    fn rendered(&self) -> &RenderedTemplate {
        self.rendered.get_or_init(|| {
            let mut json = Json::new();
            json.object(|json| write_template_spec(json, self));
            let whole = json.finish();
            // Members only: each pod adds its own to the same object.
            let spec = whole.get(1..whole.len().saturating_sub(1)).unwrap_or_default().to_owned();
            RenderedTemplate { spec, padding: padding(self.manifest_padding_bytes) }
        })
    }
}

/// The `managedFields` that make a manifest as big as a real one.
pub(super) fn write_managed_fields(json: &mut Json, pod: &PodObject) {
    let padding = &pod.template.rendered().padding;
    if padding.is_empty() {
        return;
    }
    json.array_at("managedFields", |json| {
        json.object(|json| {
            json.str_at("manager", "kube-controller-manager");
            json.str_at("operation", "Update");
            json.str_at("apiVersion", "v1");
            json.str_at("time", &rfc3339(pod.meta.created_ms));
            json.str_at("fieldsType", "FieldsV1");
            json.raw_at("fieldsV1", padding);
        });
    });
}

/// `spec` and `status`.
pub(super) fn write_body(json: &mut Json, pod: &PodObject) {
    json.object_at("spec", |json| {
        json.raw(&pod.template.rendered().spec);
        json.opt_str_at("nodeName", pod.node_name.as_deref());
    });
    json.object_at("status", |json| write_status(json, pod));
}

/// The pod template of a controller.
pub(super) fn write_template(json: &mut Json, template: &PodTemplate) {
    json.object_at("spec", |json| json.raw(&template.rendered().spec));
}

fn write_template_spec(json: &mut Json, template: &PodTemplate) {
    if !template.init_containers.is_empty() {
        json.array_at("initContainers", |json| write_containers(json, &template.init_containers));
    }
    json.array_at("containers", |json| write_containers(json, &template.containers));
    json.str_at("restartPolicy", "Always");
    json.int_at("terminationGracePeriodSeconds", 30);
    json.str_at("dnsPolicy", "ClusterFirst");
    json.str_at("serviceAccountName", &template.service_account);
    json.str_at("serviceAccount", &template.service_account);
    if template.host_network {
        json.bool_at("hostNetwork", true);
    }
    json.object_at("securityContext", |_| {});
    json.str_at("schedulerName", "default-scheduler");
    json.array_at("tolerations", |json| {
        if template.tolerates_everything {
            json.object(|json| json.str_at("operator", "Exists"));
        }
        for taint in ["not-ready", "unreachable"] {
            json.object(|json| {
                json.str_at("key", &format!("node.kubernetes.io/{taint}"));
                json.str_at("operator", "Exists");
                json.str_at("effect", "NoExecute");
            });
        }
    });
    if let Some((class, value)) = &template.priority_class {
        json.str_at("priorityClassName", class);
        json.int_at("priority", *value);
    }
    json.bool_at("enableServiceLinks", true);
    json.str_at("preemptionPolicy", "PreemptLowerPriority");
}

fn write_containers(json: &mut Json, containers: &[ContainerTemplate]) {
    for container in containers {
        json.object(|json| write_container(json, container));
    }
}

fn write_container(json: &mut Json, container: &ContainerTemplate) {
    json.str_at("name", &container.name);
    json.str_at("image", &container.image);
    if !container.ports.is_empty() {
        json.array_at("ports", |json| {
            for (name, port) in &container.ports {
                json.object(|json| {
                    json.str_at("name", name);
                    json.int_at("containerPort", *port);
                    json.str_at("protocol", "TCP");
                });
            }
        });
    }
    if !(container.env.is_empty() && container.env_fields.is_empty()) {
        json.array_at("env", |json| {
            for (name, value) in &container.env {
                json.object(|json| {
                    json.str_at("name", name);
                    json.str_at("value", value);
                });
            }
            for (name, path) in &container.env_fields {
                json.object(|json| {
                    json.str_at("name", name);
                    json.object_at("valueFrom", |json| {
                        json.object_at("fieldRef", |json| {
                            json.str_at("apiVersion", "v1");
                            json.str_at("fieldPath", path);
                        });
                    });
                });
            }
        });
    }
    json.object_at("resources", |json| {
        json.object_at("requests", |json| {
            json.str_at("cpu", &format!("{}m", container.cpu_millis));
            if container.memory_mib > 0 {
                json.str_at("memory", &format!("{}Mi", container.memory_mib));
            }
        });
    });
    json.str_at("terminationMessagePath", "/dev/termination-log");
    json.str_at("imagePullPolicy", "IfNotPresent");
}

fn write_status(json: &mut Json, pod: &PodObject) {
    let created = pod.meta.created_ms;
    let ready_since = pod.containers.iter().map(|state| state.started_ms).max().unwrap_or(created);
    let ready = pod.ready();
    json.str_at("phase", pod.phase.as_str());
    json.opt_str_at("reason", pod.reason.as_deref());
    let not_ready: &[(&str, &str)] = if ready { &[] } else { &[("reason", "ContainersNotReady")] };
    json.array_at("conditions", |json| {
        write_condition(json, "PodScheduled", pod.node_name.is_some(), created, &[]);
        if pod.phase != PodPhase::Pending {
            write_condition(json, "Initialized", true, created, &[]);
        }
        write_condition(json, "Ready", ready, ready_since, not_ready);
        write_condition(json, "ContainersReady", ready, ready_since, not_ready);
    });
    write_addresses(json, "hostIP", "hostIPs", pod.host_ip);
    write_addresses(json, "podIP", "podIPs", pod.pod_ip);
    if pod.node_name.is_none() {
        json.str_at("qosClass", "Burstable");
        return;
    }
    json.str_at("startTime", &rfc3339(created));
    if pod.phase != PodPhase::Pending && !pod.template.init_containers.is_empty() {
        let done = ContainerState {
            phase: ContainerPhase::Terminated { reason: "Completed".into(), exit_code: 0, finished_ms: created },
            ..ContainerState::running(created)
        };
        json.array_at("initContainerStatuses", |json| {
            for container in &pod.template.init_containers {
                write_container_status(json, container, Some(&done));
            }
        });
    }
    json.array_at("containerStatuses", |json| {
        for (index, container) in pod.template.containers.iter().enumerate() {
            write_container_status(json, container, pod.containers.get(index));
        }
    });
    json.str_at("qosClass", "Burstable");
}

fn write_addresses(json: &mut Json, one: &str, many: &str, address: Option<IpAddr>) {
    if let Some(address) = address {
        let text = address.to_string();
        json.str_at(one, &text);
        json.array_at(many, |json| json.object(|json| json.str_at("ip", &text)));
    }
}

fn write_container_status(json: &mut Json, container: &ContainerTemplate, state: Option<&ContainerState>) {
    let creating = ContainerState {
        phase: ContainerPhase::Waiting("ContainerCreating".into()),
        ready: false,
        ..ContainerState::running(0)
    };
    let state = state.unwrap_or(&creating);
    let running = state.phase == ContainerPhase::Running;
    json.object(|json| {
        json.str_at("name", &container.name);
        json.object_at("state", |json| write_state(json, state));
        json.object_at("lastState", |json| {
            if let Some(finished_ms) = state.last_finished_ms {
                write_terminated(json, "Error", 1, state.started_ms.min(finished_ms), finished_ms);
            }
        });
        json.bool_at("ready", state.ready);
        json.int_at("restartCount", state.restarts);
        json.str_at("image", &container.image);
        json.str_at("imageID", if running { &container.image } else { "" });
        json.bool_at("started", running);
    });
}

fn write_state(json: &mut Json, state: &ContainerState) {
    match &state.phase {
        ContainerPhase::Running => {
            json.object_at("running", |json| json.str_at("startedAt", &rfc3339(state.started_ms)));
        }
        ContainerPhase::Waiting(reason) => json.object_at("waiting", |json| json.str_at("reason", reason)),
        ContainerPhase::Terminated { reason, exit_code, finished_ms } => {
            write_terminated(json, reason, *exit_code, state.started_ms, *finished_ms);
        }
    }
}

fn write_terminated(json: &mut Json, reason: &str, exit_code: i32, started_ms: i64, finished_ms: i64) {
    json.object_at("terminated", |json| {
        json.int_at("exitCode", exit_code);
        json.str_at("reason", reason);
        json.str_at("startedAt", &rfc3339(started_ms));
        json.str_at("finishedAt", &rfc3339(finished_ms));
    });
}

/// A `fieldsV1` object of about `bytes` bytes, in the shape server-side apply leaves behind.
fn padding(bytes: usize) -> String {
    if bytes == 0 {
        return String::new();
    }
    let mut json = Json::new();
    json.object(|json| {
        let mut field = 0_u32;
        while json.len() < bytes {
            json.object_at(&format!("k:{{\"name\":\"SETTING_{field:04}\"}}"), |json| {
                json.object_at(".", |_| {});
                json.object_at("f:name", |_| {});
                json.object_at("f:value", |_| {});
            });
            field += 1;
        }
    });
    json.finish()
}
