//! Delivery by the whole helper, from agents' pages to CloudWatch's store, through outages and restarts. A round is run
//! while the simulated world stands still, so hours take seconds and every number can be compared.

#![expect(clippy::float_cmp, reason = "events are whole numbers, which are exact")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use cni_publish::delivery::spool;
use cni_publish::stats::DropReason;
use cni_sim::cloudwatch::store::Outcome;
use cni_sim::scenario::Scenario;
use cni_testkit::wait;
use cni_testkit::world::{Helper, INTERVAL, World, text};
use cni_types::catalogue::{CATALOGUE, Kind};

const TIMEOUT: Duration = Duration::from_mins(1);
/// Rounds in an hour.
const HOUR: u32 = 120;

/// Runs this number of rounds; returns their times.
async fn rounds(world: &mut World, helper: &mut Helper, count: u32) -> Vec<i64> {
    let mut times = Vec::new();
    for _ in 0..count {
        world.advance(&[helper]).await;
        times.push(helper.round().await.at.0);
    }
    times
}

/// The times of a series that is in every round.
fn arrived(world: &World) -> Vec<i64> {
    arrived_despite(world, &[])
}

/// The same where requests were under way at a kill: of these the gauges, and only they, may have come a second time.
fn arrived_despite(world: &World, in_doubt: &[InDoubt]) -> Vec<i64> {
    let published = world.published();
    let series = &published["nodesExpected"];
    let may_repeat = |at: &i64| in_doubt.iter().any(|doubt| doubt.at == *at);
    let as_often = |(at, values): (&i64, &Vec<f64>)| values.len() == 1 || values.len() == 2 && may_repeat(at);
    assert!(series.iter().all(as_often), "a round arrived twice: {series:?}");
    series.keys().copied().collect()
}

/// The sum over all rounds of each counter, published and true.
async fn counters(world: &mut World) -> BTreeMap<&'static str, (f64, f64)> {
    let truth = world.truth(0).await;
    let published = world.published();
    let counters = CATALOGUE.iter().filter(|row| row.kind == Kind::Counter);
    counters
        .map(|row| {
            let series = published.get(row.name).into_iter().flat_map(BTreeMap::values).flatten();
            (row.name, (series.sum(), truth.cumulative.get(row.name).copied().unwrap_or(0.0)))
        })
        .collect()
}

async fn assert_exact(world: &mut World) {
    assert_exact_less(world, &[]).await;
}

/// What was published and what was given up make the truth.
async fn assert_exact_less(world: &mut World, in_doubt: &[InDoubt]) {
    let counters = counters(world).await;
    assert!(counters["addReqCount"].1 > 0.0, "nothing happened that could have been lost");
    let arrivals = world.published();
    let came = |doubt: &InDoubt| arrivals.get(doubt.name).is_some_and(|series| series.contains_key(&doubt.at));
    for (name, (published, truth)) in counters {
        let given_up = in_doubt.iter().filter(|doubt| doubt.name == name && !came(doubt));
        assert_eq!(published + given_up.map(|doubt| doubt.value).sum::<f64>(), truth, "{name}");
    }
    for doubt in in_doubt.iter().filter(|doubt| came(doubt)) {
        assert_eq!(arrivals[doubt.name][&doubt.at], [doubt.value], "{} of {} is not sent again", doubt.name, doubt.at);
    }
}

/// A counter's point in a request that was under way at a kill. CloudWatch may have taken it without an answer: the request
/// can also be read after the fault has ended that would have refused it.
struct InDoubt {
    name: &'static str,
    at: i64,
    value: f64,
}

/// What the spool of a helper that was killed gives up: the counters of the one request that was under way, if any.
async fn in_doubt(spool: &Path, given_up: &mut Vec<InDoubt>) {
    // The disk's thread of the killed helper ends its last write before it lets go of the folder.
    let lock = std::fs::File::open(spool.join("points.lock")).unwrap();
    let began = Instant::now();
    while lock.try_lock().is_err() {
        assert!(began.elapsed() < TIMEOUT, "the folder stays locked");
        wait::pause_async().await;
    }
    for kept in spool::look(spool).unwrap().unwrap().in_doubt {
        given_up.extend(kept.values().map(|(row, value)| InDoubt { name: row.name, at: kept.at.0, value }));
    }
}

#[test(flavor = "multi_thread")]
async fn after_six_hours_of_outage_every_point_arrives_once_with_its_own_time() {
    let mut world = World::start(Scenario::calm(3)).await;
    let mut helper = world.helper(&[]).await;
    let mut measured = vec![helper.round().await.at.0];
    measured.extend(rounds(&mut world, &mut helper, 10).await);
    let outage = world.inject("cloudwatch: { kind: down }");
    measured.extend(rounds(&mut world, &mut helper, 6 * HOUR).await);
    assert!(helper.stats("cloudwatch").buffered_points > u64::from(6 * HOUR - 10) * 20);
    world.clear(outage);
    measured.extend(rounds(&mut world, &mut helper, 10).await);
    helper.wait_all_sent().await;
    assert_eq!(arrived(&world), measured);
    assert_eq!(helper.stats("cloudwatch").dropped(), 0);
    let full = world.sim.cloudwatch().requests().iter().filter(|request| request.data_count > 900).count();
    assert!(full >= 10, "the backlog came in {full} full requests");
    assert_exact(&mut world).await;
    helper.end().await;
}

#[test(flavor = "multi_thread")]
async fn an_outage_longer_than_the_buffer_loses_exactly_the_oldest_and_counts_them() {
    let mut world = World::start(Scenario::calm(1)).await;
    // Of the smallest buffer a few names fill little, so an outage has to last for days: a day a step of 30 s would take
    // too long, and what counts is rounds.
    // The outage is there before the first round, so that this one cannot be sent either.
    let outage = world.inject("cloudwatch: { kind: down }");
    let mut helper = world.helper(&["--cloudwatch-buffer", "1MiB"]).await;
    let mut measured = vec![helper.round().await.at.0];
    let mut dropped = 0;
    while dropped == 0 || measured.len() % 50 != 0 {
        measured.extend(rounds(&mut world, &mut helper, 1).await);
        dropped = helper.stats("cloudwatch").dropped();
    }
    // Rounds come so fast here that many do while one request is under way; the oldest are in that request.
    let failures = helper.stats("cloudwatch").latency.count;
    helper.wait_stats("cloudwatch", TIMEOUT, |stats| stats.latency.count > failures).await;
    world.clear(outage);
    helper.wait_all_sent().await;
    let stats = helper.stats("cloudwatch");
    assert_eq!(stats.dropped_points.keys().collect::<Vec<_>>(), [&DropReason::BufferFull]);
    let arrived = arrived(&world);
    let missing = measured.len() - arrived.len();
    assert!(missing > 0);
    assert_eq!(arrived, measured[missing..], "only the oldest are missing");
    let sent: usize = world.published().values().map(BTreeMap::len).sum();
    assert_eq!(sent as u64, stats.sent_points);
    helper.end().await;
}

#[test(flavor = "multi_thread")]
async fn an_hour_of_throttling_loses_nothing() {
    let mut world = World::start(Scenario::calm(3)).await;
    let mut helper = world.helper(&[]).await;
    let mut measured = vec![helper.round().await.at.0];
    let throttling = world.inject("cloudwatch: { kind: throttle, share: 0.3 }");
    measured.extend(rounds(&mut world, &mut helper, HOUR).await);
    world.clear(throttling);
    measured.extend(rounds(&mut world, &mut helper, 4).await);
    helper.wait_all_sent().await;
    assert_eq!(arrived(&world), measured);
    let requests = world.sim.cloudwatch().requests();
    let refused = requests.iter().filter(|request| request.outcome != Outcome::Accepted).count();
    assert!(refused > 0, "{} requests, none throttled", requests.len());
    assert_exact(&mut world).await;
    helper.end().await;
}

/// Waits until the round of this time is in the spool. Files send no event.
async fn wait_spooled(spool: &Path, at: i64) {
    let began = Instant::now();
    while spool::look(spool).ok().flatten().and_then(|left| left.rounds.last().map(|kept| kept.at.0)) != Some(at) {
        assert!(began.elapsed() < TIMEOUT, "the round of {at} never came into the spool");
        wait::pause_async().await;
    }
}

#[test(flavor = "multi_thread")]
async fn with_a_spool_restarts_lose_no_event_and_no_point() {
    let spool = cni_testkit::temporary_folder();
    let flags = ["--spool-dir", text(spool.path())];
    let mut world = World::start(Scenario::named("restart-heavy").unwrap()).await;
    let mut helper = world.helper(&flags).await;
    let mut measured = vec![helper.round().await.at.0];
    let mut given_up = Vec::new();
    for turn in 0..12 {
        measured.extend(rounds(&mut world, &mut helper, 5).await);
        if turn % 2 == 0 {
            // So that no request that CloudWatch takes is cut off: its gauges would come a second time.
            helper.wait_all_sent().await;
            // Points too have to survive: a crash while CloudWatch is away.
            let outage = world.inject("cloudwatch: { kind: down }");
            let last = rounds(&mut world, &mut helper, 2).await;
            wait_spooled(spool.path(), last[1]).await;
            measured.extend(last);
            helper.kill().await;
            in_doubt(spool.path(), &mut given_up).await;
            world.clear(outage);
        } else {
            helper.end().await;
        }
        // The agents go on, and some restart, while no helper looks; not for so long that the baselines are too old.
        world.advance_by(INTERVAL * (turn % 8 + 1), &[]).await;
        helper = world.helper(&flags).await;
        measured.push(helper.round().await.at.0);
    }
    measured.extend(rounds(&mut world, &mut helper, 4).await);
    helper.wait_all_sent().await;
    assert_eq!(arrived_despite(&world, &given_up), measured);
    assert_exact_less(&mut world, &given_up).await;
    helper.end().await;
}

#[test(flavor = "multi_thread")]
async fn without_a_spool_a_restart_loses_what_happened_before_its_first_look_and_doubles_nothing() {
    let mut world = World::start(Scenario::named("churn").unwrap()).await;
    let mut helper = world.helper(&[]).await;
    helper.round().await;
    rounds(&mut world, &mut helper, 5).await;
    helper.end().await;
    world.advance_by(INTERVAL * 4, &[]).await;
    let mut helper = world.helper(&[]).await;
    helper.round().await;
    rounds(&mut world, &mut helper, 5).await;
    helper.end().await;
    let counters = counters(&mut world).await;
    let (published, truth) = counters["addReqCount"];
    assert!(published > 0.0 && published < truth, "{published} of {truth}: the time between is a baseline");
    arrived(&world);
}
