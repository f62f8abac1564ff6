//! Delivery to CloudWatch under outages, throttling, refusals and shutdown, on a paused clock: hours take moments.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cni_metrics_core::model::{UnixMillis, Values};
use cni_publish::cloudwatch::PutError;
use cni_publish::delivery::spool::Opened;
use cni_publish::stats::{DropReason, RequestOutcome};
use cni_runtime::clock::Clock;
use cni_types::catalogue::{METRICS, Metric};
use tokio::time::Instant;

use super::kit::{
    self, Bench, FLUSH, INTERVAL, Log, Scripted, TAKES, after, down, millis, settings, snapshot, throttled,
};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

fn within(at: UnixMillis, from: Duration, to: Duration) -> bool {
    (after(from)..after(to)).contains(&at)
}

#[test(start_paused = true)]
async fn points_share_requests_and_keep_their_rounds_time() {
    let mut bench = Bench::new(settings(), |_, _| Ok(()));
    bench.run(10 * MINUTE, INTERVAL).await;
    let accepted = bench.log.accepted();
    assert!((9..=11).contains(&accepted.len()), "one request a flush, not {}", accepted.len());
    assert!(accepted.iter().all(|attempt| (1..=3).contains(&(attempt.points.len() / METRICS))));
    bench.publisher.publish(snapshot(21, after(10 * MINUTE)));
    let Bench { publisher, log, .. } = bench;
    publisher.drain(Duration::from_secs(5)).await;
    assert_eq!(log.delivered().len(), 21 * METRICS, "what is queued at the end is flushed");
}

#[test(start_paused = true)]
async fn after_a_six_hour_outage_every_point_arrives_once_and_live_points_are_not_late() {
    for seed in 0..3 {
        after_an_outage(seed, 7 * HOUR).await;
    }
}

/// Live points that are sent right before the next flush arrive when they are older than two flushes.
#[test(start_paused = true)]
async fn live_points_of_a_request_that_spans_a_flush_are_no_backlog() {
    let flush = millis(FLUSH);
    for seed in 0..50 {
        let mut bench = Bench::seeded(seed, settings(), |at, _| if at >= after(HOUR) { Err(down()) } else { Ok(()) });
        bench.run(7 * HOUR, INTERVAL).await;
        let spans = |at: UnixMillis| (1..millis(TAKES)).contains(&((at.0 - after(Duration::ZERO).0) % flush));
        let attempts = bench.log.attempts();
        if let Some(attempt) = attempts.iter().find(|attempt| attempt.at > after(5 * HOUR) && spans(attempt.at)) {
            let end = u64::try_from(attempt.at.0 - after(Duration::ZERO).0).unwrap();
            return after_an_outage(seed, Duration::from_millis(end)).await;
        }
    }
    panic!("no request spans a flush");
}

/// An outage from the first hour to this time, in eight hours.
async fn after_an_outage(seed: u64, to: Duration) {
    let from = HOUR;
    let minutes = usize::try_from(to.saturating_sub(from).as_secs() / 60).unwrap();
    let mut bench =
        Bench::seeded(seed, settings(), move |at, _| if within(at, from, to) { Err(down()) } else { Ok(()) });
    bench.run(8 * HOUR, INTERVAL).await;
    bench.clock.sleep(FLUSH).await;
    assert_eq!(bench.missing(), []);
    assert_eq!(bench.stats().dropped(), 0);
    assert_eq!(bench.stats().sent_points, 960 * METRICS as u64);

    let delivered = bench.log.delivered();
    for (&(measured, _), arrived) in &delivered {
        let during = within(UnixMillis(measured), from.saturating_sub(FLUSH), to);
        let wait = arrived.0 - measured;
        assert!(during || wait <= 2 * millis(FLUSH), "seed {seed}: a live point of {measured} waited {wait} ms");
    }
    // The backlog came oldest first, in full requests.
    let recovered: Vec<_> = bench.log.accepted().into_iter().filter(|attempt| attempt.at >= after(to)).collect();
    let late = |attempt: &kit::Attempt| -> Vec<i64> {
        // When it was sent.
        let old = attempt.at.0 - millis(TAKES) - 2 * millis(FLUSH);
        attempt.points.iter().map(|point| point.at.0).filter(|at| *at < old).collect()
    };
    let order: Vec<i64> = recovered.iter().flat_map(late).collect();
    assert!(order.len() > (2 * minutes - 20) * METRICS, "{} points of the backlog", order.len());
    let backwards = order.windows(2).position(|pair| pair[0] > pair[1]);
    assert_eq!(backwards.map(|at| (at, order[at], order[at + 1])), None, "seed {seed}, of {} points", order.len());
    let backlog_requests = recovered.iter().filter(|attempt| !late(attempt).is_empty()).count();
    assert!(backlog_requests <= order.len().div_ceil(1000 - 2 * METRICS) + 1, "{backlog_requests} requests");
    // The dead service was asked now and then, not hammered.
    let asked = bench.log.attempts().iter().filter(|attempt| within(attempt.at, from, to)).count();
    assert!((minutes..minutes * 5).contains(&asked), "asked {asked} times in {minutes} minutes");
}

#[test(start_paused = true)]
async fn an_outage_longer_than_the_buffer_loses_exactly_the_oldest_and_counts_them() {
    let mut settings = settings();
    // Room for a hundred rounds and a bit.
    settings.buffer_bytes = 100 * (96 + 8 * METRICS as u64) + 50;
    let mut bench = Bench::new(settings, |at, _| if within(at, 10 * MINUTE, 3 * HOUR) { Err(down()) } else { Ok(()) });
    bench.run(4 * HOUR, INTERVAL).await;
    bench.clock.sleep(FLUSH).await;
    let missing = bench.missing();
    let stats = bench.stats();
    assert_eq!(stats.dropped_points.get(&DropReason::BufferFull), Some(&(missing.len() as u64)));
    assert_eq!(stats.dropped(), missing.len() as u64);
    assert_eq!(stats.sent_points + stats.dropped(), bench.measured().len() as u64);
    // Exactly the oldest of what could not be sent: from the outage's first unsent round on, without a hole.
    let first = missing[0].0;
    assert!(within(UnixMillis(first), 8 * MINUTE, 11 * MINUTE));
    let expected: Vec<_> = bench.measured().into_iter().filter(|(at, _)| *at >= first).take(missing.len()).collect();
    assert_eq!(missing, expected);
    let lost_rounds = missing.len() / METRICS;
    assert!((235..=245).contains(&lost_rounds), "{lost_rounds} of 340 rounds, 100 fit");
}

#[test(start_paused = true)]
async fn thirty_percent_throttling_for_an_hour_loses_nothing_and_is_not_answered_by_hammering() {
    let rng = Mutex::new(fastrand::Rng::with_seed(42));
    let mut bench = Bench::new(settings(), move |at, _| {
        let hit = within(at, Duration::ZERO, HOUR) && rng.lock().unwrap().f64() < 0.3;
        if hit { Err(throttled(None)) } else { Ok(()) }
    });
    bench.run(HOUR, INTERVAL).await;
    bench.clock.sleep(2 * FLUSH).await;
    assert_eq!(bench.missing(), []);
    let stats = bench.stats();
    assert!(stats.requests[&RequestOutcome::Throttled] >= 10, "{:?}", stats.requests);
    assert!(bench.log.attempts().len() < 110, "60 flushes took {} requests", bench.log.attempts().len());
}

#[test(start_paused = true)]
async fn under_full_throttling_the_request_rate_falls() {
    let mut bench = Bench::new(settings(), |_, _| Err(throttled(None)));
    bench.run(HOUR, INTERVAL).await;
    let attempts = bench.log.attempts();
    let in_window = |from, to| attempts.iter().filter(|attempt| within(attempt.at, from, to)).count();
    let (first, later) = (in_window(Duration::ZERO, MINUTE), in_window(30 * MINUTE, 60 * MINUTE) / 30);
    assert!(first >= 4 && later <= 3, "{first} in the first minute, {later} a minute later on");
}

#[test(start_paused = true)]
async fn retry_after_is_kept() {
    let wait = Duration::from_secs(150);
    let mut bench = Bench::new(settings(), move |at, _| {
        if within(at, Duration::ZERO, 2 * MINUTE) { Err(throttled(Some(wait))) } else { Ok(()) }
    });
    bench.run(10 * MINUTE, INTERVAL).await;
    let attempts = bench.log.attempts();
    assert!(!attempts[0].accepted);
    let pause = attempts[1].at.0 - attempts[0].at.0;
    assert!(pause >= millis(wait), "asked again after {pause} ms");
}

#[test(start_paused = true)]
async fn no_retry_after_keeps_the_sink_away_for_more_than_five_minutes_or_ends_it() {
    for said in [Duration::from_hours(24), Duration::from_secs(u64::MAX), Duration::MAX] {
        let mut bench = Bench::new(settings(), move |at, _| {
            if within(at, Duration::ZERO, MINUTE) { Err(throttled(Some(said))) } else { Ok(()) }
        });
        bench.run(15 * MINUTE, INTERVAL).await;
        let attempts = bench.log.attempts();
        let pause = attempts[1].at.0 - attempts[0].at.0;
        assert!(pause <= millis(5 * MINUTE + FLUSH), "asked again after {pause} ms");
        bench.clock.sleep(2 * FLUSH).await;
        assert_eq!(bench.missing(), []);
    }
}

#[test(start_paused = true)]
async fn trouble_that_changes_its_cause_is_logged_again_and_not_with_each_attempt() {
    cni_testkit::log::capture();
    let mut bench = Bench::new(settings(), |at, _| {
        if within(at, Duration::ZERO, 20 * MINUTE) {
            Err(down())
        } else if within(at, 20 * MINUTE, 40 * MINUTE) {
            Err(PutError::Credentials("ExpiredToken".to_owned()))
        } else if within(at, 40 * MINUTE, HOUR) {
            // From one attempt to the next.
            if fastrand::bool() { Err(throttled(None)) } else { Err(down()) }
        } else {
            Ok(())
        }
    });
    bench.run(90 * MINUTE, INTERVAL).await;
    let log = cni_testkit::log::captured();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("data points are buffered and sent later")).collect();
    assert!(lines[0].contains("cannot be reached") && lines[1].contains("no usable AWS credentials"), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("throttles requests")), "{lines:#?}");
    let attempts = bench.log.attempts().iter().filter(|attempt| !attempt.accepted).count();
    assert!(lines.len() <= 8 && attempts > 60, "{} lines for {attempts} attempts", lines.len());
    assert_eq!(log.matches("accepts points again").count(), 1);
    assert_eq!(bench.stats().trouble, None);
}

#[test(start_paused = true)]
async fn of_a_request_without_an_answer_only_the_gauges_are_sent_again() {
    let mut bench = Bench::new(settings(), |at, _| {
        let hit = within(at, 10 * MINUTE, 20 * MINUTE);
        if hit { Err(PutError::NoAnswer("timeout".to_owned())) } else { Ok(()) }
    });
    bench.run(30 * MINUTE, INTERVAL).await;
    bench.clock.sleep(2 * FLUSH).await;
    let missing = bench.missing();
    let stats = bench.stats();
    assert_eq!(stats.dropped_points[&DropReason::InDoubt], missing.len() as u64);
    let rounds: BTreeSet<i64> = missing.iter().map(|(at, _)| *at).collect();
    // Of ten minutes without an answer the first request is in doubt, and the others carry no counters.
    assert_eq!(missing.len(), rounds.len() * kit::counters());
    assert!((1..=3).contains(&rounds.len()), "{rounds:?}");
    assert!(stats.requests[&RequestOutcome::NoAnswer] > 5);
}

#[test(start_paused = true)]
async fn a_clock_of_another_replica_that_is_ahead_silences_nothing() {
    let (election, mut bench) = Bench::elected(settings(), |_, _| Ok(()));
    bench.run(5 * MINUTE, INTERVAL).await;
    let held = bench.measured().len() as u64;
    election.others_published(after(HOUR));
    election.appoint(Some(Instant::now() + 10 * HOUR));
    bench.run(10 * MINUTE, INTERVAL).await;
    bench.clock.sleep(2 * FLUSH).await;
    let left_out = bench.stats().dropped_points[&DropReason::PublishedByAnother];
    // What was measured before it was seen, and at most the round in which it was.
    assert!((held..=held + METRICS as u64).contains(&left_out), "{left_out} of {held}");
    assert_eq!(bench.missing().len() as u64, left_out);
    assert_eq!(bench.stats().sent_points + left_out, bench.measured().len() as u64);
}

#[test(start_paused = true)]
async fn a_refused_request_is_halved_until_the_bad_data_stand_alone() {
    let is_bad = |at: i64, metric: usize| metric == Metric::EniAllocated as usize && (at / 30_000) % 7 == 0;
    let mut bench = Bench::new(settings(), move |at, points| {
        if within(at, Duration::ZERO, HOUR) {
            Err(down())
        } else if points.iter().any(|point| is_bad(point.at.0, point.row.metric as usize)) {
            Err(PutError::Rejected("InvalidParameterValue".to_owned()))
        } else {
            Ok(())
        }
    });
    bench.run(90 * MINUTE, INTERVAL).await;
    bench.clock.sleep(5 * FLUSH).await;
    let bad: Vec<_> = bench.measured().into_iter().filter(|(at, metric)| is_bad(*at, *metric)).collect();
    assert!(bad.len() > 20);
    assert_eq!(bench.missing(), bad, "only the bad data are missing");
    assert_eq!(bench.stats().dropped_points.get(&DropReason::Rejected), Some(&(bad.len() as u64)));
    // Isolating one datum among a thousand takes two requests a level.
    let refused = bench.stats().requests[&RequestOutcome::Rejected];
    assert!(refused < 12 * bad.len() as u64, "{refused} refusals for {} bad data", bad.len());
}

#[test(start_paused = true)]
async fn live_points_do_not_wait_for_bad_data_to_be_isolated() {
    let slow = |at: UnixMillis| within(at, 60 * MINUTE, 70 * MINUTE);
    let mut bench = Bench::new(settings(), move |at, points| {
        if within(at, Duration::ZERO, HOUR) || (slow(at) && fastrand::f64() < 0.3) {
            Err(throttled(None))
        } else if points.iter().any(|point| point.row.metric == Metric::IpamdErr && point.at < after(HOUR)) {
            Err(PutError::Rejected("InvalidParameterValue".to_owned()))
        } else {
            Ok(())
        }
    });
    bench.run(100 * MINUTE, INTERVAL).await;
    bench.clock.sleep(5 * FLUSH).await;
    for ((measured, _), arrived) in bench.log.delivered() {
        let live = measured >= after(72 * MINUTE).0;
        assert!(!live || arrived.0 - measured <= 2 * millis(FLUSH), "waited {}", arrived.0 - measured);
    }
    let missing = bench.missing();
    assert!(missing.iter().all(|(_, metric)| *metric == Metric::IpamdErr as usize), "{missing:?}");
    assert_eq!(missing.len(), 120);
}

#[test(start_paused = true)]
async fn when_everything_is_refused_nothing_is_thrown_away() {
    let mut bench = Bench::new(settings(), |at, _| {
        if within(at, Duration::ZERO, HOUR) { Err(PutError::Rejected("InvalidNamespace".to_owned())) } else { Ok(()) }
    });
    bench.run(2 * HOUR, INTERVAL).await;
    bench.clock.sleep(2 * FLUSH).await;
    assert_eq!(bench.missing(), []);
    assert_eq!(bench.stats().dropped(), 0);
}

#[test(start_paused = true)]
async fn what_is_older_than_two_weeks_when_the_service_comes_back_is_dropped_as_the_service_would() {
    let day = 24 * HOUR;
    let mut bench = Bench::new(settings(), move |at, points| {
        let too_old = |at: UnixMillis, now: UnixMillis| at.0 < now.0 - millis(14 * day);
        assert!(points.iter().all(|point| !too_old(point.at, UnixMillis(at.0 - 80))), "sent although too old");
        // Asked every minute, sixteen days would take this test half a minute.
        let pause = Some(HOUR / 2);
        if within(at, Duration::ZERO, 16 * day) { Err(throttled(pause)) } else { Ok(()) }
    });
    bench.run(17 * day, 10 * MINUTE).await;
    bench.clock.sleep(2 * FLUSH).await;
    let missing = bench.missing();
    let stats = bench.stats();
    assert_eq!(stats.dropped_points.get(&DropReason::TooOld), Some(&(missing.len() as u64)));
    assert_eq!(stats.dropped(), missing.len() as u64);
    let rounds = missing.len() / METRICS;
    assert!((2 * 144 - 2..=2 * 144 + 2).contains(&rounds), "{rounds} rounds were older, 288 in two days");
    let oldest_delivered = bench.log.delivered().into_keys().next().unwrap();
    assert!(missing.iter().all(|point| *point < oldest_delivered));
}

#[test(start_paused = true)]
async fn a_bad_value_is_dropped_alone_and_a_time_far_ahead_too() {
    let mut bench = Bench::new(settings(), |_, _| Ok(()));
    let mut bad = (*snapshot(1, bench.clock.now())).clone();
    bad.metrics.set(Metric::AwsApiErr, Some(f64::NAN));
    bad.metrics.set(Metric::IpamdErr, Some(1e300));
    bench.publisher.publish(Arc::new(bad));
    bench.publisher.publish(snapshot(2, after(3 * HOUR)));
    bench.clock.sleep(2 * FLUSH).await;
    let stats = bench.stats();
    assert_eq!(stats.sent_points, METRICS as u64 - 2);
    assert_eq!(stats.dropped_points[&DropReason::BadValue], 2);
    assert_eq!(stats.dropped_points[&DropReason::InFuture], METRICS as u64);
    bench.published.clear();
}

#[test(start_paused = true)]
async fn access_denied_keeps_the_points_and_prints_the_policy_once() {
    cni_testkit::log::capture();
    let mut bench = Bench::new(settings(), |at, _| {
        let denied = within(at, Duration::ZERO, HOUR) || within(at, 2 * HOUR, 3 * HOUR);
        if denied { Err(PutError::AccessDenied("not authorized".to_owned())) } else { Ok(()) }
    });
    bench.run(4 * HOUR, INTERVAL).await;
    bench.clock.sleep(2 * FLUSH).await;
    assert_eq!(bench.missing(), []);
    let log = cni_testkit::log::captured();
    assert_eq!(log.matches("\"Action\": \"cloudwatch:PutMetricData\"").count(), 1, "{log}");
    assert!(log.contains("\"cloudwatch:namespace\": \"Kubernetes\""));
    assert_eq!(log.matches("data points are buffered and sent later").count(), 2, "once an outage");
    assert_eq!(log.matches("not authorized").count(), 2, "one line for each outage: {log}");
    assert_eq!(log.matches("accepts points again").count(), 2);
}

#[test(start_paused = true)]
async fn a_hanging_service_never_holds_up_publish_and_nothing_is_lost_meanwhile() {
    let clock = Clock::scaled(kit::START, 1.0);
    let log = Log::default();
    let sink = Scripted::hanging(&clock, &log);
    let mut bench = Bench::with(settings(), sink, clock, log, Opened::none());
    bench.run(HOUR, INTERVAL).await;
    let stats = bench.stats();
    assert_eq!((stats.rounds, stats.lost_rounds), (120, 0));
    assert_eq!(stats.buffered_points, 120 * METRICS as u64);
    let begun = Instant::now();
    bench.publisher.drain(Duration::from_secs(3)).await;
    assert!(begun.elapsed() <= Duration::from_secs(3), "drain is bounded");
    let stats = bench.stats.borrow().clone();
    let lost = [DropReason::Shutdown, DropReason::InDoubt].map(|reason| stats.dropped_points[&reason]);
    let counters = kit::counters() as u64;
    assert_eq!(lost, [120 * METRICS as u64 - counters, counters], "and what is lost is counted");
}

#[test(start_paused = true)]
async fn shutdown_in_an_outage_tries_until_its_time_is_over() {
    let mut bench = Bench::new(settings(), |at, _| {
        if within(at, 10 * MINUTE, 10 * MINUTE + Duration::from_secs(12)) { Err(down()) } else { Ok(()) }
    });
    bench.run(10 * MINUTE, INTERVAL).await;
    bench.publish();
    let (measured, log) = (bench.measured().len(), bench.log.clone());
    bench.publisher.drain(Duration::from_secs(30)).await;
    assert_eq!(log.delivered().len(), measured);
}

#[test(start_paused = true)]
async fn only_the_leader_sends() {
    let (election, mut bench) = Bench::elected(settings(), |_, _| Ok(()));
    bench.run(HOUR, INTERVAL).await;
    assert_eq!(bench.log.attempts().len(), 0);
    election.appoint(Some(Instant::now() + HOUR));
    bench.clock.sleep(2 * FLUSH).await;
    assert_eq!(bench.missing(), []);
}

#[test(start_paused = true)]
async fn a_standby_that_takes_over_sends_only_what_the_leader_had_not() {
    let (election, mut bench) = Bench::elected(settings(), |_, _| Ok(()));
    bench.run(HOUR, INTERVAL).await;
    let last_published = bench.published[100];
    election.others_published(last_published);
    election.appoint(Some(Instant::now() + HOUR));
    bench.run(10 * MINUTE, INTERVAL).await;
    let delivered: BTreeSet<i64> = bench.log.delivered().into_keys().map(|(at, _)| at).collect();
    let expected: BTreeSet<i64> = bench.published[101..].iter().map(|at| at.0).collect();
    assert_eq!(delivered, expected);
    assert_eq!(election.claimed(), bench.published.last().copied());
    let left_out = bench.stats().dropped_points[&DropReason::PublishedByAnother];
    assert_eq!(left_out, 101 * METRICS as u64, "what another has published is counted as that");
    assert_eq!(bench.stats().dropped(), 0, "and is not lost");
}

#[test(start_paused = true)]
async fn a_leader_whose_time_ran_out_keeps_what_it_has_and_sends_it_when_it_leads_again() {
    let (election, mut bench) = Bench::elected(settings(), |_, _| Ok(()));
    election.appoint(Some(Instant::now() + 10 * MINUTE));
    bench.run(HOUR, INTERVAL).await;
    let over = after(10 * MINUTE);
    assert!(
        bench.log.attempts().iter().all(|attempt| attempt.at.0 <= over.0 + 80),
        "{:?}",
        bench.log.attempts().last()
    );
    election.appoint(Some(Instant::now() + HOUR));
    bench.clock.sleep(FLUSH).await;
    assert_eq!(bench.missing(), []);
}

#[test(start_paused = true)]
async fn a_metric_that_was_not_measured_is_not_sent() {
    let bench = Bench::new(settings(), |_, _| Ok(()));
    let mut sparse = (*snapshot(1, bench.clock.now())).clone();
    sparse.metrics = Values::default();
    sparse.metrics.set(Metric::NodesExpected, Some(kit::value(sparse.at, Metric::NodesExpected as usize)));
    bench.publisher.publish(Arc::new(sparse));
    bench.clock.sleep(2 * FLUSH).await;
    let names: BTreeSet<_> =
        bench.log.accepted().iter().flat_map(|attempt| attempt.points.clone()).map(|point| point.row.name).collect();
    assert_eq!(names, BTreeSet::from(["nodesExpected"]));
}
