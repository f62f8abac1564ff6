//! Nodes join, serve, crash and vanish, and the Kubernetes API follows.

use super::agents::SimNode;
use super::engine::{Driver, Engine, Event, pod_number};
use super::group_plan::GroupPlan;
use super::objects::Objects;
use super::slot::{AgentShown, Slot, SlotParts};
use super::state::SimulatedCluster;
use super::workload;
use crate::kube_store::ObjectKey;
use crate::truth::PodFacts;
use crate::wall_clock::wall_ms;
use cni_types::random::{Random, mix};
use ipamd_core::id::InstanceId;
use ipamd_core::input::NodeSeen;
use ipamd_model::world::event::Event as NodeEvent;
use ipamd_model::world::host::Host;
use ipamd_model::world::imds::Imds;
use ipamd_model::world::kube::Kube;
use ipamd_model::world::kubelet::Kubelet;
use ipamd_model::world::{Moment, Parts};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// A node that found no primary address tries again after this.
const JOIN_AGAIN_MS: i64 = 60_000;

/// The name of the `ENIConfig` of nodes with custom networking.
pub(super) const ENI_CONFIG: &str = "pods";

impl SimulatedCluster {
    /// A new instance of a group joins.
    pub(super) fn join(&self, engine: &mut Engine, group: usize, now_ms: i64) {
        let Some(plan) = self.plans.get(group) else { return };
        let index = engine.drivers.len();
        let stream = index as u64;
        let instance_type = self.objects.instance_type(group);
        let ec2 = &mut engine.account.ec2;
        let Ok(instance) = ec2.launch(now_ms, instance_type, plan.limits, plan.subnet) else {
            engine.at(now_ms + JOIN_AGAIN_MS, Event::Join(group));
            return;
        };
        if let Some(instance) = ec2.instance_mut(instance) {
            instance.cluster = self.objects.shared_cluster();
        }
        let mut random = Random::stream(self.seed, 2 * stream);
        let slot = self.slot((index, group), plan, instance, engine, now_ms);
        let slot = Arc::new(slot);
        engine.plan.at(now_ms, index, NodeEvent::Start);
        let offset = i64::try_from(random.below(workload::PERIOD_MS.unsigned_abs())).unwrap_or(0);
        engine.look_at(now_ms + offset, index);
        let jitter = random.fraction();
        engine.drivers.push(Driver::new(&slot, random, jitter));
        engine.slots.push(Arc::clone(&slot));
        engine.alive += 1;
        for fault in &engine.node_faults {
            if fault.members.contains(&slot) && fault.sdk == self.sdk_of(&slot) {
                engine.account.faults.admit(fault.number, &fault.how, instance);
            }
        }
        self.enlist(&slot);
        let shown = slot.lock().shown;
        self.objects.node(&self.kube, &slot, &shown);
        self.objects.agent(&self.kube, &slot, &shown);
        self.truth.pod_created(PodFacts {
            uid: slot.pod_uid(),
            pod: slot.pod_name.to_string(),
            node: slot.node_name.to_string(),
            created_ms: now_ms,
        });
        self.truth.pod_running(&slot.pod_uid(), wall_ms());
    }

    fn slot(
        &self,
        (index, group): (usize, usize),
        plan: &GroupPlan,
        instance: InstanceId,
        engine: &Engine,
        now_ms: i64,
    ) -> Slot {
        let ec2 = &engine.account.ec2;
        let primary = ec2.instance(instance).and_then(|instance| ec2.eni(instance.primary_eni));
        let primary_ip = primary.and_then(|eni| eni.primary).unwrap_or(Ipv4Addr::UNSPECIFIED);
        let [a, b, c, d] = primary_ip.octets();
        let node_name: Arc<str> =
            format!("ip-{a}-{b}-{c}-{d}.{}.compute.internal", self.scenario.cluster.region).into();
        let pod_name: Arc<str> = format!("aws-node-{}", suffix(index)).into();
        let seed = mix(self.seed ^ mix((index as u64).wrapping_mul(0x51ed_270b)));
        let seen = NodeSeen {
            max_pods: Some(plan.max_pods),
            unschedulable: false,
            eni_config: plan.pod_subnet.map(|_| ENI_CONFIG.into()),
            version: 1,
        };
        let mut kube = Kube::new(seen, plan.controller, seed);
        kube.keeps_pods = plan.asks_for_pods();
        if let Some(subnet) = plan.pod_subnet {
            kube.eni_configs.insert(ENI_CONFIG.into(), (subnet, Vec::new()));
        }
        let node = SimNode::new(Parts {
            instance,
            name: Arc::clone(&node_name),
            imds: Imds::new(Arc::clone(&plan.imds), instance, now_ms, ec2, seed),
            host: Host::new(Arc::clone(&plan.host), instance, now_ms, ec2, seed),
            kube,
            kubelet: Kubelet::new(Arc::clone(&plan.kubelet), seed),
            agents: plan.agents(seed),
        });
        let parts = SlotParts {
            index,
            group,
            node_name,
            zone: Arc::clone(&plan.zone),
            pod_uid: Objects::agent_uid(&pod_name, now_ms),
            pod_name,
            primary_ip,
            instance,
            created_ms: now_ms,
            max_pods: plan.max_pods,
        };
        Slot::new(parts, node)
    }

    /// Something happens at a node.
    pub(super) fn at_node(&self, engine: &mut Engine, index: usize, event: NodeEvent, now_ms: i64) {
        let Some(slot) = engine.slots.get(index).map(Arc::clone) else { return };
        self.change(engine, &slot, now_ms, |node, at| node.happen(event, at));
    }

    /// Does something to a node in its world, and tells the Kubernetes API what changed.
    pub(super) fn change(
        &self,
        engine: &mut Engine,
        slot: &Slot,
        now_ms: i64,
        act: impl FnOnce(&mut SimNode, &mut Moment<'_>),
    ) {
        let mut cell = slot.lock();
        cell.kept = None;
        let before = cell.shown;
        let Some(node) = cell.node.as_mut() else { return };
        act(node, &mut engine.moment(slot.index, now_ms));
        let shown = before.of_agent(node, now_ms);
        if let Some(driver) = engine.drivers.get_mut(slot.index) {
            driver.pods = None;
            if self.scenario.cluster.workload_pods {
                self.show_pods(driver, slot, node, now_ms);
            }
        }
        if shown == before {
            return;
        }
        cell.shown = shown;
        drop(cell);
        let serving = |shown: AgentShown| u32::from(shown == AgentShown::Serving);
        engine.serving = engine.serving + serving(shown.agent) - serving(before.agent);
        self.objects.agent(&self.kube, slot, &shown);
        if shown.node_ready != before.node_ready {
            self.objects.node(&self.kube, slot, &shown);
        }
    }

    /// Pods that got their address are shown as running.
    fn show_pods(&self, driver: &mut Driver, slot: &Slot, node: &SimNode, now_ms: i64) {
        for (pod, address) in node.kubelet.running() {
            if let Some(runs) = driver.shown.get_mut(&pod).filter(|runs| !**runs) {
                *runs = true;
                self.objects.workload_pod(&self.kube, slot, pod_number(slot.index, pod), address, now_ms);
            }
        }
    }

    /// The instance is gone; the Kubernetes API does not know yet.
    pub(super) fn terminate(engine: &mut Engine, slot: &Slot, now_ms: i64) {
        let mut cell = slot.lock();
        cell.kept = None;
        if cell.node.take().is_none() {
            return;
        }
        let served = cell.shown.agent == AgentShown::Serving;
        drop(cell);
        if let Some(driver) = engine.drivers.get_mut(slot.index) {
            driver.pods = None;
        }
        engine.account.ec2.terminate(now_ms, slot.instance);
        engine.alive -= 1;
        engine.serving -= u32::from(served);
    }

    /// The node controller notices.
    pub(super) fn not_ready(&self, slot: &Slot, now_ms: i64) {
        let shown = slot.show(|shown| {
            shown.node_ready = false;
            shown.node_ready_since_ms = Some(now_ms);
            shown.agent = AgentShown::Starting;
        });
        self.objects.node(&self.kube, slot, &shown);
        self.objects.agent(&self.kube, slot, &shown);
    }

    /// A lost node leaves the Kubernetes API.
    pub(super) fn deleted(&self, engine: &mut Engine, slot: &Slot, replace: bool, now_ms: i64) {
        self.truth.pod_deleted(&slot.pod_uid(), wall_ms());
        self.kube.delete_pod(&ObjectKey::from(&slot.pod()));
        // The address, and so the name, may already belong to a new instance.
        if self.kube.node(&slot.node_name).is_some_and(|node| node.meta.created_ms == slot.created_ms) {
            self.objects.node_deleted(&self.kube, slot);
        }
        self.hide_pods(engine, slot);
        self.delist(slot);
        if replace {
            engine.at(now_ms, Event::Join(slot.group));
        }
    }
}

/// Five letters and digits, distinct for each index, as a `DaemonSet`'s pods have them.
fn suffix(index: usize) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    // A multiplication by a number coprime to 27^5 visits every suffix once before it repeats.
    let mut rest = (index as u64).wrapping_mul(5_871_937).wrapping_add(3_141_592) % 27_u64.pow(5);
    (0..5)
        .map(|_| {
            let letter = LETTERS.get(usize::try_from(rest % 27).unwrap_or(0)).copied().unwrap_or(b'x');
            rest /= 27;
            char::from(letter)
        })
        .collect()
}
