//! A round as evidence: what the nodes' pages, pods and the API server's nodes say, laid side by side for [`cni_insight`].

use std::collections::HashMap;
use std::sync::Arc;

use cni_aws::identity::Listing;
use cni_insight::evidence::{
    AgentEvidence, Counting, LabelCount, NodeEvidence, PageEvidence, RoundFacts, SourceState, Sources, is_used,
};
use cni_insight::finding::Conclusion;
use cni_insight::insight::Insight;
use cni_insight::mute::Mutes;
use cni_metrics_core::aggregate::CounterMode;
use cni_metrics_core::model::{NodeFigures, PodUid, Snapshot};
use cni_types::catalogue::{Family, LabelledFamily, Metric};
use cni_types::version::AgentVersion;

use crate::discover::{Discovery, IndexReader, Pod, STALE_AFTER, WatchHealth};

/// What conclusions need from outside.
#[derive(Debug, Clone)]
pub struct InsightParts {
    /// Findings that are switched off.
    pub mutes: Mutes,
    /// The state of the pods' watch.
    pub pods: Arc<WatchHealth>,
    /// The state of the nodes' watch.
    pub nodes: Arc<WatchHealth>,
}

impl InsightParts {
    /// With the watches of a cluster.
    pub fn new(mutes: Mutes, discovery: &Discovery) -> Arc<Self> {
        Arc::new(Self { mutes, pods: Arc::clone(&discovery.pods), nodes: Arc::clone(&discovery.nodes) })
    }

    fn sources(&self) -> Sources {
        Sources { agent_pods: state(&self.pods), nodes: state(&self.nodes), ..Sources::default() }
    }
}

fn state(health: &WatchHealth) -> SourceState {
    let age = health.age();
    let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    match health.listing() {
        Listing::Denied => SourceState::NotGranted,
        Listing::Complete if age > STALE_AFTER => SourceState::Lagging { age_ms },
        Listing::Complete => SourceState::Present { age_ms },
        Listing::Awaited => SourceState::Failed,
    }
}

/// Conclusions of one cluster's rounds.
#[derive(Debug)]
pub(super) struct Conclusions {
    parts: Arc<InsightParts>,
    insight: Insight,
    newest: Arc<Conclusion>,
}

/// Which round it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    pub(super) interval_ms: i64,
    pub(super) counters: CounterMode,
}

impl Conclusions {
    pub(super) fn new(parts: Arc<InsightParts>) -> Self {
        let insight = Insight::new(parts.mutes.clone());
        Self { parts, insight, newest: Arc::default() }
    }

    /// What is concluded from the newest round.
    pub(super) fn newest(&self) -> Arc<Conclusion> {
        Arc::clone(&self.newest)
    }

    /// Takes in a round. `pods` are those that were to be asked.
    pub(super) fn round(
        &mut self,
        snapshot: &Snapshot,
        pods: &HashMap<PodUid, Arc<Pod>>,
        index: &IndexReader,
        now: Circumstances,
    ) {
        let facts = RoundFacts {
            at_ms: snapshot.at.0,
            interval_ms: now.interval_ms,
            counting: counting(now.counters),
            sources: self.parts.sources(),
            daemon_set: None,
        };
        let mut round = self.insight.begin(facts);
        let mut counts = Vec::new();
        for figures in &snapshot.nodes {
            let pod = pods.get(&figures.uid);
            let agent = pod.map(|pod| AgentEvidence {
                env: Some(&*pod.agent.env).filter(|env| !env.is_empty()),
                restarts: pod.restarts,
                is_ready: pod.is_ready,
            });
            label_counts(figures, &mut counts);
            round.observe(&NodeEvidence {
                agent,
                status: index.node_status(figures.name.as_str()),
                version: figures.agent_version.or_else(|| pod.and_then(|pod| pod.agent.version())),
                ..node(figures, now.counters, &counts)
            });
        }
        self.newest = Arc::new(round.finish());
    }
}

fn counting(counters: CounterMode) -> Counting {
    match counters {
        CounterMode::Increase => Counting::Increases,
        CounterMode::Totals => Counting::Totals,
    }
}

/// What is concluded from pages alone, of which nothing but their text is known: saved ones.
pub fn conclude_from_pages(snapshot: &Snapshot, mutes: Mutes) -> Conclusion {
    let mut insight = Insight::new(mutes);
    let counters = CounterMode::Totals;
    let facts = RoundFacts {
        at_ms: snapshot.at.0,
        interval_ms: 30_000,
        counting: counting(counters),
        sources: Sources::default(),
        daemon_set: None,
    };
    let mut round = insight.begin(facts);
    let mut counts = Vec::new();
    for figures in &snapshot.nodes {
        label_counts(figures, &mut counts);
        round.observe(&node(figures, counters, &counts));
    }
    round.finish()
}

/// What a round knows of a node by its page and its labels.
fn node<'a>(figures: &'a NodeFigures, counters: CounterMode, counts: &'a [LabelCount<'a>]) -> NodeEvidence<'a> {
    NodeEvidence {
        uid: figures.uid.as_str(),
        name: figures.name.as_str(),
        zone: figures.labels.zone.as_deref(),
        instance_type: figures.labels.instance_type.as_deref(),
        node_group: figures.labels.node_group.as_deref(),
        status: None,
        eni_config: None,
        cni_node: None,
        agent: None,
        version: figures.agent_version,
        page: match figures.failure {
            Some(kind) => Err(kind.label()),
            None => Ok(page(figures, counters, counts)),
        },
    }
}

fn page<'a>(figures: &NodeFigures, counters: CounterMode, counts: &'a [LabelCount<'a>]) -> PageEvidence<'a> {
    let value = |metric| figures.values.get(metric);
    PageEvidence {
        is_ipv6: figures.ipv6,
        is_doubtful: !figures.damaged.is_empty() || !figures.implausible.is_empty(),
        counts_refusals: counts_refusals(figures, counters),
        assigned: value(Metric::AssignIpAddresses),
        held: value(Metric::TotalIpAddresses),
        most: value(Metric::MaxIpAddresses),
        usable: figures.usable_ip_addresses,
        enis: value(Metric::EniAllocated),
        most_enis: value(Metric::EniMaxAvailable),
        in_progress: value(Metric::IpamdActionInProgress),
        refused: value(Metric::NoAvailableIpAddresses),
        requests: value(Metric::AddReqCount),
        forced_enis: value(Metric::ForceRemoveEni),
        forced_addresses: value(Metric::ForceRemoveIps),
        counts,
    }
}

/// Agents from v1.16 have the counter on every page; it has no increase yet on a node's first.
fn counts_refusals(figures: &NodeFigures, counters: CounterMode) -> Option<bool> {
    const SINCE: AgentVersion = Family::NoAvailableIpAddresses.first_version();
    if figures.values.get(Metric::NoAvailableIpAddresses).is_some() {
        return Some(true);
    }
    let by_version = figures.agent_version.map(|version| version >= SINCE);
    // Of a whole page's plain counters, one that is absent is not counted.
    let by_page = counters == CounterMode::Totals && figures.values.get(Metric::AddReqCount).is_some();
    by_version.or(by_page.then_some(false))
}

/// The label sets that findings use.
fn label_counts<'a>(figures: &'a NodeFigures, counts: &mut Vec<LabelCount<'a>>) {
    counts.clear();
    let used = figures.shares.iter().filter(|share| share.set.rest().is_none() && is_used(share.set.family()));
    counts.extend(used.map(|share| {
        let mut values = share.set.labels().map(|(_, value)| value);
        let family: LabelledFamily = share.set.family();
        let (first, second) = (values.next().unwrap_or_default(), values.next().unwrap_or_default());
        LabelCount { family, first, second, value: share.value }
    }));
}
