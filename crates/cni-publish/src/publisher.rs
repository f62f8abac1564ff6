//! The sinks that run: rounds are handed to each, and all are stopped together.
//!
//! [`Publisher::publish`] never waits: a sink that hangs loses its own oldest unread rounds (counted when they are
//! dropped, so that a hanging sink is visible). It delays neither the round loop nor another sink. A sink's task that ends
//! before the program does is reported by [`Publisher::failed`]. What is queued when the program stops is flushed by
//! [`Publisher::drain`].

mod supervise;

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::delivery::queue::{self, Feed, Rounds};
use crate::messages::{Orders, Published};
use crate::sink::Sink;
use crate::stats::{SinkStats, Stats};
pub use supervise::{SinkEnded, SinkWatch};

/// Feeds the sinks. Dropping it without [`Publisher::drain`] stops every sink where it stands.
#[derive(Debug)]
pub struct Publisher {
    /// First, so that a drop aborts the sinks before they see that their feeds and orders have ended.
    tasks: JoinSet<()>,
    feeds: Vec<Feed>,
    orders: watch::Sender<Orders>,
    stats: Vec<Stats>,
    ended: watch::Sender<Option<SinkEnded>>,
}

impl Default for Publisher {
    fn default() -> Self {
        Self::new()
    }
}

impl Publisher {
    /// Without sinks; add them with [`Publisher::add`].
    pub fn new() -> Self {
        Self {
            tasks: JoinSet::new(),
            feeds: Vec::new(),
            orders: watch::Sender::new(Orders::default()),
            stats: Vec::new(),
            ended: watch::Sender::new(None),
        }
    }

    /// Starts a sink: from now on it gets every round.
    pub fn add(&mut self, sink: Box<dyn Sink>) {
        let stats = sink.stats().clone();
        let (feed, rounds) = queue::new(stats.clone());
        self.feeds.push(feed);
        self.stats.push(stats.clone());
        let orders = self.orders.subscribe();
        let task = run(sink, rounds, orders.clone());
        self.tasks.spawn(supervise::supervised(task, orders, stats, self.ended.clone()));
    }

    /// Hands a round to every sink. Never waits.
    pub fn publish(&self, round: impl Into<Published>) {
        let round = round.into();
        for feed in &self.feeds {
            feed.push(round.clone());
        }
    }

    /// The figures of every sink, in the order in which they were added.
    pub fn stats(&self) -> Vec<SinkStats> {
        self.stats.iter().map(Stats::now).collect()
    }

    /// Readers of the sinks' figures, for parts that outlive the publisher's borrow.
    pub fn stats_receivers(&self) -> Vec<watch::Receiver<SinkStats>> {
        self.stats.iter().map(Stats::watch).collect()
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

    /// Flushes what is queued and stops every sink, at the latest when `within` (real time) is over. All stop at the same
    /// time: one that hangs takes nothing of the time of the others.
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
}

/// A sink's task.
async fn run(mut sink: Box<dyn Sink>, mut rounds: Rounds, orders: watch::Receiver<Orders>) -> Result<(), String> {
    let outcome = feed(sink.as_mut(), &mut rounds).await;
    let now = Instant::now();
    let by = if outcome.is_ok() { orders.borrow().stop_by.unwrap_or(now) } else { now };
    sink.stop(by).await;
    outcome
}

/// Until the queue was closed and read, or the sink cannot go on.
async fn feed(sink: &mut dyn Sink, rounds: &mut Rounds) -> Result<(), String> {
    let stats = sink.stats().clone();
    sink.start().await?;
    loop {
        tokio::select! {
            round = rounds.next() => {
                let Some(round) = round else { return Ok(()) };
                sink.accept(round).await;
                // Last: a reader that sees that the round was read also sees what became of it.
                stats.round_accepted();
            }
            outcome = sink.work() => {
                outcome?;
                // A sink that always has something to do must not keep other tasks from running.
                tokio::task::coop::consume_budget().await;
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
