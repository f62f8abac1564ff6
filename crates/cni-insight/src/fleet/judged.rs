//! Settings by themselves: what an agent reads of them, and which have no effect.

use cni_types::agent_settings as settings;
use cni_types::limits::{self, ADDRESSES_PER_PREFIX};

use super::spread::Variant;
use crate::catalogue::FindingId;
use crate::evidence::{Environment, NodeEvidence, ReadSetting, RoundFacts, Source, variable};
use crate::verdict::Verdict;
use crate::view::HOST_PODS;

/// Pods that Kubernetes recommends a node to have at most: a kubelet that admits that many is not set too low.
const RECOMMENDED_PODS: u32 = 110;

/// Switches that decide how an agent keeps its pool, in the order of their bits.
const SWITCHES: [&settings::AgentSetting<bool>; 11] = [
    &settings::AWS_MANAGE_ENIS_NON_SCHEDULABLE,
    &settings::AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG,
    &settings::DISABLE_METRICS,
    &settings::DISABLE_NETWORK_RESOURCE_PROVISIONING,
    &settings::ENABLE_IMDS_ONLY_MODE,
    &settings::ENABLE_IPV6,
    &settings::ENABLE_MULTI_NIC,
    &settings::ENABLE_POD_ENI,
    &settings::ENABLE_PREFIX_DELEGATION,
    &settings::ENABLE_SUBNET_DISCOVERY,
    &settings::MANAGE_UNTAGGED_ENI,
];

/// The same for numbers.
const NUMBERS: [&settings::AgentSetting<u32>; 5] = [
    &settings::MAX_ENI,
    &settings::MINIMUM_IP_TARGET,
    &settings::WARM_ENI_TARGET,
    &settings::WARM_IP_TARGET,
    &settings::WARM_PREFIX_TARGET,
];

/// What an agent makes of the settings that decide how it keeps its pool. Texts that are read alike are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PoolKey {
    switches: u32,
    numbers: [u32; NUMBERS.len()],
    cooldown_s: i64,
}

impl PoolKey {
    fn of(env: Environment<'_>) -> Self {
        let switches = SWITCHES.iter().enumerate().map(|(bit, switch)| u32::from(switch.of(env)) << bit).sum();
        let mut numbers = NUMBERS.map(|number| number.of(env));
        if !settings::ENABLE_PREFIX_DELEGATION.of(env) {
            // It is read with prefixes only; manifests of before they existed do not have it.
            numbers[NUMBERS.len() - 1] = 0;
        }
        Self { switches, numbers, cooldown_s: settings::IP_COOLDOWN_PERIOD.of(env) }
    }
}

impl Variant for PoolKey {
    /// The settings that are read differently, with both values.
    fn differences(&self, other: &Self) -> String {
        let mut differences = Vec::new();
        for (bit, switch) in SWITCHES.iter().enumerate() {
            let is_on = |key: &Self| key.switches >> bit & 1 == 1;
            if is_on(self) != is_on(other) {
                differences.push(format!("{} ({} and {})", switch.name, is_on(self), is_on(other)));
            }
        }
        for ((number, one), two) in NUMBERS.iter().zip(self.numbers).zip(other.numbers) {
            if one != two {
                differences.push(format!("{} ({one} and {two})", number.name));
            }
        }
        if self.cooldown_s != other.cooldown_s {
            let (one, two) = (self.cooldown_s, other.cooldown_s);
            differences.push(format!("{} ({one} and {two})", settings::IP_COOLDOWN_PERIOD.name));
        }
        differences.join(", ")
    }
}

/// An environment, judged once for all agents that have it.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) key: PoolKey,
    /// Findings of the settings alone.
    findings: Vec<OfSettings>,
    has_prefixes: bool,
}

/// A finding of settings alone: what it is about, in words and as a number.
#[derive(Debug)]
struct OfSettings {
    id: FindingId,
    word: String,
    value: Option<u32>,
    count: usize,
}

impl OfSettings {
    fn valued(id: FindingId, word: String, value: u32) -> Self {
        Self { id, word, value: Some(value), count: 0 }
    }

    fn verdict(&self) -> Verdict {
        let verdict = Verdict::without_page(self.id).with_word(&self.word).with_count(self.count as f64);
        self.value.into_iter().fold(verdict, Verdict::with_setting)
    }
}

impl Judged {
    pub(super) fn of(env: Environment<'_>) -> Self {
        let number = |setting: &settings::AgentSetting<u32>| setting.of(env);
        let is_ipv6 = settings::ENABLE_IPV6.of(env);
        let has_prefixes = settings::ENABLE_PREFIX_DELEGATION.of(env) && !is_ipv6;
        let (warm_enis, warm_ips) = (number(&settings::WARM_ENI_TARGET), number(&settings::WARM_IP_TARGET));
        let minimum = number(&settings::MINIMUM_IP_TARGET);
        let mut findings = Vec::new();
        // The manifest sets 1, and 0 is what it comes to beside the others.
        if !is_ipv6 && warm_enis > 1 && (warm_ips > 0 || minimum > 0 || has_prefixes) {
            let beside = match (has_prefixes, warm_ips > 0) {
                (true, _) => settings::ENABLE_PREFIX_DELEGATION.name,
                (false, true) => settings::WARM_IP_TARGET.name,
                (false, false) => settings::MINIMUM_IP_TARGET.name,
            };
            let word = format!("WARM_ENI_TARGET={warm_enis} beside {beside}");
            findings.push(OfSettings::valued(FindingId::WarmEniTargetIgnored, word, warm_enis));
        }
        if has_prefixes && warm_ips > 0 && warm_ips < ADDRESSES_PER_PREFIX {
            let word = format!("WARM_IP_TARGET={warm_ips}");
            findings.push(OfSettings::valued(FindingId::WarmIpTargetCostsPrefix, word, warm_ips));
        }
        if is_ipv6 {
            let ignored: Vec<String> = NUMBERS
                .iter()
                .filter(|setting| variable(env, setting.name).is_some() && setting.of(env) != shipped(setting))
                .map(|setting| format!("{}={}", setting.name, setting.of(env)))
                .collect();
            if !ignored.is_empty() {
                let (id, count) = (FindingId::TargetsIgnoredOnIpv6, ignored.len());
                findings.push(OfSettings { id, word: ignored.join(", "), value: None, count });
            }
        }
        Self { key: PoolKey::of(env), findings, has_prefixes }
    }

    /// What the settings say at a node.
    pub(super) fn verdicts<'a>(
        &'a self,
        node: &'a NodeEvidence<'_>,
        (facts, cause): (&'a RoundFacts, Option<FindingId>),
    ) -> impl Iterator<Item = Verdict> + 'a {
        let by_settings = self.findings.iter().map(OfSettings::verdict).map(move |verdict| {
            if facts.sources.agent_pods.is_sure() { verdict } else { verdict.likely(Source::AgentPods) }
        });
        // Where pods are refused, more of them are no advice.
        let low = max_pods_too_low(node).filter(|_| cause.is_none());
        let of_node = [self.prefixes_unsupported(node), low];
        let of_node = of_node.into_iter().flatten().map(move |verdict| {
            let is_sure = facts.sources.agent_pods.is_sure() && facts.sources.nodes.is_sure();
            if is_sure { verdict } else { verdict.likely(Source::AgentPods).likely(Source::Nodes) }
        });
        by_settings.chain(of_node)
    }

    /// Prefixes are for Nitro instances; an agent on another assigns single addresses as without the setting.
    fn prefixes_unsupported(&self, node: &NodeEvidence<'_>) -> Option<Verdict> {
        let name = node.instance_type.filter(|_| self.has_prefixes)?;
        let is_unable = limits::find(name).is_some_and(|limits| !limits.prefix_capable());
        is_unable.then(|| Verdict::without_page(FindingId::PrefixesUnsupported).with_word(name).with_setting(1))
    }
}

/// What the shipped manifest makes of a setting.
fn shipped(setting: &settings::AgentSetting<u32>) -> u32 {
    setting.read(setting.manifest)
}

/// The kubelet admits fewer pods than the node has addresses for.
fn max_pods_too_low(node: &NodeEvidence<'_>) -> Option<Verdict> {
    let page = node.page.as_ref().ok().filter(|page| !page.is_ipv6 && !page.is_doubtful)?;
    let (usable, max_pods) = page.usable.zip(node.status.and_then(|status| status.max_pods))?;
    let possible = usable.saturating_add(HOST_PODS).min(RECOMMENDED_PODS);
    let mut verdict = Verdict::without_page(FindingId::MaxPodsTooLow);
    (verdict.figures.max_pods, verdict.figures.usable) = (Some(max_pods), Some(f64::from(usable)));
    (max_pods > 0 && max_pods < possible).then_some(verdict)
}
