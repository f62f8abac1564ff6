//! The watches of the level `cluster` against an API server in the same process, on a clock that is only as slow as the test.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use cni_insight::evidence::SourceState;
use cni_runtime::shutdown::Shutdown;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::*;
use crate::captured::captured_log;
use crate::discover::{DiscoverSettings, Discovery};

type Events = mpsc::UnboundedSender<Result<Bytes, std::io::Error>>;

/// How the server answers requests for one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Answers,
    Denies,
    /// The kind is not installed.
    Unknown,
    /// 500.
    Fails,
}

#[derive(Debug, Default)]
struct Server {
    modes: BTreeMap<&'static str, Mode>,
    objects: BTreeMap<&'static str, Vec<Value>>,
    watches: BTreeMap<&'static str, Vec<Events>>,
    requests: Vec<String>,
}

#[derive(Clone, Default)]
struct Api(Arc<Mutex<Server>>);

const RESOURCES: [&str; 5] = ["eniconfigs", "cninodes", "daemonsets", "nodes", "pods"];

impl Api {
    fn with<T>(&self, look: impl FnOnce(&mut Server) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on, also for the open watches: they end.
    fn set(&self, resource: &'static str, mode: Mode) {
        self.with(|server| {
            server.modes.insert(resource, mode);
            server.watches.remove(resource);
        });
    }

    fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let answer = api.answer(&request);
            async move { Ok::<_, std::convert::Infallible>(answer) }
        });
        Client::new(service, "default")
    }

    fn answer(&self, request: &Request<kube::client::Body>) -> Response<Body> {
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        let resource = RESOURCES.into_iter().find(|resource| path.ends_with(resource)).unwrap();
        let mode = self.with(|server| {
            server.requests.push(format!("{path}?{query}"));
            server.modes.get(resource).copied().unwrap_or(Mode::Answers)
        });
        let failed = |code: u16, text: &str| {
            let body =
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": text});
            response(StatusCode::from_u16(code).unwrap(), Body::from(body.to_string()))
        };
        match mode {
            Mode::Answers => {}
            Mode::Denies => return failed(403, "no right"),
            Mode::Fails => return failed(500, "etcd is away"),
            // As the API server answers a path of a group that it does not know.
            Mode::Unknown => return response(StatusCode::NOT_FOUND, Body::from("404 page not found\n")),
        }
        if query.contains("watch=true") {
            let (events, receiver) = mpsc::unbounded_channel();
            self.with(|server| server.watches.entry(resource).or_default().push(events));
            // Ends as a server ends it: after its time.
            let api = self.clone();
            tokio::spawn(async move {
                sleep(Duration::from_mins(1)).await;
                api.with(|server| server.watches.remove(resource));
            });
            let stream =
                futures::stream::unfold(
                    receiver,
                    |mut receiver| async move { Some((receiver.recv().await?, receiver)) },
                );
            return response(StatusCode::OK, Body::from_stream(stream));
        }
        let items = self.with(|server| server.objects.get(resource).cloned().unwrap_or_default());
        let list = json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": items});
        response(StatusCode::OK, Body::from(list.to_string()))
    }

    /// Sends an event to the newest watch of a resource.
    fn send(&self, resource: &'static str, kind: &str, object: &Value) {
        let line = format!("{}\n", json!({"type": kind, "object": object}));
        let watch = self.with(|server| server.watches.get(resource).and_then(|all| all.last()).cloned());
        watch.unwrap().send(Ok(Bytes::from(line))).unwrap();
    }
}

fn response(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

fn settings(level: InsightLevel) -> DiscoverSettings {
    DiscoverSettings {
        namespace: "kube-system".to_owned(),
        selector: "k8s-app=aws-node".to_owned(),
        shard: None,
        own_node: None,
        level,
    }
}

fn node(name: &str, labels: &Value, annotations: &Value) -> Value {
    json!({"metadata": {"name": name, "resourceVersion": "8", "labels": labels, "annotations": annotations}})
}

fn config(name: &str, subnet: &str) -> Value {
    let metadata = json!({"name": name, "resourceVersion": "9"});
    json!({"metadata": metadata, "spec": {"subnet": subnet, "securityGroups": ["sg-1"]}})
}

fn cni_node(name: &str, features: &[&str]) -> Value {
    let features: Vec<Value> = features.iter().map(|name| json!({"name": name})).collect();
    json!({"metadata": {"name": name, "resourceVersion": "9"}, "spec": {"features": features}})
}

fn daemon_set(updated: u32) -> Value {
    json!({"metadata": {"name": "aws-node", "resourceVersion": "9"}, "status": {"updatedNumberScheduled": updated, "desiredNumberScheduled": 4}})
}

/// An API server with one object of each kind.
fn whole() -> Api {
    let api = Api::default();
    api.with(|server| {
        server.objects.insert("eniconfigs", vec![config("zone-a", "subnet-1")]);
        server.objects.insert("cninodes", vec![cni_node("n1", &["SecurityGroupsForPods"])]);
        server.objects.insert("daemonsets", vec![daemon_set(3)]);
        server.objects.insert("nodes", vec![node("n1", &json!({}), &json!({}))]);
    });
    api
}

fn custom_networking() -> AgentSpec {
    let variable = |name: &str, value: &str| (Box::from(name), Box::from(value));
    let env = [
        variable("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true"),
        variable("ENI_CONFIG_LABEL_DEF", "topology.kubernetes.io/zone"),
    ];
    AgentSpec { env: Box::from(env), ..AgentSpec::default() }
}

/// Waits for a condition, in the time of the test.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_hours(3), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

fn start(api: &Api, level: InsightLevel) -> (Discovery, Shutdown, impl FnOnce()) {
    let (end, shutdown) = Shutdown::manual();
    let discovery = Discovery::spawn(&api.client(), &settings(level), &shutdown);
    (discovery, shutdown, move || end.end())
}

fn states(objects: &ClusterObjects) -> [SourceState; 3] {
    let Sources { eni_configs, cni_nodes, daemon_set, .. } = objects.states(Sources::default());
    [eni_configs, cni_nodes, daemon_set]
}

#[expect(clippy::option_option, reason = "not known, missing, and there are three things")]
fn subnet(objects: &ClusterObjects, zone: &str) -> Option<Option<String>> {
    let now = objects.read();
    let found = now.eni_config(&custom_networking(), "n1", Some(zone));
    found.map(|found| found.content.map(|content| content.subnet.to_owned()))
}

#[tokio::test(start_paused = true)]
async fn nothing_more_is_asked_for_below_the_level() {
    let api = whole();
    let (discovery, _shutdown, end) = start(&api, InsightLevel::Basic);
    until("nodes are listed", || *discovery.index.labelled().borrow()).await;
    sleep(Duration::from_mins(10)).await;
    assert!(discovery.objects.is_none());
    let of_objects = |request: &String| RESOURCES[..3].iter().any(|resource| request.contains(resource));
    assert_eq!(api.with(|server| server.requests.iter().filter(|request| of_objects(request)).count()), 0);
    end();
}

#[tokio::test(start_paused = true)]
async fn objects_are_followed_and_only_the_agents_daemon_set_is_asked_for() {
    let api = whole();
    let (discovery, _shutdown, end) = start(&api, InsightLevel::Cluster);
    let objects = discovery.objects.clone().unwrap();
    objects.settled().await;
    until("nodes are listed", || *discovery.index.labelled().borrow()).await;
    assert!(states(&objects).iter().all(|state| state.is_sure()), "{:?}", states(&objects));
    assert_eq!(objects.read().daemon_set().map(|set| (set.updated, set.desired)), Some((3, 4)));
    let wants = |node: &str| objects.read().cni_node(node).map(|node| node.wants_trunk);
    assert_eq!((wants("n1"), wants("n2")), (Some(true), Some(false)));
    assert_eq!(
        (subnet(&objects, "zone-a"), subnet(&objects, "zone-b")),
        (Some(Some("subnet-1".to_owned())), Some(None))
    );
    assert_eq!(objects.read().eni_config(&AgentSpec::default(), "n1", Some("zone-a")), None, "no custom networking");
    let asked = api.with(|server| server.requests.clone());
    let sets: Vec<&String> = asked.iter().filter(|request| request.contains("daemonsets")).collect();
    let is_narrow = |request: &&String| {
        request.starts_with("/apis/apps/v1/namespaces/kube-system/daemonsets?")
            && request.contains("metadata.name%3Daws-node")
    };
    assert!(!sets.is_empty() && sets.iter().all(is_narrow), "{sets:?}");

    until("the watches are open", || api.with(|server| server.watches.len()) == 5).await;
    api.send("eniconfigs", "ADDED", &config("zone-b", "subnet-2"));
    api.send("eniconfigs", "DELETED", &config("zone-a", "subnet-1"));
    api.send("cninodes", "MODIFIED", &cni_node("n1", &[]));
    api.send("daemonsets", "MODIFIED", &daemon_set(4));
    until("the changes are there", || subnet(&objects, "zone-a") == Some(None)).await;
    until("the update is over", || objects.read().daemon_set().is_some_and(|set| !set.is_rolling_out())).await;
    assert_eq!(subnet(&objects, "zone-b"), Some(Some("subnet-2".to_owned())));
    until("the trunk is not wanted", || wants("n1") == Some(false)).await;
    // A node's annotation names another one, until it is taken away.
    let annotated = json!({"k8s.amazonaws.com/eniConfig": "zone-b", "other": "x".repeat(1000)});
    api.send("nodes", "MODIFIED", &node("n1", &json!({}), &annotated));
    until("the annotation counts", || subnet(&objects, "zone-a") == Some(Some("subnet-2".to_owned()))).await;
    api.send("nodes", "MODIFIED", &node("n1", &json!({"vpc.amazonaws.com/externalEniConfig": "zone-c"}), &annotated));
    until("the label counts more", || subnet(&objects, "zone-a") == Some(None)).await;
    api.send("nodes", "DELETED", &node("n1", &json!({}), &json!({})));
    until("the zone counts", || subnet(&objects, "zone-b") == Some(Some("subnet-2".to_owned()))).await;
    end();
}

/// Each state of a source, and what there is to conclude from in it.
#[tokio::test(start_paused = true)]
async fn a_source_says_what_it_is_worth_and_keeps_what_it_showed_for_an_hour() {
    for (mode, state, stays) in [
        (Mode::Denies, SourceState::NotGranted, true),
        (Mode::Fails, SourceState::Lagging { age_ms: 0 }, true),
        (Mode::Unknown, SourceState::NoKind, false),
    ] {
        let api = whole();
        let (discovery, _shutdown, end) = start(&api, InsightLevel::Cluster);
        let objects = discovery.objects.clone().unwrap();
        objects.settled().await;
        until("nodes are listed", || *discovery.index.labelled().borrow()).await;
        let is_it = |objects: &ClusterObjects| {
            states(objects).iter().all(|now| std::mem::discriminant(now) == std::mem::discriminant(&state))
        };
        for resource in &RESOURCES[..3] {
            api.set(resource, mode);
        }
        until(&format!("{mode:?} is {state:?}"), || is_it(&objects)).await;
        // What was last shown is still there, and where the kind is gone there is surely none.
        let expected = if stays { Some(Some("subnet-1".to_owned())) } else { Some(None) };
        assert_eq!(subnet(&objects, "zone-a"), expected, "{mode:?}");
        assert_eq!(objects.read().daemon_set().is_some(), stays, "{mode:?}");
        assert_eq!(objects.read().cni_node("n1").is_some(), stays, "{mode:?}");
        sleep(Duration::from_mins(61)).await;
        assert!(is_it(&objects), "{mode:?}");
        assert_eq!(subnet(&objects, "zone-a"), if stays { None } else { Some(None) }, "{mode:?}: it is forgotten");
        // It comes back by itself.
        for resource in &RESOURCES[..3] {
            api.set(resource, Mode::Answers);
        }
        until("it is there again", || {
            states(&objects).iter().all(|state| matches!(state, SourceState::Present { .. }))
        })
        .await;
        assert_eq!(subnet(&objects, "zone-a"), Some(Some("subnet-1".to_owned())), "{mode:?}");
        // Pods and nodes were not touched by any of it.
        assert_eq!(discovery.stale(), None);
        end();
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_never_answered_says_nothing() {
    for (mode, state) in [(Mode::Denies, SourceState::NotGranted), (Mode::Fails, SourceState::Failed)] {
        let api = whole();
        for resource in &RESOURCES[..3] {
            api.set(resource, mode);
        }
        let (discovery, _shutdown, end) = start(&api, InsightLevel::Cluster);
        let objects = discovery.objects.clone().unwrap();
        objects.settled().await;
        until("nodes are listed", || *discovery.index.labelled().borrow()).await;
        assert_eq!(states(&objects), [state; 3], "{mode:?}");
        assert_eq!((subnet(&objects, "zone-a"), objects.read().cni_node("n1")), (None, None), "{mode:?}");
        end();
    }
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_missing_is_told_once_with_what_is_left_out_and_a_missing_kind_as_none() {
    let (subscriber, log) = captured_log();
    let guard = tracing::subscriber::set_default(subscriber);
    let api = whole();
    api.set("eniconfigs", Mode::Denies);
    api.set("cninodes", Mode::Unknown);
    let (discovery, _shutdown, end) = start(&api, InsightLevel::Cluster);
    discovery.objects.clone().unwrap().settled().await;
    sleep(Duration::from_hours(3)).await;
    end();
    drop(guard);
    let lines = log.lines();
    let of = |part: &str| lines.iter().filter(|line| line.contains(part)).cloned().collect::<Vec<_>>();
    let denied = of("eniconfigs.crd.k8s.amazonaws.com");
    assert_eq!(denied.len(), 1, "{lines:#?}");
    assert!(denied[0].contains("INFO") && denied[0].contains("a missing ENIConfig is not found"), "{denied:?}");
    let missing = of("cninodes.vpcresources.k8s.aws");
    assert_eq!(missing.len(), 1, "{lines:#?}");
    assert!(missing[0].contains("INFO") && missing[0].contains("the cluster has no "), "{missing:?}");
    assert!(!lines.iter().any(|line| line.contains("WARN")), "{lines:#?}");
}
