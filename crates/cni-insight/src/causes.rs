//! Why a node refuses requests for a pod address: rules in a fixed order, of which the first that applies is the cause.
//!
//! The node's state comes before errors: an old error must not hide that the node is full by now. Among errors only those of calls
//! by which a node gets more addresses count, and only the newest since the node last grew.

mod calls;
mod full;
mod pace;
mod settings;

use crate::evidence::{Counting, Source};
use crate::memory::{Moment, WINDOW_MS};
use crate::verdict::{NodeCause, Verdict, scope_of};
use crate::view::{Refusal, View};

/// A rule: a cause, if it applies.
type Rule = fn(&View<'_>) -> Option<Verdict>;

/// The rules in their order.
const RULES: [Rule; 25] = [
    pace::instance_metadata_failing,
    settings::provisioning_disabled,
    settings::ipv6_prefix_missing,
    full::pool_capped_by_max_pods,
    full::max_eni_setting,
    full::cooldown_on_full_node,
    full::max_pods_too_high,
    full::node_full,
    settings::node_cordoned,
    settings::minimum_without_warm,
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
    pace::pool_loop_stalled,
    pace::eni_attach_stuck,
    settings::warm_targets_zero,
    pace::pool_growing,
    pace::warm_pool_too_small,
];

/// The cause of a node's refusals as of this page: the one before while refusals pause, and none once they are over.
pub(crate) fn cause(view: &View<'_>, refusal: Option<Refusal>, before: Option<NodeCause>) -> Option<NodeCause> {
    let Moment { now_ms, .. } = view.now;
    let before = before.filter(|cause| now_ms.saturating_sub(cause.refused_ms) <= WINDOW_MS);
    // The previous page's refusals may have their cause on this one.
    let is_refusing = view.past.refusing & 0b11 != 0;
    // A page after a gap tells of a long time at once.
    let opens = refusal.is_some() && !view.change.is_after_gap;
    if !is_refusing || (before.is_none() && !opens) {
        return before;
    }
    let errors = view.newest_errors();
    let seen = View { errors: &errors, ..*view };
    let mut verdict = RULES.iter().find_map(|rule| rule(&seen)).unwrap_or_else(|| pace::cause_unknown(&seen));
    let (mut refused, mut refused_ms) = (0.0, now_ms);
    if let Some(before) = &before {
        refused = before.verdict.figures.refused;
        refused_ms = if refusal.is_some() { now_ms } else { before.refused_ms };
    }
    let refused_now = if let Some(Refusal::Counted(number)) = refusal { number } else { 0.0 };
    verdict.figures.refused = refused + refused_now;
    verdict.figures.refused_now = refused_now;
    verdict.figures.is_inferred = is_inferred(refusal, before.as_ref());
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
    Some(NodeCause { scope: scope_of(verdict.id, view.node), verdict, since_ms, refused_ms, has_lasted })
}

fn is_inferred(refusal: Option<Refusal>, before: Option<&NodeCause>) -> bool {
    match refusal {
        Some(refusal) => refusal == Refusal::Inferred,
        None => before.is_some_and(|cause| cause.verdict.figures.is_inferred),
    }
}

#[cfg(test)]
mod tests;
