//! The agent's environment variables: names, defaults, what the shipped manifest sets, first versions, and how the agent
//! reads a value.
//!
//! Nothing fails while a value is read: what the agent cannot read counts as the default. Sources: `pkg/ipamd/ipamd.go` and
//! `config/master/aws-k8s-cni.yaml` of the VPC CNI for defaults and parsing, its README for versions.

use crate::version::AgentVersion;

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

/// A variable whose value the agent reads as a `T`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentSetting<T> {
    /// The variable's name.
    pub name: &'static str,
    /// What the agent's code takes where the variable is unset or cannot be read.
    pub default: T,
    /// What the shipped manifest sets; `None` where it leaves the variable unset.
    pub manifest: Option<&'static str>,
    /// The first version of the agent that reads it; `None` where it is unknown: the agent's documentation names none, which
    /// does not mean that all versions read it.
    pub first_version: Option<AgentVersion>,
}

/// What is known of every variable, of whatever type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingFacts {
    /// The variable's name.
    pub name: &'static str,
    /// What the shipped manifest sets.
    pub manifest: Option<&'static str>,
    /// The first version of the agent that reads it, if that is known.
    pub first_version: Option<AgentVersion>,
    /// Which values it may have, and what others mean.
    pub range: &'static str,
}

/// How values of a type are read.
trait Range {
    /// Which values it may have, and what others mean.
    const RANGE: &'static str;
}

impl Range for bool {
    const RANGE: &'static str =
        "1, t, T, TRUE, true, True, 0, f, F, FALSE, false or False; anything else is the default";
}

impl Range for u32 {
    const RANGE: &'static str = "a whole number from 0 to 4294967295; anything else is the default";
}

impl Range for i64 {
    const RANGE: &'static str = "a whole number of seconds, 0 or more; with anything else the agent does not start";
}

impl Range for &'static str {
    const RANGE: &'static str = "any text; an empty one is the default";
}

impl Range for PolicyMode {
    const RANGE: &'static str = "none, strict or standard in any case; with anything else the agent does not start";
}

const fn facts<T: Range + Copy>(setting: &AgentSetting<T>) -> SettingFacts {
    let AgentSetting { name, manifest, first_version, .. } = *setting;
    SettingFacts { name, manifest, first_version, range: T::RANGE }
}

impl AgentSetting<bool> {
    /// Reads a switch as Go's `ParseBool` does. (The agent's two boolean parsers differ only in whether an empty value is
    /// logged.)
    pub fn read(&self, text: Option<&str>) -> bool {
        match text {
            Some("1" | "t" | "T" | "TRUE" | "true" | "True") => true,
            Some("0" | "f" | "F" | "FALSE" | "false" | "False") => false,
            _ => self.default,
        }
    }
}

impl AgentSetting<u32> {
    /// Reads a number of ENIs, addresses or prefixes as Go's `Atoi` does; one below 0 is the default.
    pub fn read(&self, text: Option<&str>) -> u32 {
        let value = text.and_then(|text| text.parse::<i64>().ok());
        value.and_then(|value| u32::try_from(value).ok()).unwrap_or(self.default)
    }
}

impl AgentSetting<i64> {
    /// Reads a number of seconds as Go's `Atoi` does. (The entry point ends the container before the agent would take the
    /// default for a text that is no number.)
    pub fn read(&self, text: Option<&str>) -> i64 {
        text.and_then(|text| text.parse().ok()).unwrap_or(self.default)
    }
}

impl AgentSetting<&'static str> {
    /// The text; `None` where the default applies.
    pub fn read<'a>(&self, text: Option<&'a str>) -> Option<&'a str> {
        text.filter(|text| !text.is_empty())
    }
}

impl AgentSetting<PolicyMode> {
    /// Reads the mode in any case.
    pub fn read(&self, text: Option<&str>) -> PolicyMode {
        match text.map(str::to_ascii_lowercase).as_deref() {
            None => self.default,
            Some("none") => PolicyMode::None,
            Some("strict") => PolicyMode::Strict,
            Some("standard") => PolicyMode::Standard,
            Some(_) => PolicyMode::Invalid,
        }
    }
}

/// Makes a constant of each row, and the list of all: `CONSTANT "NAME": TYPE = DEFAULT, manifest "VALUE", since VERSION;`.
macro_rules! agent_settings {
    ($($(#[$doc:meta])* $constant:ident $name:literal: $type:ty = $default:expr
        $(, manifest $manifest:literal)? $(, since $major:literal $minor:literal $patch:literal)?;)+) => {
        $($(#[$doc])*
        pub const $constant: AgentSetting<$type> = AgentSetting {
            name: $name,
            default: $default,
            manifest: optional!($($manifest)?),
            first_version: optional!($(AgentVersion::new($major, $minor, $patch))?),
        };)+

        /// Every variable, in the order of the names.
        pub const AGENT_SETTINGS: &[SettingFacts] = &[$(facts(&$constant)),+];
    };
}

/// What is given, if it is.
macro_rules! optional {
    () => {
        None
    };
    ($given:expr) => {
        Some($given)
    };
}

agent_settings! {
    /// Tags of the ENIs that the agent creates, a JSON object.
    ADDITIONAL_ENI_TAGS "ADDITIONAL_ENI_TAGS": &'static str = "{}", manifest "{}", since 1 6 0;
    /// The pod's address as an annotation of the pod.
    ANNOTATE_POD_IP "ANNOTATE_POD_IP": bool = false, since 1 9 3;
    /// Grows and shrinks the pool of nodes that are cordoned.
    AWS_MANAGE_ENIS_NON_SCHEDULABLE "AWS_MANAGE_ENIS_NON_SCHEDULABLE": bool = false, since 1 12 6;
    /// Where the agent keeps its checkpoint, a path on the node.
    AWS_VPC_K8S_CNI_BACKING_STORE "AWS_VPC_K8S_CNI_BACKING_STORE": &'static str = "/var/run/aws-node/ipam.json";
    /// Custom networking: pods have addresses of the subnet that the node's `ENIConfig` names.
    AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG": bool = false, manifest "false";
    /// The cluster's name, with which ENIs are tagged.
    CLUSTER_NAME "CLUSTER_NAME": &'static str = "";
    /// No introspection listener.
    DISABLE_INTROSPECTION "DISABLE_INTROSPECTION": bool = false, manifest "false";
    /// No hourly removal of leaked ENIs.
    DISABLE_LEAKED_ENI_CLEANUP "DISABLE_LEAKED_ENI_CLEANUP": bool = false, since 1 13 0;
    /// No listener for metrics.
    DISABLE_METRICS "DISABLE_METRICS": bool = false, manifest "false";
    /// The agent attaches and detaches nothing.
    DISABLE_NETWORK_RESOURCE_PROVISIONING "DISABLE_NETWORK_RESOURCE_PROVISIONING": bool = false, manifest "false", since 1 9 1;
    /// ENIs are read from instance metadata only; the agent attaches and detaches nothing.
    ENABLE_IMDS_ONLY_MODE "ENABLE_IMDS_ONLY_MODE": bool = false, manifest "false";
    /// Pods have IPv4 addresses. Exactly one of the two families must be on.
    ENABLE_IPV4 "ENABLE_IPv4": bool = false, manifest "true", since 1 10 0;
    /// Pods have IPv6 addresses.
    ENABLE_IPV6 "ENABLE_IPv6": bool = false, manifest "false", since 1 10 0;
    /// Pods may use more than one network card.
    ENABLE_MULTI_NIC "ENABLE_MULTI_NIC": bool = false, manifest "false", since 1 20 0;
    /// Security groups for pods.
    ENABLE_POD_ENI "ENABLE_POD_ENI": bool = false, manifest "false", since 1 7 0;
    /// /28 prefixes instead of single addresses.
    ENABLE_PREFIX_DELEGATION "ENABLE_PREFIX_DELEGATION": bool = false, manifest "false", since 1 9 0;
    /// New ENIs go to any tagged subnet of the zone.
    ENABLE_SUBNET_DISCOVERY "ENABLE_SUBNET_DISCOVERY": bool = true, manifest "true", since 1 18 0;
    /// How long a released address rests, seconds. The container does not start with one below 0, or that is no number.
    IP_COOLDOWN_PERIOD "IP_COOLDOWN_PERIOD": i64 = 30, since 1 15 0;
    /// ENIs without the agent's tag are managed too.
    MANAGE_UNTAGGED_ENI "MANAGE_UNTAGGED_ENI": bool = true;
    /// The maximum number of ENIs; 0 is none, and the instance's own limit applies.
    MAX_ENI "MAX_ENI": u32 = 0;
    /// The minimum number of addresses of the node; 0 is undefined.
    MINIMUM_IP_TARGET "MINIMUM_IP_TARGET": u32 = 0, since 1 6 0;
    /// What applies to a pod until its network policies are there.
    NETWORK_POLICY_ENFORCING_MODE "NETWORK_POLICY_ENFORCING_MODE": PolicyMode = PolicyMode::Unset, manifest "standard";
    /// The number of ENIs whose addresses are kept free.
    WARM_ENI_TARGET "WARM_ENI_TARGET": u32 = 1, manifest "1";
    /// The number of addresses that are kept free; 0 is undefined.
    WARM_IP_TARGET "WARM_IP_TARGET": u32 = 0;
    /// The number of prefixes that are kept free.
    WARM_PREFIX_TARGET "WARM_PREFIX_TARGET": u32 = 0, manifest "1", since 1 9 0;
}

/// Variables of the agent's container that change nothing of what is simulated or calculated here: of its plugins, of
/// addresses and names, of logs.
pub const OTHER_VARIABLES: &[&str] = &[
    "AWS_EC2_ENDPOINT",
    "AWS_EXTERNAL_SERVICE_CIDRS",
    "AWS_VPC_CNI_NODE_PORT_SUPPORT",
    "AWS_VPC_ENI_MTU",
    "AWS_VPC_K8S_CNI_CONFIGURE_RPFILTER",
    "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS",
    "AWS_VPC_K8S_CNI_EXTERNALSNAT",
    "AWS_VPC_K8S_CNI_LOGLEVEL",
    "AWS_VPC_K8S_CNI_LOG_FILE",
    "AWS_VPC_K8S_CNI_RANDOMIZESNAT",
    "AWS_VPC_K8S_CNI_VETHPREFIX",
    "AWS_VPC_K8S_PLUGIN_LOG_FILE",
    "AWS_VPC_K8S_PLUGIN_LOG_LEVEL",
    "CLUSTER_ENDPOINT",
    "DISABLE_CONTAINER_V6",
    "DISABLE_POD_V6",
    "DISABLE_TCP_EARLY_DEMUX",
    "ENABLE_BANDWIDTH_PLUGIN",
    "ENABLE_NFTABLES",
    "ENABLE_V4_EGRESS",
    "ENABLE_V6_EGRESS",
    "ENI_CONFIG_ANNOTATION_DEF",
    "ENI_CONFIG_LABEL_DEF",
    "INTROSPECTION_BIND_ADDRESS",
    "MY_NODE_NAME",
    "MY_POD_NAME",
    "POD_MTU",
    "POD_SECURITY_GROUP_ENFORCING_MODE",
    "VPC_CNI_VERSION",
    "VPC_ID",
];

/// Every variable that the agent's container knows.
pub fn variables() -> impl Iterator<Item = &'static str> {
    AGENT_SETTINGS.iter().map(|setting| setting.name).chain(OTHER_VARIABLES.iter().copied())
}

/// What the shipped manifest sets.
pub fn manifest<'a>() -> impl Iterator<Item = (&'a str, &'a str)> {
    AGENT_SETTINGS.iter().filter_map(|setting| Some((setting.name, setting.manifest?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_names_each_variable_once() {
        assert!(AGENT_SETTINGS.is_sorted_by(|one, next| one.name < next.name), "{AGENT_SETTINGS:?}");
        assert!(AGENT_SETTINGS.iter().all(|setting| !setting.range.is_empty()));
        assert!(OTHER_VARIABLES.is_sorted(), "{OTHER_VARIABLES:?}");
        let names: std::collections::BTreeSet<_> = variables().collect();
        assert_eq!(names.len(), AGENT_SETTINGS.len() + OTHER_VARIABLES.len());
    }

    #[test]
    fn what_the_manifest_sets_is_what_the_agent_would_read() {
        assert_eq!(manifest().count(), 15);
        assert!(ENABLE_IPV4.read(ENABLE_IPV4.manifest) && !ENABLE_IPV4.read(None));
        assert_eq!(WARM_PREFIX_TARGET.read(WARM_PREFIX_TARGET.manifest), 1);
        let mode = NETWORK_POLICY_ENFORCING_MODE;
        assert_eq!(mode.read(mode.manifest), PolicyMode::Standard);
        assert_eq!((mode.read(None), mode.read(Some("")), mode.read(Some("Strict"))), {
            (PolicyMode::Unset, PolicyMode::Invalid, PolicyMode::Strict)
        });
    }

    #[test]
    fn odd_values_are_read_as_the_agent_reads_them() {
        for odd in [None, Some(""), Some("yes"), Some("tRUE"), Some(" true"), Some("2")] {
            assert!(ENABLE_SUBNET_DISCOVERY.read(odd) && !ENABLE_POD_ENI.read(odd), "{odd:?}");
        }
        for odd in [None, Some(""), Some("-1"), Some("two"), Some("2.0"), Some(" 2"), Some("4294967296")] {
            assert_eq!((WARM_ENI_TARGET.read(odd), WARM_IP_TARGET.read(odd)), (1, 0), "{odd:?}");
        }
        assert_eq!(WARM_ENI_TARGET.read(Some("+3")), 3);
        assert_eq!([IP_COOLDOWN_PERIOD.read(Some("x")), IP_COOLDOWN_PERIOD.read(Some("-1"))], [30, -1]);
        assert_eq!([CLUSTER_NAME.read(Some("")), CLUSTER_NAME.read(Some("a"))], [None, Some("a")]);
    }
}
