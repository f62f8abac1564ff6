//! Three thousand rounds with a spool, an election and a service that has every trouble: memory and file stay bounded.

use std::sync::Mutex;
use std::time::Duration;

use cni_metrics_core::model::UnixMillis;
use cni_publish::cloudwatch::{CloudWatchSettings, PutError};
use cni_publish::delivery::spool::open;
use cni_publish::stats::DropReason;
use cni_runtime::clock::Clock;
use cni_types::catalogue::METRICS;
use tokio::time::Instant;

use super::kit::{Bench, INTERVAL, Log, START, Scripted, settings, throttled};

const ROUNDS: u32 = 3_000;

/// An hour of one thing, then the next.
fn trouble(at: UnixMillis, rng: &Mutex<fastrand::Rng>) -> Result<(), PutError> {
    let hour = (at.0 - START.0) / 3_600_000;
    let draw = rng.lock().unwrap().u8(0..10);
    match hour % 8 {
        1 => Err(PutError::Network("connection refused".to_owned())),
        2 if draw < 3 => Err(throttled(Some(Duration::MAX))),
        3 => Err(PutError::NoAnswer("timeout".to_owned())),
        4 => Err(PutError::AccessDenied("not authorized".to_owned())),
        5 => Err(PutError::Rejected("InvalidParameterValue".to_owned())),
        6 if draw < 5 => Err(PutError::NoAnswer("reset".to_owned())),
        _ => Ok(()),
    }
}

#[test(start_paused = true)]
async fn three_thousand_rounds_with_a_spool_stay_within_their_bounds() {
    // In memory where that is to be had: three syncs a round are minutes on a disk, and it is bounds that are tested.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let (clock, log) = (Clock::scaled(START, 1.0), Log::default());
    // Room for half an hour of points.
    let settings =
        CloudWatchSettings { buffer_bytes: 16 << 10, spool_dir: Some(folder.path().to_owned()), ..settings() };
    let limit = settings.buffer_bytes;
    let rng = Mutex::new(fastrand::Rng::with_seed(5));
    let sink = Scripted::new(&clock, &log, move |at, _| trouble(at, &rng));
    let opened = open(&settings.spool(), &clock).await;
    let (election, mut bench) = Bench::elected_with(settings, sink, clock.clone(), log, opened);
    let mut largest = 0;
    for round in 0..ROUNDS {
        // Leads most of the time; in between, no replica does.
        if round.is_multiple_of(97) {
            election.appoint((!round.is_multiple_of(5)).then(|| Instant::now() + 200 * INTERVAL));
        }
        bench.publish();
        clock.sleep(INTERVAL).await;
        let stats = bench.stats();
        // One round and one request are on top of the limit.
        assert!(stats.buffered_bytes <= limit + (64 << 10), "{} bytes", stats.buffered_bytes);
        assert_eq!(stats.lost_rounds, 0);
        if round.is_multiple_of(100) {
            let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
            largest = largest.max(files.sum());
        }
    }
    assert!(largest > 4_000 && largest <= 2 * limit + (64 << 10), "{largest} bytes on disk");
    // Until the troubles have come round to none.
    election.appoint(Some(Instant::now() + 2_000 * INTERVAL));
    clock.sleep(Duration::from_hours(8)).await;
    let stats = bench.stats();
    let measured = u64::from(ROUNDS) * METRICS as u64;
    assert_eq!(stats.sent_points + stats.dropped() + stats.buffered_points, measured);
    assert_eq!(stats.buffered_points, 0);
    assert!(stats.dropped_points[&DropReason::InDoubt] > 0 && stats.dropped_points[&DropReason::BufferFull] > 0);
    // Fails on a counter or gauge that was accepted twice.
    assert_eq!(bench.log.delivered().len() as u64, stats.sent_points);
    assert_eq!(stats.trouble, None);
}
