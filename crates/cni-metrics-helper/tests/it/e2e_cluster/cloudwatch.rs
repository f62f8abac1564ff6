//! What is put into CloudWatch, read back by boto3, is exactly what happened on the nodes.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use cni_sim::aws::{WallClock, serve};
use cni_sim::cloudwatch::{CloudWatch, router};
use cni_testkit::api_server::assets::{Assets, python};
use cni_testkit::api_server::cluster::Cluster;
use cni_testkit::api_server::page::Page;
use cni_testkit::process::Process;
use rustix::process::Signal;
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::program::Program;

const ENDPOINT: &str = "http://127.0.0.1:5000";
const TIMEOUT: Duration = Duration::from_mins(1);

/// What the service is reached by; both sides get the same, so that what one writes the other finds.
const AWS: [(&str, &str); 5] = [
    ("AWS_ENDPOINT_URL_CLOUDWATCH", ENDPOINT),
    ("AWS_ACCESS_KEY_ID", "test"),
    ("AWS_SECRET_ACCESS_KEY", "test"),
    ("AWS_DEFAULT_REGION", "eu-central-1"),
    ("AWS_EC2_METADATA_DISABLED", "true"),
];

#[test]
#[ignore = "needs root, iproute2, etcd, kube-apiserver and the Python of crates/cni-sim/tests/aws/setup_venv.sh: run .ci/run"]
fn the_simulators_cloudwatch_gives_back_what_happened() {
    let assets = Assets::required();
    let python = python();
    let cluster = a_cluster(&assets);
    // Its threads are born in the cluster's namespace, as this one now is in it.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let service = router(CloudWatch::new(Arc::new(WallClock), 1));
    let listener = runtime.block_on(TcpListener::bind(ENDPOINT.trim_start_matches("http://"))).unwrap();
    runtime.spawn(serve::serve(listener, service, CancellationToken::new()));

    show(&cluster, &python);
}

#[test]
#[ignore = "needs root, iproute2, etcd, kube-apiserver and the Python of crates/cni-sim/tests/aws/setup_venv.sh: run .ci/run"]
fn moto_gives_back_what_happened() {
    let assets = Assets::required();
    let python = python();
    let cluster = a_cluster(&assets);
    let mut command = Process::command(&python);
    command.arg(script("moto_front.py")).arg("5000").envs(AWS);
    let moto = Process::spawn("moto", &mut command);
    moto.wait_from(0, TIMEOUT, "its listener", |line| line.contains("ready").then_some(()));

    show(&cluster, &python);
}

fn a_cluster(assets: &Assets) -> Cluster {
    let cluster = Cluster::start(assets, [Page::settled(5), Page::settled(7)]);
    cluster.grant_agents_with_proxy();
    cluster.nodes[0].agent.edit_page(|page| page.latency = Some((100.0, 2.0)));
    cluster
}

/// Lets things happen on the nodes while the helper publishes, and compares what is read back afterwards.
fn show(cluster: &Cluster, python: &Path) {
    // Rounds with room for a slow answer: every node is to be in every round, on a busy machine too.
    let roomy = [("USE_CLOUDWATCH", "true"), ("METRIC_UPDATE_INTERVAL", "4"), ("SCRAPE_TIMEOUT", "3s")];
    let variables = [AWS.as_slice(), &roomy].concat();
    let mut program = Program::start(&cluster.account_kubeconfig(), &variables);
    let baseline = program.wait_coverage(2, 2);

    let [first, second] = [&cluster.nodes[0].agent, &cluster.nodes[1].agent];
    first.edit_page(|page| {
        page.count("awscni_add_ip_req_count", "", 5.0);
        page.count("awscni_ipamd_error_count", r#"{error="x",fn="y"}"#, 3.0);
        page.latency = Some((400.0, 6.0));
    });
    second.edit_page(|page| page.count("awscni_add_ip_req_count", "", 7.0));
    let seen = program.wait_round("two rounds with the first events", |round| round.number >= baseline.number + 2);
    // The second agent restarts: its counters begin again at 0, and 4 requests come before the next scrape.
    second.edit_page(|page| {
        page.restart();
        page.count("awscni_add_ip_req_count", "", 4.0);
    });
    program.wait_round("two rounds with the restart", |round| round.number >= seen.number + 2);
    program.signal(Signal::TERM);
    let status = program.wait_exit(TIMEOUT).unwrap();
    assert_eq!(status.code(), Some(0));

    let read = read_back(python);
    // Lifetime totals from before the helper are in no sum; the increments are, exactly.
    assert_eq!(sum(&read, "addReqCount"), 16.0);
    assert_eq!(sum(&read, "ipamdErr"), 3.0);
    assert_eq!(sum(&read, "delReqCount"), 0.0);
    assert_eq!(sum(&read, "noAvailableIPAddresses"), 0.0);
    assert_eq!(range(&read, "assignIPAddresses"), (12.0, 12.0));
    assert_eq!(range(&read, "totalIPAddresses"), (54.0, 54.0));
    assert_eq!(range(&read, "maxIPAddresses"), (54.0, 54.0));
    assert_eq!(range(&read, "nodesScraped"), (2.0, 2.0));
    // 300 ms more in 4 calls more, in the one interval that had calls.
    assert_eq!((range(&read, "awsAPILatency"), number(&read, "awsAPILatency", "samples")), ((75.0, 75.0), 1.0));
    assert_eq!(read["awsAPILatency"]["unit"], "Milliseconds");
    assert_eq!(read["assignIPAddresses"]["unit"], "Count");
    // Every round's point arrived once, those of the last rounds too, which the signal found in the queue.
    let rounds = program.last_round().number;
    assert_eq!(number(&read, "nodesExpected", "samples").to_string(), rounds.to_string());
    // Seven gauges, the latency, twelve counters, coverage; no node has addresses per CIDR, so there is no such name.
    assert_eq!(read.len(), 7 + 1 + 12 + 2, "{:?}", read.keys());
}

fn read_back(python: &Path) -> Map<String, Value> {
    let output =
        Command::new(python).arg(script("read_back.py")).args(["Kubernetes", "e2e"]).envs(AWS).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn sum(read: &Map<String, Value>, name: &str) -> f64 {
    number(read, name, "sum")
}

fn range(read: &Map<String, Value>, name: &str) -> (f64, f64) {
    (number(read, name, "minimum"), number(read, name, "maximum"))
}

fn number(read: &Map<String, Value>, name: &str, what: &str) -> f64 {
    read.get(name).and_then(|metric| metric[what].as_f64()).unwrap_or_else(|| panic!("no {what} of {name}: {read:?}"))
}

fn script(name: &str) -> std::path::PathBuf {
    cni_testkit::needs::repository().join("crates/cni-metrics-helper/tests/e2e").join(name)
}
