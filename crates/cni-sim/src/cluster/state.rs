//! What the simulated cluster consists of, and what can be read of it.

use super::active::ActiveFaults;
use super::engine::Engine;
use super::group_plan::GroupPlan;
use super::objects::Objects;
use super::slot::Slot;
use crate::fault::{ApiFault, CloudWatchFault, Ec2Fault, ImdsFault};
use crate::kube_store::{KubeStore, PodObject, PodPhase};
use crate::meter::PageMeter;
use crate::scenario::Scenario;
use crate::truth::Truth;
use ipamd_core::id::VpcId;
use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The agents' usual port.
pub(super) const METRICS_PORT: u16 = 61_678;

/// What tells an agent's pod from others.
const AGENTS_LABEL: (&str, &str) = ("k8s-app", "aws-node");

/// Where to find nodes.
#[derive(Debug, Default)]
pub(super) struct NodeIndex {
    /// Every node there ever was, by index.
    pub(super) slots: Vec<Arc<Slot>>,
    pub(super) by_pod: HashMap<Arc<str>, usize>,
    pub(super) by_ip: HashMap<Ipv4Addr, usize>,
}

/// The simulated cluster. All times are Unix milliseconds of its own clock unless a name says `wall`.
#[derive(Debug)]
pub struct SimulatedCluster {
    pub(super) scenario: Scenario,
    pub(super) seed: u64,
    pub(super) vpc: VpcId,
    pub(super) start_ms: i64,
    pub(super) now_ms: AtomicI64,
    pub(super) metrics_port: AtomicU16,
    pub(super) keeps_pages: AtomicBool,
    pub(super) meter: Arc<PageMeter>,
    pub(super) kube: KubeStore,
    pub(super) truth: Truth,
    pub(super) objects: Objects,
    pub(super) plans: Vec<GroupPlan>,
    pub(super) node_index: RwLock<NodeIndex>,
    pub(super) active: RwLock<ActiveFaults>,
    pub(super) engine: Mutex<Engine>,
}

impl SimulatedCluster {
    /// What the cluster's clock shows.
    pub fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::Acquire)
    }

    /// What the clock showed at the beginning.
    pub fn start_ms(&self) -> i64 {
        self.start_ms
    }

    /// The cluster's objects.
    pub fn kube(&self) -> &KubeStore {
        &self.kube
    }

    /// What was handed over, and what a perfect collector would make of it.
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// Names of the agents' pods that a collector would scrape now: Running and not being deleted.
    pub fn running_agents(&self) -> BTreeSet<String> {
        let is_agent = |pod: &PodObject| pod.meta.label(AGENTS_LABEL.0) == Some(AGENTS_LABEL.1);
        let runs = |pod: &PodObject| pod.meta.deletion_ms.is_none() && pod.phase == PodPhase::Running;
        let pods = self.kube.pods();
        let agents = pods.iter().filter(|pod| is_agent(pod) && runs(pod));
        agents.map(|pod| pod.meta.name.to_string()).collect()
    }

    /// Forgets what is kept only to be looked up later: the pages handed over (the newest of each pod stays, as the
    /// base of the next increase) and pods that are gone. A driver that compares each round and then forgets it can go
    /// on indefinitely.
    pub fn forget_logs(&self) {
        self.truth.forget();
    }

    /// The scenario that is simulated.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// The port the agents serve on.
    pub fn metrics_port(&self) -> u16 {
        self.metrics_port.load(Ordering::Relaxed)
    }

    /// Moves the agents to another port, where the usual one is taken.
    pub fn set_metrics_port(&self, port: u16) {
        self.metrics_port.store(port, Ordering::Relaxed);
    }

    /// With true, pages are compressed once for each moment of the clock and served again until it moves. For clusters
    /// whose clock stands still while a program is measured, so that the simulator costs less than that program.
    pub fn keep_pages(&self, keep: bool) {
        self.keeps_pages.store(keep, Ordering::Relaxed);
    }

    pub(super) fn keeps_pages(&self) -> bool {
        self.keeps_pages.load(Ordering::Relaxed)
    }

    /// Requests for pages, in bursts.
    pub fn meter(&self) -> &Arc<PageMeter> {
        &self.meter
    }

    /// What the API server does to a request now.
    pub fn api_fault(&self) -> ApiFault {
        self.active().api()
    }

    /// What CloudWatch does to a request now.
    pub fn cloudwatch_fault(&self) -> CloudWatchFault {
        self.active().cloudwatch()
    }

    /// What EC2 does to the helper's own requests now.
    pub fn ec2_fault(&self) -> Ec2Fault {
        self.active().ec2()
    }

    /// What the metadata service does to the helper's own requests now.
    pub fn imds_fault(&self) -> ImdsFault {
        self.active().imds()
    }

    pub(super) fn enlist(&self, slot: &Arc<Slot>) {
        let mut node_index = self.node_index_mut();
        node_index.by_pod.insert(Arc::clone(&slot.pod_name), slot.index);
        node_index.by_ip.insert(slot.ip, slot.index);
        node_index.slots.push(Arc::clone(slot));
    }

    pub(super) fn delist(&self, slot: &Slot) {
        let mut node_index = self.node_index_mut();
        node_index.by_pod.remove(&slot.pod_name);
        node_index.by_ip.remove(&slot.ip);
    }

    pub(super) fn slots(&self) -> Vec<Arc<Slot>> {
        self.node_index().slots.clone()
    }

    pub(super) fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn node_index(&self) -> RwLockReadGuard<'_, NodeIndex> {
        self.node_index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn node_index_mut(&self) -> RwLockWriteGuard<'_, NodeIndex> {
        self.node_index.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn active(&self) -> RwLockReadGuard<'_, ActiveFaults> {
        self.active.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn active_mut(&self) -> RwLockWriteGuard<'_, ActiveFaults> {
        self.active.write().unwrap_or_else(PoisonError::into_inner)
    }
}
