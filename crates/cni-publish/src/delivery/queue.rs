//! The queue between the round loop and one sink: bounded, and over its bound it drops the oldest round.

use std::collections::VecDeque;

use tokio::sync::watch;

use crate::messages::Published;
use crate::stats::{Stats, TroubleKind};

/// Rounds a sink may lag behind before it loses the oldest. Sinks read at once and buffer for themselves, so this is
/// only ever used up by a task that hangs or has ended.
pub(crate) const QUEUE_ROUNDS: usize = 8;

#[derive(Debug)]
struct Queue {
    rounds: VecDeque<Published>,
    /// The publisher still feeds it.
    is_fed: bool,
    /// The sink's task still exists.
    is_read: bool,
}

/// The publisher's end. Dropping it closes the queue: the sink reads what is left, then its rounds end.
#[derive(Debug)]
pub(crate) struct Feed {
    queue: watch::Sender<Queue>,
    stats: Stats,
}

/// The sink's end.
#[derive(Debug)]
pub(crate) struct Rounds {
    queue: watch::Sender<Queue>,
    changes: watch::Receiver<Queue>,
    stats: Stats,
}

/// An empty queue of the sink whose figures are given.
pub(crate) fn new(stats: Stats) -> (Feed, Rounds) {
    let (queue, changes) = watch::channel(Queue { rounds: VecDeque::new(), is_fed: true, is_read: true });
    (Feed { queue: queue.clone(), stats: stats.clone() }, Rounds { queue, changes, stats })
}

impl Feed {
    /// Adds a round. What has to go for it is counted here, since a sink that hangs counts nothing.
    pub(crate) fn push(&self, round: Published) {
        let mut lost = 0;
        let mut queued = 0;
        self.queue.send_modify(|queue| {
            if queue.is_read {
                queue.rounds.push_back(round);
                while queue.rounds.len() > QUEUE_ROUNDS {
                    queue.rounds.pop_front();
                    lost += 1;
                }
            } else {
                lost += 1;
            }
            queued = queue.rounds.len();
        });
        let mut is_news = false;
        self.stats.change(|stats| {
            stats.queued_rounds = queued;
            stats.lost_rounds = stats.lost_rounds.saturating_add(lost);
            if lost > 0 {
                let text = format!("does not read its queue: {QUEUE_ROUNDS} rounds wait, the oldest are dropped");
                is_news = stats.set_trouble(TroubleKind::Queue, Some(text));
            }
        });
        if is_news {
            tracing::error!(
                sink = self.stats.name(),
                queued,
                "the sink does not read its queue: its oldest rounds are dropped and counted (sink_lost_rounds_total)"
            );
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.queue.send_modify(|queue| queue.is_fed = false);
    }
}

impl Rounds {
    /// The next round, oldest first; `None` once the publisher has closed the queue and all of it was read. Cancelling
    /// it loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Published> {
        // Both ends hold a sender, so the channel itself is never closed. What is returned is a lock.
        let _never_closed = self.changes.wait_for(|queue| !queue.rounds.is_empty() || !queue.is_fed).await.map(drop);
        let mut next = None;
        let mut queued = 0;
        self.queue.send_modify(|queue| {
            next = queue.rounds.pop_front();
            queued = queue.rounds.len();
        });
        let mut recovered = false;
        self.stats.change(|stats| {
            stats.queued_rounds = queued;
            recovered = stats.set_trouble(TroubleKind::Queue, None);
        });
        if recovered {
            let lost_rounds = self.stats.lost_rounds();
            tracing::info!(sink = self.stats.name(), lost_rounds, "the sink reads its queue again");
        }
        next
    }
}

impl Drop for Rounds {
    fn drop(&mut self) {
        let mut unread = 0;
        self.queue.send_modify(|queue| {
            queue.is_read = false;
            unread = std::mem::take(&mut queue.rounds).len();
        });
        self.stats.change(|stats| {
            stats.queued_rounds = 0;
            stats.lost_rounds = stats.lost_rounds.saturating_add(unread as u64);
        });
    }
}
