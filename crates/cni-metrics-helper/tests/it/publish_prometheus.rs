//! The Prometheus page: names, types, per-node totals, staleness, compression.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use cni_aws::identity::{ClusterIdReader, CredentialKind, Found, Identity, IdentityState};
use cni_metrics_core::model::{
    Breakdown, Coverage, FailureKind, FamilySet, Ipv6Figures, NodeFigures, NodeLabels, NodeName, PodUid, Snapshot,
    UnixMillis, Values,
};
use cni_publish::Publisher;
use cni_publish::prometheus::{PrometheusSettings, PrometheusSink};
use cni_runtime::clock::Clock;
use cni_types::catalogue::Metric;
use cni_types::node_state::{NodeState, StateCounts};
use cni_types::shard::Shard;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

const START: UnixMillis = UnixMillis(1_767_225_600_000);

fn values(entries: &[(Metric, f64)]) -> Values {
    let mut values = Values::default();
    for (metric, value) in entries {
        values.set(*metric, Some(*value));
    }
    values
}

fn node(name: &str, uid: &str, failure: Option<FailureKind>, entries: &[(Metric, f64)]) -> NodeFigures {
    let zone = (name != "bare").then(|| Arc::from("eu-west-1a"));
    NodeFigures {
        uid: PodUid::new(uid),
        name: NodeName::new(name),
        labels: Arc::new(NodeLabels { zone, instance_type: Some(Arc::from("m5.large")), node_group: None }),
        expected: true,
        agent_version: None,
        ipv6: false,
        failure,
        values: values(entries),
        damaged: FamilySet::default(),
        implausible: FamilySet::default(),
        shares: Box::default(),
        labels_overflowed: false,
        states: failure.map(|_| NodeState::Silent).into_iter().collect(),
        usable_ip_addresses: (name == "ip-10-0-0-1").then_some(27),
    }
}

fn states_of(nodes: &[NodeFigures]) -> StateCounts {
    let mut counts = StateCounts::default();
    for node in nodes {
        counts.add(node.states);
    }
    counts
}

fn snapshot(round: u64, nodes: Vec<NodeFigures>) -> Snapshot {
    Snapshot {
        cluster: None,
        round,
        at: UnixMillis(START.0 + (i64::try_from(round).unwrap() - 1) * 30_000),
        duration_ms: 412,
        coverage: Coverage {
            expected: 3,
            scraped: 2,
            failed: [(FailureKind::Timeout, 1)].into(),
            reporting: [(Metric::NoAvailableIpAddresses, 1)].into(),
            damaged: 1,
            implausible: 0,
            states: states_of(&nodes),
        },
        metrics: values(&[
            (Metric::AssignIpAddresses, 17.0),
            (Metric::TotalIpAddresses, 40.0),
            (Metric::EniAllocated, 4.0),
            (Metric::EniMaxAvailable, 9.0),
            (Metric::MaxIpAddresses, 81.0),
            (Metric::AwsApiLatency, 35.5),
            (Metric::AwsApiErr, 1.0),
            (Metric::NodesExpected, 3.0),
            (Metric::NodesScraped, 2.0),
        ]),
        totals: values(&[(Metric::AwsApiErr, 11.0), (Metric::NoAvailableIpAddresses, 0.0)]),
        ipv6: Ipv6Figures { nodes: 1, assigned_ip_addresses: 6.0 },
        nodes,
        anomalies: Vec::new(),
        breakdown: Breakdown::default(),
    }
}

fn first_round() -> Snapshot {
    let a = [(Metric::AssignIpAddresses, 12.0), (Metric::AwsApiErr, 2.0), (Metric::AwsApiLatency, 35.5)];
    let bare = [(Metric::AssignIpAddresses, 5.0), (Metric::AwsApiErr, 0.0)];
    snapshot(
        1,
        vec![
            node("bare", "uid-1", None, &bare),
            node("ip-10-0-0-1", "uid-2", None, &a),
            node("odd\"name\\", "uid-3", Some(FailureKind::Timeout), &[]),
        ],
    )
}

struct Server {
    publisher: Publisher,
    address: SocketAddr,
}

impl Server {
    async fn start(node_series: bool, clock: Clock) -> Self {
        Self::start_shard(node_series, None, clock).await
    }

    async fn start_shard(node_series: bool, shard: Option<Shard>, clock: Clock) -> Self {
        Self::start_with(node_series, None, shard, clock).await
    }

    async fn start_with(
        node_series: bool,
        cluster: Option<ClusterIdReader>,
        shard: Option<Shard>,
        clock: Clock,
    ) -> Self {
        let mut publisher = Publisher::new();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let settings = PrometheusSettings { address, node_series, cluster, shard, interval: Duration::from_secs(30) };
        let sink = PrometheusSink::bind(settings, clock).await.unwrap();
        let address = sink.address();
        publisher.add(Box::new(sink));
        Self { publisher, address }
    }

    /// Publishes and waits until the sink has taken it.
    async fn publish(&self, snapshot: Snapshot) {
        let mut stats = self.publisher.stats_receivers().remove(0);
        let before = stats.borrow_and_update().rounds;
        self.publisher.publish(Arc::new(snapshot));
        stats.wait_for(|stats| stats.rounds > before).await.unwrap();
    }

    async fn request(&self, head: &str) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(format!("{head}\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
        let headers = String::from_utf8(answer[..end].to_vec()).unwrap().to_ascii_lowercase();
        let body = answer[end + 4..].to_vec();
        (headers.clone(), if headers.contains("transfer-encoding: chunked") { unchunk(&body) } else { body })
    }

    async fn page(&self) -> String {
        let (headers, body) = self.request("GET /metrics HTTP/1.1").await;
        assert!(headers.starts_with("http/1.1 200"), "{headers}");
        assert!(headers.contains("content-type: text/plain; version=0.0.4"), "{headers}");
        String::from_utf8(body).unwrap()
    }
}

fn unchunk(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let line = body.windows(2).position(|bytes| bytes == b"\r\n").unwrap();
        let length = usize::from_str_radix(std::str::from_utf8(&body[..line]).unwrap(), 16).unwrap();
        if length == 0 {
            return whole;
        }
        whole.extend(&body[line + 2..line + 2 + length]);
        body = &body[line + 2 + length + 2..];
    }
}

fn value(page: &str, series: &str) -> Option<f64> {
    let line = page.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
    Some(line[series.len() + 1..].parse().unwrap())
}

fn standing_clock() -> Clock {
    // A microsecond a second: for these tests the time stands still.
    Clock::scaled(START, 1e-6)
}

#[test]
async fn the_page_of_a_round() {
    let server = Server::start(true, standing_clock()).await;
    assert_eq!(server.page().await, "", "nothing is exposed before it was measured");
    server.publish(first_round()).await;
    let page = server.page().await;
    insta::assert_snapshot!("page", page);
}

#[test]
async fn a_shard_names_itself_on_every_sum_and_on_no_node() {
    let whole = Server::start(true, standing_clock()).await;
    let part = Server::start_shard(true, "1/3".parse().ok(), standing_clock()).await;
    for server in [&whole, &part] {
        server.publish(first_round()).await;
    }
    let (whole, part) = (whole.page().await, part.page().await);
    let is_sum = |line: &&str| line.starts_with("cni_cluster_") || line.starts_with("awscni_");
    for line in part.lines().filter(is_sum) {
        assert!(line.contains("shard=\"1/3\"}"), "{line}");
    }
    assert_eq!(value(&part, "cni_cluster_shards{shard=\"1/3\"}"), Some(3.0));
    assert_eq!(value(&part, "cni_cluster_nodes_failed{reason=\"timeout\",shard=\"1/3\"}"), Some(1.0));
    // Apart from that it is the same page.
    let without: Vec<String> = part
        .lines()
        .filter(|line| !line.contains("cni_cluster_shards"))
        .map(|line| line.replace("{shard=\"1/3\"}", "").replace(",shard=\"1/3\"", ""))
        .collect();
    assert_eq!(without, whole.lines().collect::<Vec<_>>());
}

/// Samples only: comments have no labels.
fn samples(page: &str) -> Vec<&str> {
    page.lines().filter(|line| !line.starts_with('#')).collect()
}

#[test]
async fn every_cni_series_says_of_which_cluster_it_is_and_the_originals_gauges_have_no_label() {
    let awaited = watch::Sender::new(IdentityState::Awaiting("a test".to_owned()));
    let search = ClusterIdReader::Search(awaited.subscribe());
    let without = Server::start_shard(true, "1/3".parse().ok(), standing_clock()).await;
    let with = Server::start_with(true, Some(search), "1/3".parse().ok(), standing_clock()).await;
    for server in [&without, &with] {
        server.publish(first_round()).await;
    }
    let without = without.page().await;
    // Before the id is known: the gauges of the original, and nothing else.
    let page = with.page().await;
    assert_eq!(samples(&page).len(), 5, "{page}");
    let is_original = |line: &&str| line.starts_with("awscni_");
    assert_eq!(samples(&page), samples(&without).into_iter().filter(is_original).collect::<Vec<_>>());
    assert!(!page.contains("cni_cluster_") && !page.contains("cni_node_"), "{page}");
    // The round that was measured before is of the same cluster as what comes after.
    awaited.send_replace(IdentityState::Known(Arc::new(Identity {
        region: None,
        cluster_id: Found { value: "a\"b\\c".parse().unwrap(), source: "a test".to_owned() },
        credentials: CredentialKind::Environment,
        sdk: SdkConfig::builder().build(),
    })));
    let page = with.page().await;
    let label = r#"cluster="a\"b\\c""#;
    for line in samples(&page) {
        assert_eq!(line.contains(label), !line.starts_with("awscni_"), "{line}");
    }
    assert!(page.contains(&format!("cni_cluster_nodes_failed{{reason=\"timeout\",{label},shard=\"1/3\"}} 1\n")));
    // Apart from that it is the same page.
    let stripped = page.replace(&format!("{label},"), "").replace(&format!(",{label}"), "");
    assert_eq!(stripped, without);
    // A snapshot's own id needs no reader.
    let known = Server::start_with(true, Some(ClusterIdReader::NotAsked), None, standing_clock()).await;
    known.publish(Snapshot { cluster: "prod".parse().ok(), ..first_round() }).await;
    assert_eq!(value(&known.page().await, "cni_cluster_eni_max{cluster=\"prod\"}"), Some(9.0));
}

#[test]
async fn node_series_can_be_switched_off() {
    let server = Server::start(false, standing_clock()).await;
    server.publish(first_round()).await;
    let page = server.page().await;
    assert!(page.contains("cni_cluster_assigned_ip_addresses 17"));
    assert!(!page.contains("cni_node_"));
}

#[test]
async fn node_counters_add_up_through_missed_scrapes_and_end_with_their_pod() {
    let server = Server::start(true, standing_clock()).await;
    let errors = |increase| [(Metric::AwsApiErr, increase)];
    let labels = "{node=\"n\",zone=\"eu-west-1a\",instance_type=\"m5.large\"}";
    let series = format!("cni_node_aws_api_errors_total{labels}");
    let up = format!("cni_node_up{labels}");
    server.publish(snapshot(1, vec![node("n", "1", None, &errors(2.0))])).await;
    server.publish(snapshot(2, vec![node("n", "1", Some(FailureKind::Timeout), &[])])).await;
    let page = server.page().await;
    assert_eq!((value(&page, &series), value(&page, &up)), (Some(2.0), Some(0.0)));
    server.publish(snapshot(3, vec![node("n", "1", None, &errors(5.0))])).await;
    assert_eq!(value(&server.page().await, &series), Some(7.0));
    // While a pod is being replaced, two share the node: one series, that of the one that answers.
    let both = vec![node("n", "1", Some(FailureKind::NotFound), &[]), node("n", "2", None, &errors(1.0))];
    server.publish(snapshot(4, both)).await;
    let page = server.page().await;
    assert_eq!((value(&page, &series), value(&page, &up)), (Some(1.0), Some(1.0)));
    assert_eq!(page.matches("cni_node_up{").count(), 1);
    server.publish(snapshot(5, vec![])).await;
    assert!(!server.page().await.contains("cni_node_"), "a node that left leaves no series");
}

#[test(start_paused = true)]
async fn gauges_are_withdrawn_when_rounds_stop_and_counters_stay() {
    let clock = Clock::scaled(START, 1.0);
    let server = Server::start(true, clock.clone()).await;
    server.publish(first_round()).await;
    clock.sleep(Duration::from_secs(89)).await;
    assert_eq!(value(&server.page().await, "awscni_eni_max"), Some(9.0));
    clock.sleep(Duration::from_secs(3)).await;
    let page = server.page().await;
    for gone in ["awscni_", "cni_cluster_nodes", "cni_cluster_assigned", "cni_node_up", "cni_node_assigned"] {
        assert!(!page.contains(gone), "{gone} is still there");
    }
    assert_eq!(value(&page, "cni_cluster_aws_api_errors_total"), Some(11.0));
    assert_eq!(value(&page, "cni_cluster_last_round_timestamp_seconds"), Some(1_767_225_600.0));
    assert!(page.contains("cni_node_aws_api_errors_total{node=\"ip-10-0-0-1\""));
}

#[test]
async fn gzip_is_used_for_clients_that_accept_it() {
    let server = Server::start(true, standing_clock()).await;
    let many = (0..3500).map(|n| node(&format!("n{n:05}"), "u", None, &[(Metric::EniAllocated, 2.0)])).collect();
    server.publish(snapshot(1, many)).await;
    let plain = server.page().await;
    assert_eq!(plain.matches("\ncni_node_up{").count(), 3500);
    assert_eq!(plain.matches("# TYPE cni_node_up gauge").count(), 1, "one head for many pieces");
    let (headers, body) = server.request("GET /metrics HTTP/1.1\r\nAccept-Encoding: deflate, gzip;q=0.5").await;
    assert!(headers.contains("content-encoding: gzip"), "{headers}");
    assert!(body.len() * 5 < plain.len());
    let mut text = String::new();
    flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, plain);
    let (headers, _) = server.request("GET /metrics HTTP/1.1\r\nAccept-Encoding: gzip;q=0, br").await;
    assert!(!headers.contains("content-encoding"));
    let (headers, _) = server.request("GET / HTTP/1.1").await;
    assert!(headers.starts_with("http/1.1 404"));
}

#[test]
async fn an_address_in_use_is_a_clear_mistake() {
    let server = Server::start(true, standing_clock()).await;
    let settings = PrometheusSettings {
        address: server.address,
        node_series: true,
        cluster: None,
        shard: None,
        interval: Duration::from_secs(30),
    };
    let error = PrometheusSink::bind(settings, standing_clock()).await.err().unwrap().to_string();
    assert!(error.starts_with(&format!("PROMETHEUS_ADDRESS {}: cannot listen there", server.address)), "{error}");
}

/// The pages of a whole cluster, of a shard, and of rounds that have stopped are what Prometheus' own tool calls sound.
#[test(start_paused = true)]
#[ignore = "needs promtool: run .ci/run"]
async fn promtool_understands_the_pages() {
    let clock = Clock::scaled(START, 1.0);
    let whole = Server::start(true, clock.clone()).await;
    let part = Server::start_shard(true, "1/3".parse().ok(), clock.clone()).await;
    let named = Some(ClusterIdReader::Known("prod".parse().unwrap()));
    let named = Server::start_with(true, named, "1/3".parse().ok(), clock.clone()).await;
    for server in [&whole, &part, &named] {
        server.publish(first_round()).await;
        cni_testkit::needs::promtool::check_metrics(&server.page().await);
    }
    clock.sleep(Duration::from_secs(92)).await;
    let stale = whole.page().await;
    assert!(!stale.contains("awscni_"), "{stale}");
    cni_testkit::needs::promtool::check_metrics(&stale);
}
