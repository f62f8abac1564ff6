//! Why a node refuses requests for a pod address: rules in a fixed order, of which the first that applies is the cause.
//!
//! The node's state comes before errors: an old error must not hide that the node is full by now. Among errors only those of calls
//! by which a node gets more addresses count, and only the newest since the node last grew.

mod calls;
mod excluded;
mod full;
mod pace;
mod settings;

use crate::evidence::{Counting, Source};
use crate::memory::{Moment, WINDOW_MS};
use crate::verdict::{NodeCause, Verdict, scope_of};
use crate::view::{Refusal, View};

/// A rule: a cause, if it applies.
type Rule = fn(&View<'_>) -> Option<Verdict>;

/// The rules about the node's state and settings, in their order: an old error must not hide that a node is full by now.
const STATE: [Rule; 11] = [
    pace::instance_metadata_failing,
    settings::provisioning_disabled,
    settings::ipv6_prefix_missing,
    full::pool_capped_by_max_pods,
    full::max_eni_setting,
    excluded::subnet_excluded_by_tag,
    full::cooldown_on_full_node,
    full::max_pods_too_high,
    full::node_full,
    settings::node_cordoned,
    settings::minimum_without_warm,
];

/// The rules about failed calls, which follow. They are looked at alone once refusals have lasted although the node grew.
const CALLS: [Rule; 10] = [
    calls::iam_role_unusable,
    calls::iam_permission_missing,
    calls::subnet_fragmented,
    calls::subnet_exhausted,
    calls::eni_slots_taken,
    calls::eni_quota_reached,
    calls::eniconfig_invalid,
    calls::ec2_throttled,
    calls::ec2_unreachable,
    calls::ec2_refuses_otherwise,
];

/// The last rules.
const PACE: [Rule; 4] =
    [pace::pool_loop_stalled, pace::eni_attach_stuck, settings::warm_targets_zero, pace::pool_growing];

/// The cause of a node's refusals as of this page: the one before while refusals pause, and none once they are over.
pub(crate) fn cause(view: &View<'_>, refusal: Option<Refusal>, before: Option<NodeCause>) -> Option<NodeCause> {
    let Moment { now_ms, .. } = view.now;
    let before = before.filter(|cause| now_ms.saturating_sub(cause.refused_ms) <= WINDOW_MS);
    // A page without refusals says nothing of their cause, and one after a gap tells of a long time at once.
    if refusal.is_none() || (before.is_none() && view.change.is_after_gap) {
        return before;
    }
    let errors = view.newest_errors();
    let seen = View { errors: &errors, ..*view };
    let mut verdict = match view.now.counting {
        // Free addresses on the only page: what was refused may be long over, and only a failed call says why.
        Counting::Totals if !view.is_used_up() => CALLS.iter().find_map(|rule| rule(&seen))?,
        _ => {
            let first = STATE.iter().chain(&CALLS).chain(&PACE).find_map(|rule| rule(&seen));
            first.or_else(|| although_it_grew(view)).unwrap_or_else(|| pace::cause_unknown(&seen))
        }
    };
    let refused = before.as_ref().map_or(0.0, |before| before.verdict.figures.refused);
    let refused_now = if let Some(Refusal::Counted(number)) = refusal { number } else { 0.0 };
    verdict.figures.refused = refused + refused_now;
    verdict.figures.refused_now = refused_now;
    verdict.figures.is_inferred = refusal == Some(Refusal::Inferred);
    if verdict.figures.is_inferred {
        verdict = verdict.likely(Source::Pods);
    }
    let since_ms =
        before.as_ref().filter(|before| before.verdict.id == verdict.id).map_or(now_ms, |cause| cause.since_ms);
    // From one page it is not known whether requests are still refused: all addresses assigned speak for it.
    let has_lasted = match view.now.counting {
        Counting::Totals => view.is_used_up(),
        Counting::Increases => !verdict.id.facts().must_last || view.past.has_lasted(view.now),
    };
    Some(NodeCause { scope: scope_of(verdict.id, view.node), verdict, since_ms, refused_ms: now_ms, has_lasted })
}

/// Why refusals last although the node got addresses since its last failed call: the calls that still fail now and then, else a
/// pool that is too small.
fn although_it_grew(view: &View<'_>) -> Option<Verdict> {
    let errors = view.latest_errors();
    let seen = View { errors: &errors, ..*view };
    let metadata = || pace::metadata_failed_lately(&seen);
    CALLS.iter().find_map(|rule| rule(&seen)).or_else(metadata).or_else(|| pace::warm_pool_too_small(&seen))
}

#[cfg(test)]
mod tests;
