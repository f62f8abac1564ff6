//! Two thousand rounds in which every part fails at random: nodes, their pages, the API server, its watches and CloudWatch.
//! In the end what was published is the truth less what the drop counters admit, and memory is where it was.

#![expect(clippy::unwrap_used, reason = "a test stops where something is missing")]

#[expect(dead_code, reason = "written for all tests on a simulated world; this one uses a part of it")]
#[path = "world/lockstep.rs"]
mod lockstep;

use std::collections::BTreeMap;

use cni_metrics_core::catalogue::{CATALOGUE, Kind};
use cni_sim::scenario::Scenario;
use lockstep::World;

const ROUNDS: u32 = 2_000;

/// Faults that pass quickly: a hanging page would cost its time limit of real time in every round. No page here says
/// something wrong that could be believed; those are the parser's and the scraper's own tests.
const FAULTS: &[(&str, &str)] = &[
    ("{ fraction: 0.5 }", "reset"),
    ("{ fraction: 0.5 }", "refused"),
    ("{ count: 2 }", "unreachable: { via: proxy }"),
    ("{ count: 2 }", "garbage"),
    ("{ count: 2 }", "html"),
    ("{ count: 2 }", "empty"),
    ("{ fraction: 0.3 }", "page-status: { code: 503 }"),
    ("{ fraction: 0.4 }", "restart: {}"),
    ("{ count: 1 }", "lose-eni"),
    ("{ count: 1 }", "node-loss: { replace: true }"),
    ("{}", "api-server: { kind: down }"),
    ("{}", "api-server: { kind: status, code: 429, share: 0.3 }"),
    ("{}", "api-server: { kind: status, code: 500, share: 0.3 }"),
    ("{}", "api-server: { kind: deny, verb: get, resource: pods/proxy }"),
    ("{}", "cloudwatch: { kind: down }"),
    ("{}", "cloudwatch: { kind: throttle, share: 0.5 }"),
    ("{}", "cloudwatch: { kind: server-error, share: 0.5 }"),
    ("{}", "cloudwatch: { kind: access-denied }"),
];

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_rounds_of_chaos_lose_only_what_is_admitted() {
    let mut world = World::start(Scenario::named("churn").unwrap()).await;
    let flags = ["--scrape-timeout", "1s", "--scrape-via", "proxy"];
    let mut helper = world.helper(&flags).await;
    let mut random = fastrand::Rng::with_seed(20_260_101);
    let mut going_on: Vec<(usize, u32)> = Vec::new();
    let mut measured = vec![helper.round().await.at.0];
    let mut totals = Vec::new();
    let (mut partial, mut warm) = (0, 0);
    for round in 1..ROUNDS {
        going_on.retain(|(fault, until)| {
            if *until <= round {
                world.clear(*fault);
            }
            *until > round
        });
        if random.u32(..100) < 8 && going_on.len() < 4 {
            let (target, fault) = FAULTS[random.usize(..FAULTS.len())];
            going_on.push((world.inject_on(target, fault), round + random.u32(1..12)));
        }
        world.advance(&[&helper]).await;
        let snapshot = helper.round().await;
        measured.push(snapshot.at.0);
        partial += u32::from(!snapshot.coverage.failed.is_empty());
        if round == ROUNDS / 4 {
            warm = resident_bytes();
        }
        totals = CATALOGUE.iter().map(|row| (row.name, snapshot.totals.get(row.metric))).collect();
    }
    let grown = resident_bytes().saturating_sub(warm);
    for (fault, _) in going_on {
        world.clear(fault);
    }
    world.advance(&[&helper]).await;
    measured.push(helper.round().await.at.0);
    helper.wait_all_sent().await;

    assert!(partial > ROUNDS / 20, "only {partial} rounds were disturbed");
    let stats = helper.stats("cloudwatch");
    assert_eq!(stats.dropped(), 0, "{:?}", stats.dropped_points);
    assert!(stats.requests.len() >= 4, "{:?}", stats.requests);
    let published = world.published();
    let arrived: Vec<i64> = published["nodesExpected"].keys().copied().collect();
    assert_eq!(arrived, measured);
    let truth = world.truth(0).await;
    assert!(truth.cumulative["addReqCount"] > 1000.0);
    for row in CATALOGUE.iter().filter(|row| row.kind == Kind::Counter) {
        let series = &published[row.name];
        assert!(series.values().all(|values| values.len() == 1), "{} twice", row.name);
        let sum: f64 = series.values().flatten().sum();
        assert_eq!(Some(sum), truth.cumulative.get(row.name).copied(), "{}", row.name);
    }
    let totals: BTreeMap<&str, Option<f64>> = totals.into_iter().collect();
    assert!(totals["addReqCount"].is_some());
    // The simulator, in the same process, keeps every point and the numbers of every page; the helper keeps nothing.
    assert!(grown < 48 << 20, "{} MiB more after 1,500 rounds", grown >> 20);
    helper.end().await;
}
