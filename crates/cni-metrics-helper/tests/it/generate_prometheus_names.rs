//! Every Prometheus name on dashboards and in rules is one that the helper's page really has.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use clap::Parser;
use cni_generate::{self, GenerateArgs};
use cni_metrics_core::agent::{AgentFacts, PoolSettings};
use cni_metrics_core::aggregate::{Aggregator, CounterMode, HelperStart};
use cni_metrics_core::model::{NodeLabels, NodeName, Observation, PodUid, Target, UnixMillis};
use cni_metrics_core::parse::parse;
use cni_metrics_helper::admin;
use cni_publish::prometheus::page::{ClusterLabel, Exposed, PageParts};
use cni_types::catalogue::{Family, Kind};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    generate: GenerateArgs,
}

fn generate(arguments: &str) -> String {
    let cli = Cli::parse_from(std::iter::once("generate").chain(arguments.split_whitespace()));
    let mut out = Vec::new();
    cni_generate::run(cli.generate, &mut out, &mut std::io::sink()).unwrap();
    String::from_utf8(out).unwrap()
}

/// A node's page with every family that is read.
fn node_page(value: u32) -> String {
    let mut page = "process_start_time_seconds 1000\n".to_owned();
    for family in Family::ALL {
        let name = family.name();
        let _ = match family.kind() {
            Kind::Latency => {
                writeln!(page, "{name}_sum{{api=\"CreateTags\"}} {value}\n{name}_count{{api=\"CreateTags\"}} {value}")
            }
            Kind::Counter => writeln!(page, "# TYPE {name} counter\n{name} {value}"),
            Kind::SumGauge | Kind::Own => writeln!(page, "# TYPE {name} gauge\n{name} {value}"),
        };
    }
    page
}

fn observation(value: u32) -> Observation {
    let target = Target {
        uid: PodUid::new("uid-1"),
        node: NodeName::new("node-1"),
        created_at: None,
        labels: Arc::new(NodeLabels::default()),
        agent: AgentFacts { pool: Some(PoolSettings::default()), ..AgentFacts::default() },
    };
    Observation { target, expected: true, outcome: Ok(parse(node_page(value).as_bytes()).sample.unwrap()) }
}

/// The names of the helper's own page, after two rounds over one node that exposes everything.
fn exposed_names() -> BTreeSet<String> {
    let start = HelperStart { clock: UnixMillis(2_000_000), api_server: None };
    let mut aggregator = Aggregator::new(start, CounterMode::Increase);
    let first = Arc::new(aggregator.round(UnixMillis(2_030_000), vec![observation(5)]));
    let second = Arc::new(aggregator.round(UnixMillis(2_060_000), vec![observation(9)]));
    let exposed = Exposed::after(None, first.into());
    let exposed = Arc::new(Exposed::after(Some(&exposed), second.into()));
    let cluster = ClusterLabel::Id("prod".parse().unwrap());
    let parts = PageParts { node_series: true, fresh: true, cluster, shard: "0/3".parse().ok() };
    let page: String = exposed.page(parts).collect();
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    samples.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect()
}

/// Words of a text that can be metric names of ours: `cni_cluster_...`, `cni_node_...`, `cni_metrics_helper_...`,
/// `awscni_...`. Recorded names, which have colons, are not among them.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    words
        .filter(|word| {
            ["cni_cluster_", "cni_node_", "cni_metrics_helper_", "awscni_"]
                .iter()
                .any(|prefix| word.starts_with(prefix))
        })
        .map(str::to_owned)
        .collect()
}

#[test]
fn dashboards_and_rules_ask_for_names_that_the_page_has() {
    let mut exposed = exposed_names();
    exposed.extend(admin::NAMES.iter().map(|name| name.name.to_owned()));
    assert!(exposed.contains("cni_node_no_available_ip_addresses_total"), "{exposed:?}");
    for arguments in ["grafana-dashboard", "prometheus-rules", "prometheus-rules --format rules-file"] {
        let named = named(&generate(arguments));
        assert!(named.len() >= 10, "{arguments}: {named:?}");
        let unknown: Vec<&String> = named.difference(&exposed).collect();
        assert!(unknown.is_empty(), "{arguments} asks for what is not exposed: {unknown:?}");
    }
}

#[test]
fn the_board_of_aws_node_asks_for_families_that_ipamd_has() {
    let families: BTreeSet<&str> = Family::ALL.iter().map(|family| family.name()).collect();
    for name in named(&generate("grafana-dashboard --for aws-node")) {
        let family = name.strip_suffix("_sum").or_else(|| name.strip_suffix("_count"));
        let known = families.contains(name.as_str()) || family.is_some_and(|family| families.contains(family));
        assert!(known, "{name}");
    }
}
