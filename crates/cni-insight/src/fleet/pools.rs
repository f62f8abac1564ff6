//! The pools of a group's nodes, added up over hours.

use std::collections::VecDeque;

use crate::catalogue::FindingId;
use crate::evidence::{Counting, NodeEvidence, RoundFacts, Source};
use crate::memory::Moment;
use crate::verdict::Verdict;

/// Idle addresses that are not worth a finding, whatever their share is.
const FEW_IDLE: f64 = 100.0;

/// Refusals are counted in steps of this length, milliseconds,
const STEP_MS: i64 = 600_000;
/// over this number of steps: six hours.
const STEPS: usize = 36;
/// The same in milliseconds.
const SPAN_MS: i64 = 36 * STEP_MS;
/// One round in this number of a node's with refusals is too many...
const TOO_OFTEN: u64 = 100;
/// ... and one in this number is few again.
const RARE_AGAIN: u64 = 200;
/// Nodes that are named.
const NAMED: usize = 3;

/// The pools of a round.
#[derive(Debug, Default)]
pub(super) struct PoolsRound {
    nodes: usize,
    held: f64,
    assigned: f64,
    named: Vec<(f64, Box<str>)>,
    /// Nodes that wait for their pool in this round.
    waiting: u32,
}

impl PoolsRound {
    pub(super) fn add(&mut self, node: &NodeEvidence<'_>, cause: Option<FindingId>) {
        let Some(page) = node.page.as_ref().ok().filter(|page| !page.is_ipv6) else { return };
        self.nodes += 1;
        let is_short = matches!(cause, Some(FindingId::PoolGrowing | FindingId::WarmPoolTooSmall));
        self.waiting += u32::from(is_short && page.refused.is_some_and(|refused| refused > 0.0));
        let Some((held, assigned)) = page.held.zip(page.assigned) else { return };
        self.held += held;
        self.assigned += assigned;
        let idle = held - assigned;
        let before = |(one, name): &(f64, Box<str>)| *one > idle || (*one >= idle && **name < *node.name);
        let place = self.named.iter().filter(|known| before(known)).count();
        if place < NAMED {
            self.named.insert(place, (idle, node.name.into()));
            self.named.truncate(NAMED);
        }
    }

    fn names(&self) -> Vec<Box<str>> {
        self.named.iter().map(|(_, name)| name.clone()).collect()
    }
}

/// A step's rounds of nodes, and those with refusals among them.
#[derive(Debug, Clone, Copy, Default)]
struct Step {
    began_ms: i64,
    rounds: u64,
    waiting: u64,
}

/// What lasts between rounds.
#[derive(Debug, Default)]
pub(super) struct Pools {
    /// Since when more than half of the addresses are idle.
    oversized_since_ms: Option<i64>,
    steps: VecDeque<Step>,
    is_often: bool,
}

impl Pools {
    /// Takes in a round. One in which no node answered says nothing.
    pub(super) fn conclude(
        &mut self,
        round: &PoolsRound,
        facts: &RoundFacts,
        now: Moment,
    ) -> Vec<(usize, Vec<Box<str>>, Verdict)> {
        if round.nodes == 0 || now.counting == Counting::Totals {
            return Vec::new();
        }
        let verdicts = [self.oversized(round, now), self.too_small(round, now)];
        let is_sure = facts.sources.agent_pods.is_sure();
        let doubted =
            |verdict: Verdict| if is_sure { verdict } else { verdict.likely(Source::AgentPods).likely(Source::Nodes) };
        let names = round.names();
        verdicts.into_iter().flatten().map(|verdict| (round.nodes, names.clone(), doubted(verdict))).collect()
    }

    /// Even at the busiest moment of a day more than half of what is held was idle.
    fn oversized(&mut self, round: &PoolsRound, now: Moment) -> Option<Verdict> {
        let idle = round.held - round.assigned;
        if idle <= FEW_IDLE || idle <= round.held / 2.0 {
            self.oversized_since_ms = None;
            return None;
        }
        let since = *self.oversized_since_ms.get_or_insert(now.now_ms);
        let mut verdict = Verdict::without_page(FindingId::WarmPoolOversized).with_count(idle).lacking(Source::Subnets);
        (verdict.figures.held, verdict.figures.assigned) = (Some(round.held), Some(round.assigned));
        (now.now_ms.saturating_sub(since) >= FindingId::WarmPoolOversized.hold().ms).then_some(verdict)
    }

    /// Of the nodes' rounds of six hours, one in a hundred had pods that waited for the pool: each for a moment only.
    fn too_small(&mut self, round: &PoolsRound, now: Moment) -> Option<Verdict> {
        if self.steps.back().is_none_or(|step| now.now_ms.saturating_sub(step.began_ms) >= STEP_MS) {
            self.steps.push_back(Step { began_ms: now.now_ms, ..Step::default() });
        }
        while self.steps.front().is_some_and(|step| now.now_ms.saturating_sub(step.began_ms) > SPAN_MS) {
            self.steps.pop_front();
        }
        if let Some(step) = self.steps.back_mut() {
            step.rounds = step.rounds.saturating_add(round.nodes as u64);
            step.waiting = step.waiting.saturating_add(u64::from(round.waiting));
        }
        let sum = |part: fn(&Step) -> u64| self.steps.iter().map(part).fold(0, u64::saturating_add);
        let (rounds, waiting) = (sum(|step| step.rounds), sum(|step| step.waiting));
        let is_whole = self.steps.len() >= STEPS;
        let limit = if self.is_often { RARE_AGAIN } else { TOO_OFTEN };
        self.is_often = is_whole && waiting.saturating_mul(limit) >= rounds.max(1);
        let share = 100.0 * waiting as f64 / rounds.max(1) as f64;
        let verdict = || Verdict::without_page(FindingId::WarmPoolTooSmall).with_count(share).only_info(true);
        self.is_often.then(verdict)
    }
}
