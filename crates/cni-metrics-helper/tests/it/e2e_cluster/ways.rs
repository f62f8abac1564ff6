//! The two ways to a node: through the API server, and straight to its address.

use cni_testkit::api_server::assets::Assets;
use cni_testkit::api_server::cluster::Cluster;
use cni_testkit::api_server::page::Page;

use crate::program::Program;

#[test]
#[ignore = "needs root, iproute2, etcd and kube-apiserver: run .ci/run"]
fn direct_scraping_needs_no_right_to_the_proxy() {
    let assets = Assets::required();
    let cluster = Cluster::start(&assets, [Page::settled(5), Page::settled(7)]);
    cluster.grant_agents();
    let program = Program::start(&cluster.account_kubeconfig(), &[("SCRAPE_VIA", "direct")]);
    program.wait_coverage(2, 2);
    program.wait_produced("GAUGE", "assignIPAddresses", 12.0);
    assert!(cluster.nodes.iter().all(|node| !node.agent.proxied()));
}

#[test]
#[ignore = "needs root, iproute2, etcd and kube-apiserver: run .ci/run"]
fn nodes_out_of_the_api_servers_reach_are_asked_directly_until_the_way_is_open() {
    let assets = Assets::required();
    let cluster = Cluster::start_with_nodes_apart(&assets, [Page::settled(5), Page::settled(7)]);
    cluster.grant_agents_with_proxy();
    let account = cluster.account_kubeconfig();

    let beside_the_nodes = cluster.enter_nodes();
    let proxy_only = Program::start(&account, &[("SCRAPE_VIA", "proxy")]);
    for node in &cluster.nodes {
        proxy_only.wait_failure(&node.name, "proxy_unavailable");
    }
    drop(proxy_only);
    assert!(cluster.nodes.iter().all(|node| node.agent.requests() == 0));

    let program = Program::start(&account, &[]);
    program.wait_coverage(2, 2);
    program.wait_produced("GAUGE", "assignIPAddresses", 12.0);
    let warning = program.wait_line("the API server cannot reach 2 of 2 nodes");
    assert!(warning.contains("tcp/61678") && warning.contains("SCRAPE_VIA=direct"), "{warning}");
    assert!(cluster.nodes.iter().all(|node| !node.agent.proxied()));

    cluster.open_the_way_to_nodes();
    program.wait_line("the API server reaches all nodes on the agents' port again");
    program.wait_coverage(2, 2);
    // In a round of a busy machine the API server can be too slow, and the direct way is the better one again.
    let mut rounds = 1;
    while !cluster.nodes.iter().all(|node| node.agent.proxied()) {
        assert!(rounds < 30, "in {rounds} rounds not all nodes were asked through the API server");
        program.wait_coverage(2, 2);
        rounds += 1;
    }
    assert_eq!(program.count_lines("tcp/61678"), 1, "the missing rule is told once, not each round");
    drop(program);
    drop(beside_the_nodes);
}
