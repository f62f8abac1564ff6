//! Every page that was handed over, and every agent pod's life, in bounded memory.

use super::numbers::{LabelSet, NodeNumbers};
use super::record::{Delivery, PodFacts, PodRecord};
use super::replay::{RoundTruth, Window, round};
use crate::answer::ServeTicket;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Pages kept over all pods: about 150 MB.
const PAGES_KEPT: usize = 400_000;

/// Pages rendered but not (yet) handed over: beyond this the oldest are given up, as aborted transfers are.
const PENDING_KEPT: usize = 50_000;

#[derive(Debug, Default)]
struct Log {
    pods: Vec<PodRecord>,
    by_uid: HashMap<String, usize>,
    pending: BTreeMap<u64, (usize, i64, Arc<NodeNumbers>)>,
    next_ticket: u64,
    delivered: u64,
    /// The label sets of the newest page.
    last_sets: Arc<[LabelSet]>,
    /// (wall, sim), ascending.
    clock_readings: Vec<(i64, i64)>,
}

/// The record of what the cluster handed over.
#[derive(Debug, Default)]
pub struct Truth {
    log: Mutex<Log>,
}

impl Truth {
    /// A pod exists from now on; false when it was known already.
    pub(crate) fn pod_created(&self, facts: PodFacts) -> bool {
        let mut log = self.lock();
        if log.by_uid.contains_key(&facts.uid) {
            return false;
        }
        let index = log.pods.len();
        log.by_uid.insert(facts.uid.clone(), index);
        log.pods.push(PodRecord {
            facts,
            running_wall_ms: None,
            deleting_wall_ms: None,
            deliveries: VecDeque::new(),
            dropped: None,
        });
        true
    }

    /// The pod's phase is Running.
    pub(crate) fn pod_running(&self, uid: &str, wall_ms: i64) {
        self.with_pod(uid, |pod| pod.running_wall_ms = pod.running_wall_ms.or(Some(wall_ms)));
    }

    /// The pod is being deleted, or is gone.
    pub(crate) fn pod_deleted(&self, uid: &str, wall_ms: i64) {
        self.with_pod(uid, |pod| pod.deleting_wall_ms = pod.deleting_wall_ms.or(Some(wall_ms)));
    }

    /// A page was rendered; it becomes true with [`Self::delivered`].
    pub(crate) fn rendered(&self, uid: &str, numbers: impl Into<Arc<NodeNumbers>>, wall_ms: i64) -> ServeTicket {
        let numbers = numbers.into();
        let mut log = self.lock();
        let ticket = log.next_ticket;
        log.next_ticket += 1;
        if let Some(pod) = log.by_uid.get(uid).copied() {
            log.pending.insert(ticket, (pod, wall_ms, numbers));
        }
        if log.pending.len() > PENDING_KEPT {
            log.pending.pop_first();
        }
        ServeTicket(ticket)
    }

    /// The whole page was handed over; the answer is the pod's name. `None` for a ticket that is unknown or was used.
    pub(crate) fn delivered(&self, ticket: ServeTicket) -> Option<String> {
        let mut log = self.lock();
        let (pod, wall_ms, numbers) = log.pending.remove(&ticket.0)?;
        log.delivered += 1;
        let limit = (PAGES_KEPT / log.pods.len().max(1)).clamp(8, 20_000);
        let Log { pods, last_sets, .. } = &mut *log;
        let pod = pods.get_mut(pod)?;
        let numbers = share_unchanged(pod.deliveries.back(), last_sets, numbers);
        pod.keep(Delivery { ticket: ticket.0, wall_ms, numbers }, limit);
        Some(pod.facts.pod.clone())
    }

    /// The cluster's clock shows `sim_ms` at `wall_ms`.
    pub(crate) fn record_clock(&self, wall_ms: i64, sim_ms: i64) {
        let mut log = self.lock();
        match log.clock_readings.last_mut() {
            Some(last) if last.0 >= wall_ms => last.1 = sim_ms,
            _ => log.clock_readings.push((wall_ms, sim_ms)),
        }
        if log.clock_readings.len() > 200_000 {
            let mut index = 0_u32;
            log.clock_readings.retain(|_| {
                index += 1;
                index.is_multiple_of(2)
            });
        }
    }

    /// Drops all pages handed over and what is known of pods that are gone. The increases of later rounds still count
    /// from each pod's newest page; [`RoundTruth::cumulative`] no longer holds the events of the pods that were dropped.
    pub(crate) fn forget(&self) {
        let mut log = self.lock();
        log.pods.iter_mut().for_each(|pod| pod.fold(0));
        if let Some(newest) = log.clock_readings.pop() {
            log.clock_readings = vec![newest];
        }
        if log.pods.iter().all(|pod| pod.deleting_wall_ms.is_none()) {
            return;
        }
        // A page that is on its way belongs to a pod by its place.
        log.pending.clear();
        log.pods.retain(|pod| pod.deleting_wall_ms.is_none());
        log.by_uid = log.pods.iter().enumerate().map(|(place, pod)| (pod.facts.uid.clone(), place)).collect();
    }

    /// Pages handed over so far.
    pub fn pages(&self) -> u64 {
        self.lock().delivered
    }

    /// What a perfect collector would publish for one round.
    pub fn round(&self, window: Window) -> RoundTruth {
        let log = self.lock();
        // What the API server's clock showed when the collector started is known here, if the collector did not say.
        let api = window.collector_start.map(|start| sim_at(&log.clock_readings, start));
        let window = Window { collector_start_api: window.collector_start_api.or(api), ..window };
        round(&log.pods, |wall_ms| sim_at(&log.clock_readings, wall_ms), window)
    }

    fn with_pod(&self, uid: &str, change: impl FnOnce(&mut PodRecord)) {
        let mut log = self.lock();
        if let Some(index) = log.by_uid.get(uid).copied()
            && let Some(pod) = log.pods.get_mut(index)
        {
            change(pod);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A quiet node's latencies do not change from page to page, and most nodes count under the same label sets: they are kept
/// once. `sets` are those of the page before, whatever node's.
fn share_unchanged(
    before: Option<&Delivery>,
    sets: &mut Arc<[LabelSet]>,
    mut numbers: Arc<NodeNumbers>,
) -> Arc<NodeNumbers> {
    let before = before.map(|before| &before.numbers);
    if let Some(numbers) = Arc::get_mut(&mut numbers) {
        if let Some(before) = before.filter(|before| before.latency == numbers.latency) {
            numbers.latency = Arc::clone(&before.latency);
        }
        let known = before.map(|before| &before.labels.sets).into_iter().chain([&*sets]);
        if let Some(known) = known.into_iter().find(|known| **known == numbers.labels.sets) {
            numbers.labels.sets = Arc::clone(known);
        }
    }
    *sets = Arc::clone(&numbers.labels.sets);
    numbers
}

/// The cluster's time at a moment of the wall clock.
fn sim_at(clock_readings: &[(i64, i64)], wall_ms: i64) -> i64 {
    let after = clock_readings.partition_point(|(wall, _)| *wall <= wall_ms);
    clock_readings.get(after.saturating_sub(1)).map_or(i64::MAX, |(_, sim)| *sim)
}
