//! One agent pod's life and the pages it delivered.

use super::numbers::{COUNTERS, Counters, NodeNumbers, add};
use std::collections::VecDeque;
use std::sync::Arc;

/// What does not change during the life of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodFacts {
    /// Pod UID.
    pub uid: String,
    /// Pod name.
    pub pod: String,
    /// Node name.
    pub node: String,
    /// Creation by the API server's (simulated) clock.
    pub created_ms: i64,
}

/// One page handed over. Its time is that of its making: the collector's round had begun by then and was not over,
/// whereas the last byte may be acknowledged after the collector has gone on.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(super) ticket: u64,
    pub(crate) wall_ms: i64,
    pub(crate) numbers: Arc<NodeNumbers>,
}

/// What remains of pages that were dropped.
#[derive(Debug)]
pub(crate) struct Dropped {
    pub(crate) first_wall_ms: i64,
    pub(crate) last_wall_ms: i64,
    pub(crate) first: Arc<NodeNumbers>,
    pub(crate) last: Arc<NodeNumbers>,
    pub(crate) increase_since_first: Counters,
}

/// One pod's life and pages.
#[derive(Debug)]
pub(crate) struct PodRecord {
    pub(crate) facts: PodFacts,
    /// Wall clock: Running, being deleted, gone.
    pub(super) running_wall_ms: Option<i64>,
    pub(super) deleting_wall_ms: Option<i64>,
    pub(crate) deliveries: VecDeque<Delivery>,
    /// Large, and most pods have none.
    pub(crate) dropped: Option<Box<Dropped>>,
}

impl PodRecord {
    /// Whether the pod should have answered a round that began at `wall_ms`, which was `sim_ms` in the cluster.
    pub(crate) fn expected_at(&self, wall_ms: i64, sim_ms: i64, grace_ms: i64, scraped_before: bool) -> bool {
        self.running_wall_ms.is_some_and(|at| at <= wall_ms)
            && self.deleting_wall_ms.is_none_or(|at| at > wall_ms)
            && (scraped_before || sim_ms.saturating_sub(shown_ms(self.facts.created_ms)) >= grace_ms)
    }

    pub(super) fn keep(&mut self, delivery: Delivery, limit: usize) {
        // Two scrapes at once may end in the other order.
        let later = self.deliveries.iter().rev().take_while(|kept| kept.ticket > delivery.ticket).count();
        self.deliveries.insert(self.deliveries.len() - later, delivery);
        self.fold(limit);
    }

    /// Drops the oldest pages beyond `limit`; what they add up to stays.
    pub(super) fn fold(&mut self, limit: usize) {
        while self.deliveries.len() > limit {
            let Some(oldest) = self.deliveries.pop_front() else { return };
            match &mut self.dropped {
                None => {
                    self.dropped = Some(Box::new(Dropped {
                        first_wall_ms: oldest.wall_ms,
                        last_wall_ms: oldest.wall_ms,
                        first: Arc::clone(&oldest.numbers),
                        last: oldest.numbers,
                        increase_since_first: [None; COUNTERS.len()],
                    }));
                }
                Some(dropped) => {
                    let same = dropped.last.process_start_ms == oldest.numbers.process_start_ms;
                    let gained = oldest.numbers.counters_since(same.then_some(&*dropped.last));
                    add(&mut dropped.increase_since_first, &gained);
                    dropped.last_wall_ms = oldest.wall_ms;
                    dropped.last = oldest.numbers;
                }
            }
        }
    }
}

/// A time as the API server shows it to collectors: in whole seconds.
fn shown_ms(ms: i64) -> i64 {
    ms.div_euclid(1_000).saturating_mul(1_000)
}
