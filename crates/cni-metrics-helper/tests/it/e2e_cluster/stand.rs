//! The test stand itself: were it wrong, everything shown on it would be.

use cni_testkit::api_server::assets::Assets;
use cni_testkit::api_server::cluster::Cluster;
use cni_testkit::api_server::namespace::{SERVER, SERVER_PORT};
use cni_testkit::api_server::page::Page;
use cni_testkit::api_server::stand_in::Mode;
use cni_testkit::http;

const PROXY: &str = "/api/v1/namespaces/kube-system/pods/aws-node-00000:61678/proxy/metrics";

#[test]
#[ignore = "needs root, iproute2, etcd and kube-apiserver: run .ci/run"]
fn the_api_server_proxies_to_a_stand_in_and_denies_an_account_without_rights() {
    let assets = Assets::required();
    let cluster = Cluster::start(&assets, [Page::settled(5)]);
    let agent = &cluster.nodes[0].agent;

    let page = cluster.kubectl().run(&["get", "--raw", PROXY]);
    assert_eq!(page, agent.page().render());
    assert!(agent.proxied());

    let account = cluster.kubectl().with_kubeconfig(cluster.account_kubeconfig());
    let denied = account.try_run(&["get", "--raw", PROXY]).unwrap_err();
    assert!(denied.contains("Forbidden"), "{denied}");

    agent.set_mode(Mode::Refuse);
    let refused = cluster.kubectl().try_run(&["get", "--raw", PROXY]).unwrap_err();
    assert!(refused.contains("connection refused"), "{refused}");
    agent.set_mode(Mode::Page);
    cluster.kubectl().run(&["get", "--raw", PROXY]);
    assert_eq!(agent.requests(), 2);
}

#[test]
#[ignore = "needs root, iproute2, etcd and kube-apiserver: run .ci/run"]
fn nodes_apart_are_out_of_the_api_servers_reach_until_the_way_is_open() {
    let assets = Assets::required();
    let cluster = Cluster::start_with_nodes_apart(&assets, [Page::settled(5)]);

    let unreachable = cluster.kubectl().try_run(&["get", "--raw", PROXY]).unwrap_err();
    assert!(unreachable.contains("network is unreachable"), "{unreachable}");
    {
        let _beside_the_node = cluster.enter_nodes();
        // From there both are in reach: the node itself, and the API server.
        http::get("10.77.1.1:61678", "/metrics").unwrap();
        assert!(http::can_connect(SERVER, SERVER_PORT));
    }
    cluster.open_the_way_to_nodes();
    cluster.kubectl().run(&["get", "--raw", PROXY]);
}
