//! The built program started while a source of the cluster's name does not answer: it measures at once, and what it
//! measured before it knew the name arrives with its own times. Real time, a round a second.

#![expect(clippy::float_cmp, reason = "events are whole numbers")]

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use cni_sim::aws::fault::{Fault, FaultRule};
use cni_sim::imds::Mode;
use cni_sim::scenario::Scenario;
use cni_sim::sim::{Sim, SimOptions};
use cni_sim::truth::Window;
use cni_testkit::process::Process;
use cni_testkit::wait;
use rustix::process::Signal;
use tokio::runtime::Runtime;

const TIMEOUT: Duration = Duration::from_mins(2);

struct Stand {
    runtime: Runtime,
    sim: Sim,
}

impl Stand {
    fn start() -> Self {
        Self::of(Scenario::calm(4))
    }

    fn of(scenario: Scenario) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let sim = runtime.block_on(Sim::start(SimOptions::new(scenario))).unwrap();
        Self { runtime, sim }
    }

    fn helper(&self, settings: &[(&str, &str)]) -> Process {
        let mut command = Process::command(Path::new(env!("CARGO_BIN_EXE_cni-metrics-helper")));
        command.env_clear().envs(self.sim.env()).envs([
            ("METRIC_UPDATE_INTERVAL", "1"),
            ("USE_PROMETHEUS", "true"),
            ("PROMETHEUS_ADDRESS", "127.0.0.1:0"),
            ("ADMIN_ADDRESS", "127.0.0.1:0"),
        ]);
        command.env_remove("AWS_CLUSTER_ID").envs(settings.iter().copied());
        Process::spawn("cni-metrics-helper", &mut command)
    }

    fn node(&self) -> String {
        let pods = self.sim.cluster().kube().pods();
        pods.iter().find_map(|pod| pod.node_name.as_ref()).unwrap().to_string()
    }

    fn wait_points(&self, points: usize) {
        let came = self.runtime.block_on(self.sim.cloudwatch().wait_until(TIMEOUT, |store| store.len() >= points));
        assert!(came, "{} points after {TIMEOUT:?}", self.sim.cloudwatch().len());
    }

    /// The values of `CLUSTER_ID` under which anything arrived.
    fn ids(&self) -> BTreeSet<String> {
        let data = self.sim.cloudwatch().data();
        data.iter().flat_map(|datum| datum.key.dimensions.iter().map(|(_, value)| value.clone())).collect()
    }
}

/// Where health is served, from the program's own line.
fn admin(helper: &Process) -> String {
    helper.wait_from(0, TIMEOUT, "the admin address", |line| {
        let (_, url) = line.split_once("serving health on http://")?;
        Some(url.split('/').next()?.to_owned())
    })
}

/// Where Prometheus metrics are served, from the program's own line.
fn prometheus(helper: &Process) -> String {
    helper.wait_from(0, TIMEOUT, "the address of the metrics", |line| {
        let (_, url) = line.split_once("serving Prometheus metrics on http://")?;
        Some(url.split('/').next()?.to_owned())
    })
}

/// Asks for a page until it has this line.
fn wait_line(address: &str, wanted: &str) -> String {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let page = get(address, "/metrics");
        if page.lines().any(|line| line == wanted) {
            return page;
        }
        assert!(Instant::now() < deadline, "no {wanted} in\n{page}");
        wait::pause();
    }
}

/// The cluster's name is not known: the original's gauges, and nothing that would carry the name.
fn assert_unnamed(page: &str) {
    assert!(page.contains("\nawscni_eni_max "), "{page}");
    assert!(!page.contains("cni_cluster_") && !page.contains("cni_node_"), "{page}");
}

fn get(address: &str, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn silent_metadata_delays_the_first_point_and_no_round() {
    let stand = Stand::start();
    stand.sim.imds().set_mode(Mode::Blackhole);
    stand.sim.ec2().faults().set(vec![FaultRule::always(Fault::AccessDenied)]);
    let started = Instant::now();
    let helper = stand.helper(&[("NODE_NAME", &stand.node()), ("AWS_REGION", "eu-central-1")]);
    let address = admin(&helper);
    helper.wait_from(0, TIMEOUT, "a round before the name is known", |line| line.contains("round 3:").then_some(()));
    let ready = get(&address, "/readyz");
    assert!(ready.contains(" 503 ") && ready.contains("waiting for the instance metadata service"), "{ready}");
    assert!(ready.contains("until then Prometheus gets the awscni_* gauges and no cni_* metrics"), "{ready}");
    assert!(get(&address, "/livez").contains(" 200 "));
    assert_unnamed(&get(&prometheus(&helper), "/metrics"));
    assert!(!get(&address, "/metrics").contains("cluster="));
    assert_eq!(stand.ids(), BTreeSet::new());
    stand.wait_points(1);
    let took = started.elapsed();
    assert!(took < Duration::from_mins(1), "{took:?}");
    let name = stand.sim.cluster().scenario().cluster.name.clone();
    let label = format!("{{cluster=\"{name}\"}}");
    wait_line(&prometheus(&helper), &format!("cni_cluster_nodes_scraped{label} 4"));
    wait_line(&address, &format!("cni_metrics_helper_leader{label} 1"));
    assert_eq!(stand.ids(), BTreeSet::from([name]));
    // Four tries of two seconds lie behind the first request, and a round a second was measured all the time.
    let times: BTreeSet<i64> = stand.sim.cloudwatch().data().iter().map(|datum| datum.timestamp_ms).collect();
    let (first, last) = (times.first().unwrap(), times.last().unwrap());
    assert!(times.len() >= 4 && last - first >= 4_000, "{times:?}");
    helper.wait_from(0, TIMEOUT, "what was not asked", |line| {
        line.contains("did not answer: the instance metadata service").then_some(())
    });
    assert!(get(&address, "/readyz").contains(" 200 "));
    assert!(!stand.sim.ec2().requests().is_empty(), "EC2 was asked for the instance that the node's watch named");
    end(helper);
}

#[test]
fn an_api_server_that_comes_late_is_waited_for_and_the_cluster_is_not_published_under_the_default() {
    let stand = Stand::start();
    let fault = "{ target: {}, fault: { api-server: { kind: down } } }";
    let spec: cni_sim::scenario::FaultSpec = serde_saphyr::from_str(fault).unwrap();
    assert_eq!(stand.sim.cluster().mistakes(std::slice::from_ref(&spec)), Vec::<String>::new());
    let server = stand.sim.api_server().http_address().unwrap();
    let number = stand.sim.cluster().inject(spec);
    // A fault begins with the simulated cluster's next tick; a helper that is faster would have its first list.
    let deadline = Instant::now() + TIMEOUT;
    while TcpStream::connect(server).is_ok() {
        assert!(Instant::now() < deadline, "the API server is still there");
        wait::pause();
    }
    let settings = [("AWS_EC2_METADATA_DISABLED", "true"), ("AWS_REGION", "eu-central-1")];
    let helper = stand.helper(&settings);
    let address = admin(&helper);
    helper.wait_from(0, TIMEOUT, "it waits", |line| line.contains("still waiting for the first list").then_some(()));
    let ready = get(&address, "/readyz");
    assert!(ready.contains(" 503 ") && ready.contains("have not been listed yet"), "{ready}");
    stand.sim.cluster().clear(number);
    stand.wait_points(1);
    let name = stand.sim.cluster().scenario().cluster.name.clone();
    assert_eq!(stand.ids(), BTreeSet::from([name]));
    end(helper);
}

#[test]
fn a_cluster_without_a_usable_name_is_not_published_where_the_default_is_refused() {
    let mut scenario = Scenario::calm(4);
    "prod-m\u{fc}nchen".clone_into(&mut scenario.cluster.name);
    let stand = Stand::of(scenario);
    let settings = [("AWS_EC2_METADATA_DISABLED", "true"), ("CLUSTER_ID_FALLBACK", "refuse")];
    let helper = stand.helper(&settings);
    let address = admin(&helper);
    let refused = |line: &str| line.contains("nothing is published to CloudWatch: no source names").then_some(());
    helper.wait_from(0, TIMEOUT, "the refusal", refused);
    let begun = helper.mark();
    helper.wait_from(begun, TIMEOUT, "rounds go on", |line| line.contains(": 4/4 nodes").then_some(()));
    let ready = get(&address, "/readyz");
    assert!(ready.contains(" 503 ") && ready.contains("set AWS_CLUSTER_ID"), "{ready}");
    let page = get(&address, "/metrics");
    assert!(page.contains("cni_metrics_helper_sink_in_trouble{sink=\"cloudwatch\"} 1"), "{page}");
    assert!(page.contains("cni_metrics_helper_sink_in_trouble{sink=\"prometheus\"} 0"), "{page}");
    assert_unnamed(&get(&prometheus(&helper), "/metrics"));
    assert_eq!(stand.ids(), BTreeSet::new());
    end(helper);
    let helper = stand.helper(&settings[..1]);
    stand.wait_points(1);
    assert_eq!(stand.ids(), BTreeSet::from(["k8s-cluster".to_owned()]));
    end(helper);
}

#[test]
fn a_restart_with_a_spool_goes_on_counting_before_the_name_is_known() {
    let stand = Stand::of(Scenario::named("churn").unwrap());
    let from = stand.sim.cluster().now_ms();
    let name = stand.sim.cluster().scenario().cluster.name.clone();
    let spool = cni_testkit::temporary_folder();
    let spool = spool.path().to_string_lossy();
    let first = stand.helper(&[("AWS_CLUSTER_ID", &name), ("SPOOL_DIR", &spool)]);
    stand.wait_points(60);
    end(first);
    let before = stand.sim.cloudwatch().len();
    stand.sim.imds().set_mode(Mode::Refused);
    stand.sim.ec2().faults().set(vec![FaultRule::always(Fault::AccessDenied)]);
    let second = stand.helper(&[("SPOOL_DIR", &spool)]);
    stand.wait_points(before + 100);
    second.wait_from(0, TIMEOUT, "the label", |line| line.contains("from node label alpha.eksctl.io").then_some(()));
    end(second);
    assert_eq!(stand.ids(), BTreeSet::from([name]));
    let window = Window { from: 0, to: i64::MAX, collector_start: Some(from), collector_start_api: None };
    let truth = stand.sim.truth().round(window).cumulative["addReqCount"];
    let data = stand.sim.cloudwatch().data();
    let counted: f64 =
        data.iter().filter(|datum| datum.key.name == "addReqCount").map(|datum| datum.statistics.sum).sum();
    assert!(truth > 0.0, "nothing happened that could have been lost");
    assert_eq!(counted, truth);
}

#[test]
fn prometheus_alone_is_named_without_a_region_and_the_label_can_be_switched_off() {
    let stand = Stand::start();
    let name = stand.sim.cluster().scenario().cluster.name.clone();
    let alone = [("USE_CLOUDWATCH", "false"), ("AWS_EC2_METADATA_DISABLED", "true"), ("AWS_REGION", "")];
    let helper = stand.helper(&[&alone[..], &[("AWS_DEFAULT_REGION", "")]].concat());
    let page = wait_line(&prometheus(&helper), &format!("cni_cluster_nodes_scraped{{cluster=\"{name}\"}} 4"));
    assert!(page.contains("\nawscni_eni_max "), "{page}");
    for line in page.lines().filter(|line| line.starts_with("cni_")) {
        assert!(line.contains(&format!("cluster=\"{name}\"")), "{line}");
    }
    assert!(get(&admin(&helper), "/readyz").contains(" 200 "));
    assert_eq!(stand.sim.ec2().requests().len(), 0, "without a region there is no EC2 to ask");
    end(helper);
    // Where nothing carries the name, nothing waits for it; CloudWatch's dimension is no label.
    stand.sim.imds().set_mode(Mode::Blackhole);
    let helper = stand.helper(&[("PROMETHEUS_CLUSTER_LABEL", "false")]);
    let page = wait_line(&prometheus(&helper), "cni_cluster_nodes_scraped 4");
    assert!(!page.contains("cluster=") && page.contains("\ncni_node_up{"), "{page}");
    let ready = get(&admin(&helper), "/readyz");
    assert!(ready.contains(" 503 ") && !ready.contains("Prometheus"), "{ready}");
    end(helper);
    let helper = stand.helper(&[("PROMETHEUS_CLUSTER_LABEL", "false"), ("AWS_CLUSTER_ID", "mine")]);
    wait_line(&prometheus(&helper), "cni_cluster_nodes_scraped 4");
    wait_line(&admin(&helper), "cni_metrics_helper_leader 1");
    end(helper);
}

#[test]
fn without_a_region_it_ends_with_an_error_that_says_what_to_set() {
    let stand = Stand::start();
    let helper = stand.helper(&[("AWS_EC2_METADATA_DISABLED", "true"), ("AWS_REGION", ""), ("AWS_DEFAULT_REGION", "")]);
    helper.wait_from(0, TIMEOUT, "the reason", |line| line.contains("no AWS region: set AWS_REGION").then_some(()));
    let mut helper = helper;
    assert_eq!(helper.wait_exit(TIMEOUT).and_then(|status| status.code()), Some(1));
}

fn end(mut helper: Process) {
    helper.signal(Signal::TERM);
    assert_eq!(helper.wait_exit(TIMEOUT).and_then(|status| status.code()), Some(0));
}
