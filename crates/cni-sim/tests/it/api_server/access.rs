//! Tokens, denials and HTTPS.

use cni_sim::api_server::{Rule, User};
use cni_sim::fault::ApiFault;
use http::Method;
use http_body_util::BodyExt;

use super::client::{get, get_with, open, send, tls};
use super::cluster::TestCluster;

const PROXY: &str = "/api/v1/namespaces/kube-system/pods/aws-node-00000:61678/proxy/metrics";
const HELPER: &str = "system:serviceaccount:kube-system:cni-metrics-helper";

#[test]
async fn unknown_tokens_get_401_when_tokens_are_enforced() {
    let server = TestCluster::new(1).server();
    server.access().add_token("good", User { name: HELPER.to_owned(), allowed: None });
    server.access().enforce_tokens(true);
    let refused = get_with(&server, "/api/v1/pods", &[("authorization", "Bearer bad")]).await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["reason"], "Unauthorized");
    assert_eq!(get(&server, "/api/v1/pods").await.status, 401);
    assert_eq!(get(&server, "/livez").await.status, 200);
    assert_eq!(get_with(&server, "/api/v1/pods", &[("authorization", "Bearer good")]).await.status, 200);
    server.access().revoke_token("good");
    assert_eq!(get_with(&server, "/api/v1/pods", &[("authorization", "Bearer good")]).await.status, 401);
}

#[test]
async fn a_denied_proxy_is_refused_in_rbac_words() {
    let server = TestCluster::new(1).server();
    server.access().add_token("t", User { name: HELPER.to_owned(), allowed: None });
    let token = [("authorization", "Bearer t")];
    assert_eq!(get_with(&server, PROXY, &token).await.status, 200);
    server.access().deny(Rule { user: HELPER.to_owned(), ..Rule::new("get", "pods/proxy") });
    let refused = get_with(&server, PROXY, &token).await;
    assert_eq!(refused.status, 403);
    let status = refused.json();
    assert_eq!(
        status["message"],
        format!(
            "pods \"aws-node-00000:61678\" is forbidden: User \"{HELPER}\" cannot get resource \"pods/proxy\" in API \
             group \"\" in the namespace \"kube-system\""
        )
    );
    assert_eq!(
        (&status["reason"], &status["code"], &status["kind"]),
        (&"Forbidden".into(), &403.into(), &"Status".into())
    );
    assert_eq!(get(&server, PROXY).await.status, 200, "others may");
    server.access().clear_denials();
    assert_eq!(get_with(&server, PROXY, &token).await.status, 200);
}

#[test]
async fn a_user_with_rules_may_do_only_those() {
    let server = TestCluster::new(1).server();
    let rule = Rule { namespace: "kube-system".to_owned(), ..Rule::new("list", "pods") };
    server.access().add_token("t", User { name: HELPER.to_owned(), allowed: Some(vec![rule]) });
    let token = [("authorization", "Bearer t")];
    assert_eq!(get_with(&server, "/api/v1/namespaces/kube-system/pods", &token).await.status, 200);
    assert_eq!(get_with(&server, "/api/v1/namespaces/kube-system/pods?watch=1", &token).await.status, 403);
    let cluster_wide = get_with(&server, "/api/v1/pods", &token).await;
    assert_eq!(cluster_wide.status, 403);
    assert!(cluster_wide.text().contains("at the cluster scope"), "{}", cluster_wide.text());
}

#[test]
async fn a_denial_of_the_cluster_applies_to_every_user_and_can_be_reviewed() {
    let cluster = TestCluster::new(1);
    let server = cluster.server();
    cluster.fault(ApiFault::Deny { verb: "*".to_owned(), resource: "pods/proxy".to_owned() });
    assert_eq!(get(&server, PROXY).await.status, 403);
    assert_eq!(get(&server, "/api/v1/pods").await.status, 200);
    for (subresource, allowed) in [("proxy", false), ("", true)] {
        let review = serde_json::json!({
            "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
            "spec": { "resourceAttributes": { "verb": "get", "resource": "pods", "subresource": subresource } },
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let address = server.http_address().unwrap();
        let answer = send(address, Method::POST, path, &[], &review.to_string()).await.unwrap();
        assert_eq!(answer.status, 201);
        assert_eq!(answer.json()["status"]["allowed"], allowed);
    }
}

#[test]
async fn https_works_with_the_generated_authority_and_only_with_it() {
    let server = TestCluster::new(1).server();
    let address = server.https_address().unwrap();
    let stream = tls(address, server.ca_pem().unwrap()).await.unwrap();
    let response = open(stream, Method::GET, "/version", &[], "").await.unwrap();
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(body.starts_with(b"{"), "{body:?}");
    let other = cni_sim::tls::Tls::generate().unwrap();
    assert!(tls(address, &other.ca_pem).await.is_err());
}
