//! Pods that come and go: what the scenario wants on a node, and the RPCs that bring it about.

use super::engine::{Driver, Engine, Event, pod_number, waiting_number};
use super::objects::workload_name;
use super::slot::Slot;
use super::state::SimulatedCluster;
use super::whole::whole;
use crate::kube_store::ObjectKey;
use crate::scenario::{Scenario, Workload};
use ipamd_model::node::{AddOutcome, DelOutcome, DelReason, PodKey as ModelPod};
use std::f64::consts::TAU;

/// How often a node's pods are looked at; about the pace at which a kubelet retries a refused sandbox.
pub(super) const PERIOD_MS: i64 = 5_000;

/// Sandboxes that one kubelet starts in one period.
const STARTS_PER_PERIOD: usize = 10;

/// Pods on the host network (aws-node, kube-proxy) that count toward the capacity but take no address.
const HOST_PODS: u32 = 2;

/// What a scenario wants on a node of this group, `since_start_ms` after the clock's start: pods, and replacements a
/// minute.
pub(super) fn wanted(scenario: &Scenario, group: usize, since_start_ms: i64) -> (f64, f64) {
    let name = scenario.node_groups.get(group).map(|group| group.name.as_str());
    let mine = scenario.workload.iter().filter(|entry| entry.group.as_ref().is_none_or(|at| Some(&*at.value) == name));
    mine.fold((0.0, 0.0), |(pods, churn), entry| {
        (pods + pods_of(entry, since_start_ms), churn + entry.churn_per_minute)
    })
}

fn pods_of(entry: &Workload, since_start_ms: i64) -> f64 {
    let mut pods = entry.pods_per_node;
    // While the cluster warms up nothing surges.
    let at = since_start_ms;
    if at < 0 {
        return pods;
    }
    if let Some(diurnal) = entry.diurnal {
        let phase = (at % diurnal.period.ms) as f64 / diurnal.period.ms as f64;
        pods += diurnal.extra * (1.0 - (TAU * phase).cos()) / 2.0;
    }
    if let Some(waves) = entry.waves.filter(|waves| at % waves.every.ms < waves.lasts.ms) {
        pods += waves.extra;
    }
    pods
}

impl SimulatedCluster {
    /// One look at one node's pods.
    pub(super) fn run_workload(&self, engine: &mut Engine, slot: &Slot, now_ms: i64) {
        if !slot.alive() {
            return;
        }
        engine.at(now_ms + PERIOD_MS, Event::Workload(slot.index));
        let (pods, churn_per_minute) = wanted(&self.scenario, slot.group, now_ms - self.start_ms);
        let leaks_per_minute = self.active().leaks_per_minute(slot);
        let Some(driver) = engine.drivers.get_mut(slot.index) else { return };
        let per_period = PERIOD_MS as f64 / 60_000.0;
        let replaced = whole(churn_per_minute * per_period + driver.random.fraction());
        let leaked = whole(leaks_per_minute * per_period + driver.random.fraction());
        let capacity = slot.max_pods.saturating_sub(HOST_PODS) as usize;
        let desired = whole(pods + driver.jitter).min(capacity);
        for _ in 0..leaked {
            self.leak_pod(engine, slot);
        }
        let running = engine.drivers.get(slot.index).map_or(0, |driver| driver.pods.len());
        for _ in 0..replaced.max(running.saturating_sub(desired)).min(running) {
            self.delete_pod(engine, slot, now_ms);
        }
        self.start_pods(engine, slot, desired, now_ms);
        if self.scenario.cluster.workload_pods {
            self.show_waiting(engine, slot, desired, now_ms);
        }
    }

    /// Shows as many waiting pods as the node lacks. They are scheduled; their sandbox is what they wait for.
    fn show_waiting(&self, engine: &mut Engine, slot: &Slot, desired: usize, now_ms: i64) {
        let Some(driver) = engine.drivers.get_mut(slot.index) else { return };
        let missing = desired.saturating_sub(driver.pods.len());
        self.hide_waiting(driver, missing);
        while driver.waiting.pods.len() < missing {
            driver.waiting.count = driver.waiting.count.saturating_add(1);
            let number = waiting_number(slot.index, driver.waiting.count);
            driver.waiting.pods.push_back(number);
            self.objects.waiting_pod(&self.kube, slot, number, now_ms);
        }
    }

    /// Takes waiting pods, the newest first, out of the Kubernetes API until no more than `keep` are left.
    pub(super) fn hide_waiting(&self, driver: &mut Driver, keep: usize) {
        while driver.waiting.pods.len() > keep {
            let Some(number) = driver.waiting.pods.pop_back() else { return };
            self.kube.delete_pod(&ObjectKey::new("default", workload_name(number)));
        }
    }

    fn start_pods(&self, engine: &mut Engine, slot: &Slot, desired: usize, now_ms: i64) {
        for _ in 0..STARTS_PER_PERIOD {
            let Some(driver) = engine.drivers.get_mut(slot.index) else { return };
            if driver.pods.len() >= desired {
                return;
            }
            driver.created += 1;
            let pod = pod_number(slot.index, driver.created);
            let outcome = engine.with_node(slot, now_ms, |node, cloud| node.add_pod(pod, now_ms, cloud));
            match outcome {
                Some(AddOutcome::Assigned(ip)) => {
                    let Some(driver) = engine.drivers.get_mut(slot.index) else { return };
                    driver.pods.push(pod.0);
                    if self.scenario.cluster.workload_pods {
                        // The one that has waited longest has it.
                        let waited = driver.waiting.pods.pop_front();
                        if let Some(number) = waited {
                            driver.waiting.names.insert(pod.0, number);
                        }
                        self.objects.workload_pod(&self.kube, slot, waited.unwrap_or(pod.0), ip, now_ms);
                    }
                }
                // The runtime tears the sandbox of a failed ADD down, whatever failed: a DEL follows, as for any pod that ends.
                // (The plugin itself sends `SetupNSFailed`, only where it has an address and cannot set the namespace up.)
                Some(AddOutcome::NoAddress | AddOutcome::ImdsFailed(_)) => {
                    let why = DelReason::PodDeleted;
                    engine.with_node(slot, now_ms, |node, cloud| node.del_pod(pod, why, now_ms, cloud));
                }
                // Neither ADD nor DEL reaches an agent that does not listen.
                Some(AddOutcome::NotReady) | None => return,
            }
        }
    }

    /// Deletes one pod, any. Where the agent cannot be reached, the plugin removes the pod's interface and reports success: the
    /// DEL is not repeated, and the agent frees the address when it starts.
    fn delete_pod(&self, engine: &mut Engine, slot: &Slot, now_ms: i64) {
        let Some(pod) = Self::take_any_pod(engine, slot) else { return };
        let why = DelReason::PodDeleted;
        let outcome = engine.with_node(slot, now_ms, |node, cloud| node.del_pod(pod, why, now_ms, cloud));
        if outcome == Some(DelOutcome::NotReady) {
            Self::forget_pod(slot, pod);
        }
        self.hide_pod_of(engine, slot, pod);
    }

    /// One pod vanishes without a DEL.
    fn leak_pod(&self, engine: &mut Engine, slot: &Slot) {
        let Some(pod) = Self::take_any_pod(engine, slot) else { return };
        Self::forget_pod(slot, pod);
        self.hide_pod_of(engine, slot, pod);
    }

    /// Takes a pod, any, out of those that run.
    fn take_any_pod(engine: &mut Engine, slot: &Slot) -> Option<ModelPod> {
        let driver = engine.drivers.get_mut(slot.index).filter(|driver| !driver.pods.is_empty())?;
        let pick = driver.random.index(driver.pods.len());
        Some(ModelPod(driver.pods.swap_remove(pick)))
    }

    /// The pod's interface is gone, and the agent was not told.
    fn forget_pod(slot: &Slot, pod: ModelPod) {
        let mut cell = slot.lock();
        cell.kept = None;
        if let Some(node) = cell.node.as_mut() {
            node.forget_pod(pod);
        }
    }

    fn hide_pod_of(&self, engine: &mut Engine, slot: &Slot, pod: ModelPod) {
        if let Some(driver) = engine.drivers.get_mut(slot.index) {
            self.hide_pod(driver, pod.0);
        }
    }

    /// The pod leaves the Kubernetes API.
    pub(super) fn hide_pod(&self, driver: &mut Driver, pod: u64) {
        if self.scenario.cluster.workload_pods {
            let number = driver.waiting.names.remove(&pod).unwrap_or(pod);
            self.kube.delete_pod(&ObjectKey::new("default", workload_name(number)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Diurnal, Span, Waves};

    #[test]
    fn patterns_add_up_and_rest_while_warming_up() {
        let mut scenario = Scenario::calm(4);
        scenario.workload = vec![
            Workload {
                group: None,
                pods_per_node: 5.0,
                churn_per_minute: 1.0,
                diurnal: Some(Diurnal { extra: 10.0, period: Span::minutes(60) }),
                waves: None,
            },
            Workload {
                group: None,
                pods_per_node: 0.0,
                churn_per_minute: 0.5,
                diurnal: None,
                waves: Some(Waves { extra: 3.0, every: Span::minutes(20), lasts: Span::minutes(5) }),
            },
        ];
        let minute = 60_000;
        assert_eq!(wanted(&scenario, 0, -minute), (5.0, 1.5));
        assert_eq!(wanted(&scenario, 0, 0), (8.0, 1.5));
        assert_eq!(wanted(&scenario, 0, 30 * minute), (15.0, 1.5));
        assert_eq!(whole(wanted(&scenario, 0, 60 * minute + 1).0), 8);
    }
}
