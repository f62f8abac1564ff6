//! The whole box over its sockets: what the servers hand out is what the truth says, and the clock obeys.
#![expect(clippy::float_cmp, reason = "the figures are whole numbers")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use cni_sim::scenario::Scenario;
use cni_sim::truth::Window;
use cni_sim::{ClockMode, Sim, SimError, SimOptions};
use cni_testkit::wait;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Nothing here takes nearly as long, but on a busy machine it may take long.
const LIMIT: Duration = Duration::from_mins(1);

async fn request(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: sim\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        unchunked(body)
    } else {
        body.to_owned()
    };
    (status, body)
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        whole.push_str(&rest[..size]);
        body = &rest[size + 2..];
    }
    whole
}

async fn json(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, Value) {
    let (status, body) = request(address, method, path, body).await;
    (status, serde_json::from_str(&body).unwrap())
}

fn wall_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Adds up the series of each family of a page, the dull way.
fn sums(page: &str) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let family = series.split('{').next().unwrap();
        *sums.entry(family.to_owned()).or_default() += value.parse::<f64>().unwrap();
    }
    sums
}

/// Page family, published name.
const FOLDED: &[(&str, &str)] = &[
    ("awscni_assigned_ip_addresses", "assignIPAddresses"),
    ("awscni_total_ip_addresses", "totalIPAddresses"),
    ("awscni_total_ipv4_prefixes", "totalIPv4Prefixes"),
    ("awscni_assigned_ip_per_cidr", "totalAssignedIPv4sPerCidr"),
    ("awscni_eni_allocated", "eniAllocated"),
    ("awscni_eni_max", "eniMaxAvailable"),
    ("awscni_ip_max", "maxIPAddresses"),
    ("awscni_ipamd_action_inprogress", "ipamdActionInProgress"),
    ("awscni_aws_api_error_count", "awsAPIErr"),
    ("awscni_aws_utils_error_count", "awsUtilErr"),
    ("awscni_ipamd_error_count", "ipamdErr"),
    ("awscni_reconcile_count", "reconcileCount"),
    ("awscni_add_ip_req_count", "addReqCount"),
    ("awscni_del_ip_req_count", "delReqCount"),
    ("awscni_pod_eni_error_count", "podENIErr"),
    ("awscni_force_removed_enis", "forceRemoveENI"),
    ("awscni_force_removed_ips", "forceRemoveIPs"),
    ("awscni_ec2api_req_count", "ec2ApiReqCount"),
    ("awscni_ec2api_error_count", "ec2ApiErrCount"),
    ("awscni_no_available_ip_addresses", "noAvailableIPAddresses"),
];

/// Scrapes every agent and adds the pages up. When it returns, the truth knows of all of them: a page is noted once its
/// socket has taken the last byte, which may be after its reader has it.
async fn scrape_all(sim: &Sim) -> BTreeMap<String, f64> {
    let from = wall_ms();
    let port = sim.cluster().metrics_port();
    let mut total: BTreeMap<String, f64> = BTreeMap::new();
    for pod in sim.cluster().kube().pods() {
        let path = format!("/api/v1/namespaces/kube-system/pods/{}:{port}/proxy/metrics", pod.meta.name);
        let (status, page) = request(sim.api_server().http_address().unwrap(), "GET", &path, "").await;
        assert_eq!(status, 200, "{page}");
        for (family, sum) in sums(&page) {
            // The name of agents 1.9.
            let family = family.replace("assigned_ip_per_ipv4cidr", "assigned_ip_per_cidr");
            *total.entry(family).or_default() += sum;
        }
    }
    let pages = sim.cluster().kube().pods().len() as u64;
    let noted = || {
        let window = Window { from, to: wall_ms(), collector_start: None, collector_start_api: None };
        sim.truth().round(window).deliveries
    };
    wait::until_async("the truth knows of all pages", LIMIT, || noted() >= pages).await;
    total
}

#[test(flavor = "multi_thread")]
async fn what_the_pages_say_is_what_the_truth_says() {
    for name in ["mixed-version", "throttling", "subnet-exhaustion", "prefix"] {
        let sim = Sim::start(SimOptions::new(Scenario::named(name).unwrap()).lockstep()).await.unwrap();
        let cluster = sim.cluster();
        cluster.advance_to(cluster.start_ms() + 300_000);
        let from = wall_ms();
        let first = scrape_all(&sim).await;
        let between = wall_ms() + 1;
        // Pages of the second scrape are noted after this time, not at it.
        wait::until_async("the wall clock has moved on", LIMIT, || wall_ms() > between + 1).await;
        cluster.advance_to(cluster.now_ms() + 300_000);
        let second = scrape_all(&sim).await;
        let window = |from, to| Window { from, to, collector_start: None, collector_start_api: None };
        // Without a collector start the first round counts from the beginning of each process.
        let truth_first = sim.truth().round(window(from, between));
        let truth_second = sim.truth().round(window(between + 1, wall_ms()));
        for (family, published) in FOLDED {
            let (first, second) = (first.get(*family), second.get(*family));
            let is_gauge = !truth_second.cumulative.contains_key(published);
            let expected =
                if is_gauge { second.copied() } else { Some(second.unwrap_or(&0.0) - first.unwrap_or(&0.0)) };
            assert_eq!(truth_second.metrics.get(published).copied(), expected, "{name}: {published}");
            let whole = if is_gauge { first.copied() } else { Some(*first.unwrap_or(&0.0)) };
            assert_eq!(truth_first.metrics.get(published).copied(), whole, "{name}: {published} of the first round");
        }
        sim.stop().await;
    }
}

#[test(flavor = "multi_thread")]
async fn the_control_listener_steers_a_lockstep_cluster() {
    let sim = Sim::start(SimOptions::new(Scenario::calm(3)).lockstep()).await.unwrap();
    let control = sim.control_address();
    let (_, before) = json(control, "GET", "/state", "").await;
    assert_eq!((&before["nodes"], &before["serving"]), (&json!(3), &json!(3)));
    let (status, advanced) = json(control, "POST", "/advance", r#"{"by_ms": 60000}"#).await;
    assert_eq!((status, advanced["now_ms"].as_i64()), (200, before["now_ms"].as_i64().map(|ms| ms + 60_000)));
    for wrong in [r#"{"to_ms": 5}"#, "{}", r#"{"by_ms": 1, "to_ms": 1}"#, r#"{"by_m": 1}"#, "nonsense"] {
        assert_eq!(json(control, "POST", "/advance", wrong).await.0, 400, "{wrong}");
    }

    let set = r#"{"set": [{"fault": {"api-server": {"kind": "status", "code": 503}}}]}"#;
    let (_, numbers) = json(control, "POST", "/faults", set).await;
    let api = sim.api_server().http_address().unwrap();
    assert_eq!(request(api, "GET", "/api/v1/nodes", "").await.0, 503);
    let clear = format!(r#"{{"clear": {}}}"#, numbers["numbers"]);
    assert_eq!(json(control, "POST", "/faults", &clear).await.0, 200);
    assert_eq!(request(api, "GET", "/api/v1/nodes", "").await.0, 200);
    let (status, refused) =
        json(control, "POST", "/faults", r#"{"set": [{"fault": {"subnet-dry": {"subnet": "x"}}}]}"#).await;
    assert_eq!(status, 400);
    assert!(refused["error"].as_str().unwrap().contains("\"x\" does not exist"), "{refused}");

    let from = wall_ms();
    scrape_all(&sim).await;
    let (_, truth) =
        json(control, "GET", &format!("/truth?from={from}&to={}&collector_start={from}", wall_ms()), "").await;
    assert_eq!(truth["metrics"]["nodesScraped"], json!(3.0));
    assert_eq!(truth["metrics"]["addReqCount"], Value::Null, "a baseline is no increase");
    let (_, data) = json(control, "GET", "/cloudwatch/data", "").await;
    assert_eq!(data, json!([]));
    sim.stop().await;
}

#[test(flavor = "multi_thread")]
async fn a_clock_of_its_own_runs_at_its_speed() {
    let mut options = SimOptions::new(Scenario::calm(2));
    options.clock = ClockMode::Realtime { speed: 600.0 };
    let sim = Sim::start(options).await.unwrap();
    let start_ms = sim.cluster().start_ms();
    let has_run = || sim.cluster().now_ms() >= start_ms + 120_000;
    wait::until_async("two minutes of the cluster's time", LIMIT, has_run).await;
    let (status, _) = json(sim.control_address(), "POST", "/advance", r#"{"by_ms": 1}"#).await;
    assert_eq!(status, 409);
    sim.stop().await;
    let mut options = SimOptions::new(Scenario::calm(2));
    options.clock = ClockMode::Realtime { speed: 0.0 };
    assert!(matches!(Sim::start(options).await, Err(SimError::Speed(_))));
}

#[test(flavor = "multi_thread")]
async fn the_environment_leads_to_every_server() {
    let sim = Sim::start(SimOptions::new(Scenario::calm(2)).lockstep()).await.unwrap();
    let env: BTreeMap<String, String> = sim.env().into_iter().collect();
    let kubeconfig = sim.kubeconfig_path().to_owned();
    assert_eq!(env["KUBECONFIG"], kubeconfig.display().to_string());
    assert!(std::fs::read_to_string(&kubeconfig).unwrap().contains("current-context: cni-sim-http"));
    for name in ["AWS_ENDPOINT_URL_CLOUDWATCH", "AWS_ENDPOINT_URL_EC2", "AWS_ENDPOINT_URL_STS", "CNI_SIM_CONTROL"] {
        let address: SocketAddr = env[name].strip_prefix("http://").unwrap().parse().unwrap();
        assert!(address.ip().is_loopback(), "{name}");
        TcpStream::connect(address).await.unwrap();
    }
    // Directly: each pod on its own loopback address.
    let port: u16 = env["AGENT_PORT"].parse().unwrap();
    for pod in sim.cluster().kube().pods() {
        let (status, page) = request(SocketAddr::new(pod.pod_ip.unwrap(), port), "GET", "/metrics", "").await;
        assert_eq!(status, 200);
        assert_eq!(sums(&page)["awscni_assigned_ip_addresses"], 12.0);
    }
    let imds: SocketAddr = env["AWS_EC2_METADATA_SERVICE_ENDPOINT"].strip_prefix("http://").unwrap().parse().unwrap();
    sim.stop().await;
    assert!(TcpStream::connect(imds).await.is_err(), "stopped means closed");
    assert!(!kubeconfig.exists());
}
