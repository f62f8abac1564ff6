//! What clients may write: leases, with the API server's optimistic concurrency.

use http::{Response, StatusCode};
use serde_json::{Map, Value};

use super::body::Body;
use super::negotiate::Format;
use super::read;
use super::status::Status;
use super::table::TableStyle;
use crate::kube_store::{Expect, Kind, KubeStore, LeaseObject, Meta, Object, ObjectKey, Stored, WriteConflict, pairs};

const GROUP: &str = "coordination.k8s.io";
const RESOURCE: &str = "leases";
const KIND: &str = "Lease";

/// How often a patch without a resourceVersion is tried again when another client wrote in between.
const PATCH_ATTEMPTS: usize = 5;

/// One write request for a lease.
pub(crate) struct LeaseWrite<'a> {
    pub(crate) kube: &'a KubeStore,
    pub(crate) namespace: &'a str,
    pub(crate) now_ms: i64,
    pub(crate) format: Format,
    pub(crate) style: TableStyle,
}

impl LeaseWrite<'_> {
    /// `POST`.
    pub(crate) fn create(&self, body: &[u8]) -> Result<Response<Body>, Status> {
        let sent = object(body)?;
        let name = text(&sent, "metadata", "name").unwrap_or_default().to_owned();
        if name.is_empty() {
            return Err(Status::invalid(
                GROUP,
                KIND,
                "",
                "metadata.name: Required value: name or generateName is required",
            ));
        }
        self.check_namespace(&sent)?;
        if text(&sent, "metadata", "resourceVersion").is_some_and(|version| !version.is_empty()) {
            return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
        }
        let lease = self.lease(&name, &sent, None)?;
        self.store(lease, Expect::Absent, StatusCode::CREATED)
    }

    /// `PUT`.
    pub(crate) fn update(&self, name: &str, body: &[u8]) -> Result<Response<Body>, Status> {
        let sent = object(body)?;
        if text(&sent, "metadata", "name").is_some_and(|sent| sent != name) {
            return Err(Status::bad_request("the name of the object does not match the name on the URL"));
        }
        self.check_namespace(&sent)?;
        let before = self.existing(name)?;
        let version = text(&sent, "metadata", "resourceVersion").unwrap_or_default();
        if version.is_empty() {
            let problem = "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update";
            return Err(Status::invalid(GROUP, KIND, name, problem));
        }
        let version = version.parse().map_err(|_| Status::conflict(GROUP, RESOURCE, name))?;
        let lease = self.lease(name, &sent, Some(&before))?;
        self.store(lease, Expect::Version(version), StatusCode::OK)
    }

    /// `PATCH` with a merge patch, a strategic merge patch (the same for leases: they have no lists that merge) or a
    /// server-side apply, which creates what is not there.
    pub(crate) fn patch(&self, name: &str, content_type: &str, body: &[u8]) -> Result<Response<Body>, Status> {
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        let apply = media_type.starts_with("application/apply-patch+");
        if !apply && !matches!(media_type, "application/merge-patch+json" | "application/strategic-merge-patch+json") {
            let message = "the body of the request was in an unknown format - accepted media types include: \
                           application/merge-patch+json, application/strategic-merge-patch+json, \
                           application/apply-patch+yaml";
            return Err(Status::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message));
        }
        let patch = if apply { applied(body)? } else { object(body)? };
        for _ in 0..PATCH_ATTEMPTS {
            let before = match self.existing(name) {
                Ok(before) => before,
                Err(_) if apply => {
                    let lease = self.lease(name, &patch, None)?;
                    return self.store(lease, Expect::Absent, StatusCode::CREATED);
                }
                Err(missing) => return Err(missing),
            };
            let asked = text(&patch, "metadata", "resourceVersion").and_then(|version| version.parse::<u64>().ok());
            let expect = Expect::Version(asked.unwrap_or(before.resource_version));
            let merged = merge(shown(&before)?, patch.clone());
            let lease = self.lease(name, &merged, Some(&before))?;
            match self.store(lease, expect, StatusCode::OK) {
                Err(conflict) if conflict.reason == "Conflict" && asked.is_none() => {}
                done => return done,
            }
        }
        Err(Status::conflict(GROUP, RESOURCE, name))
    }

    /// `DELETE`, with the preconditions of its options.
    pub(crate) fn delete(&self, name: &str, body: &[u8]) -> Result<Response<Body>, Status> {
        let options = if body.is_empty() { Value::Null } else { object(body)? };
        let before = self.existing(name)?;
        let precondition = |field: &str| options.get("preconditions")?.get(field)?.as_str().map(str::to_owned);
        if precondition("uid").is_some_and(|uid| uid != before.object.meta().uid.to_string()) {
            return Err(Status::conflict(GROUP, RESOURCE, name));
        }
        let expect = match precondition("resourceVersion") {
            Some(version) => Expect::Version(version.parse().map_err(|_| Status::conflict(GROUP, RESOURCE, name))?),
            None => Expect::Version(before.resource_version),
        };
        let key = ObjectKey::new(self.namespace, name);
        self.kube.delete(Kind::Lease, &key, expect).map_err(|conflict| refusal(conflict, name))?;
        let done = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": { "name": name, "group": GROUP, "kind": RESOURCE, "uid": before.object.meta().uid.to_string() },
        });
        Ok(super::body::json(StatusCode::OK, done.to_string()))
    }

    fn existing(&self, name: &str) -> Result<Stored, Status> {
        let key = ObjectKey::new(self.namespace, name);
        self.kube.get(Kind::Lease, &key).ok_or_else(|| Status::not_found(GROUP, RESOURCE, name))
    }

    fn check_namespace(&self, sent: &Value) -> Result<(), Status> {
        if text(sent, "metadata", "namespace").is_some_and(|sent| !sent.is_empty() && sent != self.namespace) {
            let message = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(Status::bad_request(message));
        }
        if self.kube.get(Kind::Namespace, &ObjectKey::new("", self.namespace)).is_none() {
            return Err(Status::not_found("", "namespaces", self.namespace));
        }
        Ok(())
    }

    /// The lease that a body describes; identity and creation stay those of the lease it replaces.
    fn lease(&self, name: &str, sent: &Value, before: Option<&Stored>) -> Result<LeaseObject, Status> {
        let spec = sent.get("spec").and_then(Value::as_object).cloned().unwrap_or_default();
        check_spec(name, &spec)?;
        let old = before.map(|stored| stored.object.meta());
        let strings = |field: &str| {
            let map = sent.get("metadata").and_then(|metadata| metadata.get(field)).and_then(Value::as_object);
            pairs(map.into_iter().flatten().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))))
        };
        let mut meta = Meta::new(self.namespace, name, old.map_or(self.now_ms, |meta| meta.created_ms));
        meta.uid = old.map(|meta| meta.uid).unwrap_or_default();
        meta.labels = strings("labels");
        meta.annotations = strings("annotations");
        Ok(LeaseObject { meta, spec })
    }

    fn store(&self, lease: LeaseObject, expect: Expect, code: StatusCode) -> Result<Response<Body>, Status> {
        let key = lease.meta.key();
        let object = Object::Lease(std::sync::Arc::new(lease));
        let stored = self.kube.write_if(object, expect).map_err(|conflict| refusal(conflict, &key.name))?;
        Ok(read::one(code, &stored, self.format, self.style))
    }
}

fn refusal(conflict: WriteConflict, name: &str) -> Status {
    match conflict {
        WriteConflict::Exists => Status::already_exists(GROUP, RESOURCE, name),
        WriteConflict::Missing => Status::not_found(GROUP, RESOURCE, name),
        WriteConflict::Modified => Status::conflict(GROUP, RESOURCE, name),
    }
}

fn check_spec(name: &str, spec: &Map<String, Value>) -> Result<(), Status> {
    if spec.get("leaseDurationSeconds").and_then(Value::as_i64).is_some_and(|seconds| seconds <= 0) {
        let problem = "spec.leaseDurationSeconds: Invalid value: must be greater than 0";
        return Err(Status::invalid(GROUP, KIND, name, problem));
    }
    if spec.get("leaseTransitions").and_then(Value::as_i64).is_some_and(|count| count < 0) {
        let problem = "spec.leaseTransitions: Invalid value: must be greater than or equal to 0";
        return Err(Status::invalid(GROUP, KIND, name, problem));
    }
    Ok(())
}

fn object(body: &[u8]) -> Result<Value, Status> {
    match serde_json::from_slice(body) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(Status::bad_request("the object provided is unrecognized (must be of type Lease)")),
        Err(_) if body.starts_with(b"k8s\0") => {
            let message = "the body of the request was in protobuf - accepted media types include: application/json";
            Err(Status::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message))
        }
        Err(error) => Err(Status::bad_request(format!("couldn't get version/kind; json parse error: {error}"))),
    }
}

/// An apply patch is YAML, of which JSON is a part.
fn applied(body: &[u8]) -> Result<Value, Status> {
    let text = std::str::from_utf8(body).map_err(|error| Status::bad_request(error.to_string()))?;
    match serde_saphyr::from_str::<Value>(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(Status::bad_request("the object provided is unrecognized (must be of type Lease)")),
        Err(error) => Err(Status::bad_request(format!("error decoding YAML: {error}"))),
    }
}

fn text<'a>(value: &'a Value, outer: &str, inner: &str) -> Option<&'a str> {
    value.get(outer)?.get(inner)?.as_str()
}

fn shown(stored: &Stored) -> Result<Value, Status> {
    let mut json = crate::kube_store::json::Json::new();
    crate::kube_store::manifest::write_object(&mut json, stored, true);
    object(json.finish().as_bytes())
}

/// RFC 7386.
fn merge(target: Value, patch: Value) -> Value {
    let Value::Object(patch) = patch else { return patch };
    let mut target = if let Value::Object(target) = target { target } else { Map::new() };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(&key);
        } else {
            let old = target.remove(&key).unwrap_or(Value::Null);
            target.insert(key, merge(old, value));
        }
    }
    Value::Object(target)
}
