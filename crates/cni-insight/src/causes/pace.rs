//! The agent's own work: what holds it up, and pods that come faster than it works.

use cni_types::agent_settings as settings;
use cni_types::catalogue::LabelledFamily;

use crate::catalogue::FindingId;
use crate::evidence::{Counting, Source};
use crate::memory::Mark;
use crate::verdict::Verdict;
use crate::view::{VPC_BLOCKS, View};

/// Failures on one page that no single error explains.
const REPEATED: f64 = 3.0;
/// What the agent counts when an ENI that was attached did not appear in time.
const ATTACH_FAILED: &str = "increaseIPPoolwaitENIAttachedFailed";

/// Requests fail before an address is looked for.
pub(super) fn instance_metadata_failing(view: &View<'_>) -> Option<Verdict> {
    if view.now.counting == Counting::Totals {
        return None;
    }
    let beyond = view.metadata_failures_beyond_checks();
    let asked = view.page.requests.is_some_and(|requests| requests > 0.0);
    let macs = view.errors_of("GetMACs");
    let cannot_compare = view.counted(LabelledFamily::IpamdErrorCount, "reconcileFailedGetENIs") >= REPEATED;
    let applies = (asked && beyond >= 2.0) || (macs >= REPEATED && cannot_compare);
    applies.then(|| Verdict::new(FindingId::InstanceMetadataFailing, view).with_count(beyond.max(macs)))
}

/// Reads of instance metadata failed within the last minutes, and no longer do so on this page: it is healing, or fails now and then.
pub(super) fn metadata_failed_lately(view: &View<'_>) -> Option<Verdict> {
    let failed = VPC_BLOCKS.iter().filter_map(|api| view.mark(LabelledFamily::AwsApiErrorCount, api));
    let failed = failed.map(|mark| mark.sum).sum::<f64>();
    (failed >= REPEATED)
        .then(|| Verdict::new(FindingId::InstanceMetadataFailing, view).with_count(failed).likely(Source::AgentLog))
}

/// A pool action runs on this number of pages in a row or more, and nothing came of it yet.
fn is_waiting(view: &View<'_>, pages: i64) -> bool {
    i64::from(view.past.busy_pages) >= pages && !view.past.grew_lately(view.now)
}

/// An ENI that was attached did not appear in time.
fn attach_failed<'a>(view: &View<'a>) -> Option<&'a Mark> {
    view.mark(LabelledFamily::IpamdErrorCount, ATTACH_FAILED)
}

/// Pages after which an action that goes on is no more a slow one. The longest wait that ends by itself, for an ENI to appear,
/// takes up to 187 s, and counts an error then.
fn stalled_pages(view: &View<'_>) -> i64 {
    FindingId::PoolLoopStalled.hold().rounds_of(view.now.interval_ms)
}

/// A pool action runs on and on, and nothing comes of it.
pub(super) fn pool_loop_stalled(view: &View<'_>) -> Option<Verdict> {
    let applies = is_waiting(view, stalled_pages(view))
        && attach_failed(view).is_none()
        && view.errors.is_empty()
        && view.now.counting == Counting::Increases;
    let pages = f64::from(view.past.busy_pages);
    applies.then(|| Verdict::new(FindingId::PoolLoopStalled, view).with_count(pages).lacking(Source::AgentLog))
}

/// An ENI was attached and did not appear in the instance metadata.
pub(super) fn eni_attach_stuck(view: &View<'_>) -> Option<Verdict> {
    let mark = attach_failed(view)?;
    let applies = view.errors.is_empty() && !view.has_metadata_error();
    applies.then(|| Verdict::new(FindingId::EniAttachStuck, view).with_count(mark.sum))
}

/// The pool grows: pods wait for the call that is under way, or for their next try.
pub(super) fn pool_growing(view: &View<'_>) -> Option<Verdict> {
    let is_at_work = view.page.in_progress.is_some_and(|actions| actions >= 1.0);
    // What comes of an action that goes on is not known yet.
    let is_open = is_waiting(view, 2) && !is_waiting(view, stalled_pages(view));
    let applies = (view.past.grew_lately(view.now) || is_at_work)
        && (is_open || !view.past.has_lasted(view.now))
        && view.is_full() == Some(false)
        && view.now.counting == Counting::Increases;
    applies.then(|| Verdict::new(FindingId::PoolGrowing, view))
}

/// The pool could grow and no call fails, yet pods are refused again and again.
pub(super) fn warm_pool_too_small(view: &View<'_>) -> Option<Verdict> {
    let applies = view.past.has_lasted(view.now)
        && view.is_full() == Some(false)
        && view.errors.is_empty()
        && view.now.counting == Counting::Increases;
    // A setting, a cordon or the maximum of pods that stops the pool looks the same where it cannot be read.
    let verdict = || Verdict::new(FindingId::WarmPoolTooSmall, view).needs(Source::AgentPods, view);
    applies.then(|| needs_eni_config(verdict(), view).needs(Source::Nodes, view))
}

/// Nothing else applies.
pub(super) fn cause_unknown(view: &View<'_>) -> Verdict {
    let mut verdict = Verdict::new(FindingId::CauseUnknown, view).likely(Source::AgentLog);
    for source in [Source::AgentPods, Source::Nodes] {
        verdict = verdict.needs(source, view);
    }
    needs_eni_config(verdict, view).lacking(Source::Subnets).lacking(Source::Pods)
}

/// With custom networking, a pool that does not grow although no call fails may also be one without an `ENIConfig`.
fn needs_eni_config(verdict: Verdict, view: &View<'_>) -> Verdict {
    let may_be_missing = view.is_on(&settings::AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG) && !view.past.grew_lately(view.now);
    if may_be_missing { verdict.needs(Source::EniConfigs, view) } else { verdict }
}
