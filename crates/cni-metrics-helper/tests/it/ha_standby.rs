//! Two replicas in one process on a simulated cluster that stands still during rounds: what a take-over publishes is
//! exactly what happened, round by round.

use std::time::Duration;

use cni_sim::scenario::Scenario;
use cni_testkit::world::World;
use cni_types::catalogue::{CATALOGUE, Kind};

const TIMEOUT: Duration = Duration::from_mins(1);
const ELECTION: [&str; 6] = ["--leader-election", "true", "--lease-duration", "5s", "--standby-scrape", "true"];

#[test(flavor = "multi_thread")]
async fn a_take_over_publishes_every_round_once_and_every_event_once() {
    let mut world = World::start(Scenario::named("churn").unwrap()).await;
    let mut first = world.helper(&ELECTION).await;
    let mut rounds = vec![first.round().await.at.0];
    let mut second = world.helper(&ELECTION).await;
    second.round().await;
    first.wait_stats("cloudwatch", TIMEOUT, |stats| stats.sent_points > 0).await;
    for _ in 0..8 {
        world.advance(&[&first, &second]).await;
        rounds.push(first.round().await.at.0);
        assert_eq!(second.round().await.at.0, *rounds.last().unwrap(), "replicas tick together");
    }
    first.wait_all_sent().await;
    assert_eq!(second.stats("cloudwatch").sent_points, 0);
    assert_eq!(second.stats("log").sent_points, 0, "only the leader logs values");
    first.kill().await;

    // No replica leads now; the second one holds what it measures.
    for _ in 0..4 {
        world.advance(&[&second]).await;
        rounds.push(second.round().await.at.0);
    }
    second.wait_stats("cloudwatch", TIMEOUT, |stats| stats.sent_points > 0).await;
    for _ in 0..4 {
        world.advance(&[&second]).await;
        rounds.push(second.round().await.at.0);
    }
    second.wait_all_sent().await;
    assert_eq!(second.stats("cloudwatch").dropped(), 0);

    let truth = world.truth(0).await;
    let published = world.published();
    for row in &CATALOGUE {
        let Some(series) = published.get(row.name) else { continue };
        // Of the first round no counter's increase is known.
        let expected = if row.kind == Kind::Counter { &rounds[1..] } else { &rounds[..] };
        if row.kind != Kind::Latency {
            assert_eq!(series.keys().copied().collect::<Vec<_>>(), expected, "{}", row.name);
        }
        assert!(series.values().all(|values| values.len() == 1), "{}: {series:?}", row.name);
        if row.kind == Kind::Counter {
            let sum: f64 = series.values().flatten().sum();
            assert_eq!(Some(sum), truth.cumulative.get(row.name).copied(), "{}", row.name);
        }
    }
    assert!(truth.cumulative["addReqCount"] > 0.0, "nothing happened that could have been lost");
    second.end().await;
}
