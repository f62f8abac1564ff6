//! The agent's environment variables, parsed as the agent parses them.
//!
//! Three parsers exist: Go's `ParseBool` where a bad or empty value means the default, and `Atoi` likewise. Nothing
//! here fails while parsing; contradictions are found by [`Settings::mode`], which is where the real agent exits.

use std::collections::BTreeMap;

use crate::limits::InstanceLimits;

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

/// `NETWORK_POLICY_ENFORCING_MODE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyMode {
    /// Unset.
    Unset,
    /// No policies.
    None,
    /// Deny until a policy is there.
    Strict,
    /// Allow until a policy is there.
    Standard,
    /// Not one of the three words: init fails.
    Invalid,
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
    /// The entry point refuses a negative cooldown.
    #[error("IP_COOLDOWN_PERIOD must not be negative")]
    NegativeCooldown,
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
    /// The entry point's comparison of the three targets, done on the raw text.
    prefix_targets_absent: bool,
}

/// What the shipped manifest sets, where it differs from the code's defaults or states them.
const MANIFEST: [(&str, &str); 15] = [
    ("ADDITIONAL_ENI_TAGS", "{}"),
    ("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "false"),
    ("DISABLE_NETWORK_RESOURCE_PROVISIONING", "false"),
    ("ENABLE_IMDS_ONLY_MODE", "false"),
    ("ENABLE_IPv4", "true"),
    ("ENABLE_IPv6", "false"),
    ("ENABLE_MULTI_NIC", "false"),
    ("ENABLE_POD_ENI", "false"),
    ("ENABLE_PREFIX_DELEGATION", "false"),
    ("ENABLE_SUBNET_DISCOVERY", "true"),
    ("NETWORK_POLICY_ENFORCING_MODE", "standard"),
    ("WARM_ENI_TARGET", "1"),
    ("WARM_PREFIX_TARGET", "1"),
    ("DISABLE_METRICS", "false"),
    ("DISABLE_INTROSPECTION", "false"),
];

impl Settings {
    /// Reads name/value pairs, the last of a name winning; an unset name takes the code's default.
    pub fn from_env<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let env: Env<'a> = Env(pairs.into_iter().collect());
        let ipv6 = env.boolean("ENABLE_IPv6", false);
        let imds_only = env.boolean("ENABLE_IMDS_ONLY_MODE", false);
        let provisioning = !imds_only && !env.boolean("DISABLE_NETWORK_RESOURCE_PROVISIONING", false);
        Self {
            warm_eni_target: env.target("WARM_ENI_TARGET", 1),
            warm_ip_target: env.target("WARM_IP_TARGET", 0),
            minimum_ip_target: env.target("MINIMUM_IP_TARGET", 0),
            warm_prefix_target: env.target("WARM_PREFIX_TARGET", 0),
            max_eni: Some(env.target("MAX_ENI", 0)).filter(|max| *max >= 1),
            prefix_delegation: env.boolean("ENABLE_PREFIX_DELEGATION", false),
            ipv4: env.boolean("ENABLE_IPv4", false),
            ipv6,
            custom_networking: env.boolean("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", false),
            manage_unschedulable: env.boolean("AWS_MANAGE_ENIS_NON_SCHEDULABLE", false),
            subnet_discovery: env.boolean("ENABLE_SUBNET_DISCOVERY", true),
            pod_eni: env.boolean("ENABLE_POD_ENI", false),
            manage_untagged: env.boolean("MANAGE_UNTAGGED_ENI", true),
            provisioning,
            imds_only,
            leak_cleanup: provisioning && !ipv6 && !env.boolean("DISABLE_LEAKED_ENI_CLEANUP", false),
            multi_nic: env.boolean("ENABLE_MULTI_NIC", false),
            ip_cooldown_s: env.integer("IP_COOLDOWN_PERIOD").unwrap_or(30),
            annotate_pod_ip: env.boolean("ANNOTATE_POD_IP", false),
            policy_mode: env.policy_mode(),
            cluster_name: env.text("CLUSTER_NAME"),
            backing_store: env.text("AWS_VPC_K8S_CNI_BACKING_STORE"),
            prefix_targets_absent: env.prefix_targets_absent(),
        }
    }

    /// The defaults of the shipped manifest.
    pub fn manifest() -> Self {
        Self::manifest_with([])
    }

    /// The shipped manifest with some variables changed.
    pub fn manifest_with<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self::from_env(MANIFEST.into_iter().chain(pairs))
    }

    /// The mode these settings give on an instance, or why the agent does not start.
    ///
    /// Prefix delegation on an instance that cannot do it falls back to secondary addresses without failing.
    pub fn mode(&self, limits: &InstanceLimits) -> Result<Mode, Refusal> {
        if self.ip_cooldown_s < 0 {
            return Err(Refusal::NegativeCooldown);
        }
        if self.prefix_delegation && self.prefix_targets_absent {
            return Err(Refusal::PrefixWithoutTarget);
        }
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

struct Env<'a>(BTreeMap<&'a str, &'a str>);

impl Env<'_> {
    /// Go's `ParseBool`; absent, empty and bad values are the default. (The agent's two boolean parsers differ only in
    /// whether an empty value is logged.)
    fn boolean(&self, name: &str, default: bool) -> bool {
        match self.0.get(name).copied() {
            Some("1" | "t" | "T" | "TRUE" | "true" | "True") => true,
            Some("0" | "f" | "F" | "FALSE" | "false" | "False") => false,
            _ => default,
        }
    }

    fn integer(&self, name: &str) -> Option<i64> {
        self.0.get(name)?.parse().ok()
    }

    fn target(&self, name: &str, default: u32) -> u32 {
        self.integer(name).and_then(|value| u32::try_from(value).ok()).unwrap_or(default)
    }

    fn text(&self, name: &str) -> Option<Box<str>> {
        self.0.get(name).filter(|value| !value.is_empty()).map(|value| Box::from(*value))
    }

    fn policy_mode(&self) -> PolicyMode {
        match self.0.get("NETWORK_POLICY_ENFORCING_MODE").map(|mode| mode.to_ascii_lowercase()).as_deref() {
            None => PolicyMode::Unset,
            Some("none") => PolicyMode::None,
            Some("strict") => PolicyMode::Strict,
            Some("standard") => PolicyMode::Standard,
            Some(_) => PolicyMode::Invalid,
        }
    }

    fn prefix_targets_absent(&self) -> bool {
        let targets = ["WARM_IP_TARGET", "WARM_PREFIX_TARGET", "MINIMUM_IP_TARGET"];
        targets.iter().all(|name| self.0.get(name).copied().unwrap_or("0") <= "0")
    }
}
