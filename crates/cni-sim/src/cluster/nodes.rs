//! Nodes join, serve, crash and vanish, and the Kubernetes API follows.

use super::cloud::{NodeCloud, subnet_id};
use super::engine::{Driver, Engine, Event};
use super::group_plan::GroupPlan;
use super::objects::{AGENT_NAMESPACE, Objects};
use super::slot::{AgentShown, Slot, SlotParts};
use super::state::SimulatedCluster;
use super::workload;
use crate::answer::PodKey;
use crate::kube_store::ObjectKey;
use crate::truth::PodFacts;
use crate::wall_clock::wall_ms;
use cni_types::random::{Random, mix};
use ipamd_model::node::{Node, NodeSpec, Phase};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// A node that found no primary address tries again after this.
const JOIN_AGAIN_MS: i64 = 60_000;

impl SimulatedCluster {
    /// A new instance of a group joins.
    pub(super) fn join(&self, engine: &mut Engine, group: usize, now_ms: i64) {
        let Some(plan) = self.plans.get(group) else { return };
        let index = engine.drivers.len();
        let stream = index as u64;
        let mut cloud_random = Random::stream(self.seed, 2 * stream + 1);
        let mut spec = NodeSpec::new(
            plan.limits,
            plan.settings.clone(),
            subnet_id(plan.subnet),
            mix(self.seed ^ mix(stream.wrapping_mul(0x51ed_270b))),
        );
        spec.eni_config = plan.pod_subnet.map(subnet_id);
        spec.placement = plan.placement;
        spec.max_pods = Some(plan.max_pods);
        let mut cloud =
            NodeCloud { subnets: &mut engine.subnets, zone: &plan.zone, faults: Vec::new(), random: &mut cloud_random };
        let Ok(node) = Node::new(spec, now_ms, &mut cloud) else {
            engine.at(now_ms + JOIN_AGAIN_MS, Event::Join(group));
            return;
        };
        let mut random = Random::stream(self.seed, 2 * stream);
        let slot = Arc::new(self.slot(index, group, plan, node, now_ms, &mut random));
        let offset = i64::try_from(random.below(workload::PERIOD_MS.unsigned_abs())).unwrap_or(0);
        engine.at(now_ms + offset, Event::Workload(index));
        let jitter = random.fraction();
        engine.drivers.push(Driver::new(random, cloud_random, jitter));
        engine.alive += 1;
        self.enlist(&slot);
        engine.with_node(&slot, now_ms, |_, _| ());
        let shown = slot.lock().shown.clone();
        self.objects.node(&self.kube, &slot, &shown);
        self.objects.agent(&self.kube, &slot, &shown);
        self.truth.pod_created(PodFacts {
            uid: slot.pod_uid.clone(),
            pod: slot.pod.name.clone(),
            node: slot.node_name.to_string(),
            created_ms: now_ms,
        });
        self.truth.pod_running(&slot.pod_uid, wall_ms());
    }

    fn slot(&self, index: usize, group: usize, plan: &GroupPlan, node: Node, now_ms: i64, random: &mut Random) -> Slot {
        let primary_ip = node.instance().enis.first().map_or(Ipv4Addr::UNSPECIFIED, |eni| eni.primary);
        let [a, b, c, d] = primary_ip.octets();
        let pod = PodKey::new(AGENT_NAMESPACE, format!("aws-node-{}", suffix(index)));
        let parts = SlotParts {
            index,
            group,
            node_name: format!("ip-{a}-{b}-{c}-{d}.{}.compute.internal", self.scenario.cluster.region).into(),
            zone: Arc::clone(&plan.zone),
            pod_uid: Objects::agent_uid(&pod, now_ms),
            pod,
            primary_ip,
            instance_id: format!("i-0{:016x}", random.bits()),
            created_ms: now_ms,
            max_pods: plan.max_pods,
        };
        Slot::new(parts, node)
    }

    /// The model does what is due.
    pub(super) fn run_node(&self, engine: &mut Engine, slot: &Slot, now_ms: i64) {
        engine.with_node(slot, now_ms, |node, cloud| node.advance(now_ms, cloud));
        self.show(engine, slot, now_ms, false);
    }

    /// Tells the Kubernetes API what changed on a node.
    pub(super) fn show(&self, engine: &mut Engine, slot: &Slot, now_ms: i64, restarted: bool) {
        let mut cell = slot.lock();
        let Some(node) = cell.node.as_ref() else { return };
        let before = cell.shown.clone();
        let mut shown = before.clone();
        shown.agent = AgentShown::from(node.phase());
        shown.back_off_until_ms = match node.phase() {
            Phase::Crashed { restart_at_ms, .. } => Some(restart_at_ms),
            _ => None,
        };
        // A container that fails at once is in its next back-off when it is looked at again.
        let began_anew = before.back_off_until_ms.is_some() && shown.back_off_until_ms != before.back_off_until_ms;
        if restarted || began_anew {
            shown.restarts += 1;
            shown.started_ms = now_ms;
        }
        // The first time the agent serves, it writes the CNI configuration, and the kubelet turns Ready for good.
        if shown.agent == AgentShown::Serving && shown.node_ready_since_ms.is_none() {
            shown.node_ready_since_ms = Some(now_ms);
            shown.node_ready = true;
        }
        if shown == before {
            return;
        }
        cell.shown = shown.clone();
        drop(cell);
        let serving = |shown: AgentShown| u32::from(shown == AgentShown::Serving);
        engine.serving = engine.serving + serving(shown.agent) - serving(before.agent);
        self.objects.agent(&self.kube, slot, &shown);
        if shown.node_ready != before.node_ready {
            self.objects.node(&self.kube, slot, &shown);
        }
    }

    /// The instance is gone; the Kubernetes API does not know yet.
    pub(super) fn terminate(engine: &mut Engine, slot: &Slot) {
        let mut cell = slot.lock();
        cell.kept = None;
        let Some(node) = cell.node.take() else { return };
        let served = cell.shown.agent == AgentShown::Serving;
        drop(cell);
        let Some(driver) = engine.drivers.get_mut(slot.index) else { return };
        let mut cloud = NodeCloud {
            subnets: &mut engine.subnets,
            zone: &slot.zone,
            faults: Vec::new(),
            random: &mut driver.cloud_random,
        };
        node.terminate(&mut cloud);
        engine.alive -= 1;
        engine.serving -= u32::from(served);
    }

    /// The node controller notices.
    pub(super) fn not_ready(&self, slot: &Slot, now_ms: i64) {
        let mut cell = slot.lock();
        cell.shown.node_ready = false;
        cell.shown.node_ready_since_ms = Some(now_ms);
        cell.shown.agent = AgentShown::Starting;
        let shown = cell.shown.clone();
        drop(cell);
        self.objects.node(&self.kube, slot, &shown);
        self.objects.agent(&self.kube, slot, &shown);
    }

    /// A lost node leaves the Kubernetes API.
    pub(super) fn deleted(&self, engine: &mut Engine, slot: &Slot, replace: bool, now_ms: i64) {
        self.truth.pod_deleted(&slot.pod_uid, wall_ms());
        self.kube.delete_pod(&ObjectKey::from(&slot.pod));
        // The address, and so the name, may already belong to a new instance.
        if self.kube.node(&slot.node_name).is_some_and(|node| node.meta.created_ms == slot.created_ms) {
            self.kube.delete_node(&slot.node_name);
        }
        if let Some(driver) = engine.drivers.get_mut(slot.index) {
            let pods = std::mem::take(&mut driver.pods);
            for pod in pods {
                self.hide_pod(driver, pod);
            }
            self.hide_waiting(driver, 0);
        }
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
