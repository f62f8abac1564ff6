//! What a round says: one line a node and change of state, one line for what the whole cluster shows, one summary.

use std::collections::BTreeMap;

use cni_metrics_core::model::{Anomaly, FailureKind, Snapshot};
use cni_metrics_core::summary::summary;
use cni_types::catalogue::Metric;
use tracing::{info, warn};

use crate::discover::Pod;
use crate::scrape::ScrapeError;

/// Nodes named one by one for each new kind of failure in a round; a dead API server must not write 5,000 lines.
const NAMED_PER_KIND: u64 = 10;

/// One in this many nodes out of the API server's reach is a sign of a missing rule; it is over when fewer than one in the
/// second number are.
const TOLD_SHARE: u64 = 10;
const CLEARED_SHARE: u64 = 20;

/// The state of what is logged once.
#[derive(Debug)]
pub(super) struct Report {
    looked_for: String,
    /// It writes the round's line, which a sink does where there are sinks.
    has_summary: bool,
    new_failures: BTreeMap<FailureKind, u64>,
    new_answers: u64,
    new_bad_pages: u64,
    new_left_out: u64,
    /// Nodes that could not be asked this round since the API server was out of reach.
    not_asked: Option<NotAsked>,
    api_server: ApiServer,
    /// How the API server was out of reach when that was last logged.
    gone_cause: String,
    /// The nodes that the API server could not reach when that was last logged; `None` while it reaches nearly all.
    blocked: Option<u64>,
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

/// Nodes that could not be asked.
#[derive(Debug)]
struct NotAsked {
    nodes: u64,
    /// The first of them.
    node: String,
    pod: String,
    reason: String,
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
            has_summary: true,
            new_failures: BTreeMap::new(),
            new_answers: 0,
            new_bad_pages: 0,
            new_left_out: 0,
            not_asked: None,
            api_server: ApiServer::Fine,
            gone_cause: String::new(),
            blocked: None,
            no_targets: false,
            not_finite: Vec::new(),
        }
    }

    /// Leaves the round's line to others.
    pub(super) fn without_summary(&mut self) {
        self.has_summary = false;
    }

    /// A node's scrape failed in a new way.
    pub(super) fn failed(&mut self, pod: &Pod, error: &ScrapeError) {
        let kind = error.kind();
        // The end of the program says nothing about a node; the round's summary counts these.
        if kind == FailureKind::Stopped {
            return;
        }
        let nodes = self.new_failures.entry(kind).or_default();
        *nodes += 1;
        if *nodes <= NAMED_PER_KIND {
            warn!(node = %node(pod), pod = %pod.name, %kind, "scrape failed: {error}");
        }
    }

    /// A node is not asked in every round any more.
    pub(super) fn left_out(&mut self, pod: &Pod, error: &ScrapeError) {
        self.new_left_out += 1;
        if self.new_left_out <= NAMED_PER_KIND {
            let kind = error.kind();
            info!(node = %node(pod), pod = %pod.name, %kind, "scraped less often until it answers: {error}");
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
    pub(super) fn not_asked(&mut self, pod: &Pod, reason: &str) {
        let first =
            || NotAsked { nodes: 0, node: node(pod).to_owned(), pod: pod.name.to_string(), reason: reason.to_owned() };
        self.not_asked.get_or_insert_with(first).nodes += 1;
    }

    /// Closes the round.
    pub(super) fn round(&mut self, snapshot: &Snapshot, findings: Findings) {
        for (kind, nodes) in std::mem::take(&mut self.new_failures) {
            if let Some(more) = more(nodes) {
                warn!(%kind, "scrape failed on {more} more nodes: {kind}");
            }
        }
        if let Some(more) = more(std::mem::take(&mut self.new_answers)) {
            info!("{more} more nodes answer again");
        }
        if let Some(more) = more(std::mem::take(&mut self.new_bad_pages)) {
            warn!("{more} more nodes have bad lines on their pages");
        }
        if let Some(more) = more(std::mem::take(&mut self.new_left_out)) {
            info!("{more} more nodes are scraped less often until they answer");
        }
        self.api_server(findings.api_answers);
        self.security_group(snapshot, findings);
        self.targets(findings.listed);
        self.anomalies(&snapshot.anomalies);
        if self.has_summary {
            info!("{}", summary(snapshot));
        }
    }

    fn api_server(&mut self, answers: Option<bool>) {
        let not_asked = self.not_asked.take();
        let now = match (&not_asked, answers) {
            // One connection that failed, while the API server answers others, is that connection's trouble.
            (Some(NotAsked { nodes: 1, node, pod, reason }), Some(true)) => {
                let kind = FailureKind::ApiServerUnreachable;
                warn!(node, pod, %kind, "scrape failed: the connection to the API server failed: {reason}");
                ApiServer::Fine
            }
            (Some(_), _) => ApiServer::Gone,
            (None, Some(false)) => ApiServer::Slow,
            (None, Some(true)) => ApiServer::Fine,
            (None, None) => self.api_server,
        };
        let is_new = self.api_server != now;
        match (now, not_asked) {
            (ApiServer::Gone, Some(NotAsked { nodes, reason, .. })) => {
                let cause = without_numbers(&reason);
                if is_new || self.gone_cause != cause {
                    warn!(nodes, "API server unreachable: {nodes} nodes not scraped through it: {reason}");
                }
                self.gone_cause = cause;
            }
            (ApiServer::Slow, _) if is_new => {
                warn!(
                    "the API server is slow: a small request was not answered in time; scrapes through it are affected"
                );
            }
            (ApiServer::Fine, _) if is_new => info!("the API server answers again"),
            _ => {}
        }
        self.api_server = now;
    }

    /// The usual cause of nodes out of the API server's reach is one missing rule: says so when it begins, when it spreads,
    /// and when it ends. A rule that is missing cuts off many nodes, so only a share of them is a sign of it; silence is
    /// only blamed on it while the API server itself answers.
    fn security_group(&mut self, snapshot: &Snapshot, findings: Findings) {
        let (unreachable, silent) = findings.blocked;
        let expected = snapshot.coverage.expected;
        // One node that hangs is a node that hangs; a missing rule cuts off many.
        let silent = if silent.saturating_mul(2) >= expected { silent } else { 0 };
        let nodes = unreachable.saturating_add(silent);
        let is_share = nodes > 0 && nodes.saturating_mul(TOLD_SHARE) >= expected && (nodes > 1 || expected <= 1);
        let has_spread = self.blocked.is_none_or(|told| nodes >= told.saturating_mul(3));
        if is_share && has_spread && self.api_server == ApiServer::Fine {
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
            self.blocked = Some(nodes);
        } else if self.blocked.is_some() && nodes.saturating_mul(CLEARED_SHARE) < expected.max(1) {
            if nodes == 0 {
                info!("the API server reaches all nodes on the agents' port again");
            } else {
                info!(nodes, "the API server reaches all but {nodes} of {expected} nodes on the agents' port again");
            }
            self.blocked = None;
        }
    }

    fn anomalies(&mut self, anomalies: &[Anomaly]) {
        let (mut decreases, mut implausible) = (0, 0);
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
                Anomaly::Implausible { .. } => {
                    implausible += 1;
                    if implausible <= NAMED_PER_KIND {
                        warn!("{}", anomaly_text(anomaly));
                    }
                }
            }
        }
        if let Some(more) = more(decreases) {
            warn!("{more} more counters decreased without a restart of the agent");
        }
        if let Some(more) = more(implausible) {
            warn!("{more} more implausible values are left out");
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

/// A cause without what differs each time, such as port numbers.
fn without_numbers(reason: &str) -> String {
    reason.chars().filter(|c| !c.is_ascii_digit()).collect()
}

fn node(pod: &Pod) -> &str {
    pod.node.as_deref().unwrap_or("?")
}

fn anomaly_text(anomaly: &Anomaly) -> String {
    match anomaly {
        Anomaly::CounterDecreased { node, family, from, to } => format!(
            "node {node}: counter {} went down from {from} to {to} although the agent did not restart; counted as 0",
            family.name()
        ),
        Anomaly::Implausible { node, family, reason } => {
            format!("node {node}: {} {reason}; left out while this lasts, the node's other values stay", family.name())
        }
        Anomaly::NotFinite { metric } => {
            format!("{}: the sum is not a finite number; left out of this round", metric.row().name)
        }
    }
}

#[cfg(test)]
mod tests {
    use cni_metrics_core::model::{Coverage, UnixMillis};

    use super::*;
    use crate::captured::captured_log;

    /// What is logged meanwhile, but for each round's own line.
    fn logged(work: impl FnOnce()) -> Vec<String> {
        let (subscriber, log) = captured_log();
        tracing::subscriber::with_default(subscriber, work);
        log.lines().into_iter().filter(|line| !line.contains(": round ")).collect()
    }

    fn round(report: &mut Report, expected: u64, blocked: (u64, u64), api_answers: Option<bool>) -> Vec<String> {
        let snapshot = Snapshot {
            coverage: Coverage { expected, scraped: expected - blocked.0 - blocked.1, ..Coverage::default() },
            ..Snapshot::empty(1, UnixMillis(0))
        };
        logged(|| report.round(&snapshot, Findings { listed: 1, blocked, api_answers }))
    }

    #[test]
    fn the_end_of_the_program_is_no_failure_of_a_node() {
        let pod = Pod::running("a", "a");
        let mut report = Report::new(String::new());
        let failed = |report: &mut Report, error: &ScrapeError| {
            let mut lines = logged(|| (0..=NAMED_PER_KIND).for_each(|_| report.failed(&pod, error)));
            lines.extend(round(report, 20, (0, 0), Some(true)));
            lines.len()
        };
        assert_eq!(failed(&mut report, &ScrapeError::Stopped), 0);
        assert_eq!(failed(&mut report, &ScrapeError::Deadline), 11, "ten and the number of the others");
    }

    #[test]
    fn nodes_that_are_left_out_together_are_named_up_to_ten_and_counted() {
        let mut report = Report::new(String::new());
        let error = ScrapeError::NotAsked { last: FailureKind::Timeout, rounds: 4, retry_in: 2 };
        let mut lines = logged(|| (0..15).for_each(|_| report.left_out(&Pod::running("aws-node-1", "node-1"), &error)));
        lines.extend(round(&mut report, 20, (0, 0), Some(true)));
        assert_eq!(lines.len(), 11, "{lines:?}");
        for part in ["node-1", "timeout", "failed in 4 rounds in a row", "retried in at most 2 rounds"] {
            assert!(lines[0].contains(part), "{part} in {}", lines[0]);
        }
        assert!(lines[10].contains("5 more nodes are scraped less often"), "{}", lines[10]);
        assert!(round(&mut report, 20, (0, 0), Some(true)).is_empty());
    }

    #[test]
    fn a_missing_rule_is_told_for_a_share_of_the_nodes_and_told_again_when_it_is_cut_again() {
        let mut report = Report::new(String::new());
        let mut told = |unreachable| {
            let lines = round(&mut report, 100, (unreachable, 0), Some(true));
            let hints = lines.iter().filter(|line| line.contains("tcp/61678")).count();
            let ends = lines.iter().filter(|line| line.contains("on the agents' port again")).count();
            (hints, ends)
        };
        assert_eq!(told(1), (0, 0), "one node is no sign of a missing rule");
        assert_eq!(told(9), (0, 0));
        assert_eq!(told(10), (1, 0));
        assert_eq!(told(12), (0, 0));
        assert_eq!(told(5), (0, 0));
        assert_eq!(told(1), (0, 1), "one node that stays away does not keep it");
        assert_eq!(told(100), (1, 0), "a later, real cut");
        assert_eq!(told(0), (0, 1));
        assert_eq!(told(20), (1, 0));
        assert_eq!(told(59), (0, 0));
        assert_eq!(told(60), (1, 0), "it has spread");
    }

    #[test]
    fn small_clusters_have_shares_too() {
        for (expected, unreachable, hints) in [(1, 1, 1), (2, 2, 1), (2, 1, 0), (10, 1, 0), (10, 2, 1)] {
            let lines = round(&mut Report::new(String::new()), expected, (unreachable, 0), Some(true));
            let told = lines.iter().filter(|line| line.contains("tcp/61678")).count();
            assert_eq!(told, hints, "{unreachable} of {expected}");
        }
    }

    #[test]
    fn the_api_server_is_named_once_for_each_cause_and_not_for_one_nodes_connection() {
        let pod = Pod::running("aws-node-1", "node-1");
        let mut report = Report::new(String::new());
        let mut told = |reasons: &[&str], answers| {
            for reason in reasons {
                report.not_asked(&pod, reason);
            }
            round(&mut report, 3, (0, 0), answers)
        };
        let lines = told(&["reset"], Some(true));
        assert!(
            lines.len() == 1 && lines[0].contains("node-1") && !lines[0].contains("API server unreachable"),
            "{lines:?}"
        );
        let lines = told(&["refused 1", "refused 2"], None);
        assert!(lines.len() == 1 && lines[0].contains("API server unreachable: 2 nodes"), "{lines:?}");
        assert!(told(&["refused 3", "refused 4"], None).is_empty());
        let lines = told(&["certificate expired", "certificate expired"], None);
        assert!(lines.len() == 1 && lines[0].contains("certificate expired"), "{lines:?}");
        assert_eq!(told(&[], Some(true)).len(), 1);
    }
}
