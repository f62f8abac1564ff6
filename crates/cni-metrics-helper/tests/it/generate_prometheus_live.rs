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

/// Simulated clusters, one helper or several on each, and a Prometheus on all of them.
struct Chain {
    prometheus: String,
    admin: String,
    helpers: Vec<Helper>,
    sims: Vec<Sim>,
    folder: tempfile::TempDir,
    _process: Process,
    _port: HeldPort,
}

/// A helper, and where its page and its health are served.
struct Helper {
    cluster: String,
    page: String,
    admin: String,
    _process: Process,
}

/// A simulated cluster, and the variables that lead a helper to it.
struct Sim {
    variables: Vec<(String, String)>,
    _process: Process,
}

impl Chain {
    /// `speed` is the simulated cluster's only: rounds, scrapes and rules go by seconds.
    fn start(scenario: &str, speed: &str) -> Self {
        Self::of(scenario, speed, &[""])
    }

    /// One helper for each of these settings of `SHARD`.
    fn of(scenario: &str, speed: &str, shards: &[&str]) -> Self {
        let folder = cni_testkit::temporary_folder();
        let sim = sim(scenario, speed, &folder.path().join("sim"));
        let helpers = shards.iter().map(|shard| helper(&sim.variables, "simulated", shard)).collect();
        Self::over(vec![sim], helpers, folder)
    }

    /// A simulated cluster with one helper for each of these pairs of a scenario and a name.
    fn clusters(clusters: &[(&str, &str)]) -> Self {
        let folder = cni_testkit::temporary_folder();
        let (mut sims, mut helpers) = (Vec::new(), Vec::new());
        for (scenario, name) in clusters {
            let sim = sim(scenario, "20", &folder.path().join(name));
            helpers.push(helper(&sim.variables, name, ""));
            sims.push(sim);
        }
        Self::over(sims, helpers, folder)
    }

    fn over(sims: Vec<Sim>, helpers: Vec<Helper>, folder: tempfile::TempDir) -> Self {
        write_targets(&helpers, folder.path());
        let (prometheus, port, process) = prometheus(folder.path());
        let admin = helpers[0].admin.clone();
        Self { prometheus, admin, helpers, sims, folder, _process: process, _port: port }
    }

    /// The helper of a cluster ends, and Prometheus scrapes what takes its place, if anything does: another pod at another
    /// address.
    fn replace(&mut self, cluster: usize, with: Option<Helper>) {
        drop(self.helpers.remove(cluster));
        self.helpers.extend(with);
        write_targets(&self.helpers, self.folder.path());
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
    of_clusters(body, state).into_iter().map(|(name, _)| name).collect()
}

/// Names of alerts in this state, each with its cluster.
fn of_clusters(body: &str, state: &str) -> BTreeSet<(String, String)> {
    let answer: Value = serde_json::from_str(body).unwrap();
    let alerts = answer["data"]["alerts"].as_array().unwrap();
    let label = |alert: &Value, name: &str| alert["labels"][name].as_str().unwrap_or_default().to_owned();
    let matching = alerts.iter().filter(|alert| alert["state"] == state);
    matching.map(|alert| (label(alert, "alertname"), label(alert, "cluster"))).collect()
}

fn helper(variables: &[(String, String)], cluster: &str, shard: &str) -> Helper {
    let mut command = Process::command(Path::new(HELPER));
    command.env_clear().envs(variables.iter().cloned()).envs([
        ("USE_CLOUDWATCH", "true"),
        ("AWS_CLUSTER_ID", cluster),
        ("USE_PROMETHEUS", "true"),
        ("PROMETHEUS_ADDRESS", "127.0.0.1:0"),
        ("ADMIN_ADDRESS", "127.0.0.1:0"),
        ("METRIC_UPDATE_INTERVAL", "1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("SHARD", shard),
    ]);
    let process = Process::spawn("cni-metrics-helper", &mut command);
    let page = process.wait_from(0, TIMEOUT, "where the page is served", |line| {
        let (_, address) = line.split_once("serving Prometheus metrics on http://")?;
        address.strip_suffix("/metrics").map(str::to_owned)
    });
    let admin = process.wait_from(0, TIMEOUT, "where health is served", |line| {
        let (_, address) = line.split_once("serving health on http://")?;
        address.split_once('/').map(|(address, _)| address.to_owned())
    });
    Helper { cluster: cluster.to_owned(), page, admin, _process: process }
}

fn sim(scenario: &str, speed: &str, folder: &Path) -> Sim {
    let mut command = Process::command(Path::new(HELPER));
    command.args(["sim", "--scenario", scenario, "--speed", speed, "--directory"]).arg(folder);
    let process = Process::spawn("sim", &mut command);
    // The last of the variables.
    process.wait_from(0, TIMEOUT, "the simulated cluster's variables", |line| {
        line.starts_with("export CNI_SIM_CONTROL=").then_some(())
    });
    let exported = process.lines();
    let pairs = exported.iter().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
    let variables = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Sim { variables, _process: process }
}

/// What Prometheus scrapes from now on. It watches the file, which is therefore replaced as a whole.
fn write_targets(helpers: &[Helper], folder: &Path) {
    let targets: Vec<Value> = helpers
        .iter()
        .map(|helper| serde_json::json!({"targets": [helper.page, helper.admin], "labels": {"pod": helper.page}}))
        .collect();
    std::fs::write(folder.join("targets.new"), serde_json::to_vec(&targets).unwrap()).unwrap();
    std::fs::rename(folder.join("targets.new"), folder.join("targets.json")).unwrap();
}

fn prometheus(folder: &Path) -> (String, HeldPort, Process) {
    // One bad minute is enough: half a minute of samples is ten minutes of the simulated clusters.
    let rules = Command::new(HELPER)
        .args(["generate", "prometheus-rules", "--format", "rules-file", "--refused-minutes", "1"])
        .output()
        .unwrap();
    assert!(rules.status.success());
    std::fs::write(folder.join("rules.yaml"), rules.stdout).unwrap();
    let targets = serde_json::json!([{"files": ["targets.json"], "refresh_interval": "1s"}]);
    let config = serde_json::json!({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": "cni-metrics-helper", "file_sd_configs": targets}],
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
fn of_three_clusters_only_the_one_in_trouble_alerts_and_the_one_without_a_helper_is_missed() {
    let mut chain = Chain::clusters(&[("calm", "alpha"), ("subnet-exhaustion", "beta"), ("calm", "gamma")]);
    let refused = ("VpcCniPodsRefusedAnAddress".to_owned(), "beta".to_owned());
    cni_testkit::http::poll(&chain.prometheus, "/api/v1/alerts", TIMEOUT, |body| {
        of_clusters(body, "firing").contains(&refused).then_some(())
    });
    let is = |wanted: f64| move |value: f64| (value - wanted).abs() < f64::EPSILON;
    chain.wait_query("count(cni_cluster:coverage:ratio)", is(3.0));

    // Another pod of the helper, at another address, that learns of refusals in its second round.
    assert_eq!(chain.helpers[1].cluster, "beta");
    let successor = helper(&chain.sims[1].variables, "beta", "");
    let pod = successor.page.clone();
    chain.replace(1, Some(successor));
    chain.wait_query(&format!("cni_cluster_nodes{{state=\"refusing\",pod=\"{pod}\"}}"), |nodes| nodes >= 2.0);
    let starts = "time()-cni_cluster_counters_start_timestamp_seconds{cluster=\"beta\"}";
    chain.wait_query(starts, |seconds| (0.0..300.0).contains(&seconds));
    let firing =
        |chain: &Chain| of_clusters(&cni_testkit::http::get(&chain.prometheus, "/api/v1/alerts").unwrap(), "firing");
    assert_eq!(firing(&chain), BTreeSet::from([refused.clone()]));

    assert_eq!(chain.helpers[0].cluster, "alpha");
    chain.replace(0, None);
    let missing = ("VpcCniHelperMissing".to_owned(), "alpha".to_owned());
    let pending = cni_testkit::http::poll(&chain.prometheus, "/api/v1/alerts", TIMEOUT, |body| {
        let pending = of_clusters(body, "pending");
        pending.contains(&missing).then_some(pending)
    });
    assert_eq!(pending.iter().filter(|(name, _)| *name == missing.0).count(), 1, "{pending:?}");
    assert_eq!(firing(&chain), BTreeSet::from([refused]));
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
