//! Pods that wait and agents that never come up, as the Kubernetes API and the truth show them.

use std::collections::BTreeSet;
use std::sync::Arc;

use cni_sim::cluster::SimulatedCluster;
use cni_sim::kube_store::{ContainerPhase, PodObject, PodPhase};
use cni_sim::scenario::Scenario;
use cni_sim::truth::Window;

const START_MS: i64 = 1_772_352_000_000;

/// Four nodes with nine addresses each (m5.large with one ENI), in a cluster whose pods are shown.
const FULL: &str = "
name: full
warm_up: 10m
cluster: { workload_pods: true }
subnets:
  - { name: a, cidr: 10.0.0.0/20, zone: z }
node_groups:
  - { name: g, instance_type: m5.large, count: 4, subnet: a, env: { MAX_ENI: 1 } }
workload:
  - { pods_per_node: 6, churn_per_minute: 2 }
  - { waves: { extra: 9, every: 20m, lasts: 10m } }
";

/// One agent of three cannot start: no family of addresses is on.
const BROKEN: &str = "
name: broken
warm_up: 20m
subnets:
  - { name: a, cidr: 10.0.0.0/20, zone: z }
node_groups:
  - { name: good, instance_type: m5.large, count: 2, subnet: a }
  - { name: bad, instance_type: m5.large, count: 1, subnet: a, env: { ENABLE_IPv4: false } }
";

fn cluster(text: &str) -> Arc<SimulatedCluster> {
    SimulatedCluster::new(&Scenario::parse(text, "test").unwrap(), 1, START_MS).unwrap()
}

fn workload(cluster: &SimulatedCluster) -> Vec<Arc<PodObject>> {
    cluster.kube().pods().into_iter().filter(|pod| &*pod.meta.namespace == "default").collect()
}

fn names(pods: &[Arc<PodObject>], phase: PodPhase) -> BTreeSet<String> {
    pods.iter().filter(|pod| pod.phase == phase).map(|pod| pod.meta.name.to_string()).collect()
}

#[test]
fn pods_without_an_address_are_pending_until_they_get_one() {
    let cluster = cluster(FULL);
    cluster.advance_to(START_MS + 5 * 60_000);
    let pods = workload(&cluster);
    let (running, waiting) = (names(&pods, PodPhase::Running), names(&pods, PodPhase::Pending));
    // Each node wants 15 or 16 pods and has addresses for 9, of which some rest after their last pod.
    assert_eq!(running.len(), usize::try_from(cluster.status().pods).unwrap());
    let wanted = running.len() + waiting.len();
    assert!((60..=64).contains(&wanted) && waiting.len() >= 24, "{} wait beside {}", waiting.len(), running.len());
    for pod in pods.iter().filter(|pod| pod.phase == PodPhase::Pending) {
        assert!(pod.node_name.is_some() && pod.pod_ip.is_none() && pod.containers.is_empty() && !pod.ready());
    }
    // Places become free by churn: who waited runs under the same name.
    let mut ran_later = BTreeSet::new();
    for second in (0..240).step_by(5) {
        cluster.advance_to(START_MS + 5 * 60_000 + second * 1_000);
        ran_later.extend(names(&workload(&cluster), PodPhase::Running).intersection(&waiting).cloned());
    }
    assert!(!ran_later.is_empty(), "of {waiting:?}");
    // After the wave no pod waits, and each pod that runs is shown once.
    cluster.advance_to(START_MS + 15 * 60_000);
    let pods = workload(&cluster);
    assert_eq!(names(&pods, PodPhase::Pending), BTreeSet::new());
    assert_eq!(pods.len(), usize::try_from(cluster.status().pods).unwrap());
}

#[test]
fn an_agent_that_never_comes_up_restarts_in_the_api_and_is_expected_by_the_truth() {
    let cluster = cluster(BROKEN);
    let restarts = || {
        let agents = cluster.kube().pods();
        let bad = agents.iter().find(|pod| matches!(pod.containers[0].phase, ContainerPhase::Waiting(_))).cloned();
        bad.map(|pod| pod.containers[0].restarts)
    };
    let before = restarts().expect("no agent is in its back-off");
    assert!(before >= 5, "{before} restarts in 20 minutes");
    cluster.advance_to(START_MS + 20 * 60_000);
    assert!(restarts().unwrap() > before);
    assert_eq!(cluster.status().serving, 2);
    let truth = cluster.truth().round(Window {
        from: i64::MAX - 1,
        to: i64::MAX,
        collector_start: None,
        collector_start_api: None,
    });
    assert_eq!((truth.metrics["nodesExpected"], truth.metrics["nodesScraped"]), (3.0, 0.0));
}
