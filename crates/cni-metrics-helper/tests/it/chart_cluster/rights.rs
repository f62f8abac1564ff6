//! Rights: each feature works with exactly what the chart grants for it, and each missing right is named.

use std::collections::BTreeSet;
use std::time::Duration;

use cni_testkit::http;

use super::Stand;
use crate::program::{PROMETHEUS, Program};

const AS_HELPER: &str = "--as=system:serviceaccount:kube-system:cni-metrics-helper";

impl Stand {
    /// What the helper's account may do in a namespace, less what every account may, as `resource verbs`.
    fn rights(&self, namespace: &str) -> BTreeSet<String> {
        let listed = |who: &str| -> BTreeSet<String> {
            let namespace = format!("--namespace={namespace}");
            let list = self.cluster.kubectl().run(&["auth", "can-i", "--list", "--no-headers", &namespace, who]);
            // The columns are aligned by blanks: made one, lines are comparable whatever else is listed.
            list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
        };
        let every = listed("--as=system:serviceaccount:kube-system:nobody-in-particular");
        &listed(AS_HELPER) - &every
    }
}

fn set(rights: &[&str]) -> BTreeSet<String> {
    rights.iter().map(|right| (*right).to_owned()).collect()
}

#[test]
#[ignore = "needs root, iproute2, etcd, kube-apiserver and helm: run .ci/run"]
fn the_account_may_do_what_is_documented_and_nothing_else() {
    let stand = Stand::start(0);
    let (pods, proxy, nodes) = ("pods [] [] [list watch]", "pods/proxy [] [] [get]", "nodes [] [] [list watch]");

    stand.install(&[]);
    assert_eq!(stand.rights("kube-system"), set(&[pods, proxy, nodes]));
    assert_eq!(stand.rights("default"), set(&[nodes]), "nothing but nodes outside the agents' namespace");

    stand.install(&["--set=env.SCRAPE_VIA=direct,nodeLabels=false"]);
    assert_eq!(stand.rights("kube-system"), set(&[pods]), "an upgrade takes back what is no longer needed");
    assert_eq!(stand.rights("default"), set(&[]));

    stand.install(&["--set=env.INSIGHT=cluster"]);
    let objects = [
        "eniconfigs.crd.k8s.amazonaws.com [] [] [list watch]",
        "cninodes.vpcresources.k8s.aws [] [] [list watch]",
        "daemonsets.apps [] [aws-node] [list watch]",
    ];
    assert_eq!(stand.rights("default"), &set(&[nodes]) | &set(&objects));

    stand.install(&["--set=replicas=2"]);
    let create = "leases.coordination.k8s.io [] [] [create]";
    let hold = "leases.coordination.k8s.io [] [cni-metrics-helper] [get update]";
    assert_eq!(stand.rights("kube-system"), set(&[pods, proxy, nodes, create, hold]));
}

#[test]
#[ignore = "needs root, iproute2, etcd, kube-apiserver and helm: run .ci/run"]
fn the_helper_works_with_the_charts_rights_and_names_each_that_is_taken_away() {
    let stand = Stand::start(2);
    stand.install(&[]);
    let account = stand.cluster.account_kubeconfig();
    let zones = "zone=\"eu-central-1a\",instance_type=\"m5.large\"";
    {
        let program = Program::start(&account, &[("SCRAPE_VIA", "proxy")]);
        program.wait_coverage(2, 2);
        http::poll(PROMETHEUS, "/metrics", Duration::from_secs(30), |page| page.contains(zones).then_some(()));
    }

    // No right on nodes: the figures stay, the labels go, and the log says so once.
    stand.install(&["--set=nodeLabels=false"]);
    {
        let program = Program::start(&account, &[("SCRAPE_VIA", "proxy")]);
        program.wait_coverage(2, 2);
        program.wait_line("nodes may not be listed");
        http::poll(PROMETHEUS, "/metrics", Duration::from_secs(30), |page| {
            assert!(!page.contains(zones), "{page}");
            page.contains("cni_cluster_nodes_scraped{cluster=\"e2e\"} 2").then_some(())
        });
    }

    // Rendered for direct scraping: the proxy is denied by name, the direct way needs no such right.
    stand.install(&["--set=env.SCRAPE_VIA=direct"]);
    {
        let program = Program::start(&account, &[("SCRAPE_VIA", "proxy")]);
        let round = program.wait_coverage(0, 2);
        assert!(round.failures.contains("2 forbidden"), "{round:?}");
    }
    {
        let program = Program::start(&account, &[("SCRAPE_VIA", "direct")]);
        program.wait_coverage(2, 2);
    }

    // No right on pods at all.
    stand.install(&["--set=rbac.create=false"]);
    {
        let program = Program::start(&account, &[("SCRAPE_VIA", "direct")]);
        program.wait_line("pods in namespace kube-system may not be watched");
    }
}

#[test]
#[ignore = "needs root, iproute2, etcd, kube-apiserver and helm: run .ci/run"]
fn a_lease_is_held_with_the_charts_rights_and_its_lack_is_named() {
    let stand = Stand::start(1);
    stand.install(&["--set=replicas=2"]);
    let account = stand.cluster.account_kubeconfig();
    let election = [("LEADER_ELECTION", "true"), ("LEASE_NAMESPACE", "kube-system")];
    {
        let program = Program::start(&account, &election);
        program.wait_coverage(1, 1);
        let lease = stand.get(&["lease", "cni-metrics-helper", "--namespace=kube-system"]);
        assert!(lease["spec"]["holderIdentity"].is_string(), "{lease}");
    }

    stand.install(&[]);
    let program = Program::start(&account, &election);
    let line = program.wait_line("cannot acquire lease kube-system/cni-metrics-helper");
    assert!(line.contains("a Role with get, create and update on leases is needed in namespace kube-system"), "{line}");
}
