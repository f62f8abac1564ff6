//! A round as evidence: what the nodes' pages, pods and the API server's nodes say, laid side by side for [`cni_insight`].

use std::collections::HashMap;
use std::sync::Arc;

use cni_insight::evidence::{
    AgentEvidence, Counting, LabelCount, NodeEvidence, PageEvidence, RoundFacts, Sources, is_used,
};
use cni_insight::finding::{Conclusion, OpenFinding};
use cni_insight::insight::Insight;
use cni_insight::mute::Mutes;
use cni_metrics_core::aggregate::CounterMode;
use cni_metrics_core::model::{NodeFigures, PodUid, Snapshot};
use cni_runtime::gate::Leadership;
use cni_types::catalogue::{Family, LabelledFamily, Metric};
use cni_types::cluster_id::ClusterId;
use cni_types::shard::Shard;
use cni_types::version::AgentVersion;

use super::finding_lines::FindingLines;
use super::kept::{self, Origin};
use crate::discover::{ClusterObjects, Discovery, IndexReader, ObjectsNow, Pod, WatchHealth};
use crate::keeper::Keeper;

/// What is open is kept again after this time although it has not changed, milliseconds.
const KEPT_AGAIN_MS: i64 = 60_000;

/// What conclusions need from outside.
#[derive(Debug, Clone)]
pub struct InsightParts {
    /// Findings that are switched off.
    pub mutes: Mutes,
    /// The share of the nodes that is seen; `None` for all.
    pub shard: Option<Shard>,
    /// The state of the pods' watch.
    pub pods: Arc<WatchHealth>,
    /// The state of the nodes' watch.
    pub nodes: Arc<WatchHealth>,
    /// Objects of the API server, where the level reads them.
    pub objects: Option<Arc<ClusterObjects>>,
    /// What a process has that goes on: it logs findings, and keeps open ones for the next process. `None` where the caller shows
    /// them.
    pub run: Option<InsightRun>,
}

/// What a process that goes on needs.
#[derive(Debug, Clone)]
pub struct InsightRun {
    /// Only the replica that publishes concludes.
    pub leadership: Leadership,
    /// Where open findings are kept for the next process.
    pub keeper: Keeper,
}

impl InsightParts {
    /// With the watches of a cluster.
    pub fn new(mutes: Mutes, shard: Option<Shard>, discovery: &Discovery, run: Option<InsightRun>) -> Arc<Self> {
        let Discovery { pods, nodes, objects, .. } = discovery;
        let (pods, nodes, objects) = (Arc::clone(pods), Arc::clone(nodes), objects.clone());
        Arc::new(Self { mutes, shard, pods, nodes, objects, run })
    }

    fn sources(&self) -> Sources {
        let sources = Sources { agent_pods: self.pods.state(), nodes: self.nodes.state(), ..Sources::default() };
        self.objects.as_ref().map_or(sources, |objects| objects.states(sources))
    }
}

/// Conclusions of one cluster's rounds.
#[derive(Debug)]
pub(super) struct Conclusions {
    parts: Arc<InsightParts>,
    /// What is remembered, while this process concludes.
    drawn: Option<Drawn>,
    newest: Option<Arc<Conclusion>>,
}

/// What lasts from round to round of a process that concludes.
#[derive(Debug)]
struct Drawn {
    insight: Insight,
    lines: FindingLines,
    /// The tenure as leader that it is of.
    tenure: u64,
    /// What was kept last, and when.
    kept: Option<(Vec<OpenFinding>, i64)>,
}

/// Which round it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    pub(super) interval_ms: i64,
    pub(super) counters: CounterMode,
}

impl Conclusions {
    pub(super) fn new(parts: Arc<InsightParts>) -> Self {
        Self { parts, drawn: None, newest: None }
    }

    /// What is concluded from the newest round; `None` if nothing is, since another replica concludes.
    pub(super) fn newest(&self) -> Option<Arc<Conclusion>> {
        self.newest.clone()
    }

    /// This process concludes now: it publishes, or has only lost the lease for a moment.
    pub(super) fn are_drawn(&self) -> bool {
        self.parts
            .run
            .as_ref()
            .is_none_or(|run| run.leadership.is_leading() || (self.drawn.is_some() && run.leadership.is_held()))
    }

    /// Another replica concludes: what is remembered is of no use any more.
    pub(super) fn pause(&mut self) {
        (self.drawn, self.newest) = (None, None);
    }

    /// Takes in a round. `pods` are those that were to be asked.
    pub(super) fn round(
        &mut self,
        snapshot: &Snapshot,
        pods: &HashMap<PodUid, Arc<Pod>>,
        index: &IndexReader,
        now: Circumstances,
    ) {
        let tenure = self.parts.run.as_ref().map_or(0, |run| run.leadership.tenure());
        if self.drawn.as_ref().is_some_and(|drawn| drawn.tenure != tenure) {
            self.drawn = None;
        }
        let parts = &self.parts;
        let drawn = self.drawn.get_or_insert_with(|| Drawn::new(parts, tenure, snapshot, now.interval_ms));
        let conclusion = observe(&mut drawn.insight, parts, (snapshot, pods, index), now);
        if let Some(run) = parts.run.as_ref().filter(|run| run.leadership.is_leading()) {
            drawn.lines.round(&conclusion, snapshot.at.0);
            drawn.keep(run, parts.shard, snapshot);
        }
        self.newest = Some(Arc::new(conclusion));
    }
}

impl Drawn {
    /// Goes on from what the process before left, where it left something that can be used.
    fn new(parts: &InsightParts, tenure: u64, snapshot: &Snapshot, interval_ms: i64) -> Self {
        let insight = Insight::new(parts.mutes.clone()).of_shard(parts.shard);
        let earlier = parts.run.as_ref().and_then(|run| Some((run.keeper.place(), run.keeper.earlier()?)));
        let earlier = earlier.and_then(|(place, text)| {
            let shard = parts.shard.map(|shard| shard.to_string());
            let read = kept::read(&text, snapshot.at.0, interval_ms, origin(snapshot, shard.as_deref()));
            kept::log(&read, place);
            read.ok()
        });
        let (insight, lines) = match earlier {
            None => (insight, FindingLines::default()),
            Some(earlier) => {
                let lines = FindingLines::go_on_from(&earlier.open, snapshot.at.0);
                (insight.going_on_from(earlier.open), lines)
            }
        };
        Self { insight, lines, tenure, kept: None }
    }

    /// Keeps what is open for the next process: when it has changed, and now and then so that it is known to be young.
    fn keep(&mut self, run: &InsightRun, shard: Option<Shard>, snapshot: &Snapshot) {
        let (open, at_ms) = (self.insight.open_findings(), snapshot.at.0);
        let is_kept = self
            .kept
            .as_ref()
            .is_some_and(|(kept, since)| *kept == open && (0..KEPT_AGAIN_MS).contains(&at_ms.saturating_sub(*since)));
        if is_kept {
            return;
        }
        let shard = shard.map(|shard| shard.to_string());
        run.keeper.keep(&kept::write(&open, at_ms, origin(snapshot, shard.as_deref())).into());
        self.kept = Some((open, at_ms));
    }
}

fn origin<'a>(snapshot: &'a Snapshot, shard: Option<&'a str>) -> Origin<'a> {
    Origin { cluster: snapshot.cluster.as_ref().map(ClusterId::as_str), shard }
}

/// A round's nodes, one after the other.
fn observe(
    insight: &mut Insight,
    parts: &InsightParts,
    (snapshot, pods, index): (&Snapshot, &HashMap<PodUid, Arc<Pod>>, &IndexReader),
    now: Circumstances,
) -> Conclusion {
    let objects = parts.objects.as_deref().map(ClusterObjects::read);
    let facts = RoundFacts {
        at_ms: snapshot.at.0,
        interval_ms: now.interval_ms,
        counting: counting(now.counters),
        sources: parts.sources(),
        daemon_set: objects.as_ref().and_then(ObjectsNow::daemon_set),
    };
    let mut round = insight.begin(facts);
    let mut counts = Vec::new();
    for figures in &snapshot.nodes {
        let pod = pods.get(&figures.uid);
        let agent = pod.map(|pod| AgentEvidence {
            env: Some(&*pod.agent.env).filter(|env| !env.is_empty()),
            restarts: pod.restarts,
            is_ready: pod.is_ready,
        });
        label_counts(figures, &mut counts);
        let name = figures.name.as_str();
        let (eni_config, cni_node) = match &objects {
            Some(objects) => (
                pod.and_then(|pod| objects.eni_config(&pod.agent, name, figures.labels.zone.as_deref())),
                objects.cni_node(name),
            ),
            None => (None, None),
        };
        round.observe(&NodeEvidence {
            agent,
            eni_config,
            cni_node,
            status: index.node_status(name),
            version: figures.agent_version.or_else(|| pod.and_then(|pod| pod.agent.version())),
            ..node_evidence(figures, now.counters, &counts)
        });
    }
    round.finish()
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
        round.observe(&node_evidence(figures, counters, &counts));
    }
    round.finish()
}

/// What a round knows of a node by its page and its labels.
pub fn node_evidence<'a>(
    figures: &'a NodeFigures,
    counters: CounterMode,
    counts: &'a [LabelCount<'a>],
) -> NodeEvidence<'a> {
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

/// The label sets that findings use, in the place of what `counts` had.
pub fn label_counts<'a>(figures: &'a NodeFigures, counts: &mut Vec<LabelCount<'a>>) {
    counts.clear();
    let used = figures.shares.iter().filter(|share| share.set.rest().is_none() && is_used(share.set.family()));
    counts.extend(used.map(|share| {
        let mut values = share.set.labels().map(|(_, value)| value);
        let family: LabelledFamily = share.set.family();
        let (first, second) = (values.next().unwrap_or_default(), values.next().unwrap_or_default());
        LabelCount { family, first, second, value: share.value }
    }));
}
