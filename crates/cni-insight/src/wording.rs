//! Findings in words: the sentence, the figures, and what can be done.

mod remedies;
mod sentences;
mod settings;

use cni_types::catalogue::{Family, LabelledFamily};

use crate::catalogue::FindingId;
use crate::evidence::Source;
use crate::finding::{EvidenceItem, Identity, Remedy};
use crate::grouped::Group;

/// What can be done, the best first.
pub(crate) fn remedies(id: FindingId, group: &Group) -> Vec<Remedy> {
    settings::remedies(id, group).unwrap_or_else(|| remedies::remedies(id, group))
}

/// The sentence: who, what is wrong, the figures, and what is not sure.
pub(crate) fn sentence(identity: &Identity, group: &Group) -> String {
    let of_settings = || settings::sentence(identity.id, group, &group.who(identity));
    // What only asks for attention has no refusals to speak of.
    let mut text = match identity.id {
        FindingId::WarmPoolTooSmall if group.is_share() => sentences::share(group, &group.who(identity)),
        _ => of_settings().unwrap_or_else(|| sentences::sentence(identity, group)),
    };
    if group.inferred > 0 {
        text.push_str(" The refusals are inferred: agents before v1.16 do not count them.");
    }
    text
}

/// The figures it stands on.
pub(crate) fn evidence(id: FindingId, group: &Group) -> Vec<EvidenceItem> {
    let mut items = Vec::new();
    let mut add = |what: String, value: Option<f64>, source: Source| {
        if let Some(value) = value {
            items.push(EvidenceItem { what, value, source });
        }
    };
    if id.facts().is_cause && !group.is_share() {
        let since = if group.counting_totals { "the agents' start" } else { "it began" };
        let counted = (group.inferred < group.nodes).then_some(group.refused);
        add(format!("{} since {since}", Family::NoAvailableIpAddresses.name()), counted, Source::Rounds);
    }
    for ((api, code), count) in &group.errors {
        let family = LabelledFamily::AwsApiErrorCount.family().name();
        add(format!("{family} {api} {code}"), Some(*count), Source::Rounds);
    }
    let is_of_sizes = matches!(id, FindingId::MaxPodsTooLow | FindingId::WarmPoolOversized);
    let is_about_addresses = id.facts().is_cause || is_of_sizes;
    for (what, span, source, is_shown) in [
        (Family::AssignedIpAddresses.name(), group.assigned, Source::Rounds, is_about_addresses),
        (Family::TotalIpAddresses.name(), group.held, Source::Rounds, is_about_addresses),
        ("addresses that pods can use", group.usable, Source::Rounds, is_about_addresses),
        ("maximum pods of the node", group.max_pods, Source::Nodes, is_about_addresses),
        ("value of the setting", group.setting, Source::AgentPods, true),
    ] {
        let largest = if group.nodes > 1 { ", largest" } else { "" };
        add(format!("{what}{largest}"), span.most().filter(|_| is_shown), source);
    }
    if group.count > 0.0 {
        let (what, source) = sentences::counted_as(id, group);
        add(what.to_owned(), Some(group.count), source);
    }
    items
}
