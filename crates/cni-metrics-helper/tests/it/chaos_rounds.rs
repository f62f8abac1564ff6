//! Twice five hundred rounds of a cluster of forty and more nodes in which every part fails at random: nodes, their pages, the API
//! server, its watches, CloudWatch, and the helper's clock. The cluster grows, shrinks and falls silent, so that the
//! concurrency limiter has to follow. In the end what was published is the truth less what the drop counters admit, and
//! memory is where it was.

use std::net::SocketAddr;

use cni_sim::scenario::Scenario;
use cni_testkit::world::World;
use cni_types::catalogue::{CATALOGUE, Kind, Metric};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const ROUNDS: u32 = 500;

/// Agents take so long to answer that a round ends soon enough only where it asks all of them at once.
const CLUSTER: &str = "
name: chaos
description: Forty nodes and more.
warm_up: 10m
cluster: { node_latency: 100ms }
subnets:
  - { name: a, cidr: 10.0.0.0/16, zone: eu-central-1a }
node_groups:
  - { name: all, instance_type: m5.large, count: 40, subnet: a }
workload:
  - { pods_per_node: 4, churn_per_minute: 2 }
";

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
    ("{ fraction: 0.95 }", "reset"),
    ("{ fraction: 0.1 }", "page-status: { code: 429, retry_after_s: 60 }"),
    ("{ fraction: 0.3 }", "forged-status: { code: 429, retry_after_s: 60 }"),
    ("{ fraction: 0.3 }", "forged-status: { code: 503, retry_after_s: 60 }"),
    ("{ count: 2 }", "forged-status: { code: 403 }"),
    ("{ count: 1 }", "lose-eni"),
    ("{ count: 1 }", "node-loss: { replace: true }"),
    ("{ count: 6 }", "node-loss: {}"),
    ("{ group: all }", "join: { count: 6 }"),
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

/// The concurrency limiter's window, as the helper's own metrics show it.
async fn window(admin: SocketAddr) -> u64 {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: helper\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let line = answer.lines().find_map(|line| line.strip_prefix("cni_metrics_helper_scrape_window{"));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

/// How the windows moved, and what they must never be.
#[derive(Default)]
struct Windows {
    least: Option<u64>,
    most: u64,
    moves: u32,
    last: u64,
}

impl Windows {
    fn note(&mut self, window: u64, targets: u64) {
        assert!(window >= 4 && window <= targets.max(4), "window {window} of {targets} targets");
        self.moves += u32::from(self.last != window);
        self.last = window;
        self.most = self.most.max(window);
        self.least = Some(self.least.map_or(window, |least| least.min(window)));
    }

    /// The limiter had to follow the cluster, and did.
    fn check(&self) {
        let Self { least, most, moves, .. } = self;
        assert!(*moves >= 10 && *least <= Some(20) && *most >= 36, "{least:?} to {most}, {moves} moves");
    }
}

#[test(flavor = "multi_thread")]
async fn five_hundred_rounds_of_chaos_lose_only_what_is_admitted() {
    Box::pin(chaos(20_260_101)).await;
}

/// Beside the other: both mostly wait for answers.
#[test(flavor = "multi_thread")]
async fn five_hundred_other_rounds_of_chaos_lose_only_what_is_admitted() {
    Box::pin(chaos(20_261_127)).await;
}

/// The fault that begins in this round, if one does, and until when it goes on. CloudWatch's come in turn as well, so that
/// each of its answers is met whatever the seed.
fn next_fault(world: &mut World, random: &mut fastrand::Rng, round: u32, going_on: usize) -> Option<(usize, u32)> {
    if round % 100 == 40 {
        let mut cloudwatch = FAULTS.iter().filter(|(_, fault)| fault.starts_with("cloudwatch"));
        let (target, fault) = cloudwatch.nth(round as usize / 100 % 4).unwrap();
        return Some((world.inject_on(target, fault), round + 20));
    }
    if random.u32(..100) < 8 && going_on < 4 {
        let (target, fault) = FAULTS[random.usize(..FAULTS.len())];
        return Some((world.inject_on(target, fault), round + random.u32(1..12)));
    }
    None
}

async fn chaos(seed: u64) {
    let mut world = World::start(Scenario::parse(CLUSTER, "chaos.yaml").unwrap()).await;
    let flags = ["--scrape-timeout", "2s", "--scrape-via", "proxy", "--admin-address", "127.0.0.1:0"];
    let mut helper = world.helper(&flags).await;
    let (admin, mut windows) = (helper.admin.unwrap(), Windows::default());
    let mut random = fastrand::Rng::with_seed(seed);
    let mut going_on: Vec<(usize, u32)> = Vec::new();
    let mut measured = vec![helper.round().await.at.0];
    let mut totals = None;
    let (mut partial, mut warm, mut clock_steps) = (0, 0, 0);
    for round in 1..ROUNDS {
        going_on.retain(|(fault, until)| {
            if *until <= round {
                world.clear(*fault);
            }
            *until > round
        });
        going_on.extend(next_fault(&mut world, &mut random, round, going_on.len()));
        // A clock that is set back by up to an hour, and right again some rounds later. Its times are never those of another
        // round, so that every point can be told apart.
        if random.u32(..100) == 0 {
            world.clock_off_by_ms = -30_000 * random.i64(1..120) - i64::from(round);
        } else if random.u32(..5) == 0 {
            world.clock_off_by_ms = 0;
        }
        world.advance(&[&helper]).await;
        let snapshot = helper.round().await;
        measured.push(snapshot.at.0);
        clock_steps += u32::from(world.clock_off_by_ms != 0);
        let targets = helper.index.targets().0.len() as u64;
        windows.note(window(admin).await, targets.max(snapshot.nodes.len() as u64));
        partial += u32::from(!snapshot.coverage.failed.is_empty());
        if round == ROUNDS / 4 {
            warm = resident_bytes();
        }
        totals = snapshot.totals.get(Metric::AddReqCount);
    }
    let grown = resident_bytes().saturating_sub(warm);
    for (fault, _) in going_on {
        world.clear(fault);
    }
    world.clock_off_by_ms = 0;
    world.advance(&[&helper]).await;
    measured.push(helper.round().await.at.0);
    helper.wait_all_sent().await;
    measured.sort_unstable();
    assert!(clock_steps >= 5, "the clock was wrong in {clock_steps} rounds only");
    windows.check();
    assert!(partial > ROUNDS / 20, "only {partial} rounds were disturbed");
    let stats = helper.stats("cloudwatch");
    assert_eq!(stats.dropped(), 0, "{:?}", stats.dropped_points);
    assert!(stats.requests.len() >= 4, "{:?}", stats.requests);
    assert_published(&mut world, &measured).await;
    assert!(totals.is_some_and(|total| total > 0.0));
    // Both simulators, in the same process, keep every point and the numbers of every page; the helpers keep nothing.
    assert!(grown < 96 << 20, "{} MiB more after 375 rounds", grown >> 20);
    helper.end().await;
}

/// Every round arrived once, and the counters' points sum to the events on the nodes.
async fn assert_published(world: &mut World, measured: &[i64]) {
    let published = world.published();
    let arrived: Vec<i64> = published["nodesExpected"].keys().copied().collect();
    assert_eq!(arrived, measured);
    let truth = world.truth(0).await;
    assert!(truth.cumulative["addReqCount"] > 1000.0);
    for row in CATALOGUE.iter().filter(|row| row.kind == Kind::Counter) {
        let series = published.get(row.name).into_iter().flatten();
        let points: Vec<f64> = series
            .map(|(at, values)| {
                assert_eq!(values.len(), 1, "{} twice at {at}", row.name);
                values[0]
            })
            .collect();
        let events = truth.cumulative.get(row.name).copied().unwrap_or_default();
        assert!((points.iter().sum::<f64>() - events).abs() < 0.5, "{}: {events} events", row.name);
    }
}
