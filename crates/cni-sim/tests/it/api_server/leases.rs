//! Leases: what leader election needs of the API server.

use cni_sim::api_server::ApiServer;
use http::Method;
use serde_json::{Value, json};

use super::client::{Answered, send};
use super::cluster::TestCluster;

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/helper";

async fn call(server: &ApiServer, method: Method, path: &str, content_type: &str, body: &Value) -> Answered {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    send(server.http_address().unwrap(), method, path, &[("content-type", content_type)], &text).await.unwrap()
}

async fn json_call(server: &ApiServer, method: Method, path: &str, body: &Value) -> Answered {
    call(server, method, path, "application/json", body).await
}

fn lease(holder: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "helper" },
        "spec": { "holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": "2026-11-21T03:00:00.000000Z" },
    })
}

#[test]
async fn of_two_writers_with_the_same_version_one_wins() {
    let server = TestCluster::new(1).server();
    let created = json_call(&server, Method::POST, LEASES, &lease("a")).await;
    assert_eq!(created.status, 201);
    let again = json_call(&server, Method::POST, LEASES, &lease("b")).await;
    assert_eq!((again.status.as_u16(), &again.json()["reason"]), (409, &json!("AlreadyExists")));

    let seen = json_call(&server, Method::GET, LEASE, &Value::Null).await.json();
    assert_eq!(seen, created.json());
    let mut first = seen.clone();
    first["spec"]["holderIdentity"] = json!("first");
    let mut second = seen.clone();
    second["spec"]["holderIdentity"] = json!("second");
    let (first, second) =
        tokio::join!(json_call(&server, Method::PUT, LEASE, &first), json_call(&server, Method::PUT, LEASE, &second));
    let mut codes = [first.status.as_u16(), second.status.as_u16()];
    codes.sort_unstable();
    assert_eq!(codes, [200, 409]);
    let (winner, loser) = if first.status == 200 { (first, second) } else { (second, first) };
    assert_eq!(loser.json()["reason"], "Conflict");
    let held = json_call(&server, Method::GET, LEASE, &Value::Null).await.json();
    assert_eq!(held, winner.json());
    assert_eq!(held["metadata"]["uid"], seen["metadata"]["uid"], "an update keeps the identity");
    assert_ne!(held["metadata"]["resourceVersion"], seen["metadata"]["resourceVersion"]);
}

#[test]
async fn bad_writes_are_refused_with_the_api_servers_codes() {
    let server = TestCluster::new(1).server();
    assert_eq!(json_call(&server, Method::PUT, LEASE, &lease("a")).await.status, 404);
    json_call(&server, Method::POST, LEASES, &lease("a")).await;
    assert_eq!(json_call(&server, Method::PUT, LEASE, &lease("a")).await.status, 422, "no resourceVersion");
    let mut negative = lease("a");
    negative["metadata"]["name"] = json!("other");
    negative["spec"]["leaseDurationSeconds"] = json!(0);
    assert_eq!(json_call(&server, Method::POST, LEASES, &negative).await.status, 422);
    let nowhere = LEASES.replace("kube-system", "nowhere");
    assert_eq!(json_call(&server, Method::POST, &nowhere, &lease("a")).await.status, 404);
    assert_eq!(json_call(&server, Method::POST, LEASES, &json!([])).await.status, 400);
    assert_eq!(json_call(&server, Method::DELETE, "/api/v1/nodes/x", &Value::Null).await.status, 405);
    assert_eq!(call(&server, Method::PATCH, LEASE, "application/json-patch+json", &json!([])).await.status, 415);
}

#[test]
async fn patches_merge_and_apply_creates() {
    let server = TestCluster::new(1).server();
    let apply = "application/apply-patch+yaml";
    let path = format!("{LEASE}?fieldManager=test&force=true");
    assert_eq!(call(&server, Method::PATCH, &path, apply, &lease("a")).await.status, 201);
    let patch = json!({ "spec": { "holderIdentity": null, "leaseTransitions": 3 } });
    let merged = call(&server, Method::PATCH, LEASE, "application/merge-patch+json", &patch).await;
    assert_eq!(merged.status, 200);
    let spec = &merged.json()["spec"];
    assert_eq!((&spec["holderIdentity"], &spec["leaseTransitions"]), (&Value::Null, &json!(3)));
    assert_eq!(spec["leaseDurationSeconds"], 15);
    let stale = json!({ "metadata": { "resourceVersion": "1" }, "spec": {} });
    assert_eq!(call(&server, Method::PATCH, LEASE, "application/merge-patch+json", &stale).await.status, 409);
}

#[test]
async fn deletion_honours_its_preconditions() {
    let server = TestCluster::new(1).server();
    json_call(&server, Method::POST, LEASES, &lease("a")).await;
    let wrong = json!({ "kind": "DeleteOptions", "apiVersion": "v1", "preconditions": { "resourceVersion": "1" } });
    assert_eq!(json_call(&server, Method::DELETE, LEASE, &wrong).await.status, 409);
    let done = json_call(&server, Method::DELETE, LEASE, &Value::Null).await;
    assert_eq!((done.status.as_u16(), &done.json()["status"]), (200, &json!("Success")));
    assert_eq!(json_call(&server, Method::GET, LEASE, &Value::Null).await.status, 404);
}
