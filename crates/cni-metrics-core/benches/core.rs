//! Speed of reading a page and of folding a round, each beside a yardstick in the same run.
//!
//! The limit for any reader that looks at every line is the bare line split; `prometheus-parse` is what one would use
//! instead of a reader of our own.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use cni_metrics_core::agent::AgentFacts;
use cni_metrics_core::aggregate::{Aggregator, CounterMode, HelperStart};
use cni_metrics_core::model::{NodeName, NodeSample, Observation, PodUid, Target, UnixMillis};
use cni_metrics_core::parse::parse;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const PAGE: &str = include_str!("../tests/data/node.prom");

/// The line split: every line taken as a slice, nothing read.
fn split_lines(mut page: &[u8]) -> usize {
    let mut lines = 0;
    while let Some(end) = memchr::memchr(b'\n', page) {
        let (line, rest) = page.split_at(end + 1);
        black_box(line);
        lines += 1;
        page = rest;
    }
    lines
}

fn pages(c: &mut Criterion) {
    let mut group = c.benchmark_group("page");
    group.throughput(Throughput::Bytes(PAGE.len() as u64));
    group.bench_function("line split", |b| b.iter(|| split_lines(black_box(PAGE.as_bytes()))));
    group.bench_function("parse", |b| b.iter(|| parse(black_box(PAGE.as_bytes()))));
    // Its series out of order: every one has to be remembered.
    let shuffled =
        format!("awscni_pod_eni_error_count{{fn=\"b\"}} 0\nawscni_pod_eni_error_count{{fn=\"a\"}} 0\n{PAGE}");
    group.bench_function("parse, out of order", |b| b.iter(|| parse(black_box(shuffled.as_bytes()))));
    group.bench_function("prometheus-parse", |b| {
        b.iter(|| {
            let lines = black_box(PAGE).lines().map(|line| Ok(line.to_owned()));
            prometheus_parse::Scrape::parse(lines)
        });
    });
    group.finish();
}

fn observations(nodes: usize, sample: &NodeSample) -> Vec<Observation> {
    let observe = |node| Observation {
        target: Target {
            uid: PodUid::new(format!("0b9d4e1c-7a53-4c4e-9f0e-{node:012}")),
            node: NodeName::new(format!("ip-10-{}-{}-{}.ec2.internal", node / 65536, node / 256 % 256, node % 256)),
            created_at: Some(UnixMillis(0)),
            labels: Arc::default(),
            agent: AgentFacts::default(),
        },
        expected: true,
        outcome: Ok(sample.clone()),
    };
    (0..nodes).map(observe).collect()
}

fn rounds(c: &mut Criterion) {
    let mut group = c.benchmark_group("round");
    group.sample_size(10).measurement_time(Duration::from_secs(6));
    let Ok(sample) = parse(PAGE.as_bytes()).sample else { return };
    for nodes in [1_000, 100_000] {
        group.throughput(Throughput::Elements(nodes as u64));
        let round = observations(nodes, &sample);
        let start = HelperStart { clock: UnixMillis(0), api_server: None };
        let mut aggregator = Aggregator::new(start, CounterMode::Increase);
        aggregator.round(UnixMillis(0), round.clone());
        group.bench_function(BenchmarkId::new("nodes", nodes), |b| {
            b.iter_batched(|| round.clone(), |round| aggregator.round(UnixMillis(0), round), BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, pages, rounds);
criterion_main!(benches);
