//! Spec and status of namespaces and `DaemonSets`.

use super::pod;
use crate::kube_store::json::Json;
use crate::kube_store::objects::{DaemonSetObject, NamespaceObject};

/// `spec` and `status` of a namespace.
pub(super) fn write_namespace_body(json: &mut Json, namespace: &NamespaceObject) {
    json.object_at("spec", |json| json.array_at("finalizers", |json| json.str("kubernetes")));
    let phase = if namespace.meta.deletion_ms.is_some() { "Terminating" } else { "Active" };
    json.object_at("status", |json| json.str_at("phase", phase));
}

/// `spec` and `status` of a `DaemonSet`.
pub(super) fn write_daemon_set_body(json: &mut Json, set: &DaemonSetObject) {
    json.object_at("spec", |json| {
        json.object_at("selector", |json| json.pairs_at("matchLabels", &set.selector));
        json.object_at("template", |json| {
            json.object_at("metadata", |json| json.pairs_at("labels", &set.selector));
            pod::write_template(json, &set.template);
        });
        json.object_at("updateStrategy", |json| {
            json.object_at("rollingUpdate", |json| {
                json.str_at("maxUnavailable", "10%");
                json.int_at("maxSurge", 0);
            });
            json.str_at("type", "RollingUpdate");
        });
        json.int_at("revisionHistoryLimit", 10);
    });
    json.object_at("status", |json| {
        json.int_at("currentNumberScheduled", set.current);
        json.int_at("numberMisscheduled", 0);
        json.int_at("desiredNumberScheduled", set.desired);
        json.int_at("numberReady", set.ready);
        json.int_at("observedGeneration", set.generation);
        json.int_at("updatedNumberScheduled", set.updated);
        json.int_at("numberAvailable", set.ready);
        json.int_at("numberUnavailable", set.desired.saturating_sub(set.ready));
    });
}
