//! The agent's settings as it takes them from its environment.
//!
//! Each variable is read as [`cni_types::agent_settings`] says. Nothing fails while parsing; contradictions are found by
//! [`Settings::mode`], which is where the real agent exits.

use std::collections::BTreeMap;

use cni_types::agent_settings::{
    self, ANNOTATE_POD_IP, AWS_MANAGE_ENIS_NON_SCHEDULABLE, AWS_VPC_K8S_CNI_BACKING_STORE,
    AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG, AgentSetting, CLUSTER_NAME, DISABLE_LEAKED_ENI_CLEANUP,
    DISABLE_NETWORK_RESOURCE_PROVISIONING, ENABLE_IMDS_ONLY_MODE, ENABLE_IPV4, ENABLE_IPV6, ENABLE_MULTI_NIC,
    ENABLE_POD_ENI, ENABLE_PREFIX_DELEGATION, ENABLE_SUBNET_DISCOVERY, IP_COOLDOWN_PERIOD, MANAGE_UNTAGGED_ENI,
    MAX_ENI, MINIMUM_IP_TARGET, NETWORK_POLICY_ENFORCING_MODE, PolicyMode, WARM_ENI_TARGET, WARM_IP_TARGET,
    WARM_PREFIX_TARGET,
};
use cni_types::limits::InstanceLimits;

/// How the node's addresses are had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Secondary IPv4 addresses.
    Secondary,
    /// /28 prefixes.
    Prefix,
    /// One /80 prefix.
    Ipv6,
}

/// Why the container or the agent refuses these settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Exactly one of the two families must be on.
    #[error("exactly one of ENABLE_IPv4 and ENABLE_IPv6 must be true")]
    AddressFamily,
    /// IPv6 needs prefix delegation on a capable instance, without custom networking.
    #[error("IPv6 needs prefix delegation, a Nitro or bare-metal instance, and no custom networking")]
    Ipv6Needs,
    /// `NETWORK_POLICY_ENFORCING_MODE` holds another word.
    #[error("NETWORK_POLICY_ENFORCING_MODE must be none, strict or standard")]
    PolicyMode,
    /// The entry point wants one positive target with prefix delegation.
    #[error("prefix delegation needs one of WARM_PREFIX_TARGET, WARM_IP_TARGET and MINIMUM_IP_TARGET above 0")]
    PrefixWithoutTarget,
    /// The entry point wants seconds.
    #[error("IP_COOLDOWN_PERIOD must be a whole number of seconds, 0 or more")]
    Cooldown,
    /// The entry point wants the MTU of ENIs in the range of the address family.
    #[error("AWS_VPC_ENI_MTU must be a whole number from {least} to 9001", least = mtu_least(*ipv6))]
    EniMtu {
        /// The node is one with IPv6.
        ipv6: bool,
    },
    /// The entry point wants the MTU of pods in the same range.
    #[error("POD_MTU must be a whole number from {least} to 9001", least = mtu_least(*ipv6))]
    PodMtu {
        /// The node is one with IPv6.
        ipv6: bool,
    },
    /// The entry point wants a prefix that no other interface has, and short enough for a name to follow.
    #[error("AWS_VPC_K8S_CNI_VETHPREFIX must have at most 4 bytes and not be eth, lo or vlan")]
    VethPrefix,
    /// The entry point knows two modes of security groups for pods.
    #[error("POD_SECURITY_GROUP_ENFORCING_MODE must be strict or standard where ENABLE_POD_ENI is on")]
    SecurityGroupMode,
    /// The entry point wants a file.
    #[error("AWS_VPC_K8S_PLUGIN_LOG_FILE must not be stdout")]
    PluginLogFile,
}

/// The least MTU of a node.
const fn mtu_least(ipv6: bool) -> i64 {
    if ipv6 { 1_280 } else { 576 }
}

/// Settings of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent switch of the real agent")]
pub struct Settings {
    /// `WARM_ENI_TARGET`.
    pub warm_eni_target: u32,
    /// `WARM_IP_TARGET`; 0 is undefined.
    pub warm_ip_target: u32,
    /// `MINIMUM_IP_TARGET`; 0 is undefined.
    pub minimum_ip_target: u32,
    /// `WARM_PREFIX_TARGET`.
    pub warm_prefix_target: u32,
    /// `MAX_ENI`, if valid.
    pub max_eni: Option<u32>,
    /// `ENABLE_PREFIX_DELEGATION`.
    pub prefix_delegation: bool,
    /// `ENABLE_IPv4`.
    pub ipv4: bool,
    /// `ENABLE_IPv6`.
    pub ipv6: bool,
    /// `AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG`.
    pub custom_networking: bool,
    /// `AWS_MANAGE_ENIS_NON_SCHEDULABLE`.
    pub manage_unschedulable: bool,
    /// `ENABLE_SUBNET_DISCOVERY`.
    pub subnet_discovery: bool,
    /// `ENABLE_POD_ENI`: security groups for pods.
    pub pod_eni: bool,
    /// `MANAGE_UNTAGGED_ENI`.
    pub manage_untagged: bool,
    /// `DISABLE_NETWORK_RESOURCE_PROVISIONING` or `ENABLE_IMDS_ONLY_MODE`.
    pub provisioning: bool,
    /// `ENABLE_IMDS_ONLY_MODE`.
    pub imds_only: bool,
    /// The hourly removal of leaked ENIs runs.
    pub leak_cleanup: bool,
    /// `ENABLE_MULTI_NIC`; read, but cards above 0 are not modelled.
    pub multi_nic: bool,
    /// `IP_COOLDOWN_PERIOD`, seconds.
    pub ip_cooldown_s: i64,
    /// `ANNOTATE_POD_IP`.
    pub annotate_pod_ip: bool,
    /// `NETWORK_POLICY_ENFORCING_MODE`.
    pub policy_mode: PolicyMode,
    /// `CLUSTER_NAME`.
    pub cluster_name: Option<Box<str>>,
    /// `AWS_VPC_K8S_CNI_BACKING_STORE`, if not the default path.
    pub backing_store: Option<Box<str>>,
    /// What the container's entry point refuses before the agent starts; it looks at the raw texts.
    entry_point: Result<(), Refusal>,
}

impl Settings {
    /// Reads name/value pairs, the last of a name winning; an unset name takes the code's default.
    pub fn from_env<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let variables: BTreeMap<&str, &str> = pairs.into_iter().collect();
        let value = |name: &str| variables.get(name).copied();
        let on = |setting: AgentSetting<bool>| setting.read(value(setting.name));
        let number = |setting: AgentSetting<u32>| setting.read(value(setting.name));
        let text = |setting: AgentSetting<&'static str>| setting.read(value(setting.name)).map(Box::from);
        let ipv6 = on(ENABLE_IPV6);
        let imds_only = on(ENABLE_IMDS_ONLY_MODE);
        let provisioning = !imds_only && !on(DISABLE_NETWORK_RESOURCE_PROVISIONING);
        let entry_point = entry_point(&value);
        Self {
            warm_eni_target: number(WARM_ENI_TARGET),
            warm_ip_target: number(WARM_IP_TARGET),
            minimum_ip_target: number(MINIMUM_IP_TARGET),
            warm_prefix_target: number(WARM_PREFIX_TARGET),
            max_eni: Some(number(MAX_ENI)).filter(|max| *max >= 1),
            prefix_delegation: on(ENABLE_PREFIX_DELEGATION),
            ipv4: on(ENABLE_IPV4),
            ipv6,
            custom_networking: on(AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG),
            manage_unschedulable: on(AWS_MANAGE_ENIS_NON_SCHEDULABLE),
            subnet_discovery: on(ENABLE_SUBNET_DISCOVERY),
            pod_eni: on(ENABLE_POD_ENI),
            manage_untagged: on(MANAGE_UNTAGGED_ENI),
            provisioning,
            imds_only,
            leak_cleanup: provisioning && !ipv6 && !on(DISABLE_LEAKED_ENI_CLEANUP),
            multi_nic: on(ENABLE_MULTI_NIC),
            ip_cooldown_s: IP_COOLDOWN_PERIOD.read(value(IP_COOLDOWN_PERIOD.name)),
            annotate_pod_ip: on(ANNOTATE_POD_IP),
            policy_mode: NETWORK_POLICY_ENFORCING_MODE.read(value(NETWORK_POLICY_ENFORCING_MODE.name)),
            cluster_name: text(CLUSTER_NAME),
            backing_store: text(AWS_VPC_K8S_CNI_BACKING_STORE),
            entry_point,
        }
    }

    /// The defaults of the shipped manifest.
    pub fn manifest() -> Self {
        Self::manifest_with([])
    }

    /// The shipped manifest with some variables changed.
    pub fn manifest_with<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::from_env(agent_settings::manifest().chain(pairs))
    }

    /// The mode these settings give on an instance, or why the agent does not start.
    ///
    /// Prefix delegation on an instance that cannot do it falls back to secondary addresses without failing.
    pub fn mode(&self, limits: &InstanceLimits) -> Result<Mode, Refusal> {
        self.entry_point?;
        if self.policy_mode == PolicyMode::Invalid {
            return Err(Refusal::PolicyMode);
        }
        if self.ipv4 == self.ipv6 {
            return Err(Refusal::AddressFamily);
        }
        if self.ipv6 {
            let able = self.prefix_delegation && limits.prefix_capable() && !self.custom_networking;
            return if able { Ok(Mode::Ipv6) } else { Err(Refusal::Ipv6Needs) };
        }
        let prefix = self.prefix_delegation && limits.prefix_capable();
        Ok(if prefix { Mode::Prefix } else { Mode::Secondary })
    }

    /// `MAX_ENI` or the instance's limit, whichever is less.
    pub fn max_enis(&self, limits: &InstanceLimits) -> u32 {
        let limit = u32::from(limits.max_enis);
        self.max_eni.map_or(limit, |max| max.min(limit))
    }

    /// `WARM_IP_TARGET` or `MINIMUM_IP_TARGET` is in force, so that the ENI and prefix targets are not.
    pub fn ip_targets_defined(&self) -> bool {
        self.warm_ip_target != 0 || self.minimum_ip_target != 0
    }
}

/// What the entry point refuses, in its order.
fn entry_point<'a>(value: &impl Fn(&str) -> Option<&'a str>) -> Result<(), Refusal> {
    let whole = |name: &str| value(name).map(str::parse::<i64>);
    let (pod_eni, ipv6) = (ENABLE_POD_ENI.read(value(ENABLE_POD_ENI.name)), ENABLE_IPV6.read(value(ENABLE_IPV6.name)));
    if value("AWS_VPC_K8S_PLUGIN_LOG_FILE") == Some("stdout") {
        return Err(Refusal::PluginLogFile);
    }
    if value("AWS_VPC_K8S_CNI_VETHPREFIX").is_some_and(|text| text.len() > 4 || matches!(text, "eth" | "lo" | "vlan")) {
        return Err(Refusal::VethPrefix);
    }
    let mode = value("POD_SECURITY_GROUP_ENFORCING_MODE").unwrap_or("strict");
    if pod_eni && !matches!(mode, "strict" | "standard") {
        return Err(Refusal::SecurityGroupMode);
    }
    if whole(IP_COOLDOWN_PERIOD.name).is_some_and(|seconds| !seconds.is_ok_and(|seconds| seconds >= 0)) {
        return Err(Refusal::Cooldown);
    }
    let fits = |mtu: i64| (mtu_least(ipv6)..=9_001).contains(&mtu);
    for (name, refusal) in [("AWS_VPC_ENI_MTU", Refusal::EniMtu { ipv6 }), ("POD_MTU", Refusal::PodMtu { ipv6 })] {
        if whole(name).is_some_and(|mtu| !mtu.is_ok_and(fits)) {
            return Err(refusal);
        }
    }
    // The targets are compared as texts.
    let targets = [WARM_IP_TARGET, WARM_PREFIX_TARGET, MINIMUM_IP_TARGET];
    let absent = targets.iter().all(|target| value(target.name).unwrap_or("0") <= "0");
    let prefix_delegation = ENABLE_PREFIX_DELEGATION.read(value(ENABLE_PREFIX_DELEGATION.name));
    if prefix_delegation && absent { Err(Refusal::PrefixWithoutTarget) } else { Ok(()) }
}
