//! Discovery documents: what a client learns about the server before it asks for objects.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::body::{self, Body};
use super::status::Status;
use crate::kube_store::Kind;

/// The Kubernetes version the server claims to be.
pub const VERSION: (&str, &str, &str) = ("1", "34", "v1.34.2-eks-sim");

/// The API groups besides the core group, each with its version.
const GROUPS: [(&str, &str); 6] = [
    ("apps", "v1"),
    ("coordination.k8s.io", "v1"),
    ("authorization.k8s.io", "v1"),
    ("authentication.k8s.io", "v1"),
    ("crd.k8s.amazonaws.com", "v1alpha1"),
    ("vpcresources.k8s.aws", "v1alpha1"),
];

/// The version of a group.
fn version_of(group: &str) -> Option<&'static str> {
    GROUPS.into_iter().find(|(name, _)| *name == group).map(|(_, version)| version)
}

/// `/version`.
pub(crate) fn version() -> Response<Body> {
    let (major, minor, git_version) = VERSION;
    let platform = "linux/amd64";
    let version = json!({
        "major": major, "minor": minor, "gitVersion": git_version, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "2025-11-12T00:00:00Z", "goVersion": "go1.24.9", "compiler": "gc", "platform": platform,
    });
    body::json(StatusCode::OK, version.to_string())
}

/// The document at a path below `/api`, `/apis` or `/openapi`.
pub(crate) fn document(path: &str, host: Option<&str>) -> Result<Response<Body>, Status> {
    let segments: Vec<&str> = path.split('/').collect();
    let document = match segments.as_slice() {
        ["api"] => json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": host.unwrap_or_default() }],
        }),
        ["apis"] => json!({
            "kind": "APIGroupList", "apiVersion": "v1",
            "groups": GROUPS.iter().map(|(group, version)| api_group(group, version)).collect::<Vec<_>>(),
        }),
        ["api", "v1"] => resources("v1", &core_resources()),
        ["apis", group] => {
            let version = version_of(group).ok_or_else(Status::no_such_path)?;
            let mut document = api_group(group, version);
            document["kind"] = json!("APIGroup");
            document["apiVersion"] = json!("v1");
            document
        }
        ["apis", group, version] if version_of(group) == Some(*version) => {
            resources(&format!("{group}/{version}"), &group_resources(group))
        }
        ["openapi", "v2"] => {
            json!({ "swagger": "2.0", "info": { "title": "Kubernetes", "version": VERSION.2 }, "paths": {} })
        }
        ["openapi", "v3"] => json!({ "paths": {} }),
        _ => return Err(Status::no_such_path()),
    };
    Ok(body::json(StatusCode::OK, document.to_string()))
}

fn api_group(group: &str, version: &str) -> Value {
    let version = json!({ "groupVersion": format!("{group}/{version}"), "version": version });
    json!({ "name": group, "versions": [version], "preferredVersion": version })
}

fn resources(group_version: &str, resources: &[Value]) -> Value {
    json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources })
}

fn core_resources() -> Vec<Value> {
    vec![
        of_kind(Kind::Namespace, &["ns"], &[]),
        of_kind(Kind::Node, &["no"], &[]),
        of_kind(Kind::Pod, &["po"], &["all"]),
        json!({
            "name": "pods/proxy", "singularName": "", "namespaced": true, "kind": "PodProxyOptions", "verbs": ["get"],
        }),
    ]
}

fn group_resources(group: &str) -> Vec<Value> {
    let review = |name: &str, kind: &str| json!({ "name": name, "singularName": kind.to_lowercase(), "namespaced": false, "kind": kind, "verbs": ["create"] });
    match group {
        "apps" => vec![of_kind(Kind::DaemonSet, &["ds"], &["all"])],
        "coordination.k8s.io" => vec![of_kind(Kind::Lease, &[], &[])],
        "crd.k8s.amazonaws.com" => vec![of_kind(Kind::EniConfig, &[], &[])],
        "vpcresources.k8s.aws" => vec![of_kind(Kind::CniNode, &["cnd"], &[])],
        "authorization.k8s.io" => vec![review("selfsubjectaccessreviews", "SelfSubjectAccessReview")],
        "authentication.k8s.io" => vec![review("selfsubjectreviews", "SelfSubjectReview")],
        _ => Vec::new(),
    }
}

fn of_kind(kind: Kind, short: &[&str], categories: &[&str]) -> Value {
    let verbs: &[&str] = match kind {
        Kind::Lease => &["create", "delete", "get", "list", "patch", "update", "watch"],
        _ => &["get", "list", "watch"],
    };
    let mut resource = json!({
        "name": kind.plural(), "singularName": kind.name().to_lowercase(), "namespaced": kind.namespaced(),
        "kind": kind.name(), "verbs": verbs,
    });
    if !short.is_empty() {
        resource["shortNames"] = json!(short);
    }
    if !categories.is_empty() {
        resource["categories"] = json!(categories);
    }
    resource
}
