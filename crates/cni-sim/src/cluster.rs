//! The simulated cluster: nodes with one ipamd each, the subnets they share, the pods that come and go, and the faults.
//!
//! [`World`] is advanced by whoever drives its clock and read by the servers. Its state follows from scenario, seed and
//! simulated time alone: the size of the steps does not matter. (Pages also count the scrapes they served, as real
//! ones do.) Advancing is done by one thread at a time; pages are rendered under their node's own lock meanwhile.

mod active;
mod answer;
mod cloud;
pub mod ec2_op;
mod engine;
mod faults;
mod nodes;
mod objects;
pub mod rng;
mod serving;
mod slot;
pub mod subnet;
mod views;
mod workload;

pub use answer::{Answer, PodKey, ServeTicket, Via};
pub use views::{Status, SubnetStatus};

use crate::fault::{ApiFault, CloudWatchFault, Ec2Fault, ImdsFault};
use crate::kube_store::{KubeStore, PodObject, PodPhase};
use crate::meter::PageMeter;
use crate::scenario::{FaultSpec, Scenario};
use crate::truth::Truth;
use active::ActiveFaults;
use engine::{Engine, Event};
use nodes::GroupPlan;
use objects::Objects;
use rng::Rng;
use slot::Slot;
use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;
use subnet::{Cidr, CidrError, Subnet};

/// The agents' usual port.
const METRICS_PORT: u16 = 61_678;

/// What tells an agent's pod from others.
const AGENTS_LABEL: (&str, &str) = ("k8s-app", "aws-node");

/// Nodes of a group come up within this time of each other.
const LAUNCH_SPREAD_MS: u64 = 20_000;

/// Why a world could not be made.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// A subnet's block is not usable.
    #[error("subnet {name}: {source}")]
    Subnet {
        /// The scenario's name for it.
        name: String,
        /// Why.
        source: CidrError,
    },
    /// A node group names an instance type or a subnet that does not exist.
    #[error("node group {0}: unknown instance type or subnet")]
    Group(String),
    /// The subnets have no room for the nodes' own addresses.
    #[error("the subnets had room for only {joined} of {wanted} nodes' primary addresses")]
    TooSmall {
        /// Nodes that came up.
        joined: u32,
        /// Nodes of the scenario.
        wanted: u32,
    },
}

/// Where to find nodes.
#[derive(Debug, Default)]
struct Roster {
    /// Every node there ever was, by index.
    slots: Vec<Arc<Slot>>,
    by_pod: HashMap<String, usize>,
    by_ip: HashMap<Ipv4Addr, usize>,
}

/// The simulated world. All times are Unix milliseconds of its own clock unless a name says `wall`.
#[derive(Debug)]
pub struct World {
    scenario: Scenario,
    seed: u64,
    start_ms: i64,
    now_ms: AtomicI64,
    metrics_port: AtomicU16,
    keeps_pages: AtomicBool,
    meter: Arc<PageMeter>,
    kube: KubeStore,
    truth: Truth,
    objects: Objects,
    plans: Vec<GroupPlan>,
    roster: RwLock<Roster>,
    active: RwLock<ActiveFaults>,
    engine: Mutex<Engine>,
}

impl World {
    /// Builds the scenario's cluster and lets it warm up, so that its clock shows `start_ms`.
    pub fn new(scenario: &Scenario, seed: u64, start_ms: i64) -> Result<Arc<Self>, WorldError> {
        let created_ms = start_ms - scenario.warm_up.ms;
        let mut engine = Engine { subnets: subnets(scenario, seed)?, ..Engine::default() };
        let mut plans = Vec::new();
        for group in &scenario.node_groups {
            let plan = GroupPlan::new(group, &scenario.subnets);
            plans.push(plan.ok_or_else(|| WorldError::Group(group.name.clone()))?);
        }
        let mut rng = Rng::new(seed, u64::MAX);
        for (index, group) in scenario.node_groups.iter().enumerate() {
            for _ in 0..group.count {
                let offset = i64::try_from(rng.below(LAUNCH_SPREAD_MS)).unwrap_or(0);
                engine.at(created_ms + offset.min(scenario.warm_up.ms), Event::Join(index));
            }
        }
        let world = Arc::new(Self {
            scenario: scenario.clone(),
            seed,
            start_ms,
            now_ms: AtomicI64::new(created_ms),
            metrics_port: AtomicU16::new(METRICS_PORT),
            keeps_pages: AtomicBool::new(false),
            meter: Arc::default(),
            // Two watch windows of every object a large world has.
            kube: KubeStore::new((scenario.nodes() as usize * 4).max(crate::kube_store::DEFAULT_HISTORY)),
            truth: Truth::default(),
            objects: Objects::new(scenario, created_ms),
            plans,
            roster: RwLock::default(),
            active: RwLock::default(),
            engine: Mutex::new(engine),
        });
        world.objects.found(&world.kube);
        {
            let mut engine = world.engine();
            for fault in &scenario.faults {
                world.schedule(&mut engine, fault.clone(), i64::MIN);
            }
        }
        world.advance_to(start_ms);
        let joined = world.engine().alive;
        if joined == 0 && scenario.nodes() > 0 {
            return Err(WorldError::TooSmall { joined, wanted: scenario.nodes() });
        }
        Ok(world)
    }

    /// What the world's clock shows.
    pub fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::Acquire)
    }

    /// What the clock showed at the beginning.
    pub fn start_ms(&self) -> i64 {
        self.start_ms
    }

    /// Lets everything happen that is due until `to_ms`. A time that has passed changes nothing.
    pub fn advance_to(&self, to_ms: i64) {
        let mut engine = self.engine();
        let (serving, alive) = (engine.serving, engine.alive);
        while let Some((at_ms, event)) = engine.due(to_ms) {
            self.now_ms.fetch_max(at_ms, Ordering::AcqRel);
            self.happen(&mut engine, event, at_ms);
        }
        self.now_ms.fetch_max(to_ms, Ordering::AcqRel);
        if (serving, alive) != (engine.serving, engine.alive) {
            self.objects.daemon_set(&self.kube, engine.alive, engine.serving);
        }
        drop(engine);
        self.truth.mark(wall_ms(), self.now_ms());
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
    /// on without an end.
    pub fn forget_logs(&self) {
        self.truth.forget();
    }

    /// The scenario that is played.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// What is wrong with faults that are to be injected; nothing if they fit this world.
    pub fn mistakes(&self, faults: &[FaultSpec]) -> Vec<String> {
        let trial = Scenario { faults: faults.to_vec(), ..self.scenario.clone() };
        crate::scenario::checks::mistakes(&trial, "request")
    }

    /// Adds a fault to the running world; one whose time has passed begins with the next step of the clock. The answer
    /// is its number, for [`Self::clear`].
    pub fn inject(&self, fault: FaultSpec) -> usize {
        let mut engine = self.engine();
        self.schedule(&mut engine, fault, self.now_ms())
    }

    /// Ends a fault before its time; false if there is none of this number.
    pub fn clear(&self, number: usize) -> bool {
        let mut engine = self.engine();
        if number >= engine.faults.len() {
            return false;
        }
        engine.queue.retain(|event| event.0.1 != Event::FaultStart(number));
        self.fault_end(&mut engine, number);
        true
    }

    /// Ends all faults and forgets those to come.
    pub fn clear_all(&self) {
        let count = self.engine().faults.len();
        (0..count).for_each(|number| {
            self.clear(number);
        });
    }

    /// The port the agents serve on.
    pub fn metrics_port(&self) -> u16 {
        self.metrics_port.load(Ordering::Relaxed)
    }

    /// Moves the agents to another port, where the usual one is taken.
    pub fn set_metrics_port(&self, port: u16) {
        self.metrics_port.store(port, Ordering::Relaxed);
    }

    /// With true, pages are compressed once for each moment of the clock and served again until it moves. For worlds
    /// that stand still while they are asked, and that must not cost more than whoever asks.
    pub fn keep_pages(&self, keep: bool) {
        self.keeps_pages.store(keep, Ordering::Relaxed);
    }

    fn keeps_pages(&self) -> bool {
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

    fn happen(&self, engine: &mut Engine, event: Event, now_ms: i64) {
        match event {
            Event::FaultStart(number) => self.fault_start(engine, number, now_ms),
            Event::FaultEnd(number) => self.fault_end(engine, number),
            Event::DrySubnet(number) => Self::dry_again(engine, number, now_ms),
            Event::Join(group) => self.join(engine, group, now_ms),
            Event::Restart(slot, fault) => {
                self.slot_at(slot).into_iter().for_each(|slot| self.restart(engine, &slot, fault, now_ms));
            }
            Event::NotReady(slot) => self.slot_at(slot).into_iter().for_each(|slot| self.not_ready(&slot, now_ms)),
            Event::Deleted(slot, replace) => {
                self.slot_at(slot).into_iter().for_each(|slot| self.deleted(engine, &slot, replace, now_ms));
            }
            Event::Node(slot) if engine.is_due(slot, now_ms) => {
                self.slot_at(slot).into_iter().for_each(|slot| self.run_node(engine, &slot, now_ms));
            }
            Event::Node(_) => {}
            Event::Workload(slot) => {
                self.slot_at(slot).into_iter().for_each(|slot| self.run_workload(engine, &slot, now_ms));
            }
        }
    }

    fn enlist(&self, slot: &Arc<Slot>) {
        let mut roster = self.roster_mut();
        roster.by_pod.insert(slot.pod.name.clone(), slot.index);
        roster.by_ip.insert(slot.ip, slot.index);
        roster.slots.push(Arc::clone(slot));
    }

    fn delist(&self, slot: &Slot) {
        let mut roster = self.roster_mut();
        roster.by_pod.remove(&slot.pod.name);
        roster.by_ip.remove(&slot.ip);
    }

    fn slots(&self) -> Vec<Arc<Slot>> {
        self.roster().slots.clone()
    }

    fn slot_at(&self, index: usize) -> Option<Arc<Slot>> {
        self.roster().slots.get(index).map(Arc::clone)
    }

    fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn roster(&self) -> RwLockReadGuard<'_, Roster> {
        self.roster.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn roster_mut(&self) -> RwLockWriteGuard<'_, Roster> {
        self.roster.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn active(&self) -> RwLockReadGuard<'_, ActiveFaults> {
        self.active.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn active_mut(&self) -> RwLockWriteGuard<'_, ActiveFaults> {
        self.active.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn subnets(scenario: &Scenario, seed: u64) -> Result<Vec<Subnet>, WorldError> {
    let mut rng = Rng::new(seed, u64::MAX - 1);
    let mut all = Vec::new();
    for spec in &scenario.subnets {
        let cidr =
            Cidr::read(&spec.cidr.value).map_err(|source| WorldError::Subnet { name: spec.name.clone(), source })?;
        let id = format!("subnet-0{:016x}", rng.bits());
        let mut subnet = Subnet::new(id, &spec.name, &spec.zone, cidr, spec.role, spec.ipv6, seed);
        subnet.seize_piece(spec.used.0);
        subnet.fragment(spec.fragmented.0);
        all.push(subnet);
    }
    Ok(all)
}

/// The machine's clock: deliveries are stamped with it, because the collector lives in it.
pub(crate) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
