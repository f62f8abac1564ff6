//! A simulated cluster, the helper's conclusions of it, and the truth beside them, round by round.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cni_collector::discover::AgentSpec;
use cni_collector::round::{label_counts, node_evidence};
use cni_insight::catalogue::FindingId;
use cni_insight::evidence::{AgentEvidence, Counting, NodeEvidence, NodeStatus, RoundFacts, SourceState, Sources};
use cni_insight::finding::{Conclusion, Finding, Severity};
use cni_insight::insight::Insight;
use cni_insight::mute::Mutes;
use cni_metrics_core::aggregate::{Aggregator, CounterMode, HelperStart};
use cni_metrics_core::model::{
    FailureKind, NodeLabels, NodeName, NodeSample, Observation, PodUid, Snapshot, Target, UnixMillis,
};
use cni_metrics_core::parse::parse;
use cni_sim::answer::{Answer, PodKey, Via};
use cni_sim::api_server::Backend;
use cni_sim::cluster::{RefusalCounts, SimulatedCluster};
use cni_sim::kube_store::{Kind, NodeObject, PodObject};
use cni_sim::scenario::Scenario;
use cni_sim::truth::{TrueCause, TrueRefusals};

/// 2026-01-01.
const START_MS: i64 = 1_767_225_600_000;

/// A pod is expected to answer this long after its creation, milliseconds.
const SETTLED_MS: i64 = 60_000;

/// What the helper may read beside the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rights {
    /// The agents' pods and the nodes.
    All,
    /// Not the nodes.
    NoNodes,
}

/// A cluster and the conclusions so far.
pub(super) struct Play {
    cluster: Arc<SimulatedCluster>,
    aggregator: Aggregator,
    insight: Insight,
    counted: RefusalCounts,
    rights: Rights,
    interval_ms: i64,
    now_ms: i64,
}

/// One round: what was concluded, and what is true.
pub(super) struct Round {
    /// Since the clock's start, milliseconds.
    pub(super) at_ms: i64,
    pub(super) conclusion: Conclusion,
    /// Requests refused since the round before.
    pub(super) truth: Vec<TrueRefusals>,
}

impl Play {
    pub(super) fn of(scenario: &Scenario, (seed, interval_s): (u64, i64), rights: Rights) -> Self {
        let cluster = SimulatedCluster::new(scenario, seed, START_MS).unwrap();
        let start = UnixMillis(START_MS);
        let start = HelperStart { clock: start, api_server: Some(start) };
        let interval_ms = interval_s * 1_000;
        Self {
            cluster,
            aggregator: Aggregator::new(start, CounterMode::Increase),
            insight: Insight::new(Mutes::default()),
            counted: RefusalCounts::default(),
            rights,
            interval_ms,
            now_ms: START_MS - interval_ms,
        }
    }

    /// The next round; the first is at the clock's start.
    pub(super) fn round(&mut self) -> Round {
        self.now_ms += self.interval_ms;
        self.cluster.advance_to(self.now_ms);
        let pods: BTreeMap<String, Arc<PodObject>> = {
            let agents = self.cluster.running_agents();
            let all = self.cluster.kube().pods().into_iter();
            let agents = all.filter(|pod| agents.contains(&*pod.meta.name));
            agents.map(|pod| (pod.meta.uid.to_string(), pod)).collect()
        };
        let observations = pods.iter().filter_map(|(uid, pod)| self.observation(uid, pod)).collect();
        let snapshot = self.aggregator.round(UnixMillis(self.now_ms), observations);
        let conclusion = self.conclude(&snapshot, &pods);
        Round { at_ms: self.now_ms - START_MS, conclusion, truth: self.cluster.refusals_since(&mut self.counted) }
    }

    fn observation(&self, uid: &str, pod: &PodObject) -> Option<Observation> {
        let node = pod.node_name.as_deref()?;
        let labels = self.node(node).map(|node| Arc::new(node_labels(&node))).unwrap_or_default();
        let target = Target {
            uid: PodUid::new(uid),
            node: NodeName::new(node),
            created_at: Some(UnixMillis(pod.meta.created_ms)),
            labels,
            agent: spec(pod).facts(),
        };
        let expected = self.now_ms - pod.meta.created_ms >= SETTLED_MS;
        let outcome = self.page(pod);
        (expected || outcome.is_ok()).then_some(Observation { target, expected, outcome })
    }

    fn page(&self, pod: &PodObject) -> Result<NodeSample, FailureKind> {
        let key = PodKey::new(&*pod.meta.namespace, &*pod.meta.name);
        let (body, ticket) = match self.cluster.serve(&key, Via::Proxy) {
            Answer::Page { body, ticket } | Answer::SlowPage { body, ticket, .. } => (body, ticket),
            Answer::Refused => return Err(FailureKind::ConnectRefused),
            Answer::Reset => return Err(FailureKind::ConnectionReset),
            Answer::Dropped => return Err(FailureKind::ProxyUnavailable),
            Answer::NotFound => return Err(FailureKind::NotFound),
            Answer::Hang | Answer::EndlessSlow => return Err(FailureKind::Timeout),
            _ => return Err(FailureKind::BadPage),
        };
        self.cluster.delivered(ticket);
        parse(&body).sample.map_err(|_| FailureKind::BadPage)
    }

    /// What the API server shows of a node, as far as that may be read.
    fn node(&self, name: &str) -> Option<Arc<NodeObject>> {
        (self.rights == Rights::All).then(|| self.cluster.kube().node(name))?
    }

    fn conclude(&mut self, snapshot: &Snapshot, pods: &BTreeMap<String, Arc<PodObject>>) -> Conclusion {
        let present = SourceState::Present { age_ms: 0 };
        let nodes = if self.rights == Rights::All { present } else { SourceState::NotGranted };
        let facts = RoundFacts {
            at_ms: snapshot.at.0,
            interval_ms: self.interval_ms,
            counting: Counting::Increases,
            sources: Sources { agent_pods: present, nodes, ..Sources::default() },
            daemon_set: None,
        };
        let specs: BTreeMap<&str, AgentSpec> = pods.iter().map(|(uid, pod)| (uid.as_str(), spec(pod))).collect();
        let statuses: BTreeMap<&str, NodeStatus> = snapshot
            .nodes
            .iter()
            .filter_map(|node| Some((node.name.as_str(), self.node(node.name.as_str()).map(|node| status(&node))?)))
            .collect();
        let mut round = self.insight.begin(facts);
        let mut counts = Vec::new();
        for figures in &snapshot.nodes {
            let uid = figures.uid.as_str();
            let agent = specs.get(uid).zip(pods.get(uid)).map(|(spec, pod)| AgentEvidence {
                env: Some(&*spec.env),
                restarts: pod.containers.first().map_or(0, |agent| agent.restarts),
                is_ready: pod.containers.first().map(|agent| agent.ready),
            });
            label_counts(figures, &mut counts);
            round.observe(&NodeEvidence {
                agent,
                status: statuses.get(figures.name.as_str()).copied(),
                version: figures.agent_version.or_else(|| specs.get(uid).and_then(AgentSpec::version)),
                ..node_evidence(figures, CounterMode::Increase, &counts)
            });
        }
        round.finish()
    }

    /// How many nodes the API server shows, with agents or not.
    pub(super) fn known_nodes(&self) -> usize {
        self.cluster.kube().count(Kind::Node)
    }

    /// How many pods have an address.
    pub(super) fn pods(&self) -> u64 {
        self.cluster.status().pods
    }

    /// How many nodes the helper concludes of.
    pub(super) fn observed_nodes(&self) -> usize {
        self.insight.known_nodes()
    }

    /// The names of a group's nodes that the API server shows now; all without a group.
    pub(super) fn nodes_of(&self, group: Option<&str>) -> BTreeSet<String> {
        let of_group = |node: &NodeObject| group.is_none_or(|group| node.meta.label(GROUP_LABEL) == Some(group));
        let pods = self.cluster.kube().pods();
        let nodes = pods.iter().filter_map(|pod| self.cluster.kube().node(pod.node_name.as_deref()?));
        nodes.filter(|node| of_group(node)).map(|node| node.meta.name.to_string()).collect()
    }
}

impl Round {
    /// The findings above info.
    pub(super) fn loud(&self) -> impl Iterator<Item = &Finding> {
        self.conclusion.findings.iter().filter(|finding| finding.severity != Severity::Info)
    }

    pub(super) fn finding(&self, id: FindingId) -> Option<&Finding> {
        self.conclusion.findings.iter().find(|finding| finding.identity.id == id)
    }

    /// The causes of requests that were refused in this round.
    pub(super) fn true_causes(&self) -> BTreeSet<TrueCause> {
        self.truth.iter().map(|refusals| refusals.cause).collect()
    }
}

const GROUP_LABEL: &str = "eks.amazonaws.com/nodegroup";

fn node_labels(node: &NodeObject) -> NodeLabels {
    let label = |name: &str| node.meta.label(name).map(Arc::from);
    NodeLabels {
        zone: label("topology.kubernetes.io/zone"),
        instance_type: label("node.kubernetes.io/instance-type"),
        node_group: label(GROUP_LABEL),
    }
}

fn status(node: &NodeObject) -> NodeStatus {
    NodeStatus { max_pods: Some(node.max_pods), is_cordoned: node.unschedulable, is_ready: Some(node.ready) }
}

fn spec(pod: &PodObject) -> AgentSpec {
    let agent = pod.template.containers.first();
    AgentSpec {
        image: agent.map(|agent| agent.image.as_str().into()).unwrap_or_default(),
        env: agent
            .map(|agent| agent.env.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect())
            .unwrap_or_default(),
    }
}
