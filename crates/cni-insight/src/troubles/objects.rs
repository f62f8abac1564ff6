//! What objects of the API server show: an `ENIConfig` that is missing, a `CNINode` that asks for no trunk ENI.

use cni_types::agent_settings as settings;
use cni_types::catalogue::LabelledFamily;
use cni_types::limits;

use crate::catalogue::FindingId;
use crate::evidence::Source;
use crate::verdict::Verdict;
use crate::view::View;

/// Pages in a row on which pods ask and the number of assigned addresses stays.
const WAITING_PAGES: u16 = 4;

/// The word of findings about a node that asks for no trunk.
pub(super) const NO_TRUNK: &str = "the CNINode asks for no trunk";

/// Custom networking without an `ENIConfig` of the node's name. Where that is the cause of refusals, it is no second finding.
pub(super) fn eniconfig_missing(view: &View<'_>, cause: Option<FindingId>) -> Option<Verdict> {
    let name = view.missing_eni_config()?;
    let is_a_cause = cause == Some(FindingId::EniconfigInvalid);
    let verdict = || Verdict::without_page(FindingId::EniconfigMissing).with_word(name).with_count(1.0);
    (!is_a_cause).then(|| verdict().needs(Source::EniConfigs, view).needs(Source::AgentPods, view))
}

/// Security groups for pods on a node whose ENI slots are all taken: its agent asks for a trunk only while one is free, and says
/// nothing.
pub(super) fn trunk_slot_missing(view: &View<'_>) -> Option<Verdict> {
    let applies = asks_for_no_trunk(view) && view.has_all_enis() == Some(true) && !has_failed_to_ask(view);
    let verdict = || Verdict::without_page(FindingId::TrunkSlotMissing).with_count(1.0);
    applies.then(|| verdict().needs(Source::CniNodes, view).needs(Source::AgentPods, view))
}

/// Security groups for pods are on, the type can have a trunk, and the `CNINode` does not ask for one.
pub(super) fn asks_for_no_trunk(view: &View<'_>) -> bool {
    let may_have_one = || view.node.instance_type.and_then(limits::find).is_none_or(|limits| limits.trunk_compatible);
    view.is_on(&settings::ENABLE_POD_ENI) && view.node.cni_node.is_some_and(|node| !node.wants_trunk) && may_have_one()
}

/// The node asks for no trunk although a slot is free, and on page after page pods ask without being given an address.
pub(super) fn pods_wait_without_trunk(view: &View<'_>) -> bool {
    let newest = (1_u8 << WAITING_PAGES) - 1;
    asks_for_no_trunk(view)
        && view.has_all_enis() == Some(false)
        && view.has_pages(WAITING_PAGES)
        && view.past.given_back & newest == newest
}

/// The agent tried to ask for a trunk, and could not: that is counted.
fn has_failed_to_ask(view: &View<'_>) -> bool {
    view.past.marks().iter().any(|mark| mark.family == LabelledFamily::PodEniErrorCount)
}

#[cfg(test)]
mod tests;
