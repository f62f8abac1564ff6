//! A real Prometheus scrapes the page, and promtool finds nothing to say against it.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use cni_testkit::api_server::assets::Assets;
use cni_testkit::api_server::cluster::Cluster;
use cni_testkit::api_server::page::Page;
use cni_testkit::http;
use cni_testkit::process::Process;
use serde_json::Value;

use crate::program::{PROMETHEUS, Program};

const SERVER: &str = "127.0.0.1:9090";
const TIMEOUT: Duration = Duration::from_mins(1);

#[test]
#[ignore = "needs root, iproute2, etcd, kube-apiserver and Prometheus: run .ci/run"]
fn prometheus_reads_the_page_and_promtool_agrees_with_it() {
    let assets = Assets::required();
    let prometheus = cni_testkit::needs::program("prometheus", "Debian has it in the package prometheus");
    let promtool = cni_testkit::needs::program("promtool", "Debian has it in the package prometheus");
    let cluster = Cluster::start(&assets, [Page::settled(5), Page::settled(7)]);
    cluster.grant_agents_with_proxy();
    cluster.grant_nodes();
    let program = Program::start(&cluster.account_kubeconfig(), &[]);
    program.wait_coverage(2, 2);

    let folder = cluster.plane.folder();
    let config = folder.join("prometheus.yml");
    let job = r#"{"job_name": "helper", "static_configs": [{"targets": ["TARGET"]}]}"#.replace("TARGET", PROMETHEUS);
    std::fs::write(&config, format!("global: {{scrape_interval: 1s}}\nscrape_configs: [{job}]\n")).unwrap();
    let mut command = Process::command(&prometheus);
    command.arg("--config.file").arg(&config).arg("--storage.tsdb.path").arg(folder.join("prometheus"));
    let _server = Process::spawn("prometheus", command.arg(format!("--web.listen-address={SERVER}")));

    wait_value("up", |series| value(series) == 1.0);
    wait_value("cni_cluster_assigned_ip_addresses", |series| value(series) == 12.0);
    wait_value("awscni_assigned_ip_addresses", |series| value(series) == 12.0);
    wait_value("cni_node_assigned_ip_addresses", |series| {
        let first = series.iter().find(|one| one["metric"]["node"] == cluster.nodes[0].name.as_str());
        series.len() == 2 && first.is_some_and(|one| one["metric"]["zone"] == "eu-central-1a" && one["value"][1] == "5")
    });

    for node in &cluster.nodes {
        node.agent.edit_page(|page| {
            page.count("awscni_no_available_ip_addresses", "", 2.0);
            page.latency = Some((300.0, 4.0));
        });
    }
    wait_value("cni_cluster_no_available_ip_addresses_total", |series| value(series) == 4.0);

    let page = http::get(PROMETHEUS, "/metrics").unwrap();
    let mut check = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    check.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "promtool: {}\n{page}", String::from_utf8_lossy(&said));
}

fn wait_value(query: &str, wanted: impl Fn(&[Value]) -> bool) {
    http::poll(SERVER, &format!("/api/v1/query?query={query}"), TIMEOUT, |body| {
        let answer: Value = serde_json::from_str(body).ok()?;
        let series = answer["data"]["result"].as_array()?;
        (!series.is_empty() && wanted(series)).then_some(())
    });
}

/// The one value of a query without labels.
fn value(series: &[Value]) -> f64 {
    assert_eq!(series.len(), 1, "{series:?}");
    series[0]["value"][1].as_str().and_then(|text| text.parse().ok()).unwrap()
}
