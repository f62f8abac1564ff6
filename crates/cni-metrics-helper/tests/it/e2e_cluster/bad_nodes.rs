//! A bad node costs itself, never the round; a node that is gone costs nothing.

use std::time::Duration;

use cni_testkit::api_server::assets::Assets;
use cni_testkit::api_server::cluster::Cluster;
use cni_testkit::api_server::page::Page;
use cni_testkit::api_server::stand_in::Mode;

use crate::program::Program;

/// Rounds with room for a slow answer, so that a busy machine does not turn it into a timeout.
const ROOMY: [(&str, &str); 3] = [("SCRAPE_VIA", "proxy"), ("METRIC_UPDATE_INTERVAL", "3"), ("SCRAPE_TIMEOUT", "2s")];

#[test]
#[ignore = "needs root, iproute2, etcd and kube-apiserver: run .ci/run"]
fn nodes_that_hang_refuse_or_answer_garbage_are_classified_and_the_others_add_up() {
    let assets = Assets::required();
    let cluster = Cluster::start(&assets, [1, 2, 4, 8, 16, 32, 64].map(Page::settled));
    cluster.grant_agents_with_proxy();
    let program = Program::start(&cluster.account_kubeconfig(), &ROOMY);
    program.wait_coverage(7, 7);

    let modes = [
        Mode::Page,
        Mode::Gzip,
        Mode::Slow(Duration::from_millis(500)),
        Mode::Hang,
        Mode::Garbage,
        Mode::Html,
        Mode::Refuse,
    ];
    for (node, mode) in cluster.nodes.iter().zip(modes) {
        node.agent.set_mode(mode);
    }
    // One scrape's time bounds the round; a busy machine may add to some rounds.
    let round = program.wait_round("a round of one scrape's time, in which each failure is told", |round| {
        let mut failures: Vec<&str> = round.failures.split(", ").collect();
        failures.sort_unstable();
        (round.scraped, round.expected) == (3, 7)
            && failures == ["1 connect_refused", "1 timeout", "2 bad_page"]
            && (2000..2900).contains(&round.milliseconds)
    });
    program.wait_produced("GAUGE", "assignIPAddresses", 7.0);
    program.wait_produced("GAUGE", "nodesExpected", 7.0);

    // Several rounds later each of the four has still been named once.
    program.wait_round("two rounds more", |later| later.number >= round.number + 2);
    for (node, kind) in cluster.nodes[3..].iter().zip(["timeout", "bad_page", "bad_page", "connect_refused"]) {
        assert_eq!(program.count_failures(&node.name, kind), 1);
    }
    // The way to the node that refuses is open: no rule is missing.
    assert_eq!(program.count_lines("security group"), 0);

    for node in &cluster.nodes {
        node.agent.set_mode(Mode::Page);
    }
    program.wait_coverage(7, 7);
    program.wait_produced("GAUGE", "assignIPAddresses", 127.0);
}

#[test]
#[ignore = "needs root, iproute2, etcd and kube-apiserver: run .ci/run"]
fn a_deleted_pod_and_one_that_is_being_deleted_are_not_expected() {
    let assets = Assets::required();
    let cluster = Cluster::start(&assets, [1, 2, 4].map(Page::settled));
    cluster.grant_agents_with_proxy();
    let program = Program::start(&cluster.account_kubeconfig(), &[("SCRAPE_VIA", "proxy")]);
    program.wait_coverage(3, 3);

    cluster.delete_pod(0);
    program.wait_coverage(2, 2);
    program.wait_produced("GAUGE", "assignIPAddresses", 6.0);
    let asked = cluster.nodes[0].agent.requests();

    // No kubelet here ends the second one, so it stays in the API, marked, until its grace period is over.
    let leaving = cluster.nodes[1].pod.as_str();
    cluster.kubectl().run(&["delete", "pod", leaving, "--namespace=kube-system", "--wait=false"]);
    program.wait_coverage(1, 1);
    assert_eq!(cluster.nodes[0].agent.requests(), asked, "a pod that is gone is not asked any more");
}

#[test]
#[ignore = "needs root, iproute2, etcd and kube-apiserver: run .ci/run"]
fn a_selector_that_matches_nothing_is_a_warning_with_the_usual_causes() {
    let assets = Assets::required();
    let cluster = Cluster::start(&assets, []);
    cluster.grant_agents_with_proxy();
    let program = Program::start(&cluster.account_kubeconfig(), &[]);
    program.wait_coverage(0, 0);
    let warning = program.wait_line("no pod matches");
    for cause in ["namespace", "Auto Mode", "Fargate"] {
        assert!(warning.contains(cause), "{warning}");
    }
}
