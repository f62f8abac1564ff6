//! What is logged of requests for a pod address that nodes refuse: when it begins, when its cause changes, when it spreads,
//! once per hour while it lasts, and when it ends.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use cni_metrics_core::aggregate::{Aggregator, LabelSeries};
use cni_metrics_core::labels::LabelSet;
use cni_metrics_core::model::{NodeFigures, NodeName, Snapshot, UnixMillis};
use cni_metrics_core::summary::counted;
use cni_types::catalogue::{LabelledFamily, Metric};
use cni_types::ec2::{self, Ec2Code, Ec2Operation};
use cni_types::node_state::NodeState;
use tracing::{info, warn};

/// Nodes named in a line.
const NAMED_NODES: usize = 3;
/// Causes named in a line.
const NAMED_CAUSES: usize = 3;
/// Nodes whose errors are looked at, those that refused most first.
const EXAMINED_NODES: usize = 1_000;
/// An error explains refusals for this long, milliseconds: an agent that was refused addresses by EC2 asks again after two
/// minutes.
const ERROR_MS: i64 = 300_000;
/// What helps against failed calls of instance metadata.
const METADATA_REMEDY: &str =
    "enable the node's instance metadata service, and look for what filters or floods 169.254.169.254";
/// The agent asked for addresses that its ENI had already, and counts that as success.
const NO_CAUSE: Ec2Code = Ec2Code::PrivateIpAddressLimitExceeded;
/// It is over after this number of rounds in which nothing was refused.
const QUIET_ROUNDS: u64 = 2;
/// That there is no cause any more is logged when there has been none for this number of rounds.
const CAUSELESS_ROUNDS: u64 = 10;
/// It is logged again when this number of times as many nodes refuse.
const SPREAD: u64 = 3;
/// It is logged again after this time, milliseconds.
const REMINDER_MS: i64 = 3_600_000;

/// What was logged of the refusals of these rounds.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    incident: Option<Incident>,
    /// The first round: errors from before it have no time.
    watched_since: Option<UnixMillis>,
}

/// Rounds with refusals, without a pause of [`QUIET_ROUNDS`].
#[derive(Debug)]
struct Incident {
    began_at: UnixMillis,
    /// The last round with refusals.
    last_at: UnixMillis,
    requests: u64,
    most_nodes: u64,
    quiet_rounds: u64,
    causeless_rounds: u64,
    told_at: UnixMillis,
    told_nodes: u64,
    told_causes: BTreeSet<RefusalCause>,
}

/// Why pods are refused an address, as far as the nodes' pages tell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum RefusalCause {
    /// Calls failed with this code.
    Error(String),
    /// The node holds all addresses that it can use.
    Full,
}

/// What shows a cause.
#[derive(Debug, Default)]
struct Evidence {
    /// Nodes that show it.
    nodes: u64,
    /// The APIs that failed.
    apis: BTreeSet<String>,
}

/// What was refused in a round.
#[derive(Debug)]
struct Refused {
    requests: u64,
    nodes: u64,
    /// The nodes that refused most, with their numbers.
    worst: Vec<(NodeName, u64)>,
    /// What most nodes show first.
    causes: Vec<(RefusalCause, Evidence)>,
    /// For how long errors were watched, if that is too short to be sure that there are none; milliseconds.
    watched_ms: Option<i64>,
}

impl Refusals {
    /// Logs what is new in this round.
    pub(super) fn round(&mut self, snapshot: &Snapshot, aggregator: &Aggregator) {
        let since = *self.watched_since.get_or_insert(snapshot.at);
        let mut refused = Refused::of(snapshot, |node| aggregator.label_series(&node.uid).collect());
        if let Some(refused) = &mut refused {
            refused.watched_ms = Some(snapshot.at.0.saturating_sub(since.0)).filter(|watched| *watched < ERROR_MS);
        }
        self.note(snapshot, refused.as_ref());
    }

    fn note(&mut self, snapshot: &Snapshot, refused: Option<&Refused>) {
        let at = snapshot.at;
        match (&mut self.incident, refused) {
            (None, None) => {}
            (None, Some(refused)) => {
                refused.warn(snapshot, "");
                self.incident = Some(Incident::begun(at, refused));
            }
            (Some(incident), Some(refused)) => {
                if let Some(news) = incident.news(at, refused) {
                    refused.warn(snapshot, news);
                    incident.told(at, refused);
                }
            }
            // A round in which no node says whether it refuses is no sign of the end.
            (Some(_), None) if snapshot.metrics.get(Metric::NoAvailableIpAddresses).is_none() => {}
            (Some(incident), None) => {
                incident.quiet_rounds = incident.quiet_rounds.saturating_add(1);
                if incident.quiet_rounds >= QUIET_ROUNDS {
                    incident.log_end(snapshot);
                    self.incident = None;
                }
            }
        }
    }
}

impl Incident {
    fn begun(at: UnixMillis, refused: &Refused) -> Self {
        Self {
            began_at: at,
            last_at: at,
            requests: refused.requests,
            most_nodes: refused.nodes,
            quiet_rounds: 0,
            causeless_rounds: 0,
            told_at: at,
            told_nodes: refused.nodes,
            told_causes: refused.known_causes(),
        }
    }

    /// Takes in a round with refusals, and returns how its line begins if there is something to say.
    fn news(&mut self, at: UnixMillis, refused: &Refused) -> Option<&'static str> {
        self.last_at = at;
        self.requests = self.requests.saturating_add(refused.requests);
        self.most_nodes = self.most_nodes.max(refused.nodes);
        self.quiet_rounds = 0;
        let causes = refused.known_causes();
        self.causeless_rounds = if causes.is_empty() { self.causeless_rounds.saturating_add(1) } else { 0 };
        let has_lost_all = self.causeless_rounds >= CAUSELESS_ROUNDS && !self.told_causes.is_empty();
        if !causes.is_subset(&self.told_causes) || has_lost_all {
            return Some("the cause of refused requests has changed: ");
        }
        if refused.nodes >= self.told_nodes.saturating_mul(SPREAD) {
            return Some("more nodes refuse requests: ");
        }
        (at.0.saturating_sub(self.told_at.0) >= REMINDER_MS).then_some("nodes still refuse requests: ")
    }

    fn told(&mut self, at: UnixMillis, refused: &Refused) {
        self.told_at = at;
        self.told_nodes = self.told_nodes.max(refused.nodes);
        self.told_causes = refused.known_causes();
    }

    fn log_end(&self, snapshot: &Snapshot) {
        let Self { requests, most_nodes: nodes, .. } = self;
        let seconds = self.last_at.0.saturating_sub(self.began_at.0).max(0) / 1000;
        let time = if seconds == 0 { "one round".to_owned() } else { format!("{seconds} s") };
        let silent = snapshot.coverage.states.get(NodeState::Silent);
        let silent = if silent > 0 {
            format!("; {} not answer", counted(silent, "node does", "nodes do"))
        } else {
            String::new()
        };
        info!(
            "no node that answers refuses requests for a pod address any more; it refused {} in {time}, on up to {}{silent}",
            counted(*requests, "request", "requests"),
            counted(*nodes, "node", "nodes"),
        );
    }
}

impl Refused {
    /// What the nodes of this round refused; `None` if nothing. `series` are a node's label sets.
    fn of(snapshot: &Snapshot, series: impl Fn(&NodeFigures) -> Vec<LabelSeries>) -> Option<Self> {
        let refusing = |node: &&NodeFigures| node.states.contains(NodeState::Refusing);
        let mut nodes: Vec<&NodeFigures> = snapshot.nodes.iter().filter(refusing).collect();
        if nodes.is_empty() {
            return None;
        }
        nodes.sort_by_key(|node| Reverse(requests(node)));
        let mut causes: BTreeMap<RefusalCause, Evidence> = BTreeMap::new();
        for node in nodes.iter().take(EXAMINED_NODES) {
            for (cause, apis) in causes_at(node, &series(node), snapshot.at) {
                let evidence = causes.entry(cause).or_default();
                evidence.nodes += 1;
                evidence.apis.extend(apis);
            }
        }
        let mut causes: Vec<(RefusalCause, Evidence)> = causes.into_iter().collect();
        causes.sort_by_key(|(_, evidence)| Reverse(evidence.nodes));
        Some(Self {
            requests: nodes.iter().map(|node| requests(node)).fold(0, u64::saturating_add),
            nodes: nodes.len() as u64,
            worst: nodes.iter().take(NAMED_NODES).map(|node| (node.name.clone(), requests(node))).collect(),
            causes,
            watched_ms: None,
        })
    }

    fn known_causes(&self) -> BTreeSet<RefusalCause> {
        self.causes.iter().map(|(cause, _)| cause.clone()).collect()
    }

    fn warn(&self, snapshot: &Snapshot, news: &str) {
        let Self { requests, nodes, .. } = self;
        let worst: Vec<String> = self.worst.iter().map(|(node, requests)| format!("{node} ({requests})")).collect();
        let more = if *nodes > worst.len() as u64 { ", ..." } else { "" };
        warn!(
            "{news}{} for a pod address refused on {nodes} of {} in round {}, their pods wait in ContainerCreating: {}; most \
             on {}{more}",
            counted(*requests, "request", "requests"),
            counted(snapshot.coverage.expected, "node", "nodes"),
            snapshot.round,
            self.explanation(),
            worst.join(", "),
        );
    }

    /// The causes, with what helps against each.
    fn explanation(&self) -> String {
        if self.causes.is_empty() {
            return match self.watched_ms {
                Some(watched) => format!(
                    "no node of them is full, and no call failed in the {} s since this helper's start (an agent that EC2 \
                     refused addresses asks again after two minutes); if none fails, pods start faster than the warm pool \
                     grows, or released addresses cool down: raise the warm targets",
                    watched / 1000
                ),
                None => "no node of them is full, and no call failed: pods start faster than the warm pool grows, or \
                         released addresses cool down; raise the warm targets"
                    .to_owned(),
            };
        }
        let mut parts: Vec<String> =
            self.causes.iter().take(NAMED_CAUSES).map(|(cause, evidence)| cause.explained(evidence)).collect();
        if let Some(more) = self.causes.len().checked_sub(NAMED_CAUSES).filter(|more| *more > 0) {
            parts.push(format!("{more} more causes"));
        }
        parts.join("; ")
    }
}

impl RefusalCause {
    fn explained(&self, evidence: &Evidence) -> String {
        match self {
            Self::Error(code) => {
                let apis: Vec<&str> = evidence.apis.iter().map(String::as_str).collect();
                let remedy = if apis.iter().all(|api| is_metadata(api)) { METADATA_REMEDY } else { ec2::remedy(code) };
                let nodes = counted(evidence.nodes, "node", "nodes");
                format!("{} failed with {code} on {nodes}: {remedy}", apis.join(", "))
            }
            Self::Full => format!(
                "{} full (all addresses that pods can use are assigned or cooling down): spread the pods, use larger \
                 instances or prefix delegation, or lower the kubelet's max pods (cni-metrics-helper plan max-pods)",
                counted(evidence.nodes, "node is", "nodes are"),
            ),
        }
    }
}

fn requests(node: &NodeFigures) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the conversion saturates")]
    let requests = node.values.get(Metric::NoAvailableIpAddresses).unwrap_or(0.0) as u64;
    requests
}

/// The call of a label `api` is one of instance metadata: no EC2 operation, by its present and former names.
fn is_metadata(api: &str) -> bool {
    Ec2Operation::of_label(api.as_bytes()).is_none() && !ec2::is_growth_api(api.as_bytes())
}

/// The codes of calls by which the node gets more addresses, with the APIs; where there are none, those of calls that are no EC2
/// operations, which are calls of instance metadata.
fn causes_at(node: &NodeFigures, series: &[LabelSeries], at: UnixMillis) -> BTreeMap<RefusalCause, BTreeSet<String>> {
    let is_recent = |series: &LabelSeries| {
        series.last_increase.is_some_and(|last| at.0.saturating_sub(last.0) <= ERROR_MS)
            && series.set.family() == LabelledFamily::AwsApiErrorCount
    };
    let codes = |is_wanted: &dyn Fn(&LabelSet) -> bool| {
        let mut causes: BTreeMap<RefusalCause, BTreeSet<String>> = BTreeMap::new();
        for series in series.iter().filter(|series| is_recent(series) && is_wanted(&series.set)) {
            if let (Some(api), Some(code)) = (series.set.label("api"), series.set.label("error"))
                && code != NO_CAUSE.name()
            {
                causes.entry(RefusalCause::Error(code.to_owned())).or_default().insert(api.to_owned());
            }
        }
        causes
    };
    let mut causes = codes(&LabelSet::is_growth_error);
    if causes.is_empty() {
        causes = codes(&|set| set.label("api").is_some_and(is_metadata));
    }
    if node.states.contains(NodeState::Full) {
        causes.insert(RefusalCause::Full, BTreeSet::new());
    }
    causes
}

#[cfg(test)]
mod tests;
