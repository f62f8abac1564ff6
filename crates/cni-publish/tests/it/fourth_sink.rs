//! A sink of another crate, through the public interface only, beside sinks of this one and one that hangs.

mod json_lines;

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cni_metrics_core::model::{Snapshot, UnixMillis};
use cni_publish::log::{LogMetrics, LogSink};
use cni_publish::stats::DropReason;
use cni_publish::{Published, Publisher, Selection, Sink, SinkStats, Stats, sink_metrics};
use cni_runtime::gate::Leadership;
use cni_types::catalogue::Metric;
use futures::future::BoxFuture;
use json_lines::JsonLines;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_mins(1);

/// The metrics of each round of these tests.
const POINTS: u64 = 2;

fn json_lines(path: &Path) -> JsonLines {
    JsonLines { stats: Stats::new("json_lines"), path: path.to_owned(), waiting: VecDeque::new() }
}

fn round(number: u32) -> Arc<Snapshot> {
    let mut snapshot = Snapshot::empty(number.into(), UnixMillis(i64::from(number) * 30_000));
    snapshot.metrics.set(Metric::AddReqCount, Some(0.0));
    snapshot.metrics.set(Metric::EniAllocated, Some(f64::from(number)));
    Arc::new(snapshot)
}

/// Its destination does not answer until it is released.
struct Hanging {
    stats: Stats,
    release: Arc<Notify>,
}

impl Sink for Hanging {
    fn stats(&self) -> &Stats {
        &self.stats
    }

    fn accept(&mut self, _round: Published) -> BoxFuture<'_, ()> {
        Box::pin(self.release.notified())
    }
}

async fn until(stats: &watch::Receiver<SinkStats>, wanted: impl Fn(&SinkStats) -> bool) -> SinkStats {
    let mut stats = stats.clone();
    let found = timeout(LIMIT, stats.wait_for(wanted)).await;
    found.map_or_else(|_| panic!("not within {LIMIT:?}"), |found| found.unwrap().clone())
}

/// The numbers of the rounds in the file.
fn written(path: &Path) -> Vec<u64> {
    let lines = fs::read_to_string(path).unwrap();
    let rounds = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    rounds.map(|line| line["round"].as_u64().unwrap()).collect()
}

#[test]
fn a_complete_sink_has_at_most_60_lines() {
    assert!(include_str!("fourth_sink/json_lines.rs").lines().count() <= 60);
}

#[test]
async fn a_fourth_sink_fails_recovers_and_stops_beside_a_sink_that_hangs() {
    let folder = cni_testkit::temporary_folder();
    let (path, away) = (folder.path().join("rounds.json"), folder.path().join("away"));
    let release = Arc::new(Notify::new());
    let mut publisher = Publisher::new();
    publisher.add(Box::new(Hanging { stats: Stats::new("hanging"), release: Arc::clone(&release) }));
    publisher.add(Box::new(json_lines(&path)));
    publisher.add(Box::new(LogSink::new(Selection::all(), Leadership::always(), LogMetrics::Fields)));
    let [hanging, lines, log] = publisher.stats_receivers().try_into().unwrap();
    // Each round is in the file before the next one is measured, and the sink that hangs has not finished its first.
    let publish = async |number: u32| {
        publisher.publish(round(number));
        until(&log, |stats| stats.rounds == u64::from(number)).await;
        assert_eq!(hanging.borrow().rounds, 0);
        until(&lines, |stats| stats.rounds == u64::from(number)).await
    };

    for number in 1..=3 {
        assert_eq!(publish(number).await.sent_points, u64::from(number) * POINTS);
    }
    fs::rename(&path, &away).unwrap();
    for number in 4..=10 {
        let stats = publish(number).await;
        assert!(stats.trouble.unwrap().contains("rounds.json cannot be written"));
    }
    assert_eq!(lines.borrow().dropped_points, [(DropReason::BufferFull, 3 * POINTS)].into());
    fs::rename(&away, &path).unwrap();
    let stats = publish(11).await;
    // Of the rounds in the failure the newest 4 waited, this one included.
    assert_eq!((stats.sent_points, stats.trouble), (7 * POINTS, None));
    assert_eq!(written(&path), [1, 2, 3, 8, 9, 10, 11]);

    fs::rename(&path, &away).unwrap();
    publish(12).await;
    fs::rename(&away, &path).unwrap();
    let mut page = String::new();
    sink_metrics::write(&mut page, &publisher.stats(), &[]);
    let draining = tokio::spawn(publisher.drain(LIMIT));
    // It was stopped, and wrote what was left, while the other still hangs.
    until(&lines, |stats| stats.sent_points == 8 * POINTS).await;
    assert_eq!(hanging.borrow().rounds, 0);
    release.notify_one();
    // The first round is over; the others are waited for in vain, each until it is released.
    for done in 1..=9 {
        until(&hanging, |stats| stats.rounds == done).await;
        release.notify_one();
    }
    timeout(LIMIT, draining).await.unwrap().unwrap();
    assert_eq!(written(&path), [1, 2, 3, 8, 9, 10, 11, 12]);

    for series in [
        "cni_metrics_helper_sink_rounds_total{sink=\"json_lines\"} 12",
        "cni_metrics_helper_sink_lost_rounds_total{sink=\"json_lines\"} 0",
        "cni_metrics_helper_sink_queued_rounds{sink=\"json_lines\"} 0",
        "cni_metrics_helper_sink_last_success_timestamp_seconds{sink=\"json_lines\"} 330",
        "cni_metrics_helper_sink_in_trouble{sink=\"json_lines\"} 1",
        "cni_metrics_helper_sink_in_trouble{sink=\"log\"} 0",
        // One round is being accepted, 8 are in the queue.
        "cni_metrics_helper_sink_lost_rounds_total{sink=\"hanging\"} 3",
    ] {
        assert!(page.lines().any(|line| line == series), "{series} is not in:\n{page}");
    }
}

#[test]
async fn what_a_fourth_sink_cannot_deliver_at_the_end_is_counted() {
    let folder = cni_testkit::temporary_folder();
    let path = folder.path().join("rounds.json");
    let mut publisher = Publisher::new();
    publisher.add(Box::new(json_lines(&path)));
    let [lines] = publisher.stats_receivers().try_into().unwrap();
    publisher.publish(round(1));
    until(&lines, |stats| stats.rounds == 1).await;
    fs::remove_file(&path).unwrap();
    publisher.publish(round(2));
    publisher.publish(round(3));
    timeout(LIMIT, publisher.drain(LIMIT)).await.unwrap();
    let stats = lines.borrow();
    assert_eq!((stats.rounds, stats.sent_points), (3, POINTS));
    assert_eq!(stats.dropped_points, [(DropReason::Shutdown, 2 * POINTS)].into());
}

#[test]
async fn a_fourth_sink_that_cannot_start_is_named_with_its_reason() {
    let folder = cni_testkit::temporary_folder();
    let mut publisher = Publisher::new();
    publisher.add(Box::new(json_lines(&folder.path().join("missing/rounds.json"))));
    let ended = timeout(LIMIT, publisher.failed()).await.unwrap();
    assert_eq!(ended.name, "json_lines");
    assert!(ended.reason.contains("missing/rounds.json: No such file"), "{ended}");
    assert!(publisher.stats()[0].trouble.as_ref().unwrap().contains(&ended.reason));
    publisher.publish(round(1));
    assert_eq!(publisher.stats()[0].lost_rounds, 1);
}
