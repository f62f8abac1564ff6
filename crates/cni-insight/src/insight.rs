//! What must last between rounds, and the way from a round's evidence to its conclusion.

use std::collections::{BTreeMap, HashMap};

use cni_types::shard::Shard;

use crate::catalogue::{FINDINGS, FindingId};
use crate::causes;
use crate::evidence::{NodeEvidence, PageEvidence, RoundFacts, Source, SourceState, Sources};
use crate::finding::{Conclusion, Finding, FindingEvent, Identity, OpenFinding};
use crate::fleet::{Fleet, FleetRound};
use crate::grouped::Group;
use crate::memory::{Moment, NodeKey, NodeMemory, WINDOW_MS};
use crate::mute::Mutes;
use crate::opened::OpenFindings;
use crate::shared::Shared;
use crate::troubles;
use crate::verdict::{NodeCause, NodeTrouble, Verdict, scope_of};
use crate::view::{Refusal, View};
use crate::wording;

/// Findings that a conclusion lists. A cluster in great trouble has some dozen.
pub const MAX_FINDINGS: usize = 256;

/// Troubles that one node can have at once; further ones are not noted.
const MOST_TROUBLES: usize = 8;

/// The longest time that passes between two rounds for what is remembered, milliseconds: beyond it all is old anyway.
const LONGEST_STEP_MS: i64 = 86_400_000;

/// Draws conclusions round by round.
#[derive(Debug, Default)]
pub struct Insight {
    mutes: Mutes,
    nodes: HashMap<NodeKey, NodeMemory>,
    shared: Shared,
    fleet: Fleet,
    open: OpenFindings,
    shard: Option<Shard>,
    round: u64,
    time: Time,
    refused: Refused,
}

/// Requests that were refused, by the cause that the node had.
#[derive(Debug)]
struct Refused([f64; FINDINGS]);

impl Default for Refused {
    fn default() -> Self {
        Self([0.0; FINDINGS])
    }
}

/// Time that never goes back: a clock that is set back counts as one interval, and the rounds' own times are only shown.
#[derive(Debug, Default)]
struct Time {
    now_ms: i64,
    last_at_ms: Option<i64>,
}

impl Time {
    fn advance(&mut self, facts: &RoundFacts) -> i64 {
        let interval = facts.interval_ms.clamp(1, LONGEST_STEP_MS);
        let passed = self.last_at_ms.map_or(interval, |last| facts.at_ms.saturating_sub(last));
        self.last_at_ms = Some(facts.at_ms);
        let passed = if passed <= 0 { interval } else { passed.min(LONGEST_STEP_MS) };
        self.now_ms = self.now_ms.saturating_add(passed);
        self.now_ms
    }
}

impl Insight {
    /// Knows no node yet. Muted findings are listed as such.
    pub fn new(mutes: Mutes) -> Self {
        Self { mutes, ..Self::default() }
    }

    /// Sees only this share of the nodes.
    #[must_use]
    pub fn of_shard(self, shard: Option<Shard>) -> Self {
        Self { shard, ..self }
    }

    /// Goes on from what an earlier process left open, which may be nothing: these findings keep their beginning and are not opened
    /// a second time. What no evidence shows within the time after which it would be over is closed.
    #[must_use]
    pub fn going_on_from(self, open: Vec<OpenFinding>) -> Self {
        Self { open: OpenFindings::left_by_another(open), ..self }
    }

    /// What is open, for a process that goes on from it: the worst first, then the oldest; muted ones last.
    pub fn open_findings(&self) -> Vec<OpenFinding> {
        let mut open: Vec<OpenFinding> = self.open.iter().collect();
        open.sort_by_key(|one| (self.mutes.covers(&one.identity), one.severity, one.since_ms, one.identity.clone()));
        open
    }

    /// How many nodes are remembered.
    pub fn known_nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Nothing but its figures is remembered of any node.
    #[cfg(test)]
    pub(crate) fn has_only_calm_nodes(&self) -> bool {
        self.nodes.values().all(|past| past.rare.is_none())
    }

    /// Begins a round, whose nodes come one by one in any order.
    pub fn begin(&mut self, facts: RoundFacts) -> InsightRound<'_> {
        self.round = self.round.saturating_add(1);
        let now_ms = self.time.advance(&facts);
        let interval_ms = facts.interval_ms.clamp(1, LONGEST_STEP_MS);
        let now = Moment { now_ms, interval_ms, counting: facts.counting };
        InsightRound { insight: self, facts, now, groups: BTreeMap::new(), fleet: FleetRound::default() }
    }
}

/// A round under way.
#[derive(Debug)]
#[must_use = "a round that is not finished concludes nothing"]
pub struct InsightRound<'a> {
    insight: &'a mut Insight,
    facts: RoundFacts,
    now: Moment,
    groups: BTreeMap<Identity, Group>,
    fleet: FleetRound,
}

impl InsightRound<'_> {
    /// Takes in a node. One that is observed twice counts once.
    pub fn observe(&mut self, node: &NodeEvidence<'_>) {
        let now = self.now;
        let Insight { nodes, shared, round, refused, .. } = &mut *self.insight;
        let seen = seen_in(*round);
        let past = nodes.entry(NodeKey::of(node.uid)).or_insert_with(|| NodeMemory::new(seen.wrapping_sub(1)));
        if past.seen == seen {
            return;
        }
        past.seen = seen;
        past.note_restarts(node, now);
        let found = match &node.page {
            Ok(page) => observe_page(past, shared, node, page, (&self.facts, now)),
            Err(failure) => observe_silence(past, node, failure, now),
        };
        let cause_id = found.cause.as_ref().map_or(FindingId::CauseUnknown, |cause| cause.verdict.id);
        if let Some(Refusal::Counted(number)) = found.refusal
            && let Some(sum) = refused.0.get_mut(cause_id as usize)
        {
            *sum += number;
        }
        let cause_id = found.cause.as_ref().map(|cause| cause.verdict.id);
        self.fleet.observe(node, cause_id, (&self.facts, now), &mut self.groups);
        if let Some(cause) = &found.cause {
            let identity = Identity { id: cause.verdict.id, scope: cause.scope.clone() };
            self.groups.entry(identity).or_default().add_cause(node, cause, now);
        }
        let sources = &self.facts.sources;
        let troubles: Vec<NodeTrouble> = found
            .troubles
            .into_iter()
            .take(MOST_TROUBLES)
            .map(|verdict| trouble(past, as_sure_as(verdict, sources), node, now))
            .collect();
        for trouble in &troubles {
            let identity = Identity { id: trouble.verdict.id, scope: trouble.scope.clone() };
            self.groups.entry(identity).or_default().add_trouble(node, trouble, now);
        }
        past.keep(found.cause, &troubles, (now, shared));
    }

    /// Draws the conclusion. What is remembered of nodes that were not observed is dropped: a finding does not outlive them.
    pub fn finish(self) -> Conclusion {
        let Self { insight, facts, now, mut groups, fleet } = self;
        fleet.finish(&mut insight.fleet, (&facts, now), &mut groups);
        let seen = seen_in(insight.round);
        insight.nodes.retain(|_, past| past.seen == seen);
        insight.shared.forget_unused();
        let mut events = Vec::new();
        let mut findings: Vec<Finding> = groups
            .into_iter()
            .map(|(identity, group)| insight.finding(identity, group, (facts.at_ms, now), &mut events))
            .collect();
        findings.sort_by(|one, other| one.identity.cmp(&other.identity));
        let is_seen = |identity: &Identity| findings.binary_search_by(|finding| finding.identity.cmp(identity)).is_ok();
        let awaited = insight.open.close_others(is_seen, now, &mut events);
        findings.sort_by(|one, other| {
            let order =
                |finding: &Finding| (finding.is_muted, finding.severity, usize::MAX - finding.nodes, finding.since_ms);
            order(one).cmp(&order(other)).then_with(|| one.identity.cmp(&other.identity))
        });
        let left_out = findings.len().saturating_sub(MAX_FINDINGS);
        findings.truncate(MAX_FINDINGS);
        let refused = FindingId::ALL.into_iter().zip(insight.refused.0).filter(|(_, number)| *number > 0.0);
        let refused_by_cause = refused.collect();
        Conclusion { findings, events, left_out, awaited, shard: insight.shard, refused_by_cause }
    }
}

impl Insight {
    fn finding(
        &mut self,
        identity: Identity,
        mut group: Group,
        (at_ms, now): (i64, Moment),
        events: &mut Vec<FindingEvent>,
    ) -> Finding {
        group.is_of_shard = self.shard.is_some();
        let opened = self.open.seen(&identity, &group, (at_ms, now, self.round), events);
        Finding {
            severity: opened.severity,
            certainty: group.certainty(),
            since_ms: opened.since_ms,
            last_seen_ms: opened.last_seen_ms,
            nodes: group.nodes,
            examples: group.examples(),
            says: wording::sentence(&identity, &group),
            evidence: wording::evidence(identity.id, &group),
            remedy: wording::remedies(identity.id, &group),
            lacks: group.lacks.iter().copied().collect(),
            is_muted: self.mutes.covers(&identity),
            identity,
        }
    }
}

/// A round's number as it is remembered of nodes.
fn seen_in(round: u64) -> u32 {
    // Only the newest two rounds are told apart.
    u32::try_from(round % u64::from(u32::MAX)).unwrap_or_default()
}

/// What was found at a node in a round.
struct Found {
    refusal: Option<Refusal>,
    cause: Option<NodeCause>,
    troubles: Vec<Verdict>,
}

/// Takes in a page: what is new on it, whether requests were refused and why, and what else is wrong.
fn observe_page(
    past: &mut NodeMemory,
    shared: &mut Shared,
    node: &NodeEvidence<'_>,
    page: &PageEvidence<'_>,
    (facts, now): (&RoundFacts, Moment),
) -> Found {
    let change = past.note_page(page, now, shared);
    let blank = NodeMemory::new(0);
    // The page, and what is new on it, shows whether requests were refused.
    let on_page = View { node, page, past: &blank, change, now, sources: &facts.sources, errors: &[] };
    let refusal = on_page.refusal();
    past.note_refusal(refusal.is_some(), now);
    let before = past.take_cause();
    let view = View { past: &*past, ..on_page };
    let may_have_cause = before.is_some() || refusal.is_some();
    let cause = if may_have_cause { causes::cause(&view, refusal, before) } else { None };
    let troubles = troubles::with_page(&view, refusal, cause.as_ref().map(|cause| cause.verdict.id));
    Found { refusal, cause, troubles }
}

/// Takes in that a node gave no page. The cause of its refusals stays for its time.
fn observe_silence(past: &mut NodeMemory, node: &NodeEvidence<'_>, failure: &str, now: Moment) -> Found {
    past.note_silence(now);
    let cause = past.take_cause().filter(|cause| now.now_ms.saturating_sub(cause.refused_ms) <= WINDOW_MS);
    Found { refusal: None, cause, troubles: troubles::without_page(node, failure, past, now) }
}

/// What agents' pods and nodes show may be as it was once: then what rests on it is not certain.
fn as_sure_as(verdict: Verdict, sources: &Sources) -> Verdict {
    use FindingId as Id;
    let rests_on: &[(Source, SourceState)] = match verdict.id {
        Id::AgentRestarting | Id::AgentNotStarted | Id::AgentSettingsRefused | Id::MetricsDisabled => {
            &[(Source::AgentPods, sources.agent_pods)]
        }
        Id::AgentSilent => &[(Source::AgentPods, sources.agent_pods), (Source::Nodes, sources.nodes)],
        _ => &[],
    };
    let unsure = rests_on.iter().filter(|(_, state)| !state.is_sure());
    unsure.fold(verdict, |verdict, (source, _)| verdict.likely(*source))
}

/// A trouble that goes on keeps its beginning.
fn trouble(past: &NodeMemory, verdict: Verdict, node: &NodeEvidence<'_>, now: Moment) -> NodeTrouble {
    let since_ms = past.trouble_since(verdict.id).unwrap_or(now.now_ms);
    NodeTrouble { scope: scope_of(verdict.id, node), since_ms, verdict }
}

#[cfg(test)]
impl Insight {
    /// How many values nodes share.
    pub(crate) fn shared_values(&self) -> usize {
        self.shared.len()
    }

    /// More is remembered of a node than of a calm one.
    pub(crate) fn remembers_trouble(&self, uid: &str) -> bool {
        self.nodes.get(&NodeKey::of(uid)).is_some_and(|past| past.rare.is_some())
    }
}

#[cfg(test)]
mod tests;
