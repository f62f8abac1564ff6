//! Settings, and what the node itself is set to.

use cni_types::agent_settings as settings;

use crate::catalogue::FindingId;
use crate::evidence::{Counting, Source};
use crate::verdict::Verdict;
use crate::view::{RESPECTS_TAG, View};

/// A setting keeps the agent from attaching ENIs and addresses.
pub(super) fn provisioning_disabled(view: &View<'_>) -> Option<Verdict> {
    let switches = [&settings::DISABLE_NETWORK_RESOURCE_PROVISIONING, &settings::ENABLE_IMDS_ONLY_MODE];
    let switch = switches.into_iter().find(|switch| view.is_on(switch))?;
    let verdict = Verdict::new(FindingId::ProvisioningDisabled, view).with_word(switch.name);
    Some(verdict.needs(Source::AgentPods, view))
}

/// A /80 cannot run out: an IPv6 node that refuses has none.
pub(super) fn ipv6_prefix_missing(view: &View<'_>) -> Option<Verdict> {
    let applies = view.page.is_ipv6 || view.is_on(&settings::ENABLE_IPV6);
    // With a tag that excludes the node's own subnet the agent leaves the first ENI's prefix alone.
    let may_be_excluded = view.node.version.is_none_or(|version| version >= RESPECTS_TAG);
    let verdict = || Verdict::new(FindingId::Ipv6PrefixMissing, view);
    applies.then(|| if may_be_excluded { verdict().lacking(Source::Subnets) } else { verdict() })
}

/// The agent leaves the pools of cordoned nodes as they are.
pub(super) fn node_cordoned(view: &View<'_>) -> Option<Verdict> {
    let applies = view.node.status.is_some_and(|status| status.is_cordoned)
        && view.is_full() == Some(false)
        && !view.is_on(&settings::AWS_MANAGE_ENIS_NON_SCHEDULABLE)
        && !view.past.grew_lately(view.now);
    let verdict = || Verdict::new(FindingId::NodeCordoned, view).needs(Source::Nodes, view);
    applies.then(|| verdict().needs(Source::AgentPods, view))
}

/// `MINIMUM_IP_TARGET` alone: once the minimum is held, no more is asked for.
pub(super) fn minimum_without_warm(view: &View<'_>) -> Option<Verdict> {
    let minimum = view.number(&settings::MINIMUM_IP_TARGET).filter(|minimum| *minimum > 0)?;
    let applies = view.number(&settings::WARM_IP_TARGET) == Some(0)
        && view.page.held.is_some_and(|held| held >= f64::from(minimum))
        && view.is_full() == Some(false);
    let verdict = || Verdict::new(FindingId::MinimumWithoutWarm, view).with_setting(minimum);
    applies.then(|| verdict().needs(Source::AgentPods, view))
}

/// Without any target the agent asks for more only once a pod was refused.
pub(super) fn warm_targets_zero(view: &View<'_>) -> Option<Verdict> {
    let env = view.env()?;
    let is_zero = |setting: &settings::AgentSetting<u32>| view.number(setting) == Some(0);
    let applies = is_zero(&settings::WARM_ENI_TARGET)
        && is_zero(&settings::WARM_IP_TARGET)
        && is_zero(&settings::MINIMUM_IP_TARGET)
        && !view.is_on(&settings::ENABLE_PREFIX_DELEGATION)
        && view.is_full() == Some(false)
        && !env.is_empty();
    let verdict = || Verdict::new(FindingId::WarmTargetsZero, view).needs(Source::AgentPods, view);
    // On one page errors are not told from earlier ones.
    (applies && (view.now.counting == Counting::Totals || view.errors.is_empty())).then(verdict)
}
