//! The real CloudWatch client against a simulated service over sockets: what arrives is what was measured, in the form
//! that AWS documents, through throttling and broken connections; and the log lines.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use cni_aws::AwsHttp;
use cni_metrics_core::model::{Snapshot, UnixMillis, Values};
use cni_publish::cloudwatch::{
    AwsCloudWatch, CloudWatchSettings, CloudWatchSink, DEFAULT_BUFFER_BYTES, MetricClient, PutError,
};
use cni_publish::delivery::buffer::Point;
use cni_publish::delivery::spool::Opened;
use cni_publish::log::{LogMetrics, LogSink};
use cni_publish::selection::ROWS;
use cni_publish::stats::{DropReason, RequestOutcome};
use cni_publish::{Publisher, Selection, SinkStats};
use cni_runtime::clock::Clock;
use cni_runtime::gate::Leadership;
use cni_sim::aws::WallClock;
use cni_sim::aws::fault::{Fault, FaultRule};
use cni_sim::aws::serve::serve;
use cni_sim::cloudwatch::{CloudWatch, router};
use cni_types::catalogue::{CATALOGUE, Kind, METRICS, Metric, MetricSet};
use cni_types::shard::Shard;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Nothing here takes nearly as long, but on a busy machine it may take long.
const LIMIT: Duration = Duration::from_mins(1);

struct Service {
    cloudwatch: CloudWatch,
    sdk: SdkConfig,
    _stop: DropGuard,
}

impl Service {
    async fn start() -> Self {
        let cloudwatch = CloudWatch::new(Arc::new(WallClock), 7);
        let stop = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(serve(listener, router(cloudwatch.clone()), stop.clone()));
        Self { cloudwatch, sdk: sdk(&url), _stop: stop.drop_guard() }
    }

    fn publisher(&self, cluster_id: &str) -> Publisher {
        self.publisher_of(cluster_id, None)
    }

    fn publisher_of(&self, cluster_id: &str, shard: Option<Shard>) -> Publisher {
        let settings = settings_of(cluster_id, shard);
        settings.check().unwrap();
        let mut publisher = Publisher::new();
        let sink = AwsCloudWatch::new(&self.sdk, &settings);
        let leadership = Leadership::always();
        publisher.add(Box::new(CloudWatchSink::new(settings, sink, Clock::wall(), leadership, Opened::none())));
        publisher
    }
}

fn sdk(url: &str) -> SdkConfig {
    let credentials = Credentials::new("AKIATEST", "secret", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .endpoint_url(url)
        .http_client(AwsHttp::new(None).unwrap().sdk_client())
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

fn settings_of(cluster_id: &str, shard: Option<Shard>) -> CloudWatchSettings {
    CloudWatchSettings {
        namespace: "Kubernetes".to_owned(),
        cluster_id: cluster_id.parse().unwrap(),
        shard,
        selection: Selection::new(MetricSet::Standard, &[], &[]).unwrap(),
        resolution_seconds: 1,
        flush_every: Duration::from_millis(200),
        buffer_bytes: DEFAULT_BUFFER_BYTES,
        spool_dir: None,
    }
}

fn value(at: UnixMillis, metric: usize) -> f64 {
    (at.0 % 1_000_000) as f64 + metric as f64 / 64.0
}

fn snapshot(at: UnixMillis) -> Snapshot {
    let mut metrics = Values::default();
    for row in &ROWS {
        metrics.set(row.metric, Some(value(at, row.metric as usize)));
    }
    Snapshot { duration_ms: 1, metrics, ..Snapshot::empty(1, at) }
}

/// Publishes rounds a second apart that ended now, as fast as the sink reads them.
async fn publish(publisher: &Publisher, rounds: i64) -> Vec<UnixMillis> {
    let mut stats = publisher.stats_receivers().remove(0);
    let now = Clock::wall().now().0;
    let times: Vec<_> = (0..rounds).map(|round| UnixMillis(now - (rounds - round) * 1000)).collect();
    for (index, at) in times.iter().enumerate() {
        publisher.publish(Arc::new(snapshot(*at)));
        stats.wait_for(|stats| stats.rounds > index as u64).await.unwrap();
    }
    times
}

#[test(flavor = "multi_thread")]
async fn what_arrives_is_what_was_measured() {
    let service = Service::start().await;
    let publisher = service.publisher("prod");
    let times = publish(&publisher, 60).await;
    publisher.drain(LIMIT).await;
    let store = service.cloudwatch.store();
    assert_eq!(store.len(), 60 * METRICS);
    for row in &ROWS {
        let series = store.series("Kubernetes", row.name, &[("CLUSTER_ID", "prod")]);
        let got: Vec<_> = series.iter().map(|datum| (datum.timestamp_ms, datum.value)).collect();
        let expected: Vec<_> = times.iter().map(|at| (at.0, Some(value(*at, row.metric as usize)))).collect();
        assert_eq!(got, expected, "{}", row.name);
        let unit = if row.metric == Metric::AwsApiLatency { "Milliseconds" } else { "Count" };
        assert!(series.iter().all(|datum| datum.unit == unit && datum.resolution_s == 1 && datum.timestamp_given));
    }
    let requests = store.requests();
    assert!(requests.iter().all(|request| request.protocol == "smithy-rpc-v2-cbor" && request.data_count <= 1000));
    let large = requests.iter().max_by_key(|request| request.data_count).unwrap();
    assert!(large.wire_bytes * 5 < large.body_bytes, "compressed: {} of {}", large.wire_bytes, large.body_bytes);
}

#[test(flavor = "multi_thread")]
async fn the_longest_cluster_name_still_makes_requests_the_service_takes() {
    let service = Service::start().await;
    let name = "x".repeat(1024);
    let shard = "999/1000";
    let publisher = service.publisher_of(&name, shard.parse().ok());
    service.cloudwatch.faults().set(vec![FaultRule::always(Fault::Unavailable)]);
    let times = publish(&publisher, 100).await;
    service.cloudwatch.faults().clear();
    publisher.drain(LIMIT).await;
    let store = service.cloudwatch.store();
    assert_eq!(store.len(), times.len() * METRICS);
    let dimensions = [("CLUSTER_ID", name.as_str()), ("SHARD", shard)];
    assert!(ROWS.iter().all(|row| store.series("Kubernetes", row.name, &dimensions).len() == times.len()));
    let requests = store.requests();
    let largest = requests.iter().map(|request| request.body_bytes).max().unwrap();
    assert!((500_000..1_000_000).contains(&largest), "{largest} bytes, of 1 MB");
}

#[test(flavor = "multi_thread")]
async fn throttling_and_errors_lose_nothing_and_broken_connections_cost_counted_counters_only() {
    let service = Service::start().await;
    service.cloudwatch.faults().set(vec![
        FaultRule::always(Fault::Throttle).with_probability(0.3),
        FaultRule::always(Fault::Reset).with_probability(0.2),
        FaultRule::always(Fault::Unavailable).with_probability(0.2),
    ]);
    let publisher = service.publisher("prod");
    let times = publish(&publisher, 200).await;
    let mut stats = publisher.stats_receivers().remove(0);
    let store = service.cloudwatch.store();
    let all = (times.len() * METRICS) as u64;
    let settled =
        tokio::time::timeout(LIMIT, stats.wait_for(|stats| stats.sent_points + stats.dropped() == all)).await.is_ok();
    assert!(settled, "{:?}", publisher.stats());
    let stats = publisher.stats().remove(0);
    publisher.drain(LIMIT).await;
    assert!(stats.requests.contains_key(&RequestOutcome::NoAnswer), "{:?}", stats.requests);
    let mut missing = 0;
    for row in &ROWS {
        let series = store.series("Kubernetes", row.name, &[("CLUSTER_ID", "prod")]);
        let mut seen: Vec<_> = series.iter().map(|datum| datum.timestamp_ms).collect();
        seen.dedup();
        assert_eq!(seen.len(), series.len(), "{} twice", row.name);
        if row.kind == Kind::Counter {
            missing += times.len() - seen.len();
        } else {
            assert_eq!(seen.len(), times.len(), "{}", row.name);
        }
    }
    assert_eq!(stats.dropped_points.get(&DropReason::InDoubt).copied().unwrap_or(0), missing as u64);
    assert_eq!(stats.dropped(), missing as u64);
}

#[test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_on_its_way_makes_no_counter_arrive_twice() {
    // The service offers nothing to tell a repetition by.
    let service = Service::start().await;
    service.cloudwatch.faults().set(vec![FaultRule::always(Fault::ResetAfter)]);
    let publisher = service.publisher("prod");
    publish(&publisher, 1).await;
    let mut stats = publisher.stats_receivers().remove(0);
    let unanswered = |stats: &SinkStats| stats.requests.get(&RequestOutcome::NoAnswer).is_some_and(|count| *count >= 3);
    assert!(tokio::time::timeout(LIMIT, stats.wait_for(unanswered)).await.is_ok(), "{:?}", publisher.stats());
    service.cloudwatch.faults().clear();
    let all_sent = |stats: &SinkStats| stats.buffered_points == 0;
    assert!(tokio::time::timeout(LIMIT, stats.wait_for(all_sent)).await.is_ok(), "{:?}", publisher.stats());
    let counters = ROWS.iter().filter(|row| row.kind == Kind::Counter).count() as u64;
    assert_eq!(publisher.stats()[0].dropped_points[&DropReason::InDoubt], counters, "counted once");
    publisher.drain(LIMIT).await;
    let store = service.cloudwatch.store();
    for row in &ROWS {
        let times = store.series("Kubernetes", row.name, &[("CLUSTER_ID", "prod")]).len();
        let expected = if row.kind == Kind::Counter { 1..=1 } else { 2..=1000 };
        assert!(expected.contains(&times), "{} arrived {times} times", row.name);
    }
}

/// One request to what listens there.
async fn put_to(address: SocketAddr) -> Result<(), PutError> {
    let settings = settings_of("prod", None);
    let sink = AwsCloudWatch::new(&sdk(&format!("http://{address}")), &settings);
    let point = Point { round: 0, at: Clock::wall().now(), row: &ROWS[0], value: 1.0 };
    sink.put(vec![point]).await
}

#[test]
async fn what_was_not_written_is_told_from_what_got_no_answer() {
    // Bound and not listening: connections are refused, and no one else gets the port meanwhile.
    let closed = TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let refused = put_to(closed.local_addr().unwrap()).await.unwrap_err();
    assert!(matches!(refused, PutError::Network(_)), "{refused}");
    assert!(refused.to_string().contains("Connection refused"), "{refused}");
    assert!(!refused.to_string().contains(" {"), "causes in words and no program's structures: {refused}");

    // Takes the connection and closes it: with the request read, before it, in the middle of an answer.
    for (reads, answer) in [
        (true, &b""[..]),
        (false, b""),
        (true, b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\nsmithy-protocol: rpc-v2-cbor\r\n\r\nhalf"),
        (true, b"HTTP/1.1 20"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            if reads {
                read_request(&mut stream).await;
            }
            stream.write_all(answer).await.unwrap();
        });
        let lost = put_to(address).await.unwrap_err();
        assert!(matches!(lost, PutError::NoAnswer(_)), "{lost}, after {answer:?}");
        server.await.unwrap();
    }
}

#[test]
async fn any_retry_after_is_bounded() {
    for said in ["18446744073709551615", "86400", "99999999999999999999999", "-1", "soon"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            let answer = format!("HTTP/1.1 503 Busy\r\nretry-after: {said}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        let refused = put_to(address).await.unwrap_err();
        assert!(refused.is_answer(), "{refused}");
        let wait = refused.retry_after();
        assert!(wait.is_none_or(|wait| wait <= Duration::from_mins(5)), "{said}: {wait:?}");
        server.await.unwrap();
    }
}

/// Reads a request with its body, as far as its header says how long it is.
async fn read_request(stream: &mut TcpStream) {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
            let head_bytes = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            if bytes.len() >= head_bytes + length {
                return;
            }
        }
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "the request broke off");
    }
}

/// The lines of one round in which each metric has its number in the catalogue, plus 1, as its value.
async fn logged(selection: Selection, leadership: Leadership, metrics: LogMetrics) -> Vec<String> {
    cni_testkit::log::capture();
    let mut publisher = Publisher::new();
    publisher.add(Box::new(LogSink::new(selection, leadership, metrics)));
    let mut round = snapshot(UnixMillis(1_767_225_600_000));
    round.metrics = Values::default();
    for (number, metric) in (1..).zip(Metric::ALL) {
        round.metrics.set(metric, Some(f64::from(number)));
    }
    publisher.publish(Arc::new(round));
    publisher.drain(LIMIT).await;
    cni_testkit::log::captured().lines().map(str::to_owned).collect()
}

#[test]
async fn a_round_is_one_line_with_each_of_its_values_by_its_published_name() {
    let lines = logged(Selection::all(), Leadership::always(), LogMetrics::Fields).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    let (summary, fields) = lines[0].split_once(" ms").unwrap();
    assert!(summary.contains("INFO") && summary.contains(" nodes in "), "{summary}");
    let expected: Vec<String> = (1..).zip(CATALOGUE).map(|(number, row)| format!("{}={number}", row.name)).collect();
    assert!(fields.ends_with(&expected.join(" ")), "{fields}\nlacks {expected:?}");

    let narrow = Selection::new(MetricSet::Standard, &["eni*".to_owned()], &[]).unwrap();
    let lines = logged(narrow, Leadership::always(), LogMetrics::Fields).await;
    assert!(lines.len() == 1 && lines[0].ends_with(" eniAllocated=5 eniMaxAvailable=6"), "{lines:?}");
}

#[test]
async fn lines_of_the_original_stand_instead_of_the_fields_unless_programs_read_them() {
    let lines = logged(Selection::all(), Leadership::always(), LogMetrics::Lines).await;
    assert_eq!(lines.len(), 1 + CATALOGUE.len());
    assert!(lines[0].contains(" nodes in ") && !lines[0].contains('='), "{}", lines[0]);
    assert!(lines[1..].iter().all(|line| line.contains("INFO") && line.contains("Produce ")), "{lines:?}");
    let both = logged(Selection::all(), Leadership::always(), LogMetrics::LinesAndFields).await;
    assert!(both[0].contains(" assignIPAddresses=1 "), "{}", both[0]);
    assert_eq!(both.len(), lines.len());
}

#[test]
async fn log_lines_are_those_of_the_original() {
    cni_testkit::log::capture();
    let mut publisher = Publisher::new();
    let selection = Selection::new(MetricSet::Standard, &[], &["total*".to_owned()]).unwrap();
    publisher.add(Box::new(LogSink::new(selection, Leadership::always(), LogMetrics::Lines)));
    let mut round = snapshot(UnixMillis(1_767_225_600_000));
    round.metrics = Values::default();
    round.metrics.set(Metric::AssignIpAddresses, Some(2.0));
    round.metrics.set(Metric::TotalIpAddresses, Some(9.0));
    round.metrics.set(Metric::IpamdErr, Some(1.0));
    round.metrics.set(Metric::AwsApiLatency, Some(0.5));
    publisher.publish(Arc::new(round));
    publisher.drain(LIMIT).await;
    let text = cni_testkit::log::captured();
    let lines: Vec<_> = text.lines().filter_map(|line| Some(&line[line.find("Produce")?..])).collect();
    assert_eq!(
        lines,
        [
            "Produce GAUGE metrics: assignIPAddresses, value: 2.000000",
            "Produce GAUGE metrics: awsAPILatency, value: 0.500000",
            "Produce COUNTER metrics: ipamdErr, value: 1.000000",
        ]
    );
    assert!(text.lines().all(|line| line.contains("INFO")));
}
