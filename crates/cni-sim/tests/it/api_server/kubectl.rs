//! The real `kubectl`, unmodified, over HTTPS and HTTP.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use cni_sim::api_server::{ApiServer, User};
use cni_sim::fault::ApiFault;
use cni_sim::kubeconfig;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::cluster::{TestCluster, pod_key, pod_name};

const TOKEN: &str = "secret-of-the-test";

struct Kubectl {
    program: PathBuf,
    directory: TempDir,
}

impl Kubectl {
    /// `kubectl` set up for the server.
    fn new(server: &ApiServer, https: bool) -> Self {
        let program = cni_testkit::needs::program("kubectl", cni_testkit::needs::BUILT);
        let directory = TempDir::new().unwrap();
        server.access().add_token(TOKEN, User { name: "tester".to_owned(), allowed: None });
        kubeconfig::write(&directory.path().join("config"), server, Some(TOKEN), https).unwrap();
        Self { program, directory }
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("config")
    }

    fn command(&self, args: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args.split_whitespace()).env("KUBECONFIG", self.config()).env("HOME", self.directory.path());
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Standard output of a run, whatever its exit code.
    async fn output(&self, args: &str) -> (bool, String) {
        let run = self.command(args).output();
        let output = tokio::time::timeout(Duration::from_mins(1), run).await.expect("kubectl ends").unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), text)
    }

    async fn ok(&self, args: &str) -> String {
        let (ok, text) = self.output(args).await;
        assert!(ok, "kubectl {args}: {text}");
        text
    }
}

/// The fields of the line that begins with `first`.
fn row<'a>(text: &'a str, first: &str) -> Vec<&'a str> {
    let row = |line: &&str| line.split_whitespace().any(|field| field == first);
    text.lines().find(row).unwrap_or_else(|| panic!("no {first} in\n{text}")).split_whitespace().collect()
}

#[test]
#[ignore = "needs kubectl: run .ci/run"]
async fn get_shows_pods_nodes_and_daemon_sets() {
    let cluster = TestCluster::new(4);
    let server = cluster.server();
    server.access().enforce_tokens(true);
    let kubectl = Kubectl::new(&server, true);
    let pods = kubectl.ok("get pods -A -o wide").await;
    assert_eq!(
        row(&pods, &pod_name(2)),
        [
            "kube-system",
            "aws-node-00002",
            "2/2",
            "Running",
            "0",
            "116m",
            "127.1.0.3",
            "ip-127-1-0-2.eu-central-1.compute.internal",
            "<none>",
            "<none>"
        ]
    );
    let nodes = kubectl.ok("get nodes").await;
    let cordoned = row(&nodes, "ip-127-1-0-1.eu-central-1.compute.internal");
    assert_eq!(cordoned[1..], ["Ready,SchedulingDisabled", "<none>", "120m", "v1.34.2-eks-abcdef0"]);
    let selected = kubectl.ok("get pods -n kube-system -l controller-revision-hash=old --no-headers").await;
    assert_eq!(selected.lines().count(), 2, "{selected}");
    let set = kubectl.ok("get ds -n kube-system").await;
    assert_eq!(row(&set, "aws-node")[1..4], ["4", "4", "4"]);
    let chunked = kubectl.ok("get pods -A --chunk-size=1 --no-headers").await;
    assert_eq!(chunked.lines().count(), 4, "{chunked}");
    let path = "{.items[*].status.containerStatuses[0].restartCount}";
    assert_eq!(kubectl.ok(&format!("get pods -A -o jsonpath={path}")).await, "0 0 0 0");
}

#[test]
#[ignore = "needs kubectl: run .ci/run"]
async fn raw_proxy_describe_and_can_i() {
    let cluster = TestCluster::new(2);
    let server = cluster.server();
    let kubectl = Kubectl::new(&server, true);
    let page = kubectl.ok("get --raw /api/v1/namespaces/kube-system/pods/aws-node-00001:61678/proxy/metrics").await;
    assert_eq!(page, super::cluster::PAGE);
    let described = kubectl.ok("describe pod -n kube-system aws-node-00001").await;
    for expected in
        ["Controlled By:  DaemonSet/aws-node", "WARM_ENI_TARGET:", "Started:      Sat, 21 Nov 2026", "127.1.0.2"]
    {
        assert!(described.contains(expected), "{expected} in\n{described}");
    }
    let node = kubectl.ok("describe node ip-127-1-0-0.eu-central-1.compute.internal").await;
    assert!(node.contains("aws-node-00000"), "{node}");
    assert_eq!(kubectl.ok("auth can-i get pods --subresource=proxy -n kube-system").await.trim(), "yes");
    assert!(kubectl.ok("auth whoami").await.contains("tester"));
    cluster.fault(ApiFault::Deny { verb: "get".to_owned(), resource: "pods/proxy".to_owned() });
    let (allowed, answer) = kubectl.output("auth can-i get pods --subresource=proxy -n kube-system").await;
    assert!(!allowed && answer.starts_with("no"), "{answer}");
    let (read, answer) =
        kubectl.output("get --raw /api/v1/namespaces/kube-system/pods/aws-node-00001:61678/proxy/metrics").await;
    assert!(!read && answer.contains("Forbidden"), "{answer}");
}

#[test]
#[ignore = "needs kubectl: run .ci/run"]
async fn watch_prints_changes_as_they_happen() {
    let cluster = TestCluster::new(2);
    let server = cluster.server();
    let kubectl = Kubectl::new(&server, false);
    let mut command = kubectl.command("get pods -n kube-system --watch --no-headers");
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || {
        let line = tokio::time::timeout(Duration::from_mins(1), lines.next_line()).await.expect("a line in time");
        line.unwrap().expect("a line").split_whitespace().take(3).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(next().await, "aws-node-00000 2/2 Running");
    assert_eq!(next().await, "aws-node-00001 2/2 Running");
    let mut pod = cluster.store().pod(&pod_key(1)).unwrap().as_ref().clone();
    pod.meta.deletion_ms = Some(super::cluster::NOW_MS);
    cluster.store().upsert_pod(pod);
    assert_eq!(next().await, "aws-node-00001 2/2 Terminating");
    child.kill().await.unwrap();
}
