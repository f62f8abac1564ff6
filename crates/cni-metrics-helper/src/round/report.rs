//! What a round says: one line a node and change of state, one line for what the whole cluster shows, one summary.

use std::collections::BTreeMap;
use std::fmt::Write;

use cni_metrics_core::model::{Anomaly, FailureKind, Snapshot};
use tracing::{info, warn};

use crate::discover::Pod;
use crate::scrape::ScrapeError;

/// Nodes named one by one for each new kind of failure in a round; a dead API server must not write 5,000 lines.
const NAMED_PER_KIND: u64 = 10;

/// The state of what is told once.
#[derive(Debug)]
pub(super) struct Report {
    looked_for: String,
    new_failures: BTreeMap<FailureKind, u64>,
    new_answers: u64,
    detours: Detours,
    /// The API server could not reach some node in the last round.
    blocked: bool,
    no_targets: bool,
}

/// Nodes that only answered directly in this round.
#[derive(Debug, Default)]
struct Detours {
    nodes: u64,
    example: Option<String>,
}

impl Report {
    pub(super) fn new(looked_for: String) -> Self {
        Self {
            looked_for,
            new_failures: BTreeMap::new(),
            new_answers: 0,
            detours: Detours::default(),
            blocked: false,
            no_targets: false,
        }
    }

    /// A node's scrape failed in a new way.
    pub(super) fn failed(&mut self, pod: &Pod, error: &ScrapeError) {
        let kind = error.kind();
        let nodes = self.new_failures.entry(kind).or_default();
        *nodes += 1;
        if *nodes <= NAMED_PER_KIND {
            let node = pod.node.as_deref().unwrap_or("?");
            warn!(node, pod = %pod.name, kind = kind.label(), "node {node}: {kind}: {error}");
        }
    }

    /// A node answers again.
    pub(super) fn answered(&mut self, pod: &Pod) {
        self.new_answers += 1;
        if self.new_answers <= NAMED_PER_KIND {
            let node = pod.node.as_deref().unwrap_or("?");
            info!(node, pod = %pod.name, "node {node}: answers again");
        }
    }

    /// A page has lines that could not be read, and had none before.
    pub(super) fn bad_lines(pod: &Pod, what: &str) {
        let node = pod.node.as_deref().unwrap_or("?");
        warn!(node, pod = %pod.name, "node {node}: {what}");
    }

    /// A node answered directly because the API server could not reach it.
    pub(super) fn detoured(&mut self, pod: &Pod, reason: &str) {
        self.detours.nodes += 1;
        let node = pod.node.as_deref().unwrap_or("?");
        self.detours.example.get_or_insert_with(|| format!("{node}: {reason}"));
    }

    /// The same as in earlier rounds.
    pub(super) fn still_detoured(&mut self) {
        self.detours.nodes += 1;
    }

    /// Closes the round.
    pub(super) fn round(&mut self, snapshot: &Snapshot, listed: usize) {
        for (kind, nodes) in std::mem::take(&mut self.new_failures) {
            if nodes > NAMED_PER_KIND {
                warn!(kind = kind.label(), "{kind}: {} more nodes, not named here", nodes - NAMED_PER_KIND);
            }
        }
        let answers = std::mem::take(&mut self.new_answers);
        if answers > NAMED_PER_KIND {
            info!("{} more nodes answer again", answers - NAMED_PER_KIND);
        }
        self.security_group(snapshot);
        self.targets(listed);
        for anomaly in &snapshot.anomalies {
            warn!("{}", anomaly_text(anomaly));
        }
        info!("{}", summary(snapshot));
    }

    /// The usual cause of nodes out of the API server's reach is one missing rule: says so when it begins and when it
    /// ends.
    fn security_group(&mut self, snapshot: &Snapshot) {
        let detours = std::mem::take(&mut self.detours);
        let failed = snapshot.coverage.failed.get(&FailureKind::ProxyUnavailable).copied().unwrap_or(0);
        let nodes = detours.nodes + failed;
        if nodes > 0 && !self.blocked {
            let example = detours.example.map(|text| format!(" ({text})")).unwrap_or_default();
            let outcome =
                if failed == 0 { "they were asked directly instead" } else { "they are missing from the sums" };
            warn!(
                nodes,
                "the API server cannot reach {nodes} of {} nodes on the agents' port{example}; {outcome}. The nodes' \
                 security group usually lacks the inbound rule tcp/61678 from the cluster's security group: add it \
                 (aws ec2 authorize-security-group-ingress --group-id NODE_SG --protocol tcp --port 61678 \
                 --source-group CLUSTER_SG), or set SCRAPE_VIA=direct",
                snapshot.coverage.expected
            );
        } else if nodes == 0 && self.blocked {
            info!("the API server reaches all nodes on the agents' port again");
        }
        self.blocked = nodes > 0;
    }

    fn targets(&mut self, listed: usize) {
        let none = listed == 0;
        if none && !self.no_targets {
            warn!(
                "no pod matches {}. Usual causes: the agents run in another namespace or under other labels \
                 (AGENT_NAMESPACE, AGENT_SELECTOR); all nodes are EKS Auto Mode or Fargate, where no aws-node runs",
                self.looked_for
            );
        } else if !none && self.no_targets {
            info!("{listed} pods match {} now", self.looked_for);
        }
        self.no_targets = none;
    }
}

/// `round 17: 998/1000 nodes in 412 ms (2 timeout)`.
fn summary(snapshot: &Snapshot) -> String {
    let coverage = &snapshot.coverage;
    let mut line = format!(
        "round {}: {}/{} nodes in {} ms",
        snapshot.round, coverage.scraped, coverage.expected, snapshot.duration_ms
    );
    let failed: Vec<String> = coverage.failed.iter().map(|(kind, nodes)| format!("{nodes} {kind}")).collect();
    if !failed.is_empty() {
        // Writing to a string cannot fail.
        let _written = write!(line, " ({})", failed.join(", "));
    }
    line
}

fn anomaly_text(anomaly: &Anomaly) -> String {
    match anomaly {
        Anomaly::CounterDecreased { node, family, from, to } => format!(
            "node {node}: counter {} went down from {from} to {to} although the agent did not restart; counted as 0",
            family.name()
        ),
        Anomaly::NotFinite { metric } => {
            format!("{}: the sum is not a finite number; left out of this round", metric.row().name)
        }
    }
}
