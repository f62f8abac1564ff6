//! The way out: every finished round is handed to each sink's own task behind one bounded, drop-oldest queue.
//!
//! [`Publisher::publish`] never waits: a sink that hangs costs itself its oldest unread rounds (counted), never the
//! round loop and never another sink. What is queued when the program stops is flushed by [`Publisher::drain`].

pub mod cloudwatch;
pub mod log;
pub mod prometheus;
pub mod selection;
pub mod stats;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cni_metrics_core::model::Snapshot;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use selection::{Selection, SelectionError};
pub use stats::SinkStats;
use stats::StatsCell;

use crate::lead::Leadership;

/// Rounds a sink may lag behind before it loses the oldest. Sinks read at once and buffer for themselves, so this is
/// only ever used up by a task that hangs (a stuck disk); a power of two, as the channel wants it.
const QUEUE_ROUNDS: usize = 8;

/// One finished round, as the sinks get it.
#[derive(Debug, Clone)]
pub struct Published {
    /// What the round concluded.
    pub snapshot: Arc<Snapshot>,
    /// The counters' baselines as they are *after* this round, in a form only their owner reads; `None` where nobody
    /// keeps them. The spool stores them beside the points of the same round, so that both are always of one age.
    pub counters: Option<Arc<[u8]>>,
}

impl From<Arc<Snapshot>> for Published {
    fn from(snapshot: Arc<Snapshot>) -> Self {
        Self { snapshot, counters: None }
    }
}

/// What a sink's task reads from.
#[derive(Debug)]
pub struct Intake {
    rounds: Rounds,
    orders: watch::Receiver<Orders>,
    /// A sink that shares its destination with other replicas sends only while this one leads.
    leadership: Leadership,
    stats: StatsCell,
}

/// The queue's reading end.
#[derive(Debug)]
struct Rounds {
    queue: broadcast::Receiver<Published>,
    stats: StatsCell,
}

/// What the publisher tells every sink.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Orders {
    /// Everything must be over by then.
    stop_by: Option<Instant>,
}

impl Rounds {
    /// The next round, oldest first; `None` once the publisher has been drained of all it had.
    async fn next(&mut self) -> Option<Published> {
        loop {
            match self.queue.recv().await {
                Ok(published) => {
                    let depth = self.queue.len();
                    self.stats.change(|stats| stats.queued_rounds = depth);
                    return Some(published);
                }
                Err(broadcast::error::RecvError::Lagged(lost)) => {
                    tracing::error!(sink = self.stats.name(), rounds = lost, "queue overran, oldest rounds dropped");
                    self.stats.change(|stats| stats.lost_rounds += lost);
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

/// Feeds the sinks. Dropping it without [`Publisher::drain`] stops every sink where it stands.
#[derive(Debug)]
pub struct Publisher {
    rounds: broadcast::Sender<Published>,
    orders: watch::Sender<Orders>,
    leadership: Leadership,
    stats: Vec<watch::Receiver<SinkStats>>,
    tasks: JoinSet<()>,
}

impl Default for Publisher {
    fn default() -> Self {
        Self::new()
    }
}

impl Publisher {
    /// The only replica's publisher, without sinks. Add them with [`log::spawn`], [`cloudwatch::spawn`] and
    /// [`prometheus::spawn`].
    pub fn new() -> Self {
        Self::led_by(Leadership::always())
    }

    /// The publisher of one of several replicas. While it does not lead, CloudWatch gets nothing and no values are
    /// logged; points are kept and sent once it leads, less those that another replica has published meanwhile.
    pub fn led_by(leadership: Leadership) -> Self {
        Self {
            rounds: broadcast::Sender::new(QUEUE_ROUNDS),
            orders: watch::Sender::new(Orders::default()),
            leadership,
            stats: Vec::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Hands a round to every sink. Never waits.
    pub fn publish(&self, round: impl Into<Published>) {
        // An error only says that there is no sink, which is a legal configuration.
        let _ = self.rounds.send(round.into());
    }

    /// How every sink does, in the order in which they were added.
    pub fn stats(&self) -> Vec<SinkStats> {
        self.stats.iter().map(|stats| stats.borrow().clone()).collect()
    }

    /// Readers of the sinks' figures, for parts that outlive the publisher's borrow.
    pub fn stats_receivers(&self) -> Vec<watch::Receiver<SinkStats>> {
        self.stats.clone()
    }

    /// Flushes what is queued and ends every sink, at the latest when `within` (real time) is over.
    pub async fn drain(self, within: Duration) {
        let stop_by = Instant::now() + within;
        let Self { rounds, orders, mut tasks, .. } = self;
        orders.send_modify(|orders| orders.stop_by = Some(stop_by));
        drop(rounds);
        let ended = tokio::time::timeout_at(stop_by, async { while tasks.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            tracing::warn!(unfinished = tasks.len(), "sinks did not finish in time");
            tasks.shutdown().await;
        }
    }

    /// Starts a sink's task.
    fn spawn<F: Future<Output = ()> + Send + 'static>(&mut self, name: &'static str, task: impl FnOnce(Intake) -> F) {
        let (stats, reader) = StatsCell::new(name);
        self.stats.push(reader);
        self.tasks.spawn(task(Intake {
            rounds: Rounds { queue: self.rounds.subscribe(), stats: stats.clone() },
            orders: self.orders.subscribe(),
            leadership: self.leadership.clone(),
            stats,
        }));
    }
}

#[cfg(test)]
mod tests {
    use cni_metrics_core::model::{Coverage, Ipv6Figures, UnixMillis, Values};
    use tokio::sync::Notify;

    use super::*;

    fn round(round: u64) -> Arc<Snapshot> {
        Arc::new(Snapshot {
            round,
            at: UnixMillis(0),
            duration_ms: 0,
            coverage: Coverage::default(),
            metrics: Values::default(),
            totals: Values::default(),
            ipv6: Ipv6Figures::default(),
            nodes: Vec::new(),
            anomalies: Vec::new(),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_stuck_sink_loses_its_oldest_rounds_counted_and_in_order_and_no_other_sink_notices() {
        let mut publisher = Publisher::new();
        let stuck = Arc::new(Notify::new());
        let (seen, seen_by_stuck) =
            (Arc::new(watch::Sender::new(Vec::new())), Arc::new(watch::Sender::new(Vec::new())));
        let read = |until: Option<Arc<Notify>>, seen: Arc<watch::Sender<Vec<u64>>>| {
            move |mut intake: Intake| async move {
                if let Some(until) = until {
                    until.notified().await;
                }
                while let Some(published) = intake.rounds.next().await {
                    seen.send_modify(|seen| seen.push(published.snapshot.round));
                }
            }
        };
        publisher.spawn("quick", read(None, Arc::clone(&seen)));
        publisher.spawn("stuck", read(Some(Arc::clone(&stuck)), Arc::clone(&seen_by_stuck)));
        for number in 1..=20 {
            publisher.publish(round(number));
            seen.subscribe().wait_for(|seen| seen.len() as u64 == number).await.unwrap();
        }
        stuck.notify_one();
        let stats = publisher.stats_receivers();
        publisher.drain(Duration::from_secs(1)).await;
        assert_eq!(*seen.borrow(), (1..=20).collect::<Vec<_>>());
        assert_eq!(*seen_by_stuck.borrow(), (13..=20).collect::<Vec<_>>());
        let lost: Vec<u64> = stats.iter().map(|stats| stats.borrow().lost_rounds).collect();
        assert_eq!(lost, [0, 12]);
    }

    #[tokio::test(start_paused = true)]
    async fn draining_is_over_in_time_whatever_a_sink_does() {
        let mut publisher = Publisher::new();
        publisher.spawn("deaf", |_intake| std::future::pending());
        let begun = Instant::now();
        publisher.drain(Duration::from_secs(7)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(7));
    }
}
