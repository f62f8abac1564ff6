use std::future::{pending, ready};
use std::sync::Arc;

use cni_metrics_core::model::{Snapshot, UnixMillis};
use futures::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::*;

pub(crate) fn round(round: u64) -> Arc<Snapshot> {
    Arc::new(Snapshot::empty(round, UnixMillis(0)))
}

/// Writes down the numbers of the rounds that it gets.
struct Recorder {
    stats: Stats,
    seen: watch::Sender<Vec<u64>>,
    /// Its start takes until then.
    begins: Option<Arc<Notify>>,
}

fn recorder(name: &'static str, begins: Option<Arc<Notify>>) -> (Box<dyn Sink>, watch::Receiver<Vec<u64>>) {
    let (seen, reader) = watch::channel(Vec::new());
    (Box::new(Recorder { stats: Stats::new(name), seen, begins }), reader)
}

impl Sink for Recorder {
    fn stats(&self) -> &Stats {
        &self.stats
    }

    fn start(&mut self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            if let Some(begins) = &self.begins {
                begins.notified().await;
            }
            Ok(())
        })
    }

    fn accept(&mut self, round: Published) -> BoxFuture<'_, ()> {
        self.seen.send_modify(|seen| seen.push(round.snapshot.round));
        Box::pin(ready(()))
    }
}

/// A sink that never begins to read its queue.
fn hung(name: &'static str) -> Box<dyn Sink> {
    recorder(name, Some(Arc::new(Notify::new()))).0
}

/// Ends after its first round.
struct Broken {
    stats: Stats,
    panics: bool,
    has_round: bool,
}

const CAUSE: &str = "the answer overflowed";

impl Sink for Broken {
    fn stats(&self) -> &Stats {
        &self.stats
    }

    fn accept(&mut self, _round: Published) -> BoxFuture<'_, ()> {
        assert!(!self.panics, "{CAUSE}");
        self.has_round = true;
        Box::pin(ready(()))
    }

    fn work(&mut self) -> BoxFuture<'_, Result<(), String>> {
        if self.has_round { Box::pin(ready(Err(CAUSE.to_owned()))) } else { Box::pin(pending()) }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stuck_sink_loses_its_oldest_rounds_counted_and_in_order_and_no_other_sink_notices() {
    let mut publisher = Publisher::new();
    let begins = Arc::new(Notify::new());
    let (quick, mut seen) = recorder("quick", None);
    let (stuck, seen_by_stuck) = recorder("stuck", Some(Arc::clone(&begins)));
    publisher.add(quick);
    publisher.add(stuck);
    for number in 1..=20 {
        publisher.publish(round(number));
        seen.wait_for(|seen| seen.len() as u64 == number).await.unwrap();
    }
    begins.notify_one();
    let stats = publisher.stats_receivers();
    publisher.drain(Duration::from_secs(1)).await;
    assert_eq!(*seen.borrow(), (1..=20).collect::<Vec<_>>());
    assert_eq!(*seen_by_stuck.borrow(), (13..=20).collect::<Vec<_>>());
    let lost: Vec<u64> = stats.iter().map(|stats| stats.borrow().lost_rounds).collect();
    assert_eq!(lost, [0, 12]);
    let read: Vec<u64> = stats.iter().map(|stats| stats.borrow().rounds).collect();
    assert_eq!(read, [20, 8]);
}

#[tokio::test(start_paused = true)]
async fn draining_is_over_in_time_whatever_a_sink_does() {
    let mut publisher = Publisher::new();
    publisher.add(hung("deaf"));
    let begun = Instant::now();
    publisher.drain(Duration::from_secs(7)).await;
    assert_eq!(begun.elapsed(), Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn rounds_that_a_sink_does_not_read_are_counted_when_they_are_dropped() {
    let mut publisher = Publisher::new();
    publisher.add(hung("hung"));
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
    for panics in [true, false] {
        let mut publisher = Publisher::new();
        publisher.add(hung("sound"));
        assert!(timeout(Duration::from_hours(1), publisher.failed()).await.is_err(), "all sinks run");
        publisher.add(Box::new(Broken { stats: Stats::new("broken"), panics, has_round: false }));
        publisher.publish(round(1));
        let ended = timeout(Duration::from_hours(1), publisher.failed()).await.unwrap();
        assert_eq!(ended.name, "broken");
        assert!(ended.reason.contains(CAUSE), "{ended}");
        assert_eq!(ended.reason.contains("panic"), panics, "{ended}");
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
    publisher.add(recorder("orderly", None).0);
    let mut watch = publisher.watch_sinks();
    publisher.publish(round(1));
    publisher.drain(Duration::from_secs(1)).await;
    assert!(timeout(Duration::from_hours(1), watch.failed()).await.is_err());
}

/// A step of `work` that is longer than the time between two rounds, so that each round cuts it off.
struct Slow {
    stats: Stats,
    until: Instant,
    steps: watch::Sender<u64>,
}

impl Sink for Slow {
    fn stats(&self) -> &Stats {
        &self.stats
    }

    fn accept(&mut self, _round: Published) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }

    fn work(&mut self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            tokio::time::sleep_until(self.until).await;
            self.until += Duration::from_secs(70);
            self.steps.send_modify(|steps| *steps += 1);
            Ok(())
        })
    }
}

#[tokio::test(start_paused = true)]
async fn rounds_do_not_keep_a_sink_from_its_work() {
    let (steps, reader) = watch::channel(0);
    let mut publisher = Publisher::new();
    let until = Instant::now() + Duration::from_secs(70);
    publisher.add(Box::new(Slow { stats: Stats::new("slow"), until, steps }));
    for number in 1..=100 {
        publisher.publish(round(number));
        // The time between rounds is the input; the test's clock is paused and moves on at once.
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    // 100 rounds of 30 s, steps of 70 s.
    assert_eq!((*reader.borrow(), publisher.stats()[0].rounds), (42, 100));
}

/// Always has something to do.
struct Busy(Stats);

impl Sink for Busy {
    fn stats(&self) -> &Stats {
        &self.0
    }

    fn accept(&mut self, _round: Published) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }

    fn work(&mut self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(ready(Ok(())))
    }
}

/// Without a bound on the busy sink this test does not end.
#[tokio::test]
async fn a_sink_that_is_always_busy_neither_misses_its_rounds_nor_delays_others() {
    let mut publisher = Publisher::new();
    let (other, mut seen) = recorder("other", None);
    publisher.add(Box::new(Busy(Stats::new("busy"))));
    publisher.add(other);
    for number in 1..=100 {
        publisher.publish(round(number));
        seen.wait_for(|seen| seen.len() as u64 == number).await.unwrap();
    }
    let busy = publisher.stats_receivers().remove(0);
    publisher.drain(Duration::from_mins(1)).await;
    assert_eq!((busy.borrow().rounds, busy.borrow().lost_rounds), (100, 0));
}
