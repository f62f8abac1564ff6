//! A real Prometheus with the generated rules, on the real helper, on a simulated cluster: where a subnet runs dry the
//! right alert fires, and in a calm cluster none does.
//!
//! Needs Debian's package `prometheus`: `.ci/run` has it, plain `cargo test` ignores these tests.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cni_sim::port::HeldPort;
use cni_testkit::process::Process;
use serde_json::Value;

const HELPER: &str = env!("CARGO_BIN_EXE_cni-metrics-helper");
const TIMEOUT: Duration = Duration::from_mins(2);

/// A simulated cluster, one helper or several on it, and Prometheus on them.
struct Chain {
    prometheus: String,
    admin: String,
    helpers: Vec<Process>,
    _processes: [Process; 2],
    _port: HeldPort,
    _folder: tempfile::TempDir,
}

impl Chain {
    /// `speed` is the simulated cluster's only: rounds, scrapes and rules go by seconds.
    fn start(scenario: &str, speed: &str) -> Self {
        Self::of(scenario, speed, &[""])
    }

    /// One helper for each of these settings of `SHARD`.
    fn of(scenario: &str, speed: &str, shards: &[&str]) -> Self {
        let folder = cni_testkit::temporary_folder();
        let (sim, variables) = sim(scenario, speed, folder.path());
        let (mut helpers, mut pages) = (Vec::new(), Vec::new());
        for shard in shards {
            let (helper, addresses) = helper(&variables, shard);
            helpers.push(helper);
            pages.extend(addresses);
        }
        let (prometheus, port, process) = prometheus(&pages, folder.path());
        let admin = pages.swap_remove(1);
        Self { prometheus, admin, helpers, _processes: [sim, process], _port: port, _folder: folder }
    }

    /// Polls a query until it is as wanted: what is waited for is another process' state, which sends no event.
    fn wait_query(&self, query: &str, wanted: impl Fn(f64) -> bool) {
        let path = format!("/api/v1/query?query={query}");
        cni_testkit::http::poll(&self.prometheus, &path, TIMEOUT, |body| {
            let answer: Value = serde_json::from_str(body).unwrap();
            let value = answer["data"]["result"][0]["value"][1].as_str()?.parse().unwrap();
            wanted(value).then_some(())
        });
    }

    fn firing(&self) -> BTreeSet<String> {
        firing(&cni_testkit::http::get(&self.prometheus, "/api/v1/alerts").unwrap())
    }
}

fn firing(body: &str) -> BTreeSet<String> {
    alerts(body, "firing")
}

fn alerts(body: &str, state: &str) -> BTreeSet<String> {
    let answer: Value = serde_json::from_str(body).unwrap();
    let alerts = answer["data"]["alerts"].as_array().unwrap();
    let firing = alerts.iter().filter(|alert| alert["state"] == state);
    firing.map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect()
}

/// A helper, and where its page and its health are served.
fn helper(variables: &[(String, String)], shard: &str) -> (Process, [String; 2]) {
    let mut command = Process::command(Path::new(HELPER));
    command.env_clear().envs(variables.iter().cloned()).envs([
        ("USE_CLOUDWATCH", "true"),
        ("AWS_CLUSTER_ID", "simulated"),
        ("USE_PROMETHEUS", "true"),
        ("PROMETHEUS_ADDRESS", "127.0.0.1:0"),
        ("ADMIN_ADDRESS", "127.0.0.1:0"),
        ("METRIC_UPDATE_INTERVAL", "1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("SHARD", shard),
    ]);
    let helper = Process::spawn("cni-metrics-helper", &mut command);
    let page = helper.wait_from(0, TIMEOUT, "where the page is served", |line| {
        let (_, address) = line.split_once("serving Prometheus metrics on http://")?;
        address.strip_suffix("/metrics").map(str::to_owned)
    });
    let admin = helper.wait_from(0, TIMEOUT, "where health is served", |line| {
        let (_, address) = line.split_once("serving health on http://")?;
        address.split_once('/').map(|(address, _)| address.to_owned())
    });
    (helper, [page, admin])
}

/// The simulated cluster, and the variables that lead the helper to it.
fn sim(scenario: &str, speed: &str, folder: &Path) -> (Process, Vec<(String, String)>) {
    let mut command = Process::command(Path::new(HELPER));
    command.args(["sim", "--scenario", scenario, "--speed", speed, "--directory"]).arg(folder.join("sim"));
    let process = Process::spawn("sim", &mut command);
    // The last of the variables.
    process.wait_from(0, TIMEOUT, "the simulated cluster's variables", |line| {
        line.starts_with("export CNI_SIM_CONTROL=").then_some(())
    });
    let exported = process.lines();
    let pairs = exported.iter().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
    (process, pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

fn prometheus(pages: &[String], folder: &Path) -> (String, HeldPort, Process) {
    let rules = Command::new(HELPER).args(["generate", "prometheus-rules", "--format", "rules-file"]).output().unwrap();
    assert!(rules.status.success());
    std::fs::write(folder.join("rules.yaml"), rules.stdout).unwrap();
    let config = serde_json::json!({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": "cni-metrics-helper", "static_configs": [{"targets": pages}]}],
    });
    // YAML is a superset of JSON.
    std::fs::write(folder.join("prometheus.yaml"), config.to_string()).unwrap();

    // It does not say which port it was given, so a port is held for it until it ends; Go listens there nonetheless.
    let port = HeldPort::take("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = port.address().to_string();
    let program = cni_testkit::needs::program("prometheus", "Debian has it in the package prometheus");
    let mut command = Process::command(&program);
    command
        .arg(format!("--config.file={}", folder.join("prometheus.yaml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address={address}"));
    let process = Process::spawn("prometheus", &mut command);
    process.wait_from(0, TIMEOUT, "Prometheus being ready", |line| {
        line.contains("Server is ready to receive web requests").then_some(())
    });
    (address, port, process)
}

#[test]
#[ignore = "needs Prometheus and util-linux: run .ci/run"]
fn the_right_alert_fires_where_a_subnet_runs_dry() {
    let chain = Chain::start("subnet-exhaustion", "20");
    let expected = "VpcCniPodsRefusedAnAddress";
    cni_testkit::http::poll(&chain.prometheus, "/api/v1/alerts", TIMEOUT, |body| {
        firing(body).contains(expected).then_some(())
    });
    // EC2 errors are of the same trouble; nothing is wrong with the helper or the nodes.
    let others: Vec<String> = chain.firing().into_iter().filter(|name| name != expected).collect();
    assert!(others.iter().all(|name| name == "VpcCniEc2Errors"), "{others:?}");
}

#[test]
#[ignore = "needs Prometheus and util-linux: run .ci/run"]
fn no_alert_fires_in_a_calm_cluster() {
    let chain = Chain::start("calm", "20");
    // Half a minute of samples is ten minutes of that cluster; all of it was seen and recorded.
    chain.wait_query("count_over_time(cni_cluster:coverage:ratio[5m])", |samples| samples >= 30.0);
    chain.wait_query("cni_cluster:coverage:ratio", |ratio| (ratio - 1.0).abs() < f64::EPSILON);
    chain.wait_query("cni_cluster:ip_utilisation:ratio", |ratio| ratio > 0.0);
    assert_eq!(chain.firing(), BTreeSet::new());
}

#[test]
#[ignore = "needs Prometheus and util-linux: run .ci/run"]
fn two_shards_are_one_cluster_and_one_that_ends_is_missed() {
    let mut chain = Chain::of("calm", "20", &["0/2", "1/2"]);
    let nodes = f64::from(cni_sim::scenario::Scenario::named("calm").unwrap().nodes());
    let is = |wanted: f64| move |value: f64| (value - wanted).abs() < f64::EPSILON;
    // As the guide and the board ask.
    chain.wait_query("sum(max%20by%20(cluster,shard)%20(cni_cluster_nodes_scraped))", is(nodes));
    chain.wait_query("sum(max%20by%20(shard)%20(cni_cluster_nodes_scraped{cluster=\"simulated\"}))", is(nodes));
    chain.wait_query("max(cni_cluster_nodes_scraped)", |of_one| 0.0 < of_one && of_one < nodes);
    chain.wait_query("count(cni_node_up)", is(nodes));
    chain.wait_query("count(cni_cluster:coverage:ratio)", is(1.0));
    chain.wait_query("count_over_time(cni_cluster:coverage:ratio[5m])", |samples| samples >= 10.0);
    chain.wait_query("cni_cluster:coverage:ratio", is(1.0));
    let missing = "VpcCniHelperMissing";
    assert!(
        !alerts(&cni_testkit::http::get(&chain.prometheus, "/api/v1/alerts").unwrap(), "pending").contains(missing)
    );
    // The other goes on with its own nodes, which is all that the sums show.
    drop(chain.helpers.pop());
    cni_testkit::http::poll(&chain.prometheus, "/api/v1/alerts", TIMEOUT, |body| {
        alerts(body, "pending").contains(missing).then_some(())
    });
    chain.wait_query("cni_cluster:coverage:ratio", is(1.0));
}

#[test]
#[ignore = "needs Prometheus and util-linux: run .ci/run"]
fn the_helpers_own_names_are_on_its_page_and_in_the_guide() {
    let chain = Chain::start("calm", "1");
    let sent = |body: &str| body.contains("\ncni_metrics_helper_points_sent_total{").then(|| body.to_owned());
    let page = cni_testkit::http::poll(&chain.admin, "/metrics", TIMEOUT, sent);
    let typed = page.lines().filter_map(|line| line.strip_prefix("# TYPE cni_metrics_helper_")?.split_once(' '));
    let names: BTreeSet<&str> = typed.map(|(name, _)| name).collect();
    assert!(names.len() > 20, "{names:?}");

    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    for name in &names {
        assert!([format!("`{name}`"), format!("`{name}{{")].iter().any(|quoted| guide.contains(quoted)), "{name}");
    }
    let board = Command::new(HELPER).args(["generate", "grafana-dashboard"]).output().unwrap();
    let board = String::from_utf8(board.stdout).unwrap();
    let asked: BTreeSet<&str> = board
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter_map(|word| word.strip_prefix("cni_metrics_helper_"))
        .collect();
    assert!(!asked.is_empty() && asked.is_subset(&names), "{asked:?}");
}
