//! The way out: every finished round is handed to each sink's own task behind one bounded, drop-oldest queue.
//!
//! [`Publisher::publish`] never waits: a sink that hangs costs itself its oldest unread rounds (counted when they are
//! dropped, so that a hanging sink is visible), never the round loop and never another sink. A sink's task that ends
//! before the program does is reported by [`Publisher::failed`]. What is queued when the program stops is flushed by
//! [`Publisher::drain`].

pub mod cloudwatch;
pub mod delivery;
pub mod listen;
pub mod log;
mod messages;
pub mod prometheus;
pub mod selection;
pub mod stats;
mod supervise;

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use delivery::queue::{self, Feed, Rounds};
use messages::Orders;
pub use messages::Published;
pub use selection::{Selection, SelectionError};
pub use stats::SinkStats;
use stats::StatsCell;
pub use supervise::{SinkEnded, SinkWatch};

use cni_runtime::gate::Leadership;

/// What a sink's task reads from.
#[derive(Debug)]
pub struct Intake {
    rounds: Rounds,
    orders: watch::Receiver<Orders>,
    /// A sink that shares its destination with other replicas sends only while this one leads.
    leadership: Leadership,
    stats: StatsCell,
}

/// Feeds the sinks. Dropping it without [`Publisher::drain`] stops every sink where it stands.
#[derive(Debug)]
pub struct Publisher {
    /// First, so that a drop aborts the sinks before they see that their feeds and orders have ended.
    tasks: JoinSet<()>,
    feeds: Vec<Feed>,
    orders: watch::Sender<Orders>,
    leadership: Leadership,
    stats: Vec<watch::Receiver<SinkStats>>,
    ended: watch::Sender<Option<SinkEnded>>,
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
            tasks: JoinSet::new(),
            feeds: Vec::new(),
            orders: watch::Sender::new(Orders::default()),
            leadership,
            stats: Vec::new(),
            ended: watch::Sender::new(None),
        }
    }

    /// Hands a round to every sink. Never waits.
    pub fn publish(&self, round: impl Into<Published>) {
        let round = round.into();
        for feed in &self.feeds {
            feed.push(round.clone());
        }
    }

    /// How every sink does, in the order in which they were added.
    pub fn stats(&self) -> Vec<SinkStats> {
        self.stats.iter().map(|stats| stats.borrow().clone()).collect()
    }

    /// Readers of the sinks' figures, for parts that outlive the publisher's borrow.
    pub fn stats_receivers(&self) -> Vec<watch::Receiver<SinkStats>> {
        self.stats.clone()
    }

    /// Waits until a sink's task ends (by a panic or by returning) although the program goes on; the first one is
    /// reported, also to those who ask later. Never resolves while all of them run. Cancelling it loses nothing.
    pub async fn failed(&self) -> SinkEnded {
        self.watch_sinks().failed().await
    }

    /// The same for a supervisor that cannot keep the publisher borrowed.
    pub fn watch_sinks(&self) -> SinkWatch {
        SinkWatch::new(self.ended.subscribe())
    }

    /// Flushes what is queued and ends every sink, at the latest when `within` (real time) is over.
    pub async fn drain(self, within: Duration) {
        let now = Instant::now();
        let stop_by = now.checked_add(within).unwrap_or(now);
        let Self { feeds, orders, mut tasks, .. } = self;
        orders.send_modify(|orders| orders.stop_by = Some(stop_by));
        drop(feeds);
        let ended = tokio::time::timeout_at(stop_by, async { while tasks.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            tracing::warn!(unfinished = tasks.len(), "sinks did not finish in time");
            tasks.shutdown().await;
        }
    }

    /// Starts a sink's task.
    pub fn spawn<F>(&mut self, name: &'static str, task: impl FnOnce(Intake) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stats, reader) = StatsCell::new(name);
        self.stats.push(reader);
        let (feed, rounds) = queue::new(stats.clone());
        self.feeds.push(feed);
        let orders = self.orders.subscribe();
        let task =
            task(Intake { rounds, orders: orders.clone(), leadership: self.leadership.clone(), stats: stats.clone() });
        self.tasks.spawn(supervise::supervised(task, orders, stats, self.ended.clone()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cni_metrics_core::model::{Snapshot, UnixMillis};
    use tokio::sync::Notify;
    use tokio::time::timeout;

    use super::*;

    pub(super) fn round(round: u64) -> Arc<Snapshot> {
        Arc::new(Snapshot::empty(round, UnixMillis(0)))
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

    #[tokio::test(start_paused = true)]
    async fn rounds_that_a_sink_does_not_read_are_counted_when_they_are_dropped() {
        let mut publisher = Publisher::new();
        publisher.spawn("hung", |intake| async move {
            let _never_read = intake;
            std::future::pending::<()>().await;
        });
        let [stats] = publisher.stats_receivers().try_into().unwrap();
        for number in 1..=8 {
            publisher.publish(round(number));
        }
        assert_eq!((stats.borrow().queued_rounds, stats.borrow().lost_rounds), (8, 0));
        assert_eq!(stats.borrow().trouble, None);
        for number in 9..=20 {
            publisher.publish(round(number));
        }
        assert_eq!((stats.borrow().queued_rounds, stats.borrow().lost_rounds), (8, 12));
        assert!(stats.borrow().trouble.as_ref().unwrap().contains("does not read its queue"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sink_that_ends_before_the_program_is_reported_with_its_reason() {
        let cause = "the answer overflowed";
        for panics in [true, false] {
            let mut publisher = Publisher::new();
            publisher.spawn("sound", |intake| async move {
                let _open = intake;
                std::future::pending::<()>().await;
            });
            assert!(timeout(Duration::from_hours(1), publisher.failed()).await.is_err(), "all sinks run");
            publisher.spawn("broken", move |mut intake| async move {
                intake.rounds.next().await;
                assert!(!panics, "{cause}");
            });
            publisher.publish(round(1));
            let ended = timeout(Duration::from_hours(1), publisher.failed()).await.unwrap();
            assert_eq!(ended.name, "broken");
            assert_eq!(ended.reason.contains(cause), panics, "{ended}");
            assert_eq!(publisher.watch_sinks().failed().await, ended, "later callers get it too");
            let stats = publisher.stats();
            assert!(stats[1].trouble.as_ref().unwrap().contains(&ended.reason), "{:?}", stats[1]);
            // What comes after that is lost to this sink, and counted.
            publisher.publish(round(2));
            assert_eq!(publisher.stats()[1].lost_rounds, 1);
            publisher.drain(Duration::from_secs(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ending_with_the_program_is_no_failure() {
        let mut publisher = Publisher::new();
        publisher.spawn("orderly", |mut intake| async move { while intake.rounds.next().await.is_some() {} });
        let mut watch = publisher.watch_sinks();
        publisher.publish(round(1));
        publisher.drain(Duration::from_secs(1)).await;
        assert!(timeout(Duration::from_hours(1), watch.failed()).await.is_err());
    }
}
