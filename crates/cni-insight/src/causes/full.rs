//! Nodes that hold all addresses that they can use, or as many as they have pods.

use cni_types::agent_settings as settings;

use crate::catalogue::FindingId;
use crate::evidence::Source;
use crate::verdict::Verdict;
use crate::view::{HOST_PODS, View};

/// Pages in a row on which addresses cool down.
const COOLING_PAGES: u8 = 4;

fn is_full(view: &View<'_>) -> bool {
    view.is_full() == Some(true)
}

/// The agent holds as many addresses as the node may have pods, and asks for no more.
pub(super) fn pool_capped_by_max_pods(view: &View<'_>) -> Option<Verdict> {
    let max_pods = f64::from(view.max_pods().filter(|pods| *pods > 0)?);
    let applies =
        view.is_full() == Some(false) && view.page.held.is_some_and(|held| held >= max_pods) && view.errors.is_empty();
    applies.then(|| {
        Verdict::new(FindingId::PoolCappedByMaxPods, view).needs(Source::Nodes, view).needs(Source::AgentPods, view)
    })
}

/// `MAX_ENI` makes the node smaller than its type.
pub(super) fn max_eni_setting(view: &View<'_>) -> Option<Verdict> {
    let most = view.number(&settings::MAX_ENI).filter(|most| *most > 0)?;
    let applies = is_full(view) && view.type_enis().is_some_and(|enis| most < enis);
    let verdict = || Verdict::new(FindingId::MaxEniSetting, view).with_setting(most);
    applies.then(|| verdict().needs(Source::AgentPods, view).needs(Source::Nodes, view))
}

/// The node has addresses for all pods that are admitted, but those of ended pods rest before they are given again.
pub(super) fn cooldown_on_full_node(view: &View<'_>) -> Option<Verdict> {
    if !is_full(view) {
        return None;
    }
    let newest = (1_u8 << COOLING_PAGES) - 1;
    let past = view.past;
    let cools =
        view.has_pages(u16::from(COOLING_PAGES)) && past.idle & newest == newest && past.given_back & newest != 0;
    let verdict = || Verdict::new(FindingId::CooldownOnFullNode, view).needs(Source::AgentPods, view);
    if cools {
        return Some(verdict());
    }
    // Pods that just fit: what refuses them is the rest of addresses, or addresses that leaked.
    let fits = view
        .max_pods()
        .zip(view.usable())
        .is_some_and(|(pods, usable)| f64::from(pods) <= usable + f64::from(HOST_PODS));
    fits.then(|| verdict().needs(Source::Nodes, view).likely(Source::Pods))
}

/// More pods are admitted than there are addresses.
pub(super) fn max_pods_too_high(view: &View<'_>) -> Option<Verdict> {
    let (pods, usable) = view.max_pods().zip(view.usable())?;
    let applies = is_full(view) && f64::from(pods) > usable + f64::from(HOST_PODS);
    applies.then(|| {
        Verdict::new(FindingId::MaxPodsTooHigh, view).needs(Source::Nodes, view).needs(Source::AgentPods, view)
    })
}

/// The node is full, and its maximum number of pods is not known.
pub(super) fn node_full(view: &View<'_>) -> Option<Verdict> {
    is_full(view).then(|| Verdict::new(FindingId::NodeFull, view).likely(Source::Nodes).needs(Source::AgentPods, view))
}
