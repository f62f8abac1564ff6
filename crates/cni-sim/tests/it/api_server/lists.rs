//! Lists: selectors, chunks, tables, errors.

use serde_json::Value;

use super::client::{get, get_with};
use super::cluster::{NOW_MS, TestCluster, pod_key, pod_name};

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
async fn chunks_show_one_version_whatever_happens_in_between() {
    let cluster = TestCluster::new(25);
    let server = cluster.server();
    let first = get(&server, "/api/v1/namespaces/kube-system/pods?limit=10").await.json();
    assert_eq!(first["metadata"]["remainingItemCount"], 15);
    let version = first["metadata"]["resourceVersion"].clone();
    // One that was shown, one that was not yet, and a new one in the middle of what is still to come.
    assert!(cluster.store().delete_pod(&pod_key(3)));
    assert!(cluster.store().delete_pod(&pod_key(12)));
    let mut extra = cluster.store().pod(&pod_key(20)).unwrap().as_ref().clone();
    extra.meta.name = "aws-node-00015-new".into();
    cluster.store().upsert_pod(extra);

    let mut all = names(&first);
    let mut token = first["metadata"]["continue"].as_str().map(str::to_owned);
    while let Some(continued) = token {
        let path = format!("/api/v1/namespaces/kube-system/pods?limit=10&continue={continued}");
        let page = get(&server, &path).await.json();
        assert_eq!(page["metadata"]["resourceVersion"], version);
        all.extend(names(&page));
        token = page["metadata"]["continue"].as_str().map(str::to_owned);
    }
    assert_eq!(all, (0..25).map(pod_name).collect::<Vec<_>>());
    let fresh = names(&get(&server, "/api/v1/pods").await.json());
    assert_eq!(fresh.len(), 24);
    assert!(fresh.contains(&"aws-node-00015-new".to_owned()));
}

#[test]
async fn a_forgotten_chunk_is_gone_and_offers_to_go_on() {
    let cluster = TestCluster::new(6);
    let server = cluster.server();
    let first = get(&server, "/api/v1/pods?limit=4").await.json();
    let token = first["metadata"]["continue"].as_str().unwrap();
    cluster.store().delete_pod(&pod_key(0));
    cluster.store().forget_history();
    let gone = get(&server, &format!("/api/v1/pods?limit=4&continue={token}")).await;
    assert_eq!(gone.status, 410);
    let status = gone.json();
    assert_eq!(status["reason"], "Expired");
    let inconsistent = status["metadata"]["continue"].as_str().unwrap();
    let rest = get(&server, &format!("/api/v1/pods?limit=4&continue={inconsistent}")).await.json();
    assert_eq!(names(&rest), [pod_name(4), pod_name(5)]);
    assert_eq!(get(&server, "/api/v1/pods?continue=%21").await.status, 400);
    assert_eq!(get(&server, "/api/v1/pods?resourceVersion=1&resourceVersionMatch=Exact").await.status, 410);
    assert_eq!(get(&server, "/api/v1/pods?resourceVersion=999999").await.status, 504);
}

#[test]
async fn version_zero_ignores_the_limit_as_the_watch_cache_does() {
    let server = TestCluster::new(6).server();
    assert_eq!(names(&get(&server, "/api/v1/pods?limit=2&resourceVersion=0").await.json()).len(), 6);
}

#[test]
async fn selectors_narrow_and_mistakes_are_400() {
    let cluster = TestCluster::new(5);
    let server = cluster.server();
    for (query, expected) in [
        ("labelSelector=k8s-app%3Daws-node", 5),
        ("labelSelector=controller-revision-hash+in+%28old%2Cx%29", 2),
        ("labelSelector=k8s-app%21%3Daws-node", 0),
        ("fieldSelector=spec.nodeName%3Dip-127-1-0-3.eu-central-1.compute.internal", 1),
        ("fieldSelector=metadata.name%3Daws-node-00002%2Cstatus.phase%3DRunning", 1),
        ("fieldSelector=status.phase%21%3DRunning", 0),
    ] {
        let list = get(&server, &format!("/api/v1/pods?{query}")).await.json();
        assert_eq!(names(&list).len(), expected, "{query}");
        assert_eq!(list["kind"], "PodList");
    }
    assert_eq!(get(&server, "/api/v1/namespaces/default/pods").await.json()["items"], serde_json::json!([]));
    let broken = get(&server, "/api/v1/nodes?fieldSelector=spec.nodeName%3Dx").await;
    assert_eq!(broken.status, 400);
    assert!(broken.text().contains("field label not supported: spec.nodeName"), "{}", broken.text());
    assert_eq!(get(&server, "/api/v1/pods?labelSelector=a+b").await.status, 400);
}

#[test]
async fn long_lists_are_whole_json_and_every_representation_is_complete() {
    let cluster = TestCluster::new(300);
    let server = cluster.server();
    let full = get(&server, "/api/v1/pods").await;
    assert!(full.body.len() > 300 * 8_000, "padded manifests: {}", full.body.len());
    let list = full.json();
    assert_eq!(names(&list).len(), 300);
    let pod = &list["items"][7];
    assert_eq!(pod["spec"]["hostNetwork"], true);
    assert_eq!(pod["status"]["podIP"], "127.1.0.8");
    assert_eq!(pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"], "2026-11-21T01:03:20Z");
    assert_eq!(pod["metadata"]["ownerReferences"][0]["kind"], "DaemonSet");

    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let table = get_with(&server, "/api/v1/pods", &[("accept", accept)]).await.json();
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["rows"].as_array().unwrap().len(), 300);
    let cells = &table["rows"][7]["cells"];
    assert_eq!(cells.as_array().unwrap().len(), table["columnDefinitions"].as_array().unwrap().len());
    assert_eq!((&cells[0], &cells[1], &cells[2]), (&pod_name(7).into(), &"2/2".into(), &"Running".into()));
    assert_eq!(table["rows"][7]["object"]["kind"], "PartialObjectMetadata");

    let accept = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let partial = get_with(&server, "/api/v1/pods", &[("accept", accept)]).await.json();
    assert_eq!(partial["kind"], "PartialObjectMetadataList");
    assert_eq!(names(&partial).len(), 300);
    assert_eq!(partial["items"][0]["spec"], Value::Null);
}

#[test]
async fn single_objects_discovery_and_the_simulated_date() {
    let server = TestCluster::new(2).server();
    let pod = get(&server, "/api/v1/namespaces/kube-system/pods/aws-node-00001").await;
    assert_eq!(pod.header("date"), "Sat, 21 Nov 2026 03:00:00 GMT", "{NOW_MS}");
    assert_eq!(pod.json()["kind"], "Pod");
    let missing = get(&server, "/api/v1/namespaces/kube-system/pods/none").await;
    assert_eq!(missing.status, 404);
    assert_eq!(missing.json()["message"], "pods \"none\" not found");
    assert_eq!(missing.header("date"), "Sat, 21 Nov 2026 03:00:00 GMT");
    let set = get(&server, "/apis/apps/v1/namespaces/kube-system/daemonsets/aws-node").await.json();
    assert_eq!(set["status"]["desiredNumberScheduled"], 2);
    assert_eq!(set["spec"]["template"]["spec"]["containers"][0]["name"], "aws-node");
    for path in ["/api", "/apis", "/api/v1", "/apis/apps/v1", "/apis/apps", "/version", "/openapi/v2", "/openapi/v3"] {
        let document = get(&server, path).await;
        assert_eq!(document.status, 200, "{path}");
        assert!(document.json().is_object());
    }
    assert_eq!(get(&server, "/apis/batch/v1").await.status, 404);
    assert_eq!(get(&server, "/api/v1/secrets").await.status, 404);
    assert_eq!(server.requests()["get pods"], 2);
}
