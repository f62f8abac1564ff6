//! Leader election on a real kube-apiserver: two replicas of the built program, with exactly the documented rights.
//!
//! Needs what the other tests on a real API server need: `.ci/run` has it, plain `cargo test` ignores these tests.

use std::path::Path;
use std::time::Duration;

use cni_testkit::api_server::assets::Assets;
use cni_testkit::api_server::cluster::Cluster;
use cni_testkit::api_server::page::Page;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::program::Program;

const TIMEOUT: Duration = Duration::from_mins(1);

/// `docs/ha.md`: get, create and update on leases in one namespace. Which is not the agents' namespace here.
fn grant_leases(cluster: &Cluster, verbs: &[&str]) {
    let api = "rbac.authorization.k8s.io";
    let metadata = json!({"name": "lease", "namespace": "default"});
    cluster.kubectl().apply(&[
        json!({
            "apiVersion": format!("{api}/v1"), "kind": "Role", "metadata": metadata,
            "rules": [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": verbs}],
        }),
        json!({
            "apiVersion": format!("{api}/v1"), "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": api, "kind": "Role", "name": "lease"},
            "subjects": [{"kind": "ServiceAccount", "name": "cni-metrics-helper", "namespace": "kube-system"}],
        }),
    ]);
}

fn replica(kubeconfig: &Path, name: &str) -> Program {
    let variables = [
        ("LEADER_ELECTION", "true"),
        ("LEASE_DURATION", "5s"),
        ("LEASE_NAMESPACE", "default"),
        ("POD_NAME", name),
        ("PROMETHEUS_ADDRESS", "127.0.0.1:0"),
        ("ADMIN_ADDRESS", "127.0.0.1:0"),
    ];
    Program::start(kubeconfig, &variables)
}

fn lease(cluster: &Cluster) -> Value {
    let text = cluster.kubectl().run(&["get", "lease", "cni-metrics-helper", "--namespace=default", "-o", "json"]);
    serde_json::from_str(&text).unwrap()
}

/// The time of a write to the lease, on the clock that all processes of this machine share.
fn written_ms(time: &Value) -> i64 {
    serde_json::from_value::<MicroTime>(time.clone()).unwrap().0.as_millisecond()
}

#[test]
#[ignore = "needs root, iproute2, etcd and kube-apiserver: run .ci/run"]
fn with_the_documented_rights_the_lease_goes_from_hand_to_hand() {
    let assets = Assets::required();
    let cluster = Cluster::start(&assets, [Page::settled(5)]);
    cluster.grant_agents_with_proxy();
    grant_leases(&cluster, &["get", "create", "update"]);
    let kubeconfig = cluster.account_kubeconfig();
    let mut first = replica(&kubeconfig, "first");
    first.wait_line("leading: first-");
    first.wait_coverage(1, 1);
    let mut second = replica(&kubeconfig, "second");
    second.wait_line("watching pods in namespace kube-system: 1 listed");
    let held = lease(&cluster);
    assert!(held["spec"]["holderIdentity"].as_str().unwrap().starts_with("first-"), "{held}");
    assert_eq!(held["spec"]["leaseDurationSeconds"], 5);

    first.signal(Signal::KILL);
    first.wait_exit(TIMEOUT).unwrap();
    second.wait_line("leading: second-");
    second.wait_coverage(1, 1);
    assert_eq!(second.count_lines("needed in namespace"), 0);
    // At the earliest a lease after the beginning of the look that saw the last renewal. That look takes a quarter of the
    // lease at most.
    let renewed = written_ms(&held["spec"]["renewTime"]);
    let held = lease(&cluster);
    let waited = written_ms(&held["spec"]["acquireTime"]) - renewed;
    assert!(waited >= 3_750, "the lease of a dead leader was not waited for: {waited} ms");
    assert!(held["spec"]["holderIdentity"].as_str().unwrap().starts_with("second-"), "{held}");
    assert_eq!(held["spec"]["leaseTransitions"], 1);

    second.signal(Signal::TERM);
    assert_eq!(second.wait_exit(TIMEOUT).and_then(|status| status.code()), Some(0));
    let given_back = lease(&cluster);
    assert_eq!(given_back["spec"]["holderIdentity"], Value::Null, "{given_back}");
    let third = replica(&kubeconfig, "third");
    third.wait_line("leading: third-");
}

#[test]
#[ignore = "needs root, iproute2, etcd and kube-apiserver: run .ci/run"]
fn without_a_right_the_log_names_it_and_nothing_is_published() {
    let assets = Assets::required();
    let cluster = Cluster::start(&assets, [Page::settled(5)]);
    cluster.grant_agents_with_proxy();
    grant_leases(&cluster, &["get"]);
    let program = replica(&cluster.account_kubeconfig(), "only");
    let line = program.wait_line("cannot acquire lease default/cni-metrics-helper");
    assert!(line.contains("a Role with get, create and update on leases is needed in namespace default"), "{line}");
    assert!(line.contains("cannot create resource"), "{line}");
    assert_eq!(program.count_lines("Produce"), 0);
    grant_leases(&cluster, &["get", "create", "update"]);
    program.wait_line("leading: only-");
    program.wait_coverage(1, 1);
}
