//! Watches: events, bookmarks, expiry, ends.

use std::time::Duration;

use cni_sim::api_server::ApiServerOptions;
use cni_sim::fault::ApiFault;
use cni_sim::kube_store::{PodPhase, pairs};
use serde_json::json;

use super::client::{Watch, get};
use super::cluster::{TestCluster, pod_key, pod_name};

fn brief(kind: &str, name: &str, version: u64) -> (String, String, u64) {
    (kind.to_owned(), name.to_owned(), version)
}

#[test]
async fn events_follow_the_version_and_selectors_decide_what_they_are() {
    let cluster = TestCluster::new(3);
    let server = cluster.server();
    let from = cluster.store().resource_version();
    let path = format!("/api/v1/pods?watch=1&resourceVersion={from}&labelSelector=k8s-app%3Daws-node");
    let mut watch = Watch::start(&server, &path, &[]).await;
    assert_eq!(watch.status, 200);

    let mut pod = cluster.store().pod(&pod_key(1)).unwrap().as_ref().clone();
    pod.phase = PodPhase::Failed;
    let modified = cluster.store().upsert_pod(pod.clone());
    assert_eq!(cluster.store().upsert_pod(pod.clone()), modified, "writing the same again is no change");
    assert_eq!(watch.next_brief().await, brief("MODIFIED", &pod_name(1), modified));

    let labels = pod.meta.labels.clone();
    pod.meta.labels = pairs([("k8s-app", "other")]);
    let unlabelled = cluster.store().upsert_pod(pod.clone());
    assert_eq!(watch.next_brief().await, brief("DELETED", &pod_name(1), unlabelled));
    pod.meta.labels = labels;
    let labelled = cluster.store().upsert_pod(pod);
    assert_eq!(watch.next_brief().await, brief("ADDED", &pod_name(1), labelled));
    cluster.store().delete_pod(&pod_key(2));
    assert_eq!(watch.next_brief().await, brief("DELETED", &pod_name(2), cluster.store().resource_version()));
}

#[test]
async fn a_watch_without_version_begins_with_what_is_there() {
    let cluster = TestCluster::new(2);
    let server = cluster.server();
    let mut watch = Watch::start(&server, "/api/v1/nodes?watch=true&timeoutSeconds=1", &[]).await;
    let first = watch.next().await.unwrap();
    assert_eq!((&first["type"], &first["object"]["kind"]), (&json!("ADDED"), &json!("Node")));
    assert_eq!(watch.next().await.unwrap()["type"], "ADDED");
    assert_eq!(watch.next().await, None, "ends after timeoutSeconds");
}

#[test]
async fn a_watch_list_ends_its_initial_events_with_a_marked_bookmark() {
    let server = TestCluster::new(2).server();
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = Watch::start(&server, &format!("/api/v1/pods?{query}"), &[]).await;
    watch.next().await.unwrap();
    watch.next().await.unwrap();
    let bookmark = watch.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    let refused = get(&server, "/api/v1/pods?watch=1&sendInitialEvents=true").await;
    assert_eq!(refused.status, 422);
}

#[test]
async fn bookmarks_move_on_with_changes_of_other_kinds() {
    let cluster = TestCluster::new(2);
    let options = ApiServerOptions { bookmark_interval: Duration::from_millis(50), ..ApiServerOptions::default() };
    let server = cluster.server_with(options);
    let from = cluster.store().resource_version();
    let path = format!("/api/v1/nodes?watch=1&allowWatchBookmarks=1&resourceVersion={from}");
    let mut watch = Watch::start(&server, &path, &[]).await;
    cluster.store().delete_pod(&pod_key(0));
    let now = cluster.store().resource_version();
    loop {
        let (kind, _, version) = watch.next_brief().await;
        assert_eq!(kind, "BOOKMARK");
        assert!((from..=now).contains(&version), "{version}");
        if version == now {
            break;
        }
    }
}

#[test]
async fn an_expired_version_is_gone_in_either_form() {
    for over_http in [false, true] {
        let cluster = TestCluster::with_history(3, 2);
        let server = cluster.server_with(ApiServerOptions { gone_over_http: over_http, ..ApiServerOptions::default() });
        let mut watch = Watch::start(&server, "/api/v1/pods?watch=1&resourceVersion=2", &[]).await;
        if over_http {
            assert_eq!(watch.status, 410);
        } else {
            assert_eq!(watch.status, 200);
            let event = watch.next().await.unwrap();
            assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)));
            assert_eq!(event["object"]["reason"], "Expired");
            assert_eq!(watch.next().await, None);
        }
    }
}

#[test]
async fn table_watches_send_tables() {
    let server = TestCluster::new(1).server();
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let mut watch = Watch::start(&server, "/api/v1/pods?watch=1", &accept).await;
    let event = watch.next().await.unwrap();
    assert_eq!(event["object"]["kind"], "Table");
    assert_eq!(event["object"]["rows"][0]["cells"][0], pod_name(0));
}

#[test]
async fn a_restart_cuts_watches_and_forgets_history() {
    let cluster = TestCluster::new(2);
    let server = cluster.server();
    let from = cluster.store().resource_version();
    let path = format!("/api/v1/pods?watch=1&resourceVersion={from}");
    let mut watch = Watch::start(&server, &path, &[]).await;
    cluster.fault(ApiFault::Down);
    assert_eq!(watch.next().await, None, "the connection is cut");
    cluster.store().delete_pod(&pod_key(0));
    cluster.fault(ApiFault::None);
    super::faults::until_up(&server).await;
    let mut again = Watch::start(&server, &path, &[]).await;
    assert_eq!(again.next().await.unwrap()["object"]["code"], 410);
}
