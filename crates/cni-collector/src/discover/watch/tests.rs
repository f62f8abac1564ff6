//! Both watches against an API server in the same process, on a clock that is only as slow as the test.

use std::sync::{Mutex, PoisonError};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::*;

type Events = mpsc::UnboundedSender<Result<Bytes, std::io::Error>>;

/// How the server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Answers,
    /// Takes requests, and says nothing.
    Hangs,
    Denies,
    /// Closes each watch at once.
    Closes,
}

struct Server {
    mode: Mode,
    pods: Vec<Value>,
    nodes: Vec<Value>,
    /// Method and path with query.
    requests: Vec<String>,
    /// The open watches of pods.
    watches: Vec<Events>,
}

#[derive(Clone)]
struct Api(Arc<Mutex<Server>>);

impl Api {
    fn new(pods: Vec<Value>, nodes: Vec<Value>) -> Self {
        let server = Server { mode: Mode::Answers, pods, nodes, requests: Vec::new(), watches: Vec::new() };
        Self(Arc::new(Mutex::new(server)))
    }

    fn with<T>(&self, look: impl FnOnce(&mut Server) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let api = api.clone();
            async move { Ok::<_, std::convert::Infallible>(api.answer(request).await) }
        });
        Client::new(service, "default")
    }

    async fn answer(&self, request: Request<kube::client::Body>) -> Response<Body> {
        let (path, query) = (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
        let mode = self.with(|server| {
            server.requests.push(format!("{} {path}?{query}", request.method()));
            server.mode
        });
        let is_watch = query.contains("watch=true");
        match mode {
            Mode::Hangs => return std::future::pending().await,
            Mode::Denies => {
                let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden",
                    "code": 403, "message": "no\nright"});
                return response(StatusCode::FORBIDDEN, Body::from(status.to_string()));
            }
            Mode::Closes if is_watch => return response(StatusCode::OK, Body::empty()),
            Mode::Answers | Mode::Closes => {}
        }
        if is_watch {
            let (events, receiver) = mpsc::unbounded_channel();
            let stream = tokio_stream(receiver);
            if path.contains("/pods") {
                self.with(|server| server.watches.push(events));
            } else {
                // Ends as a server ends it: after its time.
                tokio::spawn(async move {
                    pass(Duration::from_mins(1)).await;
                    drop(events);
                });
            }
            return response(StatusCode::OK, Body::from_stream(stream));
        }
        let items = self.with(|server| if path.contains("/pods") { server.pods.clone() } else { server.nodes.clone() });
        let kind = if path.contains("/pods") { "PodList" } else { "NodeList" };
        let list = json!({"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": items});
        response(StatusCode::OK, Body::from(list.to_string()))
    }

    /// Sends an event to the newest watch of pods.
    fn send(&self, kind: &str, object: &Value) {
        let line = format!("{}\n", json!({"type": kind, "object": object}));
        self.with(|server| server.watches.last().map(|watch| watch.send(Ok(Bytes::from(line)))));
    }
}

fn tokio_stream(
    receiver: mpsc::UnboundedReceiver<Result<Bytes, std::io::Error>>,
) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> {
    futures::stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) })
}

fn response(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

fn pod(name: &str, cluster: &str) -> Value {
    json!({
        "metadata": {"name": name, "uid": format!("uid-{name}"), "resourceVersion": "8"},
        "spec": {"nodeName": format!("node-{name}"), "containers": [
            {"name": "aws-node", "image": "cni:v1.18.6", "env": [{"name": "CLUSTER_NAME", "value": cluster}]}]},
        "status": {"phase": "Running", "podIP": "10.0.0.1"},
    })
}

fn node(name: &str, cluster: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"alpha.eksctl.io/cluster-name": cluster}},
        "spec": {"providerID": "aws:///eu-west-1a/i-0123456789abcdef0"},
    })
}

fn settings(shard: Option<&str>) -> DiscoverSettings {
    DiscoverSettings {
        namespace: "kube-system".to_owned(),
        selector: "k8s-app=aws-node".to_owned(),
        shard: shard.map(|shard| shard.parse().unwrap()),
        level: InsightLevel::Basic,
        own_node: Some("node-a".to_owned()),
    }
}

fn names(discovery: &Discovery) -> Vec<String> {
    discovery.index.targets().0.iter().map(|(pod, _)| pod.name.to_string()).collect()
}

/// Lets this time go by. It is the input: the test's clock is paused and moves on at once.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Waits for something that must come within this number of seconds of the test's clock.
async fn within(seconds: u64, what: &str, is_so: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    let waited = timeout(Duration::from_secs(seconds), async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    assert!(waited.await.is_ok(), "not within {seconds} s: {what}");
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_dies_is_noticed_and_its_recovery_needs_no_event() {
    let api = Api::new(vec![pod("a", "")], vec![]);
    let (_trigger, shutdown) = Shutdown::manual();
    let discovery = Discovery::spawn(&api.client(), &settings(None), &shutdown);
    within(5, "a list", || names(&discovery) == ["a"]).await;
    within(5, "a watch", || api.with(|server| server.watches.len() == 1)).await;
    // The watch is never ended by the server and never says anything: a dead connection.
    let failures = || discovery.stats.pod_failures.load(Ordering::Relaxed);
    let took = within(90, "the dead connection is noticed", || failures() == 1).await;
    assert!(took > Duration::from_mins(1), "{took:?}: the server may be silent for a minute");
    assert!(discovery.pods.age() > Duration::from_mins(1));
    within(5, "trouble ends with the next watch", || discovery.pods.trouble().is_none()).await;
    assert!(discovery.index.trouble().is_none() && discovery.pods.age() < Duration::from_secs(5));
    assert_eq!(api.with(|server| server.watches.len()), 2);
    assert_eq!(discovery.stats.pod_lists.load(Ordering::Relaxed), 1, "the list was not read again");
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_stays_fresh_by_its_bookmarks() {
    let api = Api::new(vec![pod("a", "")], vec![]);
    let (_trigger, shutdown) = Shutdown::manual();
    let discovery = Discovery::spawn(&api.client(), &settings(None), &shutdown);
    within(5, "a watch", || api.with(|server| server.watches.len() == 1)).await;
    for minute in 0..30 {
        pass(Duration::from_secs(50)).await;
        assert!(discovery.stale().is_none(), "minute {minute}");
        let bookmark = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": "9"}});
        api.send("BOOKMARK", &bookmark);
    }
    assert!(discovery.staleness().pods < Duration::from_mins(1));
    assert_eq!(discovery.stats.pod_failures.load(Ordering::Relaxed), 0);
    api.with(|server| server.watches.clear());
    within(5, "the next watch", || api.with(|server| server.watches.len() == 1)).await;
    let resumed = api.with(|server| server.requests.iter().any(|request| request.contains("resourceVersion=9")));
    assert!(resumed, "a new watch goes on where the bookmark was");
}

#[tokio::test(start_paused = true)]
async fn an_old_list_is_named_with_its_cause_until_the_server_answers_again() {
    let api = Api::new(vec![pod("a", "")], vec![node("node-a", "")]);
    let (_trigger, shutdown) = Shutdown::manual();
    let discovery = Discovery::spawn(&api.client(), &settings(None), &shutdown);
    within(5, "a list", || names(&discovery) == ["a"] && discovery.nodes.listing() == Listing::Complete).await;
    for (mode, cause) in [(Mode::Hangs, "no answer to a watch within 30 s"), (Mode::Denies, "no right")] {
        api.with(|server| {
            server.mode = mode;
            server.watches.clear();
        });
        assert_eq!(discovery.stale(), None, "{mode:?}");
        within(500, "the list is old", || discovery.stale().is_some()).await;
        assert!(discovery.pods.age() >= STALE_AFTER);
        let text = discovery.stale().unwrap();
        assert!(text.starts_with("the list of pods is 300 s old: ") && text.ends_with(cause), "{text}");
        assert_eq!(names(&discovery), ["a"], "rounds go on over what is known");
        api.with(|server| server.mode = Mode::Answers);
        within(200, "fresh again", || discovery.stale().is_none()).await;
        within(200, "no trouble", || discovery.index.trouble().is_none()).await;
        assert!(discovery.staleness().nodes.is_some(), "a list was had, so its age counts");
        within(200, "nodes", || discovery.nodes.trouble().is_none()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_that_may_not_be_listed_are_no_old_list() {
    let api = Api::new(vec![], vec![]);
    api.with(|server| server.mode = Mode::Denies);
    let (_trigger, shutdown) = Shutdown::manual();
    let discovery = Discovery::spawn(&api.client(), &settings(None), &shutdown);
    within(5, "denied", || discovery.nodes.listing() == Listing::Denied).await;
    assert_eq!(discovery.evidence().borrow().nodes, Listing::Denied);
    assert_eq!(discovery.staleness().nodes, None);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_each_watch_at_once_is_not_asked_in_a_storm() {
    let api = Api::new(vec![pod("a", "")], vec![]);
    api.with(|server| server.mode = Mode::Closes);
    let (_trigger, shutdown) = Shutdown::manual();
    let _discovery = Discovery::spawn(&api.client(), &settings(None), &shutdown);
    pass(Duration::from_mins(10)).await;
    let requests = api.with(|server| server.requests.len());
    assert!(requests < 100, "{requests} requests in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn odd_objects_cost_themselves_and_the_watch_goes_on() {
    let nameless = json!({"metadata": {"uid": "u"}, "spec": {}, "status": {"phase": "Running"}});
    let huge = json!({"metadata": {"name": "huge", "uid": "h", "annotations": {"a": "x".repeat(1 << 20)}},
        "spec": {"nodeName": "node-huge"}, "status": {"phase": "Running"}});
    let api = Api::new(vec![pod("a", ""), nameless.clone(), huge], vec![json!({"metadata": {}}), node("node-a", "")]);
    let (_trigger, shutdown) = Shutdown::manual();
    let discovery = Discovery::spawn(&api.client(), &settings(None), &shutdown);
    within(5, "a list", || names(&discovery) == ["a", "huge"]).await;
    within(5, "nodes", || discovery.index.labelled_nodes() == 1).await;
    within(5, "a watch", || api.with(|server| server.watches.len() == 1)).await;
    api.send("ADDED", &json!({"metadata": {"name": 5}}));
    api.send("MODIFIED", &nameless);
    api.send("SURPRISE", &json!({}));
    api.send("ADDED", &pod("b", ""));
    within(30, "the good pod behind them", || names(&discovery) == ["a", "b", "huge"]).await;
    api.send("ERROR", &json!({"kind": "Status", "code": 410, "message": "too old", "metadata": {}}));
    within(30, "a new list", || discovery.stats.pod_lists.load(Ordering::Relaxed) == 2).await;
    assert_eq!(names(&discovery), ["a", "huge"], "the new list counts");
}

#[tokio::test(start_paused = true)]
async fn the_clusters_names_and_the_own_instance_come_from_the_watches_whatever_the_shard() {
    for shard in [None, Some("0/2"), Some("1/2")] {
        let pods = ["a", "b", "c"].map(|name| pod(name, if name == "a" { "odd" } else { "prod" })).to_vec();
        let nodes = ["a", "b", "c"].map(|name| node(&format!("node-{name}"), "label")).to_vec();
        let api = Api::new(pods, nodes);
        let (_trigger, shutdown) = Shutdown::manual();
        let discovery = Discovery::spawn(&api.client(), &settings(shard), &shutdown);
        let mut evidence = discovery.evidence();
        let is_whole =
            |evidence: &ClusterEvidence| evidence.pods == Listing::Complete && evidence.nodes == Listing::Complete;
        let evidence = timeout(Duration::from_secs(5), evidence.wait_for(is_whole)).await.unwrap().unwrap().clone();
        assert_eq!(evidence.agent_names, ["prod", "odd"]);
        assert_eq!(evidence.eksctl_names, ["label"]);
        assert_eq!(evidence.instance_id.as_deref(), Some("i-0123456789abcdef0"));
        let only_lists = api.with(|server| {
            let paths = ["GET /api/v1/namespaces/kube-system/pods?", "GET /api/v1/nodes?"];
            server.requests.iter().all(|request| paths.iter().any(|path| request.starts_with(path)))
        });
        assert!(only_lists, "list and watch are all the rights there are");
        within(5, "a watch", || api.with(|server| server.watches.len() == 1)).await;
        api.send("ADDED", &pod("d", "later"));
        within(5, "a later name", || discovery.evidence().borrow().agent_names.contains(&"later".to_owned())).await;
    }
}

#[tokio::test]
async fn a_watch_that_dies_is_reported_and_one_that_ends_with_the_program_is_not() {
    let (trigger, shutdown) = Shutdown::manual();
    let failure = Arc::new(watch::Sender::new(None::<String>));
    let dies = async {
        tokio::task::yield_now().await;
        panic!("a fault of the program");
    };
    supervise("pods", &shutdown, dies, &failure);
    let mut seen = failure.subscribe();
    let said = seen.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert!(
        said.starts_with("the watch of pods has ended: task ") && said.contains("a fault of the program"),
        "{said}"
    );

    let quiet = Arc::new(watch::Sender::new(None::<String>));
    supervise("nodes", &shutdown, std::future::pending(), &quiet);
    trigger.end();
    while Arc::strong_count(&quiet) > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(*quiet.borrow(), None);
}
