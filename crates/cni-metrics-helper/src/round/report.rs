//! What a round says: one line a node and change of state, one line for what the whole cluster shows, one summary.

use std::collections::BTreeMap;
use std::fmt::Write;

use cni_metrics_core::catalogue::Metric;
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
    new_bad_pages: u64,
    /// Nodes that could not be asked this round since the API server was out of reach, and its own words.
    not_asked: Option<(u64, String)>,
    api_server: ApiServer,
    /// The API server could not reach some node in the last round.
    blocked: bool,
    no_targets: bool,
    /// Metrics whose sum was not finite in the last round.
    not_finite: Vec<Metric>,
}

/// What was last said of the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ApiServer {
    Fine,
    Slow,
    Gone,
}

/// What a round found beside its snapshot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Findings {
    /// Pods that match the selector.
    pub(super) listed: usize,
    /// Nodes of which the API server says that it cannot reach them, and those behind which it was silent.
    pub(super) blocked: (u64, u64),
    /// The API server answered a small request in time; `None` where it was not waited for.
    pub(super) api_answers: Option<bool>,
}

impl Report {
    pub(super) fn new(looked_for: String) -> Self {
        Self {
            looked_for,
            new_failures: BTreeMap::new(),
            new_answers: 0,
            new_bad_pages: 0,
            not_asked: None,
            api_server: ApiServer::Fine,
            blocked: false,
            no_targets: false,
            not_finite: Vec::new(),
        }
    }

    /// A node's scrape failed in a new way.
    pub(super) fn failed(&mut self, pod: &Pod, error: &ScrapeError) {
        let kind = error.kind();
        let nodes = self.new_failures.entry(kind).or_default();
        *nodes += 1;
        if *nodes <= NAMED_PER_KIND {
            warn!(node = %node(pod), pod = %pod.name, %kind, "no page: {error}");
        }
    }

    /// A node answers again.
    pub(super) fn answered(&mut self, pod: &Pod) {
        self.new_answers += 1;
        if self.new_answers <= NAMED_PER_KIND {
            info!(node = %node(pod), pod = %pod.name, "the node answers again");
        }
    }

    /// A page has lines that could not be read, and had none before.
    pub(super) fn bad_lines(&mut self, pod: &Pod, what: &str) {
        self.new_bad_pages += 1;
        if self.new_bad_pages <= NAMED_PER_KIND {
            warn!(node = %node(pod), pod = %pod.name, "{what}");
        }
    }

    /// A node could not be asked: the API server is out of reach.
    pub(super) fn not_asked(&mut self, reason: &str) {
        let (nodes, _) = self.not_asked.get_or_insert_with(|| (0, reason.to_owned()));
        *nodes += 1;
    }

    /// Closes the round.
    pub(super) fn round(&mut self, snapshot: &Snapshot, findings: Findings) {
        for (kind, nodes) in std::mem::take(&mut self.new_failures) {
            if let Some(more) = more(nodes) {
                warn!(%kind, "no page of {more} more nodes: {kind}");
            }
        }
        if let Some(more) = more(std::mem::take(&mut self.new_answers)) {
            info!("{more} more nodes answer again");
        }
        if let Some(more) = more(std::mem::take(&mut self.new_bad_pages)) {
            warn!("{more} more nodes have bad lines on their pages");
        }
        self.api_server(findings.api_answers);
        self.security_group(snapshot, findings);
        self.targets(findings.listed);
        self.anomalies(&snapshot.anomalies);
        info!("{}", summary(snapshot));
    }

    fn api_server(&mut self, answers: Option<bool>) {
        let not_asked = self.not_asked.take();
        let now = match (&not_asked, answers) {
            (Some(_), _) => ApiServer::Gone,
            (None, Some(false)) => ApiServer::Slow,
            (None, Some(true)) => ApiServer::Fine,
            (None, None) => self.api_server,
        };
        match (self.api_server == now, now, not_asked) {
            (false, ApiServer::Gone, Some((nodes, reason))) => {
                warn!(nodes, "the API server is out of reach, {nodes} nodes could not be asked through it: {reason}");
            }
            (false, ApiServer::Slow, _) => {
                warn!("the API server does not answer even a small request in time; scrapes through it suffer too");
            }
            (false, ApiServer::Fine, _) => info!("the API server answers again"),
            _ => {}
        }
        self.api_server = now;
    }

    /// The usual cause of nodes out of the API server's reach is one missing rule: says so when it begins and when it
    /// ends. Silence is only blamed on it while the API server itself answers.
    fn security_group(&mut self, snapshot: &Snapshot, findings: Findings) {
        let (unreachable, silent) = findings.blocked;
        let expected = snapshot.coverage.expected;
        // One node that hangs is a node that hangs; a missing rule cuts off many.
        let silent = if silent * 2 >= expected { silent } else { 0 };
        let nodes = unreachable + silent;
        if nodes > 0 && !self.blocked && self.api_server == ApiServer::Fine {
            let what = if unreachable > 0 {
                format!("the API server cannot reach {nodes} of {expected} nodes on the agents' port")
            } else {
                format!(
                    "{nodes} of {expected} nodes gave no answer through the API server, which itself answers: their \
                     agents hang, or it cannot reach them"
                )
            };
            warn!(
                nodes,
                "{what}. Usually the nodes' security group lacks the inbound rule tcp/61678 from the cluster's security \
                 group: add it (aws ec2 authorize-security-group-ingress --group-id NODE_SG --protocol tcp --port 61678 \
                 --source-group CLUSTER_SG), or ask the nodes directly (SCRAPE_VIA=direct; auto does where that works)"
            );
            self.blocked = true;
        } else if findings.blocked == (0, 0) && self.blocked {
            info!("the API server reaches all nodes on the agents' port again");
            self.blocked = false;
        }
    }

    fn anomalies(&mut self, anomalies: &[Anomaly]) {
        let mut decreases = 0;
        let mut not_finite = Vec::new();
        for anomaly in anomalies {
            match anomaly {
                Anomaly::NotFinite { metric } => {
                    if !self.not_finite.contains(metric) {
                        warn!("{}", anomaly_text(anomaly));
                    }
                    not_finite.push(*metric);
                }
                Anomaly::CounterDecreased { .. } => {
                    decreases += 1;
                    if decreases <= NAMED_PER_KIND {
                        warn!("{}", anomaly_text(anomaly));
                    }
                }
            }
        }
        if let Some(more) = more(decreases) {
            warn!("{more} more counters behaved like that");
        }
        self.not_finite = not_finite;
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

/// How many of `count` were not named.
fn more(count: u64) -> Option<u64> {
    count.checked_sub(NAMED_PER_KIND).filter(|more| *more > 0)
}

fn node(pod: &Pod) -> &str {
    pod.node.as_deref().unwrap_or("?")
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
