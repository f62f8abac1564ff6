//! Objects as the JSON a client sees, with the fields that clients of a real cluster rely on.

mod node;
mod parts;
mod pod;
mod workload;

pub(crate) use node::{CONTAINER_RUNTIME, KERNEL_VERSION, OS_IMAGE};
pub use parts::rfc3339;

use super::json::Json;
use super::kinds::{Object, Stored};
use super::objects::Meta;

/// Writes the object in full. Items of a list carry no `kind` and `apiVersion`, as in a real list.
pub fn write_object(json: &mut Json, stored: &Stored, with_type: bool) {
    let kind = stored.object.kind();
    json.object(|json| {
        if with_type {
            write_type(json, kind.name(), kind.api_version());
        }
        json.object_at("metadata", |json| {
            write_metadata(json, stored);
            if let Object::Pod(pod) = &stored.object {
                pod::write_managed_fields(json, pod);
            }
        });
        match &stored.object {
            Object::Pod(pod) => pod::write_body(json, pod),
            Object::Node(node) => node::write_body(json, node),
            Object::Namespace(namespace) => workload::write_namespace_body(json, namespace),
            Object::DaemonSet(daemon_set) => workload::write_daemon_set_body(json, daemon_set),
            Object::Lease(lease) => json.raw_at("spec", &serde_json::Value::Object(lease.spec.clone()).to_string()),
            Object::EniConfig(object) | Object::CniNode(object) => {
                json.raw_at("spec", &serde_json::Value::Object(object.spec.clone()).to_string());
            }
        }
    });
}

/// Writes the object as a `PartialObjectMetadata`. `version` is the one of the `meta.k8s.io` group that was asked for.
pub fn write_partial(json: &mut Json, stored: &Stored, version: &str) {
    json.object(|json| {
        write_type(json, "PartialObjectMetadata", &format!("meta.k8s.io/{version}"));
        json.object_at("metadata", |json| write_metadata(json, stored));
    });
}

/// `kind` and `apiVersion`.
pub fn write_type(json: &mut Json, kind: &str, api_version: &str) {
    json.str_at("kind", kind);
    json.str_at("apiVersion", api_version);
}

fn write_metadata(json: &mut Json, stored: &Stored) {
    let meta: &Meta = stored.object.meta();
    json.str_at("name", &meta.name);
    if meta.owner.is_some()
        && let Some((prefix, _)) = meta.name.rsplit_once('-')
    {
        json.str_at("generateName", &format!("{prefix}-"));
    }
    if !meta.namespace.is_empty() {
        json.str_at("namespace", &meta.namespace);
    }
    json.str_at("uid", &meta.uid.to_string());
    json.str_at("resourceVersion", &stored.resource_version.to_string());
    json.str_at("creationTimestamp", &rfc3339(meta.created_ms));
    if let Some(deletion_ms) = meta.deletion_ms {
        json.str_at("deletionTimestamp", &rfc3339(deletion_ms));
        json.int_at("deletionGracePeriodSeconds", 30);
    }
    if let Object::DaemonSet(daemon_set) = &stored.object {
        json.int_at("generation", daemon_set.generation);
    }
    json.pairs_at("labels", &meta.labels);
    json.pairs_at("annotations", &meta.annotations);
    if let Some(owner) = &meta.owner {
        json.array_at("ownerReferences", |json| {
            json.object(|json| {
                json.str_at("apiVersion", &owner.api_version);
                json.str_at("kind", &owner.kind);
                json.str_at("name", &owner.name);
                json.str_at("uid", &owner.uid.to_string());
                json.bool_at("controller", true);
                json.bool_at("blockOwnerDeletion", true);
            });
        });
    }
}
