//! What survives a restart, a crash and a damaged file.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cni_metrics_core::model::UnixMillis;
use cni_publish::Published;
use cni_publish::cloudwatch::{CloudWatchSettings, PutError};
use cni_publish::delivery::spool::{Restored, look, open};
use cni_publish::selection::ROWS;
use cni_publish::stats::DropReason;
use cni_runtime::clock::Clock;
use cni_types::catalogue::{Kind, METRICS};

use super::kit::{Bench, FLUSH, INTERVAL, Log, Scripted, after, down, settings, snapshot};

const MINUTE: Duration = Duration::from_mins(1);

fn spooled(dir: &Path) -> CloudWatchSettings {
    CloudWatchSettings { spool_dir: Some(dir.to_owned()), ..settings() }
}

/// A helper on the clock and with the service's memory of an earlier one.
async fn start(
    dir: &Path,
    clock: &Clock,
    log: &Log,
    works: impl Fn(UnixMillis) -> bool + Send + Sync + 'static,
) -> Bench {
    start_seeded(super::kit::SEED, dir, clock, log, works).await
}

/// The same with pauses that this number determines.
async fn start_seeded(
    seed: u64,
    dir: &Path,
    clock: &Clock,
    log: &Log,
    works: impl Fn(UnixMillis) -> bool + Send + Sync + 'static,
) -> Bench {
    let decide = move |at, _: &[_]| -> Result<(), PutError> { if works(at) { Ok(()) } else { Err(down()) } };
    let sink = Scripted::new(clock, log, decide);
    let opened = open(&spooled(dir).spool(), clock).await;
    Bench::with_seed(seed, spooled(dir), sink, clock.clone(), log.clone(), opened)
}

/// What is on disk now.
fn on_disk(dir: &Path) -> Restored {
    look(dir).unwrap().unwrap()
}

/// The last request of the first helper may begin at any moment of the time that it has for its end.
#[test(start_paused = true)]
async fn a_restart_in_an_outage_loses_nothing() {
    for seed in 0..25 {
        restart_in_an_outage(seed).await;
    }
}

async fn restart_in_an_outage(seed: u64) {
    let folder = cni_testkit::temporary_folder();
    let (clock, log) = (Clock::scaled(super::kit::START, 1.0), Log::default());
    let mut first = start_seeded(seed, folder.path(), &clock, &log, |_| false).await;
    first.run(20 * MINUTE, INTERVAL).await;
    let (measured, stats) = (first.measured(), first.stats.clone());
    first.publisher.drain(Duration::from_secs(5)).await;
    assert_eq!(stats.borrow().dropped(), 0, "unsent points are in the spool, not lost");

    let mut second = start_seeded(seed, folder.path(), &clock, &log, |_| true).await;
    second.run(5 * MINUTE, INTERVAL).await;
    second.clock.sleep(2 * FLUSH).await;
    assert_eq!(second.missing(), []);
    let delivered = log.delivered();
    let lost: Vec<_> = measured.iter().filter(|point| !delivered.contains_key(point)).collect();
    assert_eq!((lost, second.stats.borrow().dropped()), (Vec::new(), 0), "seed {seed}");
    assert_eq!(delivered.len(), 50 * METRICS);
    assert_eq!(on_disk(folder.path()).rounds.len(), 0, "what was accepted is not kept");
}

#[test(start_paused = true)]
async fn a_crash_at_any_moment_loses_nothing_and_repeats_nothing() {
    for crash_after_seconds in [0, 1, 29, 30, 31, 60, 61, 95, 120, 121, 330, 601, 645] {
        let folder = cni_testkit::temporary_folder();
        let (clock, log) = (Clock::scaled(super::kit::START, 1.0), Log::default());
        // Works for five minutes, is down for five, works again.
        let works = |at: UnixMillis| !(after(5 * MINUTE)..after(10 * MINUTE)).contains(&at);
        let mut first = start(folder.path(), &clock, &log, works).await;
        let crash = Duration::from_secs(crash_after_seconds);
        let _ = tokio::time::timeout(crash + Duration::from_millis(200), first.run(20 * MINUTE, INTERVAL)).await;
        let measured = first.measured();
        drop(first);

        let mut second = start(folder.path(), &clock, &log, works).await;
        second.clock.sleep(12 * MINUTE).await;
        second.run(2 * MINUTE, INTERVAL).await;
        second.clock.sleep(2 * FLUSH).await;
        let delivered = log.delivered();
        let lost = measured.iter().filter(|point| !delivered.contains_key(point)).count();
        assert_eq!((lost, second.missing().len()), (0, 0), "crash after {crash_after_seconds} s");
    }
}

#[test(start_paused = true)]
async fn without_a_spool_a_crash_loses_what_was_not_accepted() {
    let mut bench = Bench::new(settings(), |_, _| Err(down()));
    bench.run(5 * MINUTE, INTERVAL).await;
    let stats = bench.stats.clone();
    bench.publisher.drain(Duration::from_secs(1)).await;
    assert_eq!(stats.borrow().dropped_points[&DropReason::Shutdown], 10 * METRICS as u64);
}

#[test(start_paused = true)]
async fn baselines_are_of_the_same_round_as_the_points() {
    let folder = cni_testkit::temporary_folder();
    let (clock, log) = (Clock::scaled(super::kit::START, 1.0), Log::default());
    let bench = start(folder.path(), &clock, &log, |_| false).await;
    for round in 1..=5_u8 {
        let counters = Some(Arc::from(vec![round; 1000]));
        bench.publisher.publish(Published {
            snapshot: snapshot(u64::from(round), clock.now()),
            counters,
            conclusion: None,
        });
        clock.sleep(INTERVAL).await;
        let restored = on_disk(folder.path());
        assert_eq!(restored.counters, Some(vec![round; 1000]));
        assert_eq!(restored.rounds.len(), usize::from(round));
        assert_eq!(restored.rounds.last().map(|kept| kept.at), Some(UnixMillis(clock.now().0 - 30_000)));
    }
    drop(bench);
    // They survive a process that has no round of its own to replace them with.
    let second = start(folder.path(), &clock, &log, |_| false).await;
    second.publisher.drain(Duration::from_secs(1)).await;
    assert_eq!(on_disk(folder.path()).counters, Some(vec![5; 1000]));
}

/// The files in a folder whose names contain this.
fn files(dir: &Path, part: &str) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().filter_map(Result::ok).map(|entry| entry.path());
    entries.filter(|path| path.file_name().unwrap().to_string_lossy().contains(part)).collect()
}

#[test(start_paused = true)]
async fn a_damaged_file_is_set_aside_and_the_helper_goes_on() {
    let folder = cni_testkit::temporary_folder();
    let file = folder.path().join("points.spool");
    let (clock, log) = (Clock::scaled(super::kit::START, 1.0), Log::default());
    for damaged in [&b""[..], b"CNISPOOL", b"garbage of some length that is not a spool file at all", &[0xff; 4096]] {
        std::fs::write(&file, damaged).unwrap();
        drop(open(&spooled(folder.path()).spool(), &clock).await);
        assert!(!file.exists(), "moved out of the way");
        let aside = files(folder.path(), "points.spool.damaged-");
        assert_eq!(aside.len(), 1);
        assert_eq!(std::fs::read(&aside[0]).unwrap(), damaged, "kept for inspection");
        std::fs::remove_file(&aside[0]).unwrap();
    }
    let mut bench = start(folder.path(), &clock, &log, |_| true).await;
    bench.run(5 * MINUTE, INTERVAL).await;
    bench.clock.sleep(2 * FLUSH).await;
    assert_eq!(bench.missing(), []);
}

#[test(start_paused = true)]
async fn a_damaged_file_whose_header_is_whole_says_how_many_points_are_lost() {
    let folder = cni_testkit::temporary_folder();
    let (clock, log) = (Clock::scaled(super::kit::START, 1.0), Log::default());
    let mut first = start(folder.path(), &clock, &log, |_| false).await;
    first.run(2 * MINUTE, INTERVAL).await;
    drop(first);
    let file = folder.path().join("points.spool");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let second = start(folder.path(), &clock, &log, |_| true).await;
    assert_eq!(second.stats().dropped_points[&DropReason::SpoolUnusable], 4 * METRICS as u64);
    second.publisher.drain(MINUTE).await;
}

#[test(start_paused = true)]
async fn a_file_of_a_later_version_is_set_aside_and_named() {
    let folder = cni_testkit::temporary_folder();
    let clock = Clock::scaled(super::kit::START, 1.0);
    let file = folder.path().join("points.spool");
    std::fs::write(&file, b"CNISPOOL\x04\0\0\0and whatever that version keeps").unwrap();
    assert!(look(folder.path()).unwrap_err().to_string().contains("a later version of this program (format 4)"));
    assert!(open(&spooled(folder.path()).spool(), &clock).await.baselines().is_none());
    assert_eq!(files(folder.path(), "points.spool.newer-").len(), 1);
    assert!(!file.exists());
}

#[test(start_paused = true)]
async fn a_half_written_file_never_takes_the_place_of_a_whole_one() {
    let folder = cni_testkit::temporary_folder();
    let (clock, log) = (Clock::scaled(super::kit::START, 1.0), Log::default());
    let mut bench = start(folder.path(), &clock, &log, |_| false).await;
    bench.run(2 * MINUTE, INTERVAL).await;
    drop(bench);
    // What a crash in the middle of a write leaves behind.
    std::fs::write(folder.path().join("points.spool.new"), b"CNISPOOL half").unwrap();
    assert_eq!(on_disk(folder.path()).rounds.len(), 4);
    drop(open(&spooled(folder.path()).spool(), &clock).await);
    assert_eq!(files(folder.path(), "points.spool.new").len(), 0, "and does not take room for ever");
}

#[test(start_paused = true)]
async fn points_of_another_cluster_id_are_set_aside_not_mixed_in() {
    let folder = cni_testkit::temporary_folder();
    let (clock, log) = (Clock::scaled(super::kit::START, 1.0), Log::default());
    let mut first = start(folder.path(), &clock, &log, |_| false).await;
    first.run(2 * MINUTE, INTERVAL).await;
    drop(first);
    let other = CloudWatchSettings { cluster_id: "other".parse().unwrap(), ..spooled(folder.path()) };
    let sink = Scripted::new(&clock, &log, |_, _| Ok(()));
    let opened = open(&other.spool(), &clock).await;
    let mut second = Bench::with(other, sink, clock.clone(), log.clone(), opened);
    second.run(4 * MINUTE, INTERVAL).await;
    assert!(log.delivered().keys().all(|(at, _)| *at >= after(2 * MINUTE).0));
    assert_eq!(files(folder.path(), "foreign").len(), 1);
    assert_eq!(second.stats().dropped_points[&DropReason::SpoolUnusable], 4 * METRICS as u64, "counted as not sent");
}

#[test(start_paused = true)]
async fn points_and_baselines_of_another_shard_are_not_taken_over() {
    let folder = cni_testkit::temporary_folder();
    let (clock, log) = (Clock::scaled(super::kit::START, 1.0), Log::default());
    let shard = |text: &str| CloudWatchSettings { shard: text.parse().ok(), ..spooled(folder.path()) };
    let refusing = || Scripted::new(&clock, &log, |_, _| Err(down()));
    let first =
        Bench::with(shard("0/3"), refusing(), clock.clone(), log.clone(), open(&shard("0/3").spool(), &clock).await);
    for round in 0..4 {
        let counters = Some(Arc::from(b"of shard 0/3".to_vec()));
        first.publisher.publish(Published { snapshot: snapshot(round, clock.now()), counters, conclusion: None });
        clock.sleep(INTERVAL).await;
    }
    drop(first);
    let left = on_disk(folder.path());
    assert!(left.rounds.len() == 4 && left.goes_to(&shard("0/3").spool().origin) && left.counters.is_some());
    for other in ["1/3", "0/4", ""] {
        assert!(!left.is_of(&shard(other).spool().origin), "{other:?}");
    }
    // The same replica after the number of shards was changed, ended before its first round.
    let opened = open(&shard("0/4").spool(), &clock).await;
    assert!(opened.baselines().is_none());
    let second = Bench::with(shard("0/4"), refusing(), clock.clone(), log.clone(), opened);
    second.publisher.drain(MINUTE).await;
    let left = on_disk(folder.path());
    assert_eq!((left.rounds.len(), left.counters, left.shard.as_str()), (0, None, "0/4"));
    assert_eq!(files(folder.path(), "foreign").len(), 1);
}

#[test(start_paused = true)]
async fn a_folder_that_cannot_be_written_costs_the_spool_not_the_delivery() {
    let folder = cni_testkit::temporary_folder();
    let blocked = folder.path().join("file");
    std::fs::write(&blocked, b"not a folder").unwrap();
    let (clock, log) = (Clock::scaled(super::kit::START, 1.0), Log::default());
    let mut bench = start(&blocked, &clock, &log, |_| true).await;
    assert!(bench.stats().trouble.unwrap().contains("SPOOL_DIR cannot be written"));
    bench.run(5 * MINUTE, INTERVAL).await;
    bench.clock.sleep(2 * FLUSH).await;
    assert_eq!(bench.missing(), []);
    assert!(bench.stats().trouble.unwrap().contains("spool not written"), "and sink_in_trouble is 1 all the while");
    // Once it can be written it is, and the trouble is over.
    std::fs::remove_file(&blocked).unwrap();
    bench.publish();
    bench.clock.sleep(INTERVAL).await;
    assert_eq!(bench.stats().trouble, None);
    assert!(blocked.join("points.spool").exists());
}

/// What stops writing and removing by everybody, root too: something else in the folder's place.
struct Blocked<'a> {
    dir: &'a Path,
    away: std::path::PathBuf,
}

impl<'a> Blocked<'a> {
    fn new(dir: &'a Path) -> Self {
        let away = dir.with_extension("away");
        std::fs::rename(dir, &away).unwrap();
        std::fs::write(dir, b"not a folder").unwrap();
        Self { dir, away }
    }

    fn unblock(self) {
        std::fs::remove_file(self.dir).unwrap();
        std::fs::rename(&self.away, self.dir).unwrap();
    }
}

/// Publishes a round with baselines that say which.
fn publish_with_baselines(bench: &mut Bench) {
    let at = bench.clock.now();
    bench.published.push(at);
    let counters = Some(Arc::from(at.0.to_le_bytes().to_vec()));
    bench.publisher.publish(Published {
        snapshot: snapshot(bench.published.len() as u64, at),
        counters,
        conclusion: None,
    });
}

/// A write fails because `points.spool.new` cannot be made: a folder stands in its place. The old file can be removed.
fn block_writes(dir: &Path) {
    std::fs::create_dir(dir.join("points.spool.new")).unwrap();
}

#[test(start_paused = true)]
async fn what_could_not_be_written_is_not_repeated_by_the_next_start() {
    let folder = cni_testkit::temporary_folder();
    let (clock, log) = (Clock::scaled(super::kit::START, 1.0), Log::default());
    let works = |at: UnixMillis| at >= after(2 * MINUTE);
    let mut first = start(folder.path(), &clock, &log, works).await;
    for _ in 0..4 {
        publish_with_baselines(&mut first);
        clock.sleep(INTERVAL).await;
    }
    assert_eq!(on_disk(folder.path()).rounds.len(), 4);
    // From here on the spool cannot be written, and what is in it is sent.
    block_writes(folder.path());
    for _ in 0..6 {
        publish_with_baselines(&mut first);
        clock.sleep(INTERVAL).await;
    }
    assert!(!folder.path().join("points.spool").exists(), "removed before anything was sent that is in it");
    let trouble = first.stats().trouble.unwrap();
    assert!(trouble.contains("a restart now loses the points that are not sent yet"), "{trouble}");
    drop(first);
    std::fs::remove_dir(folder.path().join("points.spool.new")).unwrap();
    let opened = open(&spooled(folder.path()).spool(), &clock).await;
    assert!(opened.baselines().is_none(), "events since then were published");
    let sink = Scripted::new(&clock, &log, |_, _| Ok(()));
    let mut second = Bench::with(spooled(folder.path()), sink, clock.clone(), log.clone(), opened);
    second.run(4 * MINUTE, INTERVAL).await;
    // Fails on a point that arrived twice.
    log.delivered();
}

#[test(start_paused = true)]
async fn an_old_file_stays_good_while_nothing_is_sent() {
    let folder = cni_testkit::temporary_folder();
    let (clock, log) = (Clock::scaled(super::kit::START, 1.0), Log::default());
    let mut first = start(folder.path(), &clock, &log, |_| false).await;
    publish_with_baselines(&mut first);
    clock.sleep(INTERVAL).await;
    // Refused connections claim and release; then nothing can be written any more, and the service is still away.
    let kept = on_disk(folder.path());
    drop(first);
    assert_eq!((kept.rounds.len(), kept.in_doubt.len()), (1, 0));
    let opened = open(&spooled(folder.path()).spool(), &clock).await;
    assert_eq!(opened.baselines().unwrap().to_vec(), super::kit::START.0.to_le_bytes());
}

#[test(start_paused = true)]
async fn where_nothing_can_be_written_or_removed_delivery_goes_on_and_says_so() {
    let parent = cni_testkit::temporary_folder();
    let dir = parent.path().join("spool");
    let (clock, log) = (Clock::scaled(super::kit::START, 1.0), Log::default());
    let mut first = start(&dir, &clock, &log, |_| true).await;
    publish_with_baselines(&mut first);
    clock.sleep(INTERVAL).await;
    let blocked = Blocked::new(&dir);
    for _ in 0..6 {
        publish_with_baselines(&mut first);
        clock.sleep(INTERVAL).await;
    }
    clock.sleep(2 * FLUSH).await;
    assert_eq!(first.missing(), [], "delivery does not need the spool");
    let trouble = first.stats().trouble.unwrap();
    assert!(trouble.contains("cannot be removed either"), "{trouble}");
    blocked.unblock();
    publish_with_baselines(&mut first);
    clock.sleep(INTERVAL).await;
    assert_eq!(first.stats().trouble, None, "it recovers by itself");
}

#[test(start_paused = true)]
async fn baselines_are_used_only_while_they_are_young() {
    let clock_of = |from: Duration| Clock::scaled(after(from), 1.0);
    for (later, used) in [
        (Duration::ZERO, true),
        (10 * INTERVAL, true),
        (10 * INTERVAL + Duration::from_secs(1), false),
        (Duration::from_hours(72), false),
    ] {
        let folder = cni_testkit::temporary_folder();
        let (clock, log) = (Clock::scaled(super::kit::START, 1.0), Log::default());
        let mut first = start(folder.path(), &clock, &log, |_| false).await;
        publish_with_baselines(&mut first);
        clock.sleep(Duration::from_millis(1)).await;
        first.publisher.drain(MINUTE).await;
        let opened = open(&spooled(folder.path()).spool(), &clock_of(later)).await;
        assert_eq!(opened.baselines().is_some(), used, "{later:?} later");
        // A start that has no round of its own does not make them any younger.
        let second = Bench::with(
            spooled(folder.path()),
            Scripted::new(&clock, &log, |_, _| Err(down())),
            clock_of(later),
            log.clone(),
            opened,
        );
        second.publisher.drain(MINUTE).await;
        assert_eq!(on_disk(folder.path()).counters_at, used.then_some(super::kit::START));
    }
    // A clock that was set back says nothing about their age.
    let folder = cni_testkit::temporary_folder();
    let (clock, log) = (Clock::scaled(after(Duration::from_hours(1)), 1.0), Log::default());
    let mut first = start(folder.path(), &clock, &log, |_| false).await;
    publish_with_baselines(&mut first);
    clock.sleep(Duration::from_millis(1)).await;
    first.publisher.drain(MINUTE).await;
    assert!(open(&spooled(folder.path()).spool(), &clock_of(Duration::ZERO)).await.baselines().is_none());
}

#[test(start_paused = true)]
async fn a_request_that_is_cut_off_by_a_kill_is_in_doubt_and_only_its_gauges_are_sent_again() {
    let folder = cni_testkit::temporary_folder();
    let (clock, log) = (Clock::scaled(super::kit::START, 1.0), Log::default());
    let opened = open(&spooled(folder.path()).spool(), &clock).await;
    let sink = Scripted::hanging(&clock, &log);
    let mut first = Bench::with(spooled(folder.path()), sink, clock.clone(), log.clone(), opened);
    // The first round is sent at once, and never answered; three more wait.
    first.run(2 * MINUTE, INTERVAL).await;
    let measured = first.measured();
    drop(first);
    let counters = super::kit::counters();
    let in_doubt = on_disk(folder.path()).in_doubt;
    assert_eq!(in_doubt.iter().map(|kept| kept.values.len()).sum::<usize>(), counters);
    assert!(in_doubt.iter().all(|kept| kept.at == super::kit::START));

    let second = start(folder.path(), &clock, &log, |_| true).await;
    assert_eq!(second.stats().dropped_points[&DropReason::InDoubt], counters as u64);
    second.clock.sleep(2 * FLUSH).await;
    let delivered = log.delivered();
    let missing: Vec<_> = measured.iter().filter(|point| !delivered.contains_key(point)).collect();
    let is_claimed = |(at, metric): &(i64, usize)| *at == super::kit::START.0 && ROWS[*metric].kind == Kind::Counter;
    assert!(missing.iter().all(|point| is_claimed(point)) && missing.len() == counters, "{missing:?}");
    drop(second);
    // Counted once: the next start knows nothing of it.
    let third = start(folder.path(), &clock, &log, |_| true).await;
    assert_eq!(third.stats().dropped(), 0);
    third.publisher.drain(MINUTE).await;
}

#[test(start_paused = true)]
async fn a_second_helper_on_the_same_folder_goes_on_without_a_spool() {
    let folder = cni_testkit::temporary_folder();
    let (clock, log) = (Clock::scaled(super::kit::START, 1.0), Log::default());
    let mut first = start(folder.path(), &clock, &log, |_| false).await;
    first.run(2 * MINUTE, INTERVAL).await;
    let mut second = start(folder.path(), &clock, &log, |_| true).await;
    assert!(second.stats().trouble.unwrap().contains("another helper uses this folder"));
    second.run(2 * MINUTE, INTERVAL).await;
    second.clock.sleep(2 * FLUSH).await;
    assert_eq!(second.missing(), []);
    assert_eq!(on_disk(folder.path()).rounds.len(), 4, "the first one's file is untouched");
    drop(second);
    first.publisher.drain(MINUTE).await;
    assert_eq!(on_disk(folder.path()).rounds.len(), 4);
}

#[test(start_paused = true)]
async fn files_of_the_first_two_versions_are_read() {
    for (name, shard) in [("spool-v1", ""), ("spool-v2-shard", "2/3")] {
        let folder = cni_testkit::temporary_folder();
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/spool").join(name);
        std::fs::copy(data, folder.path().join("points.spool")).unwrap();
        let left = on_disk(folder.path());
        let times: Vec<i64> = left.rounds.iter().map(|kept| kept.at.0).collect();
        assert_eq!(times, [1_000, 2_000], "oldest first");
        assert_eq!(left.counters.as_deref(), Some(&b"baselines"[..]));
        assert_eq!(
            (left.namespace.as_str(), left.cluster_id.as_str(), left.shard.as_str()),
            ("Kubernetes", "prod", shard)
        );
        assert_eq!((left.saved_at, left.counters_at), (UnixMillis(3_000), Some(UnixMillis(3_000))));
        let values: usize = left.rounds.iter().map(|kept| kept.values.len()).sum();
        assert_eq!(values, 2 * METRICS.div_ceil(2));
        // Their baselines too are used only while they are young.
        for (now, used) in [(3_000, true), (3_000 + 300_000, true), (3_000 + 300_001, false)] {
            let settings = CloudWatchSettings { shard: shard.parse().ok(), ..spooled(folder.path()) };
            let opened = open(&settings.spool(), &Clock::scaled(UnixMillis(now), 1.0)).await;
            assert_eq!(opened.baselines().is_some(), used, "{name} at {now}");
        }
    }
}

#[test(start_paused = true)]
async fn a_volume_that_hangs_holds_neither_delivery_nor_the_end() {
    let folder = cni_testkit::temporary_folder();
    let (clock, log) = (Clock::scaled(super::kit::START, 1.0), Log::default());
    let mut bench = start(folder.path(), &clock, &log, |_| true).await;
    bench.run(2 * MINUTE, INTERVAL).await;
    // Opening a FIFO for writing waits for a reader.
    let fifo = folder.path().join("points.spool.new");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .unwrap();
    bench.run(10 * MINUTE, INTERVAL).await;
    bench.clock.sleep(2 * FLUSH).await;
    assert_eq!(bench.missing(), []);
    let stats = bench.stats();
    assert_eq!(stats.lost_rounds, 0);
    let trouble = stats.trouble.unwrap();
    assert!(trouble.contains("did not answer within") && trouble.contains("the file was removed"), "{trouble}");
    assert!(!folder.path().join("points.spool").exists());
    let began = std::time::Instant::now();
    bench.publisher.drain(Duration::from_secs(20)).await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    // Lets go of the thread.
    drop(std::fs::OpenOptions::new().read(true).custom_flags(nonblocking()).open(&fifo));
}

fn nonblocking() -> i32 {
    i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap()
}
