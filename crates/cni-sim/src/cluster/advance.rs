//! The cluster is built, and its clock moved: each event that is due happens in the order of time.

use super::engine::{Engine, Event};
use super::group_plan::GroupPlan;
use super::objects::Objects;
use super::state::{METRICS_PORT, SimulatedCluster};
use super::subnet::SubnetPool;
use crate::cidr::{Cidr, CidrError};
use crate::kube_store::KubeStore;
use crate::scenario::{FaultSpec, Scenario};
use crate::truth::Truth;
use crate::wall_clock::wall_ms;
use cni_types::random::Random;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, RwLock};

/// Nodes of a group come up within this time of each other.
const LAUNCH_SPREAD_MS: u64 = 20_000;

/// Why a cluster could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SimulatedClusterError {
    /// A subnet's block is not usable.
    #[error("subnet {name}: {source}")]
    SubnetPool {
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

impl SimulatedCluster {
    /// Builds the scenario's cluster and lets it warm up, so that its clock shows `start_ms`.
    pub fn new(scenario: &Scenario, seed: u64, start_ms: i64) -> Result<Arc<Self>, SimulatedClusterError> {
        let created_ms = start_ms - scenario.warm_up.ms;
        let mut engine = Engine { subnets: subnets(scenario, seed)?, ..Engine::default() };
        let mut plans = Vec::new();
        for group in &scenario.node_groups {
            let plan = GroupPlan::new(group, &scenario.subnets);
            plans.push(plan.ok_or_else(|| SimulatedClusterError::Group(group.name.clone()))?);
        }
        let mut random = Random::stream(seed, u64::MAX);
        for (index, group) in scenario.node_groups.iter().enumerate() {
            for _ in 0..group.count {
                let offset = i64::try_from(random.below(LAUNCH_SPREAD_MS)).unwrap_or(0);
                engine.at(created_ms + offset.min(scenario.warm_up.ms), Event::Join(index));
            }
        }
        let cluster = Arc::new(Self {
            scenario: scenario.clone(),
            seed,
            start_ms,
            now_ms: AtomicI64::new(created_ms),
            metrics_port: AtomicU16::new(METRICS_PORT),
            keeps_pages: AtomicBool::new(false),
            meter: Arc::default(),
            // Two watch windows of every object a large cluster has.
            kube: KubeStore::new((scenario.nodes() as usize * 4).max(crate::kube_store::DEFAULT_HISTORY)),
            truth: Truth::default(),
            objects: Objects::new(scenario, created_ms),
            plans,
            node_index: RwLock::default(),
            active: RwLock::default(),
            engine: Mutex::new(engine),
        });
        cluster.objects.found(&cluster.kube);
        {
            let mut engine = cluster.engine();
            for fault in &scenario.faults {
                cluster.schedule(&mut engine, fault.clone(), i64::MIN);
            }
        }
        cluster.advance_to(start_ms);
        let joined = cluster.engine().alive;
        if joined == 0 && scenario.nodes() > 0 {
            return Err(SimulatedClusterError::TooSmall { joined, wanted: scenario.nodes() });
        }
        Ok(cluster)
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
        self.truth.record_clock(wall_ms(), self.now_ms());
    }

    /// What is wrong with faults that are to be injected; nothing if they fit this cluster.
    pub fn mistakes(&self, faults: &[FaultSpec]) -> Vec<String> {
        let trial = Scenario { faults: faults.to_vec(), ..self.scenario.clone() };
        crate::scenario::checks::mistakes(&trial, "request")
    }

    /// Adds a fault to the running cluster; one whose time has passed begins with the next step of the clock. The answer
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
}

fn subnets(scenario: &Scenario, seed: u64) -> Result<Vec<SubnetPool>, SimulatedClusterError> {
    let mut random = Random::stream(seed, u64::MAX - 1);
    let mut all = Vec::new();
    for spec in &scenario.subnets {
        let cidr = Cidr::read(&spec.cidr.value)
            .map_err(|source| SimulatedClusterError::SubnetPool { name: spec.name.clone(), source })?;
        let id = format!("subnet-0{:016x}", random.bits());
        let mut subnet = SubnetPool::new(id, &spec.name, &spec.zone, cidr, spec.role, spec.ipv6, seed);
        subnet.seize_piece(spec.used.0);
        subnet.fragment(spec.fragmented.0);
        all.push(subnet);
    }
    Ok(all)
}
