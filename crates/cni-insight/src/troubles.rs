//! What is wrong with a node beside refused requests: its agent, what vanished, what does not come to rest.

mod objects;
mod refused_setting;

use cni_types::agent_settings as settings;
use cni_types::catalogue::LabelledFamily;
use cni_types::ec2::{CodeMeaning, Ec2Operation, is_growth_api};

use self::refused_setting::refused_setting;
use crate::catalogue::FindingId;
use crate::evidence::{Counting, Environment, NodeEvidence, ReadSetting, Source};
use crate::memory::{Forced, Moment, NodeMemory, Rare, WINDOW_MS};
use crate::verdict::Verdict;
use crate::view::{COUNTS_REFUSALS, OUT_OF_STEP_API, Refusal, View};

/// Restarts within this time, milliseconds...
const RESTARTS_MS: i64 = 1_800_000;
/// ... are too many from this number.
const MANY_RESTARTS: usize = 3;
/// Passes of reconciliation that repair within this time, milliseconds...
const PASSES_MS: i64 = 900_000;
/// ... are too many from this number,
const MANY_PASSES: usize = 3;
/// and it is over when there was none for this time, milliseconds.
const REST_MS: i64 = 1_800_000;

/// Answers within the window that show a difference.
const MANY_ANSWERS: f64 = 3.0;
/// What marks a finding that rests on answers alone.
pub(crate) const ANSWERS: &str = "answers";

/// Kinds of failure that say nothing of the agent: the node was not asked, or could not be.
const NOT_THE_AGENTS: [&str; 7] = [
    "api_server_unreachable",
    "deadline",
    "forbidden",
    "not_found",
    "out_of_files",
    "rate_limited_by_api_server",
    "stopped",
];

/// What is wrong with a node that gave a page, beside the cause of its refusals.
pub(crate) fn with_page(view: &View<'_>, refusal: Option<Refusal>, cause: Option<FindingId>) -> Vec<Verdict> {
    let mut found = Vec::new();
    found.extend(too_old(view));
    found.extend(objects::eniconfig_missing(view, cause));
    found.extend(objects::trunk_slot_missing(view));
    if view.now.counting == Counting::Totals {
        return found;
    }
    found.extend(branch_eni(view, refusal));
    let Some(rare) = view.past.rare.as_deref() else { return found };
    found.extend(restarting(rare, view.now));
    found.extend(not_ready(rare, view));
    found.extend(forced(rare, view));
    found.extend(out_of_step(rare, view));
    found.extend(missing_right(view));
    found
}

/// What is wrong with a node that gave none.
pub(crate) fn without_page(node: &NodeEvidence<'_>, failure: &str, past: &NodeMemory, now: Moment) -> Vec<Verdict> {
    let mut found: Vec<Verdict> = past.rare.as_deref().and_then(|rare| restarting(rare, now)).into_iter().collect();
    let env = node.agent.and_then(|agent| agent.env);
    if env.is_some_and(|env| settings::DISABLE_METRICS.of(env)) {
        found.push(Verdict::without_page(FindingId::MetricsDisabled).with_setting(1));
        return found;
    }
    if NOT_THE_AGENTS.contains(&failure) {
        return found;
    }
    let silent_ms = past.silent_ms(now);
    let is_ready = node.agent.and_then(|agent| agent.is_ready);
    let not_started = if is_ready != Some(true) && silent_ms >= FindingId::AgentNotStarted.hold().ms {
        not_started(env, is_ready, failure)
    } else {
        None
    };
    // A lost instance is silent for four rounds.
    let hold = FindingId::AgentSilent.hold();
    let is_silent = silent_ms >= hold.ms && past.silent_rounds >= hold.rounds;
    let verdict = not_started.or_else(|| if is_silent { silent(node, is_ready, failure) } else { None });
    found.extend(verdict.map(|verdict| verdict.with_count(f64::from(past.silent_rounds))));
    found
}

/// An agent that is not ready and gives no page.
fn not_started(env: Option<Environment<'_>>, is_ready: Option<bool>, failure: &str) -> Option<Verdict> {
    if let Some(why) = env.and_then(refused_setting) {
        let verdict = Verdict::without_page(FindingId::AgentSettingsRefused).with_word(&why);
        return Some(if is_ready.is_none() { verdict.likely(Source::AgentLog) } else { verdict });
    }
    (is_ready == Some(false))
        .then(|| Verdict::without_page(FindingId::AgentNotStarted).with_word(failure).lacking(Source::AgentLog))
}

/// A ready agent on a ready node that gives no page.
fn silent(node: &NodeEvidence<'_>, is_ready: Option<bool>, failure: &str) -> Option<Verdict> {
    let node_is_ready = node.status.and_then(|status| status.is_ready);
    if node_is_ready == Some(false) {
        return None;
    }
    let mut verdict = Verdict::without_page(FindingId::AgentSilent).with_word(failure);
    if is_ready.is_none() {
        verdict = verdict.likely(Source::AgentPods);
    }
    Some(if node_is_ready.is_none() { verdict.likely(Source::Nodes) } else { verdict })
}

/// An agent that gives its page, and is not ready for longer than it takes to start: pods may find no agent to ask.
fn not_ready(rare: &Rare, view: &View<'_>) -> Option<Verdict> {
    let since = rare.unready_since_ms?.get();
    let applies = view.now.now_ms.saturating_sub(since) >= FindingId::AgentNotReady.hold().ms;
    applies.then(|| {
        let verdict = Verdict::new(FindingId::AgentNotReady, view).with_count(1.0);
        verdict.needs(Source::AgentPods, view).lacking(Source::AgentLog)
    })
}

fn restarting(rare: &Rare, now: Moment) -> Option<Verdict> {
    let restarts = rare.incidents().restarts.iter().filter(|at| now.now_ms.saturating_sub(**at) <= RESTARTS_MS).count();
    (restarts >= MANY_RESTARTS).then(|| {
        Verdict::without_page(FindingId::AgentRestarting).with_count(restarts as f64).lacking(Source::AgentLog)
    })
}

/// What vanished. The addresses of an ENI that vanished are no second finding.
fn forced(rare: &Rare, view: &View<'_>) -> Option<Verdict> {
    let recent = |forced: Option<Forced>| forced.filter(|at| view.now.now_ms.saturating_sub(at.at_ms) <= WINDOW_MS);
    let verdict = |id, forced: Forced| Verdict::new(id, view).with_count(forced.sum).lacking(Source::Interfaces);
    let enis = recent(rare.incidents().forced_enis).map(|forced| verdict(FindingId::EnisForceRemoved, forced));
    enis.or_else(|| {
        recent(rare.incidents().forced_addresses).map(|forced| verdict(FindingId::AddressesForceRemoved, forced))
    })
}

fn out_of_step(rare: &Rare, view: &View<'_>) -> Option<Verdict> {
    let within =
        |time: i64| rare.incidents().passes.iter().filter(|at| view.now.now_ms.saturating_sub(**at) <= time).count();
    let is_known = rare.has_trouble(FindingId::PoolOutOfStep);
    let passes = within(PASSES_MS);
    if passes == 0 && !is_known {
        return differs_by_answers(view);
    }
    (passes >= MANY_PASSES || (is_known && within(REST_MS) > 0))
        .then(|| Verdict::new(FindingId::PoolOutOfStep, view).with_count(passes as f64).lacking(Source::Interfaces))
}

/// Answers of EC2 and of instance metadata that show a difference, which the agent bears: no more than info.
fn differs_by_answers(view: &View<'_>) -> Option<Verdict> {
    let is_one =
        |first: &str, second: &str| first == OUT_OF_STEP_API || CodeMeaning::of(second) == Some(CodeMeaning::OutOfStep);
    let marks = view.past.marks().iter().filter(|mark| mark.family == LabelledFamily::AwsApiErrorCount);
    let sum = marks.filter(|mark| is_one(&mark.first, &mark.second)).map(|mark| mark.sum).sum::<f64>();
    let verdict = || Verdict::new(FindingId::PoolOutOfStep, view).with_count(sum).with_word(ANSWERS).only_info(true);
    (sum >= MANY_ANSWERS).then(|| verdict().lacking(Source::Interfaces))
}

/// A right of a call that gives addresses back, or marks them. It refuses no pod, and addresses leak.
fn missing_right(view: &View<'_>) -> Option<Verdict> {
    let mark = view.past.marks().iter().find(|mark| {
        mark.family == LabelledFamily::AwsApiErrorCount
            && CodeMeaning::of(&mark.second) == Some(CodeMeaning::PermissionMissing)
            && Ec2Operation::of_label(mark.first.as_bytes()).is_some()
            && !is_growth_api(mark.first.as_bytes())
    })?;
    Some(Verdict::new(FindingId::IamRightMissingQuiet, view).with_count(mark.sum).with_word(&mark.first))
}

/// Pods that need a branch ENI are refused without being counted as refused.
fn branch_eni(view: &View<'_>, refusal: Option<Refusal>) -> Option<Verdict> {
    let may_apply = view.is_on(&settings::ENABLE_POD_ENI)
        && refusal.is_none()
        && view.page.refused.is_some()
        && view.page.requests.is_some_and(|requests| requests > 0.0);
    if !may_apply {
        return None;
    }
    let verdict = |count| Verdict::new(FindingId::BranchEniNotProvided, view).with_count(count).likely(Source::Pods);
    let mark = view.past.marks().iter().find(|mark| mark.family == LabelledFamily::PodEniErrorCount);
    match mark {
        Some(mark) if objects::asks_for_no_trunk(view) => Some(verdict(mark.sum).with_word(objects::NO_TRUNK)),
        Some(mark) => Some(verdict(mark.sum)),
        None => objects::pods_wait_without_trunk(view).then(|| verdict(0.0).with_word(objects::NO_TRUNK)),
    }
}

/// The agent does not count refused requests.
fn too_old(view: &View<'_>) -> Option<Verdict> {
    let version = view.node.version;
    let is_older = version.is_some_and(|version| version < COUNTS_REFUSALS);
    let says_nothing = version.is_none() && view.page.counts_refusals == Some(false);
    if !is_older && !says_nothing {
        return None;
    }
    // Pods that wait would show what is refused.
    Some(Verdict::without_page(FindingId::AgentTooOld).with_count(1.0).lacking(Source::Pods))
}

#[cfg(test)]
mod tests;
