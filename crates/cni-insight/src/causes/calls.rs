//! Calls by which a node gets more addresses, and that failed.

use cni_types::agent_settings as settings;
use cni_types::ec2::{CodeMeaning, Ec2Operation};

use crate::catalogue::FindingId;
use crate::evidence::Source;
use crate::verdict::Verdict;
use crate::view::{CallError, View};

/// Of this number of newest pages, two show calls without an answer.
const UNANSWERED_PAGES: u8 = 0b1111;

/// A verdict about the first of the newest errors that is wanted, with all that are.
fn about(id: FindingId, view: &View<'_>, is_wanted: impl Fn(&CallError<'_>) -> bool) -> Option<Verdict> {
    let wanted: Vec<&CallError<'_>> = view.errors.iter().filter(|error| is_wanted(error)).collect();
    let first = wanted.first()?;
    let mut verdict = Verdict::new(id, view);
    verdict.figures.api = Some(first.api.into());
    verdict.figures.code = Some(first.code.into());
    verdict.figures.errors = wanted.iter().map(|error| error.count).sum();
    Some(verdict)
}

fn means(meaning: CodeMeaning) -> impl Fn(&CallError<'_>) -> bool {
    move |error| error.meaning() == Some(meaning)
}

/// No call can succeed: the credentials are refused, or access is denied on several APIs.
pub(super) fn iam_role_unusable(view: &View<'_>) -> Option<Verdict> {
    let is_everywhere = view.apis_with(|meaning| meaning == CodeMeaning::AccessDenied) >= 2;
    about(FindingId::IamRoleUnusable, view, |error| match error.meaning() {
        Some(CodeMeaning::RoleUnusable) => true,
        Some(CodeMeaning::AccessDenied) => is_everywhere,
        _ => false,
    })
}

/// One right is missing.
pub(super) fn iam_permission_missing(view: &View<'_>) -> Option<Verdict> {
    about(FindingId::IamPermissionMissing, view, |error| {
        matches!(error.meaning(), Some(CodeMeaning::PermissionMissing | CodeMeaning::AccessDenied))
    })
}

/// The subnet has no free /28. A full subnet answers the same, so the free addresses must tell.
pub(super) fn subnet_fragmented(view: &View<'_>) -> Option<Verdict> {
    let prefixes = view.is_on(&settings::ENABLE_PREFIX_DELEGATION);
    let is_it = |error: &CallError<'_>| match error.meaning() {
        Some(CodeMeaning::NoFreeBlock) => true,
        Some(CodeMeaning::InvalidValue) => prefixes && error.is_of(Ec2Operation::CreateNetworkInterface),
        _ => false,
    };
    let verdict = about(FindingId::SubnetFragmented, view, is_it)?;
    Some(verdict.likely(Source::Subnets).lacking(Source::Interfaces))
}

/// The subnet has too few free addresses: none, where not even one more could be assigned. A new ENI asks for all of its addresses at
/// once, so there some may be free.
pub(super) fn subnet_exhausted(view: &View<'_>) -> Option<Verdict> {
    let verdict = about(FindingId::SubnetExhausted, view, means(CodeMeaning::NoFreeAddress))?;
    let is_empty = view.errors.iter().any(|error| {
        error.meaning() == Some(CodeMeaning::NoFreeAddress) && error.is_of(Ec2Operation::AssignPrivateIpAddresses)
    });
    Some(if is_empty { verdict.lacking(Source::Subnets) } else { verdict.likely(Source::Subnets) })
}

/// ENIs that the agent does not manage take the instance's slots.
pub(super) fn eni_slots_taken(view: &View<'_>) -> Option<Verdict> {
    about(FindingId::EniSlotsTaken, view, means(CodeMeaning::SlotsTaken))
        .map(|verdict| verdict.lacking(Source::Interfaces))
}

/// The account may have no more network interfaces.
pub(super) fn eni_quota_reached(view: &View<'_>) -> Option<Verdict> {
    about(FindingId::EniQuotaReached, view, means(CodeMeaning::QuotaReached))
}

/// Custom networking without an `ENIConfig`, so that no call is made, or with one whose subnet or security groups do not fit.
pub(super) fn eniconfig_invalid(view: &View<'_>) -> Option<Verdict> {
    if !view.is_on(&settings::AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG) {
        return None;
    }
    if let Some(name) = view.missing_eni_config() {
        let verdict = Verdict::new(FindingId::EniconfigInvalid, view).with_word(name);
        return Some(verdict.needs(Source::EniConfigs, view).needs(Source::AgentPods, view));
    }
    let is_it = |error: &CallError<'_>| {
        let is_wrong = matches!(error.meaning(), Some(CodeMeaning::WrongReference | CodeMeaning::InvalidValue));
        is_wrong && error.is_of(Ec2Operation::CreateNetworkInterface)
    };
    let verdict = about(FindingId::EniconfigInvalid, view, is_it)?.needs(Source::EniConfigs, view);
    Some(match view.node.eni_config {
        Some(config) => verdict.with_word(config.name),
        None => verdict,
    })
}

/// EC2 throttles the account.
pub(super) fn ec2_throttled(view: &View<'_>) -> Option<Verdict> {
    about(FindingId::Ec2Throttled, view, means(CodeMeaning::Throttled))
}

/// No answer comes. Agents from v1.19.4 count such calls without a code.
pub(super) fn ec2_unreachable(view: &View<'_>) -> Option<Verdict> {
    if let Some(verdict) = about(FindingId::Ec2Unreachable, view, means(CodeMeaning::Unreachable)) {
        return Some(verdict);
    }
    let pages = view.past.unanswered & UNANSWERED_PAGES;
    let applies = view.has_pages(2) && pages.count_ones() >= 2 && view.errors.is_empty();
    // Time-outs of the agent's own calls look the same.
    applies.then(|| Verdict::new(FindingId::Ec2Unreachable, view).likely(Source::AgentLog))
}

/// Any other code.
pub(super) fn ec2_refuses_otherwise(view: &View<'_>) -> Option<Verdict> {
    let verdict = about(FindingId::Ec2RefusesOtherwise, view, |_| true)?.lacking(Source::AgentLog);
    // With custom networking the ENIConfig names what is wrong, with prefixes the subnet has no free block: settings tell.
    let is_of_settings = matches!(
        verdict.figures.code.as_deref().and_then(CodeMeaning::of),
        Some(CodeMeaning::WrongReference | CodeMeaning::InvalidValue)
    );
    Some(if is_of_settings { verdict.needs(Source::AgentPods, view) } else { verdict })
}
