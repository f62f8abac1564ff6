//! The admin listener of the helper, in one process with a simulated cluster: health as probes ask for it, and the page.

use std::fmt::Write as _;
use std::time::Duration;

use cni_metrics_helper::admin::{Kind, NAMES};
use cni_sim::scenario::Scenario;
use cni_testkit::wait;
use cni_testkit::world::World;

const TIMEOUT: Duration = Duration::from_mins(1);

async fn get(address: std::net::SocketAddr, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn value(page: &str, series: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[test(flavor = "multi_thread")]
async fn the_page_says_what_happened() {
    let mut world = World::start(Scenario::calm(4)).await;
    let mut helper = world.helper(&["--admin-address", "127.0.0.1:0"]).await;
    let address = helper.admin.unwrap();
    for _ in 0..3 {
        helper.round().await;
        world.advance(&[&helper]).await;
    }
    helper.round().await;
    helper.wait_stats("cloudwatch", TIMEOUT, |stats| stats.sent_points > 0).await;

    assert_eq!(get(address, "/livez").await.0, 200);
    let (status, text) = get(address, "/readyz").await;
    assert_eq!((status, text.as_str()), (200, "ready: 4 rounds done\n"));

    let (status, page) = get(address, "/metrics").await;
    assert_eq!(status, 200);
    let page = without_label(&page, &world);
    for (series, expected) in [
        ("cni_metrics_helper_rounds_total{outcome=\"complete\"}", 4.0),
        ("cni_metrics_helper_rounds_total{outcome=\"partial\"}", 0.0),
        ("cni_metrics_helper_round_duration_seconds_count", 4.0),
        ("cni_metrics_helper_scrapes_total{outcome=\"ok_proxy\"}", 16.0),
        ("cni_metrics_helper_scrapes_total{outcome=\"timeout\"}", 0.0),
        ("cni_metrics_helper_leader", 1.0),
        ("cni_metrics_helper_standing_by", 0.0),
        ("cni_metrics_helper_watch_synced", 1.0),
        ("cni_metrics_helper_watch_lists_total", 1.0),
        ("cni_metrics_helper_points_dropped_total{reason=\"buffer_full\"}", 0.0),
        ("cni_metrics_helper_sink_rounds_total{sink=\"cloudwatch\"}", 4.0),
    ] {
        assert_eq!(value(&page, series), Some(expected), "{series} in\n{page}");
    }
    for series in ["cni_metrics_helper_page_bytes_total", "process_cpu_seconds_total", "process_resident_memory_bytes"]
    {
        assert!(value(&page, series).unwrap() > 0.0, "{series}");
    }
    the_table_is_the_page(&page);
    helper.end().await;
    let refused = async || tokio::net::TcpStream::connect(address).await.err();
    wait::some_async("the listener ends with the helper", TIMEOUT, refused).await;
}

/// The page without the label `cluster`, which all of the helper's own series have, and no other.
fn without_label(page: &str, world: &World) -> String {
    let label = format!("cluster=\"{}\"", world.sim.cluster().scenario().cluster.name);
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        assert_eq!(line.contains(&label), line.starts_with("cni_metrics_helper_"), "{line}");
    }
    page.replace(&format!("{{{label}}}"), "").replace(&format!(",{label}"), "")
}

/// Every metric of the table is on the page with its kind, and nothing else is.
fn the_table_is_the_page(page: &str) {
    let typed: Vec<(&str, &str)> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let optional = "cni_metrics_helper_oldest_point_age_seconds";
    let expected = NAMES.iter().filter(|name| name.name != optional || page.contains(optional));
    assert_eq!(typed, expected.map(|name| (name.name, name.kind.text())).collect::<Vec<_>>());
    assert!(NAMES.iter().all(|name| (name.kind == Kind::Counter) == name.name.ends_with("_total")));
}

#[test]
fn the_table_is_documented() {
    let documented = include_str!("../../../../docs/helper-metrics.md");
    let mut expected = String::new();
    for name in NAMES {
        writeln!(expected, "| `{}` | {} | {} |", name.name, name.kind.text(), name.help).unwrap();
    }
    assert!(documented.contains(&expected), "docs/helper-metrics.md must have this table:\n{expected}");
}

#[test(flavor = "multi_thread")]
async fn before_the_pods_are_listed_it_is_alive_and_not_ready() {
    let mut world = World::start(Scenario::calm(2)).await;
    world.inject("api-server: { kind: deny, verb: list, resource: pods }");
    let helper = world.helper(&["--admin-address", "127.0.0.1:0"]).await;
    let address = helper.admin.unwrap();
    assert_eq!(get(address, "/livez").await.0, 200);
    let (status, text) = get(address, "/readyz").await;
    assert_eq!((status, text.as_str()), (503, "not ready: the pods have not been listed yet\n"));
    let (_, page) = get(address, "/metrics").await;
    assert_eq!(value(&without_label(&page, &world), "cni_metrics_helper_watch_synced"), Some(0.0));
    assert_eq!(get(address, "/other").await.0, 404);
    helper.end().await;
}

#[test(flavor = "multi_thread")]
async fn a_round_loop_that_hangs_is_not_alive() {
    let mut world = World::start(Scenario::calm(2)).await;
    // Three intervals of a second each, in which the driven clock never moves.
    let helper = world.helper(&["--admin-address", "127.0.0.1:0", "--interval", "1"]).await;
    let address = helper.admin.unwrap();
    let age = |text: &str| -> f64 {
        let (_, rest) = text.split_once("the round loop last turned ").unwrap();
        rest.split(' ').next().unwrap().parse().unwrap()
    };
    let began = tokio::time::Instant::now();
    let text = loop {
        let (status, text) = get(address, "/livez").await;
        if status == 503 {
            break text;
        }
        assert!(age(&text) <= 3.0 && began.elapsed() < TIMEOUT, "{text}");
        wait::pause_async().await;
    };
    // How much later a busy machine asks is open.
    assert!(text.starts_with("stuck: ") && text.contains("more than 3 intervals") && age(&text) >= 3.0, "{text}");
    helper.end().await;
}

/// The page of a helper that has done a round is what Prometheus' own tool calls sound.
#[test(flavor = "multi_thread")]
#[ignore = "needs promtool: run .ci/run"]
async fn promtool_understands_the_page() {
    let mut world = World::start(Scenario::calm(4)).await;
    let mut helper = world.helper(&["--admin-address", "127.0.0.1:0"]).await;
    helper.round().await;
    helper.wait_stats("cloudwatch", TIMEOUT, |stats| stats.sent_points > 0).await;
    cni_testkit::needs::promtool::check_metrics(&get(helper.admin.unwrap(), "/metrics").await.1);
    helper.end().await;
}
