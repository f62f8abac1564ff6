//! The cluster is built, and its clock moved: each event that is due happens in the order of time.

use super::demand::Demand;
use super::engine::{Due, Engine, Event};
use super::group_plan::GroupPlan;
use super::objects::Objects;
use super::state::{METRICS_PORT, SimulatedCluster};
use crate::cidr::{Cidr, CidrError};
use crate::kube_store::KubeStore;
use crate::scenario::{FaultSpec, Role, Scenario};
use crate::truth::Truth;
use crate::wall_clock::wall_ms;
use cni_types::random::{Random, mix};
use ipamd_core::id::{GroupId, SubnetId, VpcId};
use ipamd_core::input::SubnetRole;
use ipamd_model::world::Account;
use ipamd_model::world::ec2::{Ec2, Ec2Spec};
use ipamd_model::world::faults::Faults;
use ipamd_model::world::subnet::SubnetFacts;
use ipamd_model::world::wire::{Wire, WireSpec};
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
        let vpc = VpcId::from_bits(u128::from(mix(seed ^ 0x0076_7063)));
        let facts = subnets(scenario, seed)?;
        let ids: Vec<SubnetId> = facts.iter().map(|subnet| subnet.id).collect();
        let demands = (0..scenario.node_groups.len()).map(|group| Demand::new(scenario, group)).collect();
        let mut engine = Engine::new(account(scenario, facts, seed), ids, demands);
        let mut plans = Vec::new();
        for group in &scenario.node_groups {
            let plan = GroupPlan::new(group, scenario, &engine.subnets, vpc);
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
            vpc,
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
        for (group, plan) in scenario.node_groups.iter().zip(&cluster.plans) {
            if let (Some(name), Some(subnet)) = (&group.pod_subnet, plan.pod_subnet) {
                cluster.objects.eni_config(&cluster.kube, &name.value, &subnet.to_string());
            }
        }
        super::others::add(scenario, &cluster.kube, created_ms);
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
        while let Some((at_ms, due)) = engine.due(to_ms) {
            self.now_ms.fetch_max(at_ms, Ordering::AcqRel);
            match due {
                Due::Cluster(event) => self.happen(&mut engine, event, at_ms),
                Due::Look(index) => self.look(&mut engine, index, at_ms),
                Due::Node(index, event) => self.at_node(&mut engine, index, event, at_ms),
            }
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
        engine.unschedule(number);
        self.fault_end(&mut engine, number, self.now_ms());
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
        let at = |engine: &Engine, slot: usize| engine.slots.get(slot).map(Arc::clone);
        match event {
            Event::FaultStart(number) => self.fault_start(engine, number, now_ms),
            Event::FaultEnd(number) => self.fault_end(engine, number, now_ms),
            Event::DrySubnet(number) => Self::dry_again(engine, number, now_ms),
            Event::Join(group) => self.join(engine, group, now_ms),
            Event::Restart(slot, fault) => {
                if let Some(slot) = at(engine, slot) {
                    self.restart(engine, &slot, fault, now_ms);
                }
            }
            Event::NotReady(slot) => {
                if let Some(slot) = at(engine, slot) {
                    self.not_ready(&slot, now_ms);
                }
            }
            Event::Deleted(slot, replace) => {
                if let Some(slot) = at(engine, slot) {
                    self.deleted(engine, &slot, replace, now_ms);
                }
            }
        }
    }
}

fn subnets(scenario: &Scenario, seed: u64) -> Result<Vec<SubnetFacts>, SimulatedClusterError> {
    let mut random = Random::stream(seed, u64::MAX - 1);
    let mut all = Vec::new();
    for spec in &scenario.subnets {
        let cidr = Cidr::read(&spec.cidr.value)
            .map_err(|source| SimulatedClusterError::SubnetPool { name: spec.name.clone(), source })?;
        let mut facts = SubnetFacts::new(SubnetId::from_bits(random.bits().into()), cidr.base, cidr.prefix_len);
        facts.ipv6 = spec.ipv6;
        facts.zone = spec.zone.as_str().into();
        facts.role = match spec.role {
            Role::Untagged => SubnetRole::Untagged,
            Role::Off => SubnetRole::Off,
            Role::On => SubnetRole::On,
        };
        all.push(facts);
    }
    Ok(all)
}

/// EC2 with these subnets, of which others have parts already. The clock of its world is that of the cluster.
fn account(scenario: &Scenario, subnets: Vec<SubnetFacts>, seed: u64) -> Account {
    let ids: Vec<SubnetId> = subnets.iter().map(|subnet| subnet.id).collect();
    let group = GroupId::from_bits(mix(seed ^ 0x7367).into());
    let mut spec = Ec2Spec::new(subnets, vec![group], seed);
    // The cluster may have more nodes than an account has ENIs at first.
    spec.quota = usize::MAX;
    let mut ec2 = Ec2::new(spec);
    for (spec, id) in scenario.subnets.iter().zip(ids) {
        if let Some(subnet) = ec2.subnet_mut(id) {
            subnet.seize_piece(spec.used.0);
            subnet.fragment(spec.fragmented.0);
        }
    }
    // A share of throttled calls is what the agents see of them: after all attempts of the SDK.
    let wire = WireSpec { attempts: 1, ..WireSpec::default() };
    Account { ec2, wire: Wire::new(wire, seed), faults: Faults::none(seed), unix_start_ms: 0 }
}
