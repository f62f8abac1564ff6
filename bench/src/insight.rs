//! What findings cost: the same rounds with `INSIGHT=off` and `basic` in one run, of a calm cluster and of one in which every node
//! refuses requests for a pod address.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Value, json};

use crate::case::{self, Case, Figures, Paths, ratio};
use crate::progress::say;
use crate::subject::Program;

/// The scenario of a cluster above this size does not move (see `case.rs`): its counters stay, and nothing is refused any more.
const MOST_NODES: u32 = 20_000;

/// A /16, the largest subnet there is, has addresses for these nodes, of 30 each.
const NODES_PER_SUBNET: u32 = 2_000;

/// Steady rounds: findings last by then.
const ROUNDS: u32 = 8;

/// The share of a round's processor time that findings may take more.
const MOST_MORE_CPU: f64 = 0.10;

/// What findings may take of memory per node: 40 MiB for 100,000 nodes. Below some thousand nodes pages of code weigh more.
const MOST_BYTES_PER_NODE: f64 = 40.0 * 1_048_576.0 / 100_000.0;

/// A cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cluster {
    Calm,
    Refusing,
}

impl Cluster {
    const ALL: [Self; 2] = [Self::Calm, Self::Refusing];

    fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Refusing => "every node refuses",
        }
    }

    /// As YAML: nodes with 27 addresses and 20 or 40 pods.
    fn scenario(self, nodes: u32) -> String {
        let (name, pods) = match self {
            Self::Calm => ("calm", 20),
            Self::Refusing => ("refusing", 40),
        };
        let (mut subnets, mut groups, mut left) = (String::new(), String::new(), nodes);
        for number in 0..nodes.div_ceil(NODES_PER_SUBNET) {
            let (count, zone) = (left.min(NODES_PER_SUBNET), if number % 2 == 0 { "zone-a" } else { "zone-b" });
            left -= count;
            // Writing to a string cannot fail.
            let _written = writeln!(subnets, "  - {{ name: s{number}, cidr: 10.{number}.0.0/16, zone: {zone} }}");
            let _written = writeln!(
                groups,
                "  - {{ name: g{number}, count: {count}, subnet: s{number}, instance_type: m5.large, max_pods: 58 }}"
            );
        }
        format!(
            "name: {name}\nwarm_up: 10m\nsubnets:\n{subnets}node_groups:\n{groups}workload:\n  \
             - {{ pods_per_node: {pods}, churn_per_minute: 0 }}\n"
        )
    }
}

/// A cluster's two runs.
#[derive(Debug)]
struct Pair {
    nodes: u32,
    cluster: Cluster,
    off: Figures,
    basic: Figures,
}

impl Pair {
    /// Processor time with findings, over that without.
    fn cpu(&self) -> f64 {
        ratio(self.basic.cpu_us_per_node, self.off.cpu_us_per_node)
    }

    /// What they take of memory, bytes per node.
    fn bytes_per_node(&self) -> f64 {
        (self.basic.settled_bytes as f64 - self.off.settled_bytes as f64) / f64::from(self.nodes)
    }

    fn json(&self) -> Value {
        json!({
            "nodes": self.nodes,
            "cluster": self.cluster.name(),
            "cpu_ratio": self.cpu(),
            "bytes_per_node": self.bytes_per_node(),
            "off": self.off,
            "basic": self.basic,
        })
    }
}

/// Runs all and writes `insight.md` and `insight.json`; an error if findings cost more than they may.
pub(crate) fn run(paths: &Paths, helper: &Path, out: &Path, sizes: &[u32], rounds: Option<u32>) -> anyhow::Result<()> {
    let mut pairs = Vec::new();
    for nodes in sizes.iter().copied().filter(|nodes| (2..=MOST_NODES).contains(nodes)) {
        for cluster in Cluster::ALL {
            let file = out.join(format!("insight-{nodes}-{}.yaml", cluster.name().replace(' ', "-")));
            std::fs::write(&file, cluster.scenario(nodes)).with_context(|| file.display().to_string())?;
            let of = |level: &'static str| {
                say(&format!("{nodes} nodes, {}, INSIGHT={level} …", cluster.name()));
                let name = format!("insight-{level}-{}", cluster.name().replace(' ', "-"));
                let program = Program { name, path: helper.to_owned() };
                case::run(paths, &program, &measured(nodes, level, file.clone(), rounds))
            };
            pairs.push(Pair { nodes, cluster, off: of("off")?, basic: of("basic")? });
        }
    }
    anyhow::ensure!(!pairs.is_empty(), "findings are measured with 2 to {MOST_NODES} nodes");
    let text = table(&pairs);
    say(&text);
    std::fs::write(out.join("insight.md"), &text)?;
    let document: Vec<Value> = pairs.iter().map(Pair::json).collect();
    std::fs::write(out.join("insight.json"), serde_json::to_string_pretty(&document)?)?;
    judge(&pairs)
}

fn measured(nodes: u32, level: &'static str, scenario: PathBuf, rounds: Option<u32>) -> Case {
    Case {
        nodes,
        latency_ms: 2,
        via: "proxy".to_owned(),
        https: true,
        interval_seconds: if nodes > 5_000 { 30 } else { 10 },
        rounds: rounds.unwrap_or(ROUNDS),
        concurrency: None,
        faulty_rounds: 0,
        scenario: Some(scenario),
        insight: Some(level),
    }
}

fn table(pairs: &[Pair]) -> String {
    let mut text =
        "| nodes | cluster | CPU per node and round, off | basic | ratio | memory, off | basic | per node |\n\
                    |---|---|---|---|---|---|---|---|\n"
            .to_owned();
    let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
    for pair in pairs {
        let (off, basic) = (&pair.off, &pair.basic);
        // Writing to a string cannot fail.
        let _written = writeln!(
            text,
            "| {} | {} | {:.1} µs | {:.1} µs | {:.3} | {:.1} MiB | {:.1} MiB | {:.0} bytes |",
            pair.nodes,
            pair.cluster.name(),
            off.cpu_us_per_node,
            basic.cpu_us_per_node,
            pair.cpu(),
            mib(off.settled_bytes),
            mib(basic.settled_bytes),
            pair.bytes_per_node(),
        );
    }
    text
}

/// Clusters of fewer nodes say little: what does not grow with the nodes weighs more than what does.
const ENOUGH_NODES: u32 = 5_000;

fn judge(pairs: &[Pair]) -> anyhow::Result<()> {
    for pair in pairs.iter().filter(|pair| pair.nodes >= ENOUGH_NODES) {
        let (nodes, cluster) = (pair.nodes, pair.cluster.name());
        let (cpu, bytes) = (pair.cpu(), pair.bytes_per_node());
        anyhow::ensure!(
            cpu <= 1.0 + MOST_MORE_CPU,
            "{nodes} nodes, {cluster}: findings take {:.1} % more processor time; {:.0} % are allowed",
            (cpu - 1.0) * 100.0,
            MOST_MORE_CPU * 100.0
        );
        anyhow::ensure!(
            bytes <= MOST_BYTES_PER_NODE,
            "{nodes} nodes, {cluster}: findings take {bytes:.0} bytes per node; {MOST_BYTES_PER_NODE:.0} are allowed"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(nodes: u32, cpu: f64, bytes: u64) -> Pair {
        let figures = |cpu, bytes| Figures { cpu_us_per_node: cpu, settled_bytes: bytes, ..Figures::default() };
        Pair { nodes, cluster: Cluster::Calm, off: figures(100.0, 10_000_000), basic: figures(cpu, 10_000_000 + bytes) }
    }

    #[test]
    fn more_than_a_tenth_or_than_forty_mebibytes_fails_where_there_are_enough_nodes() {
        assert!(judge(&[pair(10_000, 109.0, 4_100_000)]).is_ok());
        assert!(judge(&[pair(10_000, 111.0, 0)]).unwrap_err().to_string().contains("11.0 % more"));
        assert!(judge(&[pair(10_000, 100.0, 4_300_000)]).unwrap_err().to_string().contains("430 bytes"));
        assert!(judge(&[pair(1_000, 200.0, 4_300_000)]).is_ok());
        assert!(table(&[pair(10_000, 109.0, 4_100_000)]).contains("| 1.090 |"));
    }

    #[test]
    fn the_clusters_are_scenarios_of_as_many_nodes() {
        for cluster in Cluster::ALL {
            let scenario = cni_sim::scenario::Scenario::parse(&cluster.scenario(5001), "bench.yaml").unwrap();
            assert_eq!(scenario.node_groups.iter().map(|group| group.count).sum::<u32>(), 5001);
        }
    }
}
