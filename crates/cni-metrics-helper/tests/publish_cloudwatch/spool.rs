//! What survives a restart, a crash and a damaged file.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cni_metrics_core::catalogue::METRICS;
use cni_metrics_core::model::UnixMillis;
use cni_metrics_helper::clock::Clock;
use cni_metrics_helper::publish::Published;
use cni_metrics_helper::publish::cloudwatch::spool::restore;
use cni_metrics_helper::publish::cloudwatch::{CloudWatchSettings, PutError, Restored};
use cni_metrics_helper::publish::stats::DropReason;

use crate::kit::{Bench, FLUSH, INTERVAL, Log, Scripted, after, down, settings, snapshot};

const MINUTE: Duration = Duration::from_mins(1);

fn spooled(dir: &Path) -> CloudWatchSettings {
    CloudWatchSettings { spool_dir: Some(dir.to_owned()), ..settings() }
}

/// A helper on the clock and with the service's memory of an earlier one.
fn start(dir: &Path, clock: &Clock, log: &Log, works: impl Fn(UnixMillis) -> bool + Send + Sync + 'static) -> Bench {
    let decide = move |at, _: &[_]| -> Result<(), PutError> { if works(at) { Ok(()) } else { Err(down()) } };
    let sink = Scripted::new(clock, log, decide);
    let restored = restore(dir, clock);
    Bench::with(spooled(dir), sink, clock.clone(), log.clone(), Some(restored))
}

#[tokio::test(start_paused = true)]
async fn a_restart_in_an_outage_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, log) = (Clock::scaled(crate::kit::START, 1.0), Log::default());
    let mut first = start(folder.path(), &clock, &log, |_| false);
    first.run(20 * MINUTE, INTERVAL).await;
    let (measured, stats) = (first.measured(), first.stats.clone());
    first.publisher.drain(Duration::from_secs(5)).await;
    assert_eq!(stats.borrow().dropped(), 0, "unsent points are in the spool, not lost");

    let mut second = start(folder.path(), &clock, &log, |_| true);
    second.run(5 * MINUTE, INTERVAL).await;
    second.clock.sleep(2 * FLUSH).await;
    assert_eq!(second.missing(), []);
    let delivered = log.delivered();
    assert!(measured.iter().all(|point| delivered.contains_key(point)));
    assert_eq!(delivered.len(), 50 * METRICS);
    assert_eq!(restore(folder.path(), &clock).rounds.len(), 0, "what was accepted is not kept");
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_moment_loses_nothing_and_repeats_nothing() {
    for crash_after_seconds in [0, 1, 29, 30, 31, 60, 61, 95, 120, 121, 330, 601, 645] {
        let folder = tempfile::tempdir().unwrap();
        let (clock, log) = (Clock::scaled(crate::kit::START, 1.0), Log::default());
        // Works for five minutes, is down for five, works again.
        let works = |at: UnixMillis| !(after(5 * MINUTE)..after(10 * MINUTE)).contains(&at);
        let mut first = start(folder.path(), &clock, &log, works);
        let crash = Duration::from_secs(crash_after_seconds);
        let _ = tokio::time::timeout(crash + Duration::from_millis(200), first.run(20 * MINUTE, INTERVAL)).await;
        let measured = first.measured();
        drop(first);

        let mut second = start(folder.path(), &clock, &log, works);
        second.clock.sleep(12 * MINUTE).await;
        second.run(2 * MINUTE, INTERVAL).await;
        second.clock.sleep(2 * FLUSH).await;
        let delivered = log.delivered();
        let lost = measured.iter().filter(|point| !delivered.contains_key(point)).count();
        assert_eq!((lost, second.missing().len()), (0, 0), "crash after {crash_after_seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_spool_a_crash_loses_what_was_not_accepted() {
    let mut bench = Bench::new(settings(), |_, _| Err(down()));
    bench.run(5 * MINUTE, INTERVAL).await;
    let stats = bench.stats.clone();
    bench.publisher.drain(Duration::from_secs(1)).await;
    assert_eq!(stats.borrow().dropped_points[&DropReason::Shutdown], 10 * METRICS as u64);
}

#[tokio::test(start_paused = true)]
async fn baselines_are_of_the_same_round_as_the_points() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, log) = (Clock::scaled(crate::kit::START, 1.0), Log::default());
    let bench = start(folder.path(), &clock, &log, |_| false);
    for round in 1..=5_u8 {
        let counters = Some(Arc::from(vec![round; 1000]));
        bench.publisher.publish(Published { snapshot: snapshot(u64::from(round), clock.now()), counters });
        clock.sleep(INTERVAL).await;
        let restored = restore(folder.path(), &clock);
        assert_eq!(restored.counters, Some(vec![round; 1000]));
        assert_eq!(restored.rounds.len(), usize::from(round));
        assert_eq!(restored.rounds.last().map(|kept| kept.at), Some(UnixMillis(clock.now().0 - 30_000)));
    }
    drop(bench);
    // They survive a process that has no round of its own to replace them with.
    let second = start(folder.path(), &clock, &log, |_| false);
    second.publisher.drain(Duration::from_secs(1)).await;
    assert_eq!(restore(folder.path(), &clock).counters, Some(vec![5; 1000]));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_file_is_set_aside_and_the_helper_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("points.spool");
    let (clock, log) = (Clock::scaled(crate::kit::START, 1.0), Log::default());
    for damaged in [&b""[..], b"CNISPOOL", b"garbage of some length that is not a spool file at all", &[0xff; 4096]] {
        std::fs::write(&file, damaged).unwrap();
        let restored = restore(folder.path(), &clock);
        assert_eq!(restored.rounds.len(), 0);
        assert!(!file.exists(), "moved out of the way");
        let aside = folder.path().join(format!("points.spool.damaged-{}", clock.now().0));
        assert_eq!(std::fs::read(&aside).unwrap(), damaged, "kept for whoever wants to look");
        clock.sleep(MINUTE).await;
    }
    let mut bench = start(folder.path(), &clock, &log, |_| true);
    bench.run(5 * MINUTE, INTERVAL).await;
    bench.clock.sleep(2 * FLUSH).await;
    assert_eq!(bench.missing(), []);
}

#[tokio::test(start_paused = true)]
async fn a_half_written_file_never_takes_the_place_of_a_whole_one() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, log) = (Clock::scaled(crate::kit::START, 1.0), Log::default());
    let mut bench = start(folder.path(), &clock, &log, |_| false);
    bench.run(2 * MINUTE, INTERVAL).await;
    drop(bench);
    // What a crash in the middle of a write leaves behind.
    std::fs::write(folder.path().join("points.spool.new"), b"CNISPOOL half").unwrap();
    assert_eq!(restore(folder.path(), &clock).rounds.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn points_of_another_cluster_id_are_set_aside_not_mixed_in() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, log) = (Clock::scaled(crate::kit::START, 1.0), Log::default());
    let mut first = start(folder.path(), &clock, &log, |_| false);
    first.run(2 * MINUTE, INTERVAL).await;
    drop(first);
    let other = CloudWatchSettings { cluster_id: "other".to_owned(), ..spooled(folder.path()) };
    let sink = Scripted::new(&clock, &log, |_, _| Ok(()));
    let restored = restore(folder.path(), &clock);
    let mut second = Bench::with(other, sink, clock.clone(), log.clone(), Some(restored));
    second.run(4 * MINUTE, INTERVAL).await;
    assert!(log.delivered().keys().all(|(at, _)| *at >= after(2 * MINUTE).0));
    let aside = std::fs::read_dir(folder.path()).unwrap().filter_map(Result::ok);
    assert_eq!(aside.filter(|entry| entry.file_name().to_string_lossy().contains("foreign")).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn points_and_baselines_of_another_shard_are_not_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let (clock, log) = (Clock::scaled(crate::kit::START, 1.0), Log::default());
    let shard = |text: &str| CloudWatchSettings { shard: text.parse().ok(), ..spooled(folder.path()) };
    let refusing = || Scripted::new(&clock, &log, |_, _| Err(down()));
    let mut first = Bench::with(shard("0/3"), refusing(), clock.clone(), log.clone(), None);
    first.run(2 * MINUTE, INTERVAL).await;
    drop(first);
    let left = restore(folder.path(), &clock);
    assert!(left.rounds.len() == 4 && left.goes_to(&shard("0/3")));
    for other in ["1/3", "0/4", ""] {
        assert!(!left.is_of(&shard(other)), "{other:?}");
    }
    let left = Restored { counters: Some(b"of shard 0/3".to_vec()), ..left };
    // The same replica after the number of shards was changed, ended before its first round.
    let second = Bench::with(shard("0/4"), refusing(), clock.clone(), log.clone(), Some(left));
    second.publisher.drain(MINUTE).await;
    let left = restore(folder.path(), &clock);
    assert_eq!((left.rounds.len(), left.counters, left.shard.as_str()), (0, None, "0/4"));
    let aside = std::fs::read_dir(folder.path()).unwrap().filter_map(Result::ok);
    assert_eq!(aside.filter(|entry| entry.file_name().to_string_lossy().contains("foreign")).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_cannot_be_written_costs_the_spool_not_the_delivery() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("file");
    std::fs::write(&blocked, b"not a folder").unwrap();
    let (clock, log) = (Clock::scaled(crate::kit::START, 1.0), Log::default());
    let mut bench = start(&blocked, &clock, &log, |_| true);
    bench.run(5 * MINUTE, INTERVAL).await;
    bench.clock.sleep(2 * FLUSH).await;
    assert_eq!(bench.missing(), []);
}
