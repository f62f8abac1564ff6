//! `once` on two simulated clusters of one kubeconfig: a block or an entry for each, named after the cluster itself, and a
//! cluster that fails is only its own loss.

use std::path::PathBuf;
use std::process::{Command, Output};

use cni_sim::scenario::Scenario;
use cni_sim::sim::{Sim, SimOptions};
use serde_json::Value;
use tokio::runtime::Runtime;

/// The port of the agents of both clusters, asked through the API server's proxy only.
const PORT: u16 = 61_678;
/// A context's name as `aws eks update-kubeconfig` makes it.
const ARN: &str = "arn:aws:eks:eu-central-1:111122223333:cluster/second";

/// Two clusters: the first says its name, the second has none that could be an id.
struct Stand {
    _runtime: Runtime,
    sims: [Sim; 2],
    folder: tempfile::TempDir,
}

impl Stand {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let sim = |nodes: u32, name: &str| {
            let mut scenario = Scenario::calm(nodes);
            name.clone_into(&mut scenario.cluster.name);
            let sim = runtime.block_on(Sim::start(SimOptions::new(scenario))).unwrap();
            sim.cluster().set_metrics_port(PORT);
            sim
        };
        let sims = [sim(2, "orders"), sim(3, "m\u{fc}nchen")];
        Self { _runtime: runtime, sims, folder: cni_testkit::temporary_folder() }
    }

    /// A kubeconfig with a context for each cluster, and one of a cluster that it does not describe.
    fn kubeconfig(&self, with_broken: bool) -> PathBuf {
        let cluster = |(number, sim): (usize, &Sim)| {
            let server = sim.api_server().http_address().unwrap();
            serde_json::json!({"name": format!("c{number}"), "cluster": {"server": format!("http://{server}")}})
        };
        let context =
            |name: &str, cluster: &str| serde_json::json!({"name": name, "context": {"cluster": cluster, "user": "u"}});
        let mut contexts = vec![context("orders-admin", "c0"), context(ARN, "c1")];
        if with_broken {
            contexts.insert(1, context("broken", "elsewhere"));
        }
        let config = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "orders-admin",
            "clusters": self.sims.iter().enumerate().map(cluster).collect::<Vec<_>>(),
            "contexts": contexts,
            "users": [{"name": "u", "user": {}}],
        });
        let path = self.folder.path().join(format!("kubeconfig-{with_broken}"));
        // YAML is a superset of JSON.
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }

    /// The program on that kubeconfig, on a machine that belongs to another cluster and says so.
    fn run(&self, arguments: &[&str], with_broken: bool) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cni-metrics-helper"));
        command.env_clear().envs(self.sims[0].env()).env("HOME", "/nonexistent").env("AWS_CLUSTER_ID", "mine");
        command.env("AGENT_PORT", PORT.to_string()).env("KUBECONFIG", self.kubeconfig(with_broken));
        // The lines that name the clusters are of this level.
        command.env("AWS_VPC_K8S_CNI_LOGLEVEL", "INFO");
        command.args(arguments).args(["--scrape-via", "proxy"]).output().unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn each_context_is_an_entry_under_the_clusters_own_name_and_a_failure_is_its_own() {
    let stand = Stand::start();
    let contexts = ["--context", ARN, "--context", "broken", "--context", "orders-admin", "--context", ARN];
    let output = stand.run(&[&["once", "--output", "json"], &contexts[..]].concat(), true);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(output.stdout.starts_with(b"{\"schema\":\"vpc-cni/looks/1\",\"clusters\":["), "{}", text(&output.stdout));
    let looks = json(&output);
    let [second, broken, first] = looks["clusters"].as_array().unwrap().as_slice() else {
        unreachable!("three contexts, one of them named twice: {looks}")
    };
    for (look, context, cluster, nodes) in [(second, ARN, ARN, 3), (first, "orders-admin", "orders", 2)] {
        assert_eq!(
            (&look["context"], &look["error"], &look["cluster"]),
            (&context.into(), &Value::Null, &cluster.into())
        );
        let coverage = &look["coverage"];
        assert_eq!((&coverage["expected"], &coverage["scraped"]), (&nodes.into(), &nodes.into()), "{coverage}");
        assert_eq!(look["nodes"].as_array().unwrap().len(), nodes);
        assert_eq!(look["metrics"]["nodesScraped"], nodes);
        assert_eq!(look["counters"]["kind"], "total");
    }
    assert_eq!(broken["context"], "broken");
    assert!(broken["error"].as_str().unwrap().contains("elsewhere"), "{broken}");
    assert_eq!(broken.as_object().unwrap().len(), 2, "nothing was measured, so nothing is said: {broken}");
    // Neither this machine's tags nor EC2 were asked.
    assert_eq!(stand.sims[0].ec2().requests().len(), 0);
    // Each line of the log says of which cluster it is.
    for line in errors.lines().filter(|line| line.contains("watching pods") || line.contains("round 1")) {
        assert!(line.contains("cluster{context=\""), "{line}");
    }
    let of_first = |line: &&str| line.contains("cluster{context=\"orders-admin\"}") && line.contains("2/2 nodes");
    assert_eq!(errors.lines().filter(of_first).count(), 1, "{errors}");
}

#[test]
fn all_contexts_are_a_block_each() {
    let stand = Stand::start();
    let output = stand.run(&["once", "--all-contexts"], false);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let out = text(&output.stdout);
    let titles: Vec<&str> = out.lines().filter(|line| line.starts_with("cluster ")).collect();
    assert_eq!(titles, ["cluster orders, context orders-admin".to_owned(), format!("cluster {ARN}, context {ARN}")]);
    let (first, second) = out.split_once(&format!("\n\ncluster {ARN}")).unwrap();
    assert!(first.contains("2 of 2 nodes") && !first.contains("3 of 3 nodes"), "{out}");
    assert!(second.contains("3 of 3 nodes"), "{out}");
    // A node is looked for in all of them, and what is known of each is printed whether it is there or not.
    let output = stand.run(&["once", "--all-contexts", "--node", "nope"], true);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("3 of 3 nodes"), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("no agent on a node called \"nope\""), "{}", text(&output.stderr));
    let output = stand.run(&["once", "--all-contexts"], true);
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{out}");
    assert!(out.contains("3 of 3 nodes") && out.contains("\ncontext broken\nnot measured: "), "{out}");
}

#[test]
fn one_cluster_is_a_look_as_before_with_its_id_and_its_findings_at_the_end() {
    let stand = Stand::start();
    // Which is the cluster's own where a context is given, else that of the machine.
    for (arguments, id, nodes) in [
        (&["once", "--output", "json", "--context", "orders-admin"][..], "orders", 2),
        (&["once", "--output", "json", "--context", ARN], ARN, 3),
        (&["once", "--output", "json"], "mine", 2),
        (&["once", "--output", "json", "--aws-cluster-id", ""], "orders", 2),
    ] {
        let output = stand.run(arguments, true);
        assert!(output.status.success(), "{arguments:?} {}", text(&output.stderr));
        assert!(output.stdout.starts_with(b"{\"schema\":\"vpc-cni/look/1\",\"round\":"), "{}", text(&output.stdout));
        let end = format!(",\"cluster\":\"{id}\",\"findings\":[]}}\n");
        assert!(text(&output.stdout).ends_with(&end), "{}", text(&output.stdout));
        assert_eq!(json(&output)["coverage"]["scraped"], nodes);
    }
}

#[test]
fn a_helper_that_goes_on_measuring_refuses_several_contexts() {
    let stand = Stand::start();
    for (arguments, named) in [
        (&["run", "--context", "a", "--context", "b"][..], "--context = \"a, b\""),
        (&["run", "--check", "--all-contexts"], "--all-contexts = \"true\""),
    ] {
        let output = stand.run(arguments, false);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(
            message.contains(&format!("{named}: one context at most: this command measures one cluster")),
            "{message}"
        );
    }
    let output = stand.run(&["once", "--all-contexts", "--context", "a"], false);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("either --context or --all-contexts, not both"), "{}", text(&output.stderr));
    let mut without = Command::new(env!("CARGO_BIN_EXE_cni-metrics-helper"));
    let output = without.args(["once", "--all-contexts"]).env_clear().env("HOME", "/nonexistent").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("--all-contexts needs a kubeconfig with contexts: "),
        "{}",
        text(&output.stderr)
    );
    let output = stand.run(&["once", "--all-contexts", "--kubeconfig", "/nonexistent/config"], false);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/nonexistent/config"), "{}", text(&output.stderr));
}
