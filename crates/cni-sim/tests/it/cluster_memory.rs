//! What a node of a calm cluster takes of memory, with all that the simulator keeps of it.

use cni_sim::cluster::SimulatedCluster;
use cni_sim::scenario::Scenario;
use peak_alloc::PeakAlloc;

/// It counts for the whole process, so this test has a process of its own: others would be counted too.
#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Enough that what they share hardly counts; a power of two, at which no list has room for more.
const NODES: u32 = 512;

/// Bytes that a node may take: on average 2.2 ENIs, 29 addresses and 12 pods.
const ALLOWED: usize = 10_400;

const START_MS: i64 = 1_772_352_000_000;

#[test(own_process)]
fn a_calm_node_of_the_cluster_takes_little() {
    // Tables that are read once are there before.
    drop(SimulatedCluster::new(&Scenario::calm(4), 1, START_MS).unwrap());
    let before = ALLOCATOR.current_usage();
    let cluster = SimulatedCluster::new(&Scenario::calm(NODES), 1, START_MS).unwrap();
    cluster.advance_to(START_MS + 10 * 60_000);
    let taken = (ALLOCATOR.current_usage() - before) / NODES as usize;
    let status = cluster.status();
    assert_eq!((status.nodes, status.serving), (NODES, NODES));
    assert!(status.pods >= u64::from(NODES) * 11, "{status:?}");
    println!("{taken} bytes for a node, {ALLOWED} are allowed");
    assert!(taken <= ALLOWED, "{taken} bytes for a node, {ALLOWED} are allowed");
}
