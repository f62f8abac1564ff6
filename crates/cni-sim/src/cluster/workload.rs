//! Pods that come and go: what the scenario wants on a node. The node's kubelet brings it about.

use super::engine::{Driver, Engine, pod_number};
use super::group_plan::GroupPlan;
use super::objects::workload_name;
use super::slot::Slot;
use super::state::SimulatedCluster;
use super::whole::whole;
use crate::kube_store::ObjectKey;
use ipamd_core::input::PodName;
use std::sync::Arc;

/// How often a node's pods are looked at.
pub(super) const PERIOD_MS: i64 = 5_000;

/// Sandboxes that one kubelet starts in one period.
const STARTS_PER_PERIOD: usize = 10;

/// Pods on the host network (aws-node, kube-proxy) that count toward the capacity but take no address.
const HOST_PODS: u32 = 2;

impl SimulatedCluster {
    /// One look at one node's pods. Most find what is wanted; those do not touch the node, whose memory is large and cold.
    pub(super) fn look(&self, engine: &mut Engine, index: usize, now_ms: i64) {
        let Engine { drivers, slots, demands, .. } = engine;
        let (Some(driver), Some(slot)) = (drivers.get_mut(index), slots.get(index)) else { return };
        let Some((running, wanting)) = driver.pods.or_else(|| count_pods(slot)) else { return };
        driver.pods = Some((running, wanting));
        let demand = demands.get(driver.group).map(|demand| demand.at(now_ms - self.start_ms));
        let (pods, churn_per_minute) = demand.unwrap_or_default();
        let active = self.active();
        let leaks_per_minute = if active.leaks() { active.leaks_per_minute(slot) } else { 0.0 };
        drop(active);
        let per_period = PERIOD_MS as f64 / 60_000.0;
        let replaced = whole(churn_per_minute * per_period + driver.random.fraction());
        let leaked = whole(leaks_per_minute * per_period + driver.random.fraction());
        let capacity = driver.max_pods.saturating_sub(HOST_PODS) as usize;
        let desired = whole(pods + driver.jitter).min(capacity);
        let changes = leaked.max(replaced) > 0 || running as usize + wanting as usize != desired;
        let slot = changes.then(|| Arc::clone(slot));
        engine.look_at(now_ms + PERIOD_MS, index);
        if let Some(slot) = slot {
            self.replace_pods(engine, &slot, now_ms, [leaked, replaced, desired]);
        }
    }

    /// Some pods vanish, some are replaced, and their number becomes the desired one.
    fn replace_pods(&self, engine: &mut Engine, slot: &Slot, now_ms: i64, [leaked, replaced, desired]: [usize; 3]) {
        let Some(driver) = engine.drivers.get_mut(slot.index) else { return };
        let Some((mut running, mut wanting)) = list_pods(slot) else { return };
        let leaked = take_any(driver, &mut running, leaked);
        let deleted = replaced.max(running.len().saturating_sub(desired));
        let mut deleted = take_any(driver, &mut running, deleted);
        // Of those without an address the newest go first.
        let missing = desired.saturating_sub(running.len());
        deleted.extend(wanting.drain(missing.min(wanting.len())..));
        let started = missing.saturating_sub(wanting.len()).min(STARTS_PER_PERIOD);
        for pod in leaked {
            self.change(engine, slot, now_ms, |node, at| node.leak_pod(pod, at));
            self.hide_pod(engine, slot, pod);
        }
        for pod in deleted {
            self.change(engine, slot, now_ms, |node, at| node.stop_pod(pod, at));
            self.hide_pod(engine, slot, pod);
        }
        for _ in 0..started {
            self.start_pod(engine, slot, now_ms);
        }
    }

    /// A pod is scheduled: it waits for its address.
    fn start_pod(&self, engine: &mut Engine, slot: &Slot, now_ms: i64) {
        let Some(driver) = engine.drivers.get_mut(slot.index) else { return };
        driver.created += 1;
        let pod = driver.created;
        let number = pod_number(slot.index, pod);
        if self.scenario.cluster.workload_pods {
            driver.shown.insert(pod, false);
            self.objects.waiting_pod(&self.kube, slot, number, now_ms);
        }
        // An agent that asks the API server for no pod tells pods apart by their sandboxes alone.
        let named = self.plans.get(slot.group).is_some_and(GroupPlan::asks_for_pods);
        let name = PodName { namespace: "default".into(), name: workload_name(number).into() };
        let name = if named { name } else { PodName::default() };
        self.change(engine, slot, now_ms, |node, at| node.start_pod(pod, name, at));
    }

    /// The pod leaves the Kubernetes API.
    fn hide_pod(&self, engine: &mut Engine, slot: &Slot, pod: u64) {
        let Some(driver) = engine.drivers.get_mut(slot.index) else { return };
        if driver.shown.remove(&pod).is_some() {
            self.kube.delete_pod(&ObjectKey::new("default", workload_name(pod_number(slot.index, pod))));
        }
    }

    /// All pods of a node that is gone leave the Kubernetes API.
    pub(super) fn hide_pods(&self, engine: &mut Engine, slot: &Slot) {
        let shown = engine.drivers.get(slot.index).map(|driver| driver.shown.keys().copied().collect::<Vec<_>>());
        shown.into_iter().flatten().for_each(|pod| self.hide_pod(engine, slot, pod));
    }
}

/// How many pods of a node run, and how many are to get an address; `None` if the instance is gone.
fn count_pods(slot: &Slot) -> Option<(u32, u32)> {
    let cell = slot.lock();
    let kubelet = &cell.node.as_ref()?.kubelet;
    let [running, wanting] = [kubelet.running().count(), kubelet.wanting().count()].map(u32::try_from);
    Some((running.unwrap_or(u32::MAX), wanting.unwrap_or(u32::MAX)))
}

/// Which these are.
fn list_pods(slot: &Slot) -> Option<(Vec<u64>, Vec<u64>)> {
    let cell = slot.lock();
    let kubelet = &cell.node.as_ref()?.kubelet;
    Some((kubelet.running().map(|(pod, _)| pod).collect(), kubelet.wanting().collect()))
}

/// Takes this number of pods, any, out of those that run.
fn take_any(driver: &mut Driver, running: &mut Vec<u64>, count: usize) -> Vec<u64> {
    let count = count.min(running.len());
    (0..count).map(|_| running.swap_remove(driver.random.index(running.len()))).collect()
}
