//! What kubelet and container runtime send an agent beside the pods that start and end well.
#![expect(clippy::float_cmp, reason = "the figures are whole numbers")]

use std::sync::Arc;

use cni_sim::cluster::SimulatedCluster;
use cni_sim::scenario::Scenario;
use cni_sim::truth::numbers::{COUNTERS, Gauge};

const START_MS: i64 = 1_772_352_000_000;
const MINUTE_MS: i64 = 60_000;

/// Two nodes with nine addresses for fifteen pods each, of which none ends.
const STARVED: &str = "
name: starved
warm_up: 10m
subnets:
  - { name: a, cidr: 10.0.0.0/20, zone: z }
node_groups:
  - { name: g, instance_type: m5.large, count: 2, subnet: a, env: { MAX_ENI: 1 } }
workload:
  - { pods_per_node: 15 }
";

/// Two nodes whose agents cannot read instance metadata while pods come and go.
const DEAF: &str = "
name: deaf
warm_up: 10m
subnets:
  - { name: a, cidr: 10.0.0.0/20, zone: z }
node_groups:
  - { name: g, instance_type: m5.large, count: 2, subnet: a }
workload:
  - { pods_per_node: 6, churn_per_minute: 4 }
faults:
  - { at: 1m, for: 3m, fault: node-imds }
";

/// Two nodes that lose four of eight pods while their agents cannot start for want of instance metadata.
const DOWN: &str = "
name: down
warm_up: 10m
subnets:
  - { name: a, cidr: 10.0.0.0/20, zone: z }
node_groups:
  - { name: g, instance_type: m5.large, count: 2, subnet: a }
workload:
  - { pods_per_node: 4 }
  - { waves: { extra: 4, every: 20m, lasts: 2m } }
faults:
  - { at: 90s, for: 1m, fault: node-imds }
  - { at: 91s, fault: { restart: {} } }
";

fn cluster(text: &str) -> Arc<SimulatedCluster> {
    SimulatedCluster::new(&Scenario::parse(text, "test").unwrap(), 1, START_MS).unwrap()
}

/// One counter of every serving agent.
fn counters(cluster: &SimulatedCluster, name: &str) -> Vec<f64> {
    let place = COUNTERS.iter().position(|known| *known == name).unwrap();
    cluster.numbers().iter().map(|(_, numbers)| numbers.counters[place].unwrap()).collect()
}

/// Requests to give an address back, of every serving agent, by reason, as the pages count them.
fn give_backs(cluster: &SimulatedCluster, reason: &str) -> Vec<f64> {
    let line = format!("awscni_del_ip_req_count{{reason=\"{reason}\"}} ");
    let of = |page: &str| page.lines().find_map(|shown| shown.strip_prefix(&line)).map_or(0.0, |n| n.parse().unwrap());
    let pages = cluster.numbers().into_iter().map(|(pod, _)| cluster.peek(&pod).unwrap());
    pages.map(|page| of(std::str::from_utf8(&page).unwrap())).collect()
}

#[test]
fn each_refused_pod_is_torn_down_through_the_agent() {
    let cluster = cluster(STARVED);
    cluster.advance_to(START_MS + 10 * MINUTE_MS);
    let refused = counters(&cluster, "noAvailableIPAddresses");
    assert!(refused.len() == 2 && refused.iter().all(|refused| *refused > 100.0), "{refused:?}");
    assert_eq!(give_backs(&cluster, "PodDeleted"), refused, "no pod of this cluster ends");
    assert_eq!(counters(&cluster, "delReqCount"), refused);
}

#[test]
fn a_pod_whose_request_failed_half_way_is_deleted_like_any_other() {
    let cluster = cluster(DEAF);
    cluster.advance_to(START_MS + 3 * MINUTE_MS);
    let requests = counters(&cluster, "addReqCount");
    let returned = give_backs(&cluster, "PodDeleted");
    let running = cluster.numbers().into_iter().map(|(_, numbers)| numbers.gauge(Gauge::Assigned).unwrap());
    for ((requests, returned), running) in requests.into_iter().zip(returned).zip(running) {
        assert!(requests > 60.0 && requests == returned + running, "{requests} != {returned} + {running}");
    }
    assert!(cluster.status().pods < 12, "some pods were refused");
    assert_eq!(give_backs(&cluster, "SetupNSFailed"), [0.0, 0.0], "the plugin sends it after a failed set-up alone");
}

#[test]
fn a_delete_that_does_not_reach_the_agent_is_not_repeated() {
    let cluster = cluster(DOWN);
    cluster.advance_to(START_MS + MINUTE_MS);
    assert_eq!((cluster.status().pods, cluster.status().serving), (16, 2));
    cluster.advance_to(START_MS + 2 * MINUTE_MS + 15_000);
    assert_eq!((cluster.status().pods, cluster.status().serving), (8, 0), "pods end without their agent");
    // The pauses between their tries to start grow to 40 s; then the agents serve.
    cluster.advance_to(START_MS + 6 * MINUTE_MS);
    assert_eq!((cluster.status().pods, cluster.status().serving), (8, 2));
    let assigned = cluster.numbers().into_iter().map(|(_, numbers)| numbers.gauge(Gauge::Assigned).unwrap());
    assert_eq!(assigned.collect::<Vec<_>>(), [4.0, 4.0]);
    assert_eq!(counters(&cluster, "delReqCount"), [0.0, 0.0], "the addresses were freed by the start");
}

/// Two nodes with 24 pods on three ENIs, whose agents have this version, and a fault.
fn forgetful(version: &str, fault: &str) -> Arc<SimulatedCluster> {
    let text = format!(
        "
name: forgetful
warm_up: 10m
subnets:
  - {{ name: a, cidr: 10.0.0.0/20, zone: z }}
node_groups:
  - {{ name: g, instance_type: m5.large, count: 2, subnet: a, agent_version: {version} }}
workload:
  - {{ pods_per_node: 24 }}
faults:
  - {fault}
"
    );
    cluster(&text)
}

/// Pods of the cluster, and addresses that its agents say are assigned.
fn pods_and_assigned(cluster: &SimulatedCluster) -> (f64, f64) {
    let assigned = cluster.numbers().into_iter().map(|(_, numbers)| numbers.gauge(Gauge::Assigned).unwrap());
    (u32::try_from(cluster.status().pods).unwrap().into(), assigned.sum())
}

#[test]
fn agents_before_1_23_2_forget_pods_whose_subnets_they_cannot_look_up_at_a_restart() {
    let fault = "{ at: 1m, for: 1m, fault: restart-throttled }";
    for (version, forgets) in [("v1.21.1", false), ("v1.23.1", true), ("v1.23.2", false)] {
        let cluster = forgetful(version, fault);
        assert_eq!(pods_and_assigned(&cluster), (48.0, 48.0), "{version}");
        cluster.advance_to(START_MS + 6 * MINUTE_MS);
        let (pods, assigned) = pods_and_assigned(&cluster);
        assert_eq!((cluster.status().serving, pods), (2, 48.0), "{version}");
        assert_eq!(assigned < pods, forgets, "{version}: {assigned} assigned to {pods} pods");
        assert_eq!(counters(&cluster, "addReqCount"), [0.0, 0.0], "{version}: the pods go on running");
        let throttled = counters(&cluster, "ec2ApiErrCount");
        assert!(throttled.iter().all(|count| *count >= 3.0), "{version}: {throttled:?}");
    }
}

#[test]
fn an_eni_that_metadata_leaves_out_once_costs_its_pods_their_allocations() {
    let cluster = forgetful("v1.23.2", "{ at: 1m, for: 70s, target: { count: 1 }, fault: imds-drops-eni }");
    assert_eq!(pods_and_assigned(&cluster), (48.0, 48.0));
    cluster.advance_to(START_MS + 6 * MINUTE_MS);
    let (pods, assigned) = pods_and_assigned(&cluster);
    assert!(pods == 48.0 && (39.0..=40.0).contains(&assigned), "{assigned} assigned to {pods} pods");
    let mut removed = counters(&cluster, "forceRemoveENI");
    removed.sort_by(f64::total_cmp);
    assert_eq!(removed, [0.0, 1.0]);
    let enis: f64 = cluster.numbers().iter().map(|(_, numbers)| numbers.gauge(Gauge::EniAllocated).unwrap()).sum();
    assert_eq!(enis, 6.0, "the ENI is taken in again, with addresses that are free");
}
