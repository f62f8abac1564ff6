//! The instance metadata service in all its moods, STS, and the Pod Identity agent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cni_sim::aws::identity::Identity;
use cni_sim::imds::{self, Imds, Mode};
use cni_sim::pod_identity::{self, PodIdentity};
use cni_sim::port::HeldPort;
use cni_sim::sts::{self, Sts};
use tokio_util::sync::CancellationToken;

use super::harness::{Reply, Server, TestClock, request, signed};

struct Metadata {
    imds: Imds,
    address: SocketAddr,
    clock: Arc<TestClock>,
    stop: CancellationToken,
}

impl Drop for Metadata {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Metadata {
    fn start() -> Self {
        let clock = TestClock::new();
        let imds = Imds::new(clock.clone(), Identity::default());
        imds.update(|identity| {
            identity.tags.insert("eks:cluster-name".to_owned(), "prod".to_owned());
            identity.tags.insert("Name".to_owned(), "node one".to_owned());
        });
        let port = HeldPort::take("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = port.address();
        let stop = CancellationToken::new();
        tokio::spawn(imds::serve(port, imds.clone(), stop.clone()));
        Self { imds, address, clock, stop }
    }

    async fn token(&self, ttl: &str) -> Reply {
        let url = format!("http://{}/latest/api/token", self.address);
        request("PUT", &url, &[("x-aws-ec2-metadata-token-ttl-seconds", ttl)], "").await.unwrap()
    }

    async fn get(&self, path: &str, token: &str) -> Reply {
        let url = format!("http://{}/latest/{path}", self.address);
        request("GET", &url, &[("x-aws-ec2-metadata-token", token)], "").await.unwrap()
    }
}

#[test]
async fn metadata_needs_a_token_that_lives() {
    let metadata = Metadata::start();
    let reply = metadata.token("60").await;
    assert_eq!((reply.status.as_u16(), reply.header("x-aws-ec2-metadata-token-ttl-seconds")), (200, "60"));
    let token = reply.text().to_owned();
    assert_eq!(metadata.get("meta-data/instance-id", &token).await.text(), "i-0123456789abcdef0");
    assert_eq!(metadata.get("meta-data/instance-id", "").await.status, 401);
    assert_eq!(metadata.get("meta-data/instance-id", "wrong").await.status, 401);
    metadata.clock.advance_ms(60_000);
    assert_eq!(metadata.get("meta-data/instance-id", &token).await.status, 401);
    for wrong in ["0", "21601", "soon"] {
        assert_eq!(metadata.token(wrong).await.status, 400, "{wrong}");
    }
}

#[test]
async fn metadata_tells_the_instances_story() {
    let metadata = Metadata::start();
    let token = metadata.token("21600").await.text().to_owned();
    for (path, expected) in [
        ("meta-data/placement/region", "eu-central-1"),
        ("meta-data/placement/availability-zone", "eu-central-1a"),
        ("meta-data/instance-type", "m5.large"),
        ("meta-data/tags/instance/", "Name\neks:cluster-name"),
        ("meta-data/tags/instance", "Name\neks:cluster-name"),
        ("meta-data/tags/instance/eks:cluster-name", "prod"),
        ("meta-data/tags/instance/eks%3Acluster-name", "prod"),
        ("meta-data/iam/security-credentials/", "eks-node-role"),
    ] {
        let reply = metadata.get(path, &token).await;
        assert_eq!((reply.status.as_u16(), reply.text()), (200, expected), "{path}");
    }
    assert_eq!(metadata.get("meta-data/tags/instance/none", &token).await.status, 404);
    assert_eq!(metadata.get("meta-data/nonsense", &token).await.status, 404);
    let document = metadata.get("dynamic/instance-identity/document", &token).await;
    let document: serde_json::Value = serde_json::from_slice(&document.body).unwrap();
    assert_eq!(document["region"], "eu-central-1");
}

#[test]
async fn a_roles_credentials_rotate_before_they_expire() {
    let metadata = Metadata::start();
    metadata.imds.set_credentials_lifetime_ms(1_000_000);
    let token = metadata.token("21600").await.text().to_owned();
    let path = "meta-data/iam/security-credentials/eks-node-role";
    let credentials =
        async || -> serde_json::Value { serde_json::from_slice(&metadata.get(path, &token).await.body).unwrap() };
    let first = credentials().await;
    assert_eq!((&first["Code"], &first["Expiration"]), (&"Success".into(), &"2026-11-21T03:16:40Z".into()));
    assert_eq!(credentials().await["AccessKeyId"], first["AccessKeyId"]);
    metadata.clock.advance_ms(700_001);
    let second = credentials().await;
    assert_ne!(second["AccessKeyId"], first["AccessKeyId"]);
    metadata.imds.update(|identity| identity.role_name = None);
    assert_eq!(metadata.get("meta-data/iam/security-credentials/", &token).await.status, 404);
}

#[test]
async fn tags_can_be_off() {
    let metadata = Metadata::start();
    metadata.imds.set_mode(Mode::TagsOff);
    let token = metadata.token("60").await.text().to_owned();
    for path in ["meta-data/tags/instance/", "meta-data/tags/instance/eks:cluster-name"] {
        assert_eq!(metadata.get(path, &token).await.status, 404, "{path}");
    }
    assert_eq!(metadata.get("meta-data/placement/region", &token).await.status, 200);
}

#[test]
async fn errors_come_as_they_are() {
    let metadata = Metadata::start();
    metadata.imds.set_mode(Mode::ServerError);
    assert_eq!(metadata.token("60").await.status, 500);
}

/// Waits until the service has taken a request that it will not answer.
async fn unanswered(imds: &Imds) {
    while !imds.requests().iter().any(|request| request.status.is_none()) {
        tokio::task::yield_now().await;
    }
}

#[test]
async fn behind_a_hop_limit_no_token_ever_comes() {
    let metadata = Metadata::start();
    let earlier = metadata.token("60").await.text().to_owned();
    metadata.imds.set_mode(Mode::HopLimited);
    tokio::select! {
        reply = metadata.token("60") => panic!("answered {reply:?}"),
        () = unanswered(&metadata.imds) => {}
    }
    assert_eq!(metadata.get("meta-data/instance-id", "").await.status, 401);
    assert_eq!(metadata.get("meta-data/instance-id", &earlier).await.status, 200);
}

#[test]
async fn a_black_hole_takes_connections_and_answers_nothing() {
    let metadata = Metadata::start();
    metadata.imds.set_mode(Mode::Blackhole);
    tokio::select! {
        reply = metadata.get("meta-data/instance-id", "") => panic!("answered {reply:?}"),
        () = unanswered(&metadata.imds) => {}
    }
}

#[test]
async fn refused_is_refused_by_the_kernel_and_can_end() {
    let metadata = Metadata::start();
    metadata.imds.set_mode(Mode::Refused);
    let refused = async {
        loop {
            match tokio::net::TcpStream::connect(metadata.address).await {
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => return,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(1), refused).await.unwrap();
    metadata.imds.set_mode(Mode::Normal);
    let url = format!("http://{}/latest/api/token", metadata.address);
    let back = async {
        while request("PUT", &url, &[("x-aws-ec2-metadata-token-ttl-seconds", "60")], "").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), back).await.unwrap();
}

const ASSUME: &str = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15\
    &RoleArn=arn:aws:iam::123456789012:role/helper&RoleSessionName=s";

#[test]
async fn a_web_identity_becomes_credentials() {
    let sts = Sts::new(TestClock::new(), 1);
    let server = Server::start(sts::router(sts.clone())).await;
    let assume = async |token: &str| server.post("/", &[], format!("{ASSUME}&WebIdentityToken={token}")).await;
    let text = |reply: &Reply, name: &str| {
        let xml = roxmltree::Document::parse(reply.text()).unwrap();
        let node = xml.descendants().find(|node| node.tag_name().name() == name);
        node.and_then(|node| node.text().map(str::to_owned)).unwrap_or_default()
    };
    let first = assume("jwt-1").await;
    assert_eq!(text(&first, "Expiration"), "2026-11-21T04:00:00Z");
    sts.set_credentials_lifetime_ms(Some(60_000));
    let second = assume("jwt-1").await;
    assert_eq!(text(&second, "Expiration"), "2026-11-21T03:01:00Z");
    assert_ne!(text(&first, "AccessKeyId"), text(&second, "AccessKeyId"));

    sts.accept_only(Some("jwt-2"));
    let stale = assume("jwt-1").await;
    assert_eq!((stale.status.as_u16(), text(&stale, "Code").as_str()), (400, "ExpiredTokenException"));
    assert_eq!(assume("jwt-2").await.status, 200);
    let empty = assume("").await;
    assert_eq!((empty.status.as_u16(), text(&empty, "Code").as_str()), (400, "ValidationError"));

    let calls = sts.calls();
    let seen: Vec<_> = calls.iter().map(|call| (call.token.as_str(), call.issued.is_some())).collect();
    assert_eq!(seen, [("jwt-1", true), ("jwt-1", true), ("jwt-1", false), ("jwt-2", true)]);
    assert_eq!(calls[0].role_arn, "arn:aws:iam::123456789012:role/helper");
}

#[test]
async fn callers_learn_who_they_are_if_they_sign() {
    let server = Server::start(sts::router(Sts::new(TestClock::new(), 1))).await;
    let auth = signed("sts");
    let headers: Vec<(&str, &str)> = auth.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let body = "Action=GetCallerIdentity&Version=2011-06-15";
    let reply = server.post("/", &headers, body).await;
    assert!(reply.text().contains("<Account>123456789012</Account>"), "{reply:?}");
    assert_eq!(server.post("/", &[], body).await.status, 403);
}

#[test]
async fn the_agent_exchanges_the_current_token() {
    let agent = PodIdentity::new(TestClock::new(), 1);
    let server = Server::start(pod_identity::router(agent.clone())).await;
    let url = server.url("/v1/credentials");
    let get = async |token: &str| request("GET", &url, &[("authorization", token)], "").await.unwrap();
    let first: serde_json::Value = serde_json::from_slice(&get("jwt-1").await.body).unwrap();
    assert_eq!(first["Expiration"], "2026-11-21T09:00:00Z");
    agent.accept_only(Some("jwt-2"));
    assert_eq!(get("jwt-1").await.status, 400);
    assert_eq!(request("GET", &url, &[], "").await.unwrap().status, 400);
    let second: serde_json::Value = serde_json::from_slice(&get("jwt-2").await.body).unwrap();
    assert_ne!(first["AccessKeyId"], second["AccessKeyId"]);
    let tokens: Vec<_> = agent.calls().into_iter().map(|call| call.token).collect();
    assert_eq!(tokens, ["jwt-1", "jwt-1", "", "jwt-2"]);
}
