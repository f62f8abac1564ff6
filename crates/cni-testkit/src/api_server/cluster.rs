//! A cluster as a test wants it: a control plane, agents' pods with something real behind each, and the helper's own
//! account with the rights that the test gives it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::assets::Assets;
use super::control_plane::ControlPlane;
use super::kubectl::Kubectl;
use super::namespace::{Inside, Namespace};
use super::page::Page;
use super::stand_in::StandIn;
use crate::wait;

const ACCOUNT: &str = "cni-metrics-helper";

/// One node: its agent's pod in the API, and the stand-in on the pod's address.
#[derive(Debug)]
pub struct Node {
    /// The node's name.
    pub name: String,
    /// The name of its agent's pod.
    pub pod: String,
    /// What answers on the pod's address.
    pub agent: StandIn,
}

/// The calling thread stays in the cluster's namespace as long as this lives.
#[derive(Debug)]
pub struct Cluster {
    // Order matters: what runs inside goes first, then the thread leaves, then the namespace goes.
    /// The nodes, in the order in which they were added.
    pub nodes: Vec<Node>,
    /// API server and etcd.
    pub plane: ControlPlane,
    _inside: Inside,
    namespace: Namespace,
    /// Where the nodes are, if not beside the control plane.
    apart: Option<Namespace>,
    /// When the last pods were made.
    grown: Instant,
}

impl Cluster {
    /// A cluster with one node for each page.
    pub fn start(assets: &Assets, pages: impl IntoIterator<Item = Page>) -> Self {
        Self::start_in(assets, pages, Namespace::with_network("10.77.0.1/16"), None)
    }

    /// A cluster whose nodes are on another machine, so to speak: they reach the API server, but it has no route to
    /// them, as where a security group lacks the agents' port.
    pub fn start_with_nodes_apart(assets: &Assets, pages: impl IntoIterator<Item = Page>) -> Self {
        let namespace = Namespace::with_network("10.77.0.1/32");
        let apart = Namespace::with_network("10.77.1.1/24");
        namespace.join("10.79.0.1/30", &apart, "10.79.0.2/30");
        apart.ip(&["route", "add", "10.77.0.1/32", "via", "10.79.0.1"]);
        Self::start_in(assets, pages, namespace, Some(apart))
    }

    /// Gives the API server the route that it lacks.
    pub fn open_the_way_to_nodes(&self) {
        self.namespace.ip(&["route", "add", "10.77.1.0/24", "via", "10.79.0.2"]);
    }

    /// Moves the calling thread to where the nodes are, until the guard is dropped.
    pub fn enter_nodes(&self) -> Inside {
        self.apart.as_ref().unwrap_or(&self.namespace).enter()
    }

    fn start_in(
        assets: &Assets,
        pages: impl IntoIterator<Item = Page>,
        namespace: Namespace,
        apart: Option<Namespace>,
    ) -> Self {
        let inside = namespace.enter();
        let plane = ControlPlane::start(assets);
        let mut cluster = Self { nodes: Vec::new(), plane, _inside: inside, namespace, apart, grown: Instant::now() };
        cluster.create_account();
        cluster.add_nodes(pages);
        cluster
    }

    /// kubectl of the administrator.
    pub fn kubectl(&self) -> Kubectl {
        self.plane.kubectl()
    }

    /// More nodes, each with its agent running.
    pub fn add_nodes(&mut self, pages: impl IntoIterator<Item = Page>) {
        let first = self.nodes.len();
        let mut objects = Vec::new();
        for (number, page) in (first..).zip(pages) {
            let ip = format!("10.77.1.{}", number + 1);
            let (name, pod) = (format!("ip-10-77-1-{}.example", number + 1), format!("aws-node-{number:05}"));
            objects.extend([node_object(&name, number), pod_object(&pod, &name, &ip)]);
            let agent = {
                let _there = self.enter_nodes();
                StandIn::start(&ip, page)
            };
            self.nodes.push(Node { name, pod, agent });
        }
        if !objects.is_empty() {
            self.kubectl().apply(&objects);
            self.grown = Instant::now();
        }
    }

    /// Removes a node's pod from the API at once, as the last step of a node's removal does. Its agent still answers.
    pub fn delete_pod(&self, node: usize) {
        let pod = self.nodes[node].pod.as_str();
        self.kubectl().run(&["delete", "pod", pod, "--namespace=kube-system", "--force", "--grace-period=0"]);
    }

    /// Makes the helper's service account anew, under the same name: tokens of the old one are worth nothing then.
    pub fn replace_account(&self) {
        self.kubectl().run(&["delete", "serviceaccount", ACCOUNT, "--namespace=kube-system"]);
        self.create_account();
    }

    fn create_account(&self) {
        self.kubectl().run(&["create", "serviceaccount", ACCOUNT, "--namespace=kube-system"]);
    }

    /// A kubeconfig of the helper's service account.
    pub fn account_kubeconfig(&self) -> PathBuf {
        self.plane.write_kubeconfig(ACCOUNT, &self.account_token())
    }

    /// The folder that a pod of the helper's service account has mounted.
    pub fn account_folder(&self) -> PathBuf {
        let folder = self.plane.folder().join("serviceaccount");
        // Made once: a pod that has it mounted sees the files change.
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::copy(self.plane.certificate(), folder.join("ca.crt")).unwrap();
        std::fs::write(folder.join("token"), self.account_token()).unwrap();
        std::fs::write(folder.join("namespace"), "kube-system").unwrap();
        folder
    }

    /// A token of the helper's service account that the API server signed.
    ///
    /// Comes a second after the last pod: the API server stamps whole seconds, and a pod made in the second in which the
    /// helper starts is new to it, so that all its counters show would count as having happened on its watch.
    fn account_token(&self) -> String {
        let next_second = self.grown + Duration::from_millis(1100);
        wait::sleep_as_input(next_second.saturating_duration_since(Instant::now()));
        let token = self.kubectl().run(&["create", "token", ACCOUNT, "--namespace=kube-system"]);
        token.trim().to_owned()
    }

    /// The right to find the agents and to read them through the API server, in their namespace alone.
    pub fn grant_agents_with_proxy(&self) {
        self.grant("Role", "agents", &json!([pods_rule(), rule("pods/proxy", &["get"])]));
    }

    /// The right to find the agents; reading them is left to the direct way.
    pub fn grant_agents(&self) {
        self.grant("Role", "agents", &json!([pods_rule()]));
    }

    /// The right to read the nodes' labels, in the whole cluster because nodes belong to no namespace.
    pub fn grant_nodes(&self) {
        self.grant("ClusterRole", "nodes", &json!([rule("nodes", &["list", "watch"])]));
    }

    /// Takes what [`Self::grant_agents_with_proxy`] gave.
    pub fn revoke_agents(&self) {
        let binding = format!("{ACCOUNT}-agents");
        self.kubectl().run(&["delete", "rolebinding", &binding, "--namespace=kube-system"]);
    }

    fn grant(&self, kind: &str, name: &str, rules: &Value) {
        let api = "rbac.authorization.k8s.io";
        let mut metadata = json!({"name": format!("{ACCOUNT}-{name}")});
        if kind == "Role" {
            metadata["namespace"] = "kube-system".into();
        }
        let version = format!("{api}/v1");
        self.kubectl().apply(&[
            json!({"apiVersion": version, "kind": kind, "metadata": metadata, "rules": rules}),
            json!({
                "apiVersion": version, "kind": format!("{kind}Binding"), "metadata": metadata,
                "roleRef": {"apiGroup": api, "kind": kind, "name": metadata["name"]},
                "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": "kube-system"}],
            }),
        ]);
    }
}

fn pods_rule() -> Value {
    rule("pods", &["get", "list", "watch"])
}

fn rule(resource: &str, verbs: &[&str]) -> Value {
    json!({"apiGroups": [""], "resources": [resource], "verbs": verbs})
}

fn node_object(name: &str, number: usize) -> Value {
    let zone = ["eu-central-1a", "eu-central-1b"][number % 2];
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {
            "topology.kubernetes.io/zone": zone,
            "node.kubernetes.io/instance-type": "m5.large",
            "eks.amazonaws.com/nodegroup": "workers",
        }},
    })
}

/// A running agent's pod as the kubelet would have left it.
pub fn pod_object(name: &str, node: &str, ip: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "kube-system", "labels": {"k8s-app": "aws-node"}},
        "spec": {
            "nodeName": node, "hostNetwork": true,
            "containers": [{"name": "aws-node", "image": "amazon-k8s-cni", "env": [
                {"name": "CLUSTER_NAME", "value": "e2e"},
            ]}],
        },
        "status": {
            "phase": "Running", "hostIP": ip, "podIP": ip, "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}
