//! The API server goes away and comes back: nothing is counted twice, nothing is lost, the watch goes on.

use cni_testkit::api_server::assets::Assets;
use cni_testkit::api_server::cluster::Cluster;
use cni_testkit::api_server::page::Page;
use cni_testkit::http;
use rustix::process::Signal;

use crate::program::{PROMETHEUS, Program};

#[test]
#[ignore = "needs root, iproute2, etcd and kube-apiserver: run .ci/run"]
fn the_watch_goes_on_after_the_api_server_was_killed_and_counters_cover_the_gap() {
    let assets = Assets::required();
    let mut cluster = Cluster::start(&assets, [1, 2, 4].map(Page::settled));
    cluster.grant_agents_with_proxy();
    let program = Program::start(&cluster.account_kubeconfig(), &[("SCRAPE_VIA", "proxy")]);
    program.wait_coverage(3, 3);

    cluster.plane.kill_api_server();
    program.wait_coverage(0, 3);
    for node in &cluster.nodes {
        node.agent.edit_page(|page| page.count("awscni_ipamd_error_count", r#"{error="x",fn="y"}"#, 3.0));
    }

    cluster.plane.start_api_server();
    program.wait_coverage(3, 3);
    let counted =
        |page: &str| page.lines().any(|line| line == "cni_cluster_ipamd_errors_total{cluster=\"e2e\"} 9").then_some(());
    http::poll(PROMETHEUS, "/metrics", http::TIMEOUT, counted);

    // What happens to pods from now on is seen, so the watch itself is back and not only the scrapes.
    cluster.delete_pod(0);
    program.wait_coverage(2, 2);
    cluster.add_nodes([Page::settled(8)]);
    program.wait_coverage(3, 3);
    program.wait_produced("GAUGE", "assignIPAddresses", 14.0);
    http::poll(PROMETHEUS, "/metrics", http::TIMEOUT, counted);
}

#[test]
#[ignore = "needs root, iproute2, etcd and kube-apiserver: run .ci/run"]
fn a_watch_that_missed_too_much_is_begun_anew_and_its_list_replaces_the_old_one() {
    let assets = Assets::required();
    let mut cluster = Cluster::start(&assets, [1, 2, 4].map(Page::settled));
    cluster.grant_agents_with_proxy();
    let program = Program::start(&cluster.account_kubeconfig(), &[("SCRAPE_VIA", "proxy")]);
    program.wait_coverage(3, 3);
    assert_eq!(program.count_lines("watching pods in namespace kube-system"), 1);

    // While the helper stands still, its watch breaks, pods change, and the API server starts anew: it has no memory of
    // what changed before, so it cannot go on with the watch from where the helper left it.
    program.signal(Signal::STOP);
    cluster.plane.kill_api_server();
    cluster.plane.start_api_server();
    cluster.delete_pod(0);
    cluster.add_nodes([Page::settled(8)]);
    cluster.plane.kill_api_server();
    cluster.plane.start_api_server();
    let asked = cluster.nodes[0].agent.requests();
    program.signal(Signal::CONT);

    program.wait_produced("GAUGE", "assignIPAddresses", 14.0);
    program.wait_coverage(3, 3);
    assert_eq!(program.count_lines("watching pods in namespace kube-system"), 2);
    let asked_since = cluster.nodes[0].agent.requests() - asked;
    program.wait_coverage(3, 3);
    assert_eq!(cluster.nodes[0].agent.requests() - asked, asked_since, "a pod that is gone is not asked any more");
}

#[test]
#[ignore = "needs root, iproute2, etcd and kube-apiserver: run .ci/run"]
fn direct_scraping_goes_on_without_the_api_server() {
    let assets = Assets::required();
    let mut cluster = Cluster::start(&assets, [1, 2].map(Page::settled));
    cluster.grant_agents();
    let program = Program::start(&cluster.account_kubeconfig(), &[("SCRAPE_VIA", "direct")]);
    program.wait_coverage(2, 2);

    cluster.plane.kill_api_server();
    cluster.nodes[0].agent.edit_page(|page| {
        page.gauges.insert("awscni_assigned_ip_addresses", 11.0);
    });
    program.wait_produced("GAUGE", "assignIPAddresses", 13.0);
    program.wait_coverage(2, 2);
}
