//! Same scenario, seed and simulated time: same bytes, however the clock got there.

use std::sync::Arc;

use cni_sim::api_server::Backend;
use cni_sim::cluster::{Answer, PodKey, SimulatedCluster, Via};
use cni_sim::scenario::{FaultSpec, Scenario};
use cni_sim::truth::{NodeNumbers, Window};
use proptest::prelude::*;

const START_MS: i64 = 1_772_352_000_000;

type Pages = Vec<(PodKey, NodeNumbers, bytes::Bytes)>;

fn pages(cluster: &SimulatedCluster) -> Pages {
    let with_page = |(pod, numbers): (PodKey, NodeNumbers)| {
        let page = cluster.peek(&pod).unwrap();
        (pod, numbers, page)
    };
    cluster.numbers().into_iter().map(with_page).collect()
}

fn played(scenario: &Scenario, seed: u64, steps: &[i64]) -> Arc<SimulatedCluster> {
    let cluster = SimulatedCluster::new(scenario, seed, START_MS).unwrap();
    let mut at = START_MS;
    for step in steps {
        at += step;
        cluster.advance_to(at);
    }
    cluster
}

fn objects(cluster: &SimulatedCluster) -> Vec<String> {
    cluster.kube().pods().iter().map(|pod| format!("{:?} {:?} {:?}", pod.meta, pod.pod_ip, pod.containers)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn the_size_of_the_steps_does_not_matter(
        steps in prop::collection::vec(1_i64..90_000, 1..30),
        name in prop::sample::select(vec!["churn", "restart-heavy", "throttling", "node-loss", "subnet-exhaustion"]),
        seed in 0_u64..1_000,
    ) {
        let scenario = Scenario::named(name).unwrap();
        let whole = played(&scenario, seed, &[steps.iter().sum()]);
        let parts = played(&scenario, seed, &steps);
        prop_assert_eq!(pages(&whole), pages(&parts));
        prop_assert_eq!(objects(&whole), objects(&parts));
        prop_assert_eq!(whole.status(), parts.status());
    }
}

#[test]
fn another_seed_is_another_cluster() {
    let scenario = Scenario::named("churn").unwrap();
    let minutes = [600_000];
    assert_ne!(pages(&played(&scenario, 1, &minutes)), pages(&played(&scenario, 2, &minutes)));
}

/// Scrapes all agents and says what a collector that was there from the beginning would publish.
fn scraped(cluster: &SimulatedCluster) -> std::collections::BTreeMap<&'static str, f64> {
    for (pod, ..) in pages(cluster) {
        if let Answer::Page { ticket, .. } = cluster.serve(&pod, Via::Proxy) {
            cluster.delivered(ticket);
        }
    }
    cluster.truth().round(Window { from: 0, to: i64::MAX, collector_start: None, collector_start_api: None }).metrics
}

#[test]
fn the_truth_is_the_same_too() {
    let scenario = Scenario::named("churn").unwrap();
    let whole = played(&scenario, 5, &[900_000]);
    let parts = played(&scenario, 5, &[1; 900]);
    parts.advance_to(START_MS + 900_000);
    assert_eq!(scraped(&whole), scraped(&parts));
}

#[test]
fn an_injected_fault_holds_until_it_is_cleared() {
    let cluster = SimulatedCluster::new(&Scenario::calm(6), 1, START_MS).unwrap();
    let fault: FaultSpec = serde_saphyr::from_str("{ fault: hang, target: { count: 2 } }").unwrap();
    let number = cluster.inject(fault);
    cluster.advance_to(START_MS + 1);
    let hung =
        || pages(&cluster).iter().filter(|(pod, ..)| matches!(cluster.serve(pod, Via::Proxy), Answer::Hang)).count();
    assert_eq!(hung(), 2);
    assert!(cluster.clear(number));
    assert_eq!(hung(), 0);
    assert!(!cluster.clear(99));
}

#[test]
fn calm_has_as_many_nodes_as_asked_for() {
    for nodes in [1, 2, 7, 100, 1_000] {
        let cluster = SimulatedCluster::new(&Scenario::calm(nodes), 1, START_MS).unwrap();
        assert_eq!((cluster.status().nodes, cluster.status().serving), (nodes, nodes));
    }
}
