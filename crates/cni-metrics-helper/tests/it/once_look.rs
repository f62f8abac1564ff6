//! `once` on one cluster: its exit code, its time limit, its errors, increases between two scrapes, and the choice of nodes.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use cni_sim::scenario::Scenario;
use cni_sim::sim::{Sim, SimOptions};
use serde_json::Value;
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;

pub(crate) struct Cluster {
    _runtime: Runtime,
    sim: Sim,
}

impl Cluster {
    fn start(nodes: u32) -> Self {
        Self::of(SimOptions::new(Scenario::calm(nodes)))
    }

    pub(crate) fn of(options: SimOptions) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let sim = runtime.block_on(Sim::start(options)).unwrap();
        Self { _runtime: runtime, sim }
    }

    pub(crate) fn sim(&self) -> &Sim {
        &self.sim
    }

    pub(crate) fn once(&self, arguments: &[&str]) -> Output {
        let mut command = program(&["once"]);
        command.envs(self.sim.env()).env("AWS_CLUSTER_ID", "look").args(arguments).output().unwrap()
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.once(&[&["--output", "json"], arguments].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cni-metrics-helper"));
    command.args(arguments).env_clear().env("AWS_EC2_METADATA_DISABLED", "true").env("HOME", "/nonexistent");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A kubeconfig whose only context leads to this server.
fn kubeconfig(folder: &tempfile::TempDir, server: &str) -> PathBuf {
    let path = folder.path().join("config");
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "prod-eu",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "contexts": [{"name": "prod-eu", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {}}],
    });
    std::fs::write(&path, config.to_string()).unwrap();
    path
}

#[test]
fn a_look_that_finds_no_agent_is_no_success() {
    let cluster = Cluster::start(2);
    let output = cluster.once(&["--agent-namespace", "foo"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("0 of 0 nodes"), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("no pod matches selector \"k8s-app=aws-node\" in namespace \"foo\""));
    // The first scrape has found nothing to compare a second one with.
    let began = Instant::now();
    assert_eq!(cluster.once(&["--agent-namespace", "foo", "--for", "1h"]).status.code(), Some(1));
    assert!(began.elapsed() < Duration::from_mins(10));
    assert_eq!(cluster.once(&[]).status.code(), Some(0));
}

#[test]
fn a_look_logs_warnings_only_unless_a_level_is_set() {
    let cluster = Cluster::start(2);
    assert_eq!(text(&cluster.once(&[]).stderr), "");
    let output = cluster.once(&["--log-level", "INFO"]);
    assert!(text(&output.stderr).contains("round 1: 2/2 nodes"), "{}", text(&output.stderr));
}

#[test]
fn an_api_server_that_is_gone_is_named_with_its_url_and_context() {
    // The port stays bound, so that no other program can get it; nothing listens.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = socket.local_addr().unwrap();
    let folder = cni_testkit::temporary_folder();
    let server = format!("http://{address}");
    let path = kubeconfig(&folder, &server);
    let output = program(&["once", "--kubeconfig", path.to_str().unwrap()]).output().unwrap();
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let last = errors.lines().last().unwrap();
    let expected = "the pods could not be listed: Connection refused (os error 111) (context prod-eu)";
    assert_eq!(last, format!("cni-metrics-helper: {server}: {expected}"), "{errors}");
}

#[test]
fn a_look_waits_no_longer_than_the_request_timeout() {
    // It takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = cni_testkit::temporary_folder();
    let server = format!("http://{}", silent.local_addr().unwrap());
    let path = kubeconfig(&folder, &server);
    let began = Instant::now();
    let output =
        program(&["once", "--request-timeout", "1s", "--kubeconfig", path.to_str().unwrap()]).output().unwrap();
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("no answer within 1 s (--request-timeout) (context prod-eu)"), "{errors}");
    assert!(began.elapsed() < Duration::from_secs(45), "it took as long as the default");
    for wrong in ["0s", "abc", "2d"] {
        assert_eq!(program(&["once", "--request-timeout", wrong]).output().unwrap().status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn a_context_that_is_not_there_is_named_with_those_that_are() {
    let folder = cni_testkit::temporary_folder();
    let path = kubeconfig(&folder, "http://127.0.0.1:1");
    let path = path.to_str().unwrap();
    for output in [
        program(&["once", "--context", "nope", "--kubeconfig", path]).output().unwrap(),
        program(&["once", "--context", "nope"]).env("KUBECONFIG", path).output().unwrap(),
        program(&["once", "--context", "nope"])
            .env("KUBECONFIG", path)
            .env("KUBERNETES_SERVICE_HOST", "127.0.0.1")
            .output()
            .unwrap(),
    ] {
        assert_eq!(output.status.code(), Some(1));
        let expected = format!("cni-metrics-helper: no context \"nope\" in {path}; it has: prod-eu\n");
        assert_eq!(text(&output.stderr), expected);
    }
}

/// The two scrapes of one run, with the world moved between them; `None` where the second came before the move, on a busy
/// machine.
fn increase(cluster: &Cluster, window: &str) -> Option<Value> {
    let pages = || cluster.sim.api_server().requests().get("get pods/proxy").copied().unwrap_or(0);
    let mut command = program(&["once", "--output", "json", "--scrape-via", "proxy", "--for", window]);
    let command =
        command.envs(cluster.sim.env()).envs([("AWS_CLUSTER_ID", "look"), ("AWS_VPC_K8S_CNI_LOGLEVEL", "INFO")]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    log.find(|line| line.contains("round 1: ")).unwrap();
    let scraped = pages();
    cluster.sim.cluster().advance_to(cluster.sim.cluster().now_ms() + 600_000);
    let is_between = pages() == scraped;
    log.find(|line| line.contains("round 2: ")).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    is_between.then(|| serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn two_scrapes_give_the_increase_between_them() {
    let cluster = Cluster::of(SimOptions::new(Scenario::named("churn").unwrap()).lockstep());
    cluster.sim.cluster().advance_to(cluster.sim.cluster().now_ms() + 600_000);
    let counted = |look: &Value| look["metrics"]["addReqCount"].as_u64().unwrap();
    // One attempt is enough unless the machine stands still for as long as the program waits.
    let (before, look) = ["3s", "10s", "40s"]
        .into_iter()
        .find_map(|window| Some((counted(&cluster.json(&[])), increase(&cluster, window)?)))
        .unwrap();
    let expected = counted(&cluster.json(&[])) - before;
    assert!(expected > 0);
    assert_eq!(counted(&look), expected);
    assert_eq!(look["counters"]["kind"], "increase");
    // On a slow machine it is more than was asked for.
    assert!(look["counters"]["seconds"].as_u64().unwrap() >= 3, "{}", look["counters"]);
    let table = text(&cluster.once(&["--for", "1s"]).stdout);
    let row = table.lines().find(|line| line.contains("addReqCount")).unwrap();
    let words: Vec<&str> = row.split_whitespace().skip(1).collect();
    assert!(matches!(words[..], ["0", "in", _, "s"]), "the world stands still: {table}");
}

#[test]
fn nodes_are_sorted_cut_and_chosen_and_the_sums_stay() {
    let cluster = Cluster::start(4);
    let all = cluster.json(&[]);
    let names = |look: &Value| -> Vec<String> {
        look["nodes"].as_array().unwrap().iter().map(|node| node["name"].as_str().unwrap().to_owned()).collect()
    };
    let (sorted, assigned) =
        (cluster.json(&["--sort", "assigned"]), |node: &Value| node["metrics"]["assignIPAddresses"].as_f64().unwrap());
    let values: Vec<f64> = sorted["nodes"].as_array().unwrap().iter().map(assigned).collect();
    assert!(values.len() == 4 && values.is_sorted_by(|one, other| one >= other), "{values:?}");
    let top = cluster.json(&["--sort", "name", "--top", "2"]);
    assert_eq!(names(&top), names(&all)[..2]);
    assert_eq!(top["metrics"], all["metrics"]);
    assert_eq!(top["coverage"]["scraped"], 4);
    let full = names(&all)[1].clone();
    let short = full.split('.').next().unwrap();
    assert_eq!(
        (names(&cluster.json(&["--node", short])), names(&cluster.json(&["--node", &full]))),
        (vec![full.clone()], vec![full.clone()])
    );
    let table = text(&cluster.once(&["--top", "1"]).stdout);
    assert!(table.ends_with("\n3 more nodes are not shown (--top)\n\nfindings: none\n"), "{table}");
    let output = cluster.once(&["--node", "nope"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    assert!(errors.contains("no agent on a node called \"nope\"; there are ") && errors.contains(&full), "{errors}");
}

#[test]
fn inspect_sorts_cuts_and_chooses_too() {
    let pages = concat!(env!("CARGO_MANIFEST_DIR"), "/../cni-metrics-core/tests/data");
    let files = ["node.prom", "prefix_delegation.prom", "agent_v1.18.6.prom"];
    let inspect = |arguments: &[&str]| {
        let output =
            program(&[&["inspect", "-o", "json"], arguments, &files].concat()).current_dir(pages).output().unwrap();
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        json["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| node["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(inspect(&["--sort", "name"]), inspect(&[]));
    assert_eq!(inspect(&["--sort", "refused"])[0], files[2], "the only agent that counts them");
    let with_missing = [&["inspect", "-o", "json", "--sort", "state", "nosuch.prom"], &files[..]].concat();
    let output = program(&with_missing).current_dir(pages).output().unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["nodes"][0]["name"], "nosuch.prom", "it is silent");
    assert_eq!(inspect(&["--node", "node.prom"]), [files[0]]);
    assert_eq!(inspect(&["--sort", "max", "--top", "1"]), ["prefix_delegation.prom"]);
}
