//! The documented rights are enough, and each missing one is named.

use std::time::Instant;

use cni_testkit::api_server::assets::Assets;
use cni_testkit::api_server::cluster::Cluster;
use cni_testkit::api_server::page::Page;
use cni_testkit::http;
use cni_testkit::wait;
use serde_json::Value;

use crate::program::{PROMETHEUS, Program};

#[test]
#[ignore = "needs root, iproute2, etcd and kube-apiserver: run .ci/run"]
fn the_role_alone_is_enough_and_node_labels_come_with_their_own_right() {
    let assets = Assets::required();
    let cluster = Cluster::start(&assets, [Page::settled(5), Page::settled(7), Page::settled(12)]);
    cluster.grant_agents_with_proxy();
    let account = cluster.account_kubeconfig();

    let program = Program::start(&account, &[("SCRAPE_VIA", "proxy")]);
    program.wait_coverage(3, 3);
    program.wait_produced("GAUGE", "assignIPAddresses", 24.0);
    program.wait_produced("GAUGE", "totalIPAddresses", 81.0);
    program.wait_produced("GAUGE", "nodesScraped", 3.0);
    program.wait_line("nodes may not be listed");
    assert!(cluster.nodes.iter().all(|node| node.agent.proxied()));
    drop(program);

    let without = once(&cluster);
    assert_eq!(labels_of_first_node(&without), (&Value::Null, &Value::Null));

    cluster.grant_nodes();
    let with = once(&cluster);
    assert_eq!(labels_of_first_node(&with), (&"eu-central-1a".into(), &"m5.large".into()));
    let coverage = &with["coverage"];
    assert_eq!((&coverage["expected"], &coverage["scraped"]), (&3.into(), &3.into()), "{coverage}");
    assert_eq!(coverage["failed"], serde_json::json!({}));
    assert_eq!((&coverage["damaged"], &coverage["implausible"]), (&0.into(), &0.into()), "{coverage}");
    assert_eq!(with["metrics"]["assignIPAddresses"], 24);
    // Counters are totals since the agents' start, since one shot has no round before it.
    assert_eq!(with["metrics"]["addReqCount"], 300);
    assert_eq!(with["nodes"][2]["metrics"]["assignIPAddresses"], 12);
}

#[test]
#[ignore = "needs root, iproute2, etcd and kube-apiserver: run .ci/run"]
fn in_a_pod_its_service_account_is_used() {
    let assets = Assets::required();
    let cluster = Cluster::start(&assets, [Page::settled(5), Page::settled(7)]);
    cluster.grant_agents_with_proxy();
    let program = Program::start_in_pod(&cluster.account_folder(), &[]);
    program.wait_coverage(2, 2);
    program.wait_produced("GAUGE", "assignIPAddresses", 12.0);
}

#[test]
#[ignore = "needs root, iproute2, etcd and kube-apiserver: run .ci/run"]
fn a_rotated_token_is_picked_up_without_a_restart() {
    let assets = Assets::required();
    let cluster = Cluster::start(&assets, [Page::settled(5), Page::settled(7)]);
    cluster.grant_agents_with_proxy();
    let with_old_token = cluster.kubectl().with_kubeconfig(cluster.account_kubeconfig());
    let list = ["get", "pods", "--namespace=kube-system"];
    with_old_token.run(&list);
    let program = Program::start_in_pod(&cluster.account_folder(), &[]);
    program.wait_coverage(2, 2);

    cluster.replace_account();
    cluster.account_folder();
    // The API server remembers for some seconds whom it let in.
    let deadline = Instant::now() + http::TIMEOUT;
    while with_old_token.try_run(&list).is_ok() {
        assert!(Instant::now() < deadline, "the old token is still taken");
        wait::pause();
    }
    program.wait_coverage(2, 2);
}

#[test]
#[ignore = "needs root, iproute2, etcd and kube-apiserver: run .ci/run"]
fn a_role_taken_away_is_told_once_and_a_role_given_back_loses_no_count() {
    let assets = Assets::required();
    let cluster = Cluster::start(&assets, [Page::settled(5), Page::settled(7)]);
    cluster.grant_agents_with_proxy();
    let program = Program::start(&cluster.account_kubeconfig(), &[("SCRAPE_VIA", "proxy")]);
    program.wait_coverage(2, 2);

    cluster.revoke_agents();
    let denied = program.wait_coverage(0, 2);
    assert_eq!(denied.failures, "2 forbidden");
    for node in &cluster.nodes {
        node.agent.edit_page(|page| page.count("awscni_add_ip_req_count", "", 20.0));
    }
    program.wait_round("a second denied round", |round| round.number > denied.number && round.scraped == 0);
    assert_eq!(program.count_failures(&cluster.nodes[0].name, "forbidden"), 1);

    cluster.grant_agents_with_proxy();
    program.wait_coverage(2, 2);
    http::poll(PROMETHEUS, "/metrics", http::TIMEOUT, |page| {
        page.lines().any(|line| line == "cni_cluster_add_ip_requests_total{cluster=\"e2e\"} 40").then_some(())
    });
}

/// What `once --output json` prints for the helper's account.
fn once(cluster: &Cluster) -> Value {
    let output = Program::output(&cluster.account_kubeconfig(), &["once", "--output", "json"], &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn labels_of_first_node(object: &Value) -> (&Value, &Value) {
    let node = &object["nodes"][0];
    (&node["zone"], &node["instance_type"])
}
