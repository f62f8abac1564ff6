//! What can be found: one row per finding. The ids are a contract: JSON key, metric label, heading in `docs/findings.md`.

use std::fmt;

use crate::scope::ScopeKind;
use crate::severity::Severity;

/// What is known of a finding before there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FindingFacts {
    /// The stable name.
    pub name: &'static str,
    /// The largest severity.
    pub severity: Severity,
    /// It is info until it has lasted two minutes: what it shows is also normal for a short time.
    pub must_last: bool,
    /// What its scope is.
    pub scope: ScopeKind,
    /// It is a cause of refused requests for a pod address.
    pub is_cause: bool,
    /// In a few words.
    pub title: &'static str,
}

/// Whether a finding is info until it has lasted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// It is.
    Lasting,
    /// It has its severity at once.
    AtOnce,
}

/// Whether a finding explains refusals.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Explains {
    /// It does.
    Cause,
    /// It is wrong by itself.
    Trouble,
}

/// Makes the findings from their rows.
macro_rules! findings {
    ($($variant:ident $name:literal $severity:ident $hold:ident $scope:ident $explains:ident $title:literal;)+) => {
        /// What can be wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "each has a title in its row and a section in docs/findings.md")]
        pub enum FindingId {
            $($variant,)+
        }

        /// How many findings there are.
        pub const FINDINGS: usize = [$($name),+].len();

        impl FindingId {
            /// All, in the order in which causes are looked for; then what is wrong by itself.
            pub const ALL: [Self; FINDINGS] = [$(Self::$variant),+];

            /// Its row.
            pub const fn facts(self) -> FindingFacts {
                match self {
                    $(Self::$variant => FindingFacts {
                        name: $name,
                        severity: Severity::$severity,
                        must_last: matches!(Hold::$hold, Hold::Lasting),
                        scope: ScopeKind::$scope,
                        is_cause: matches!(Explains::$explains, Explains::Cause),
                        title: $title,
                    },)+
                }
            }
        }
    };
}

#[rustfmt::skip] // a table is read by columns
findings! {
    InstanceMetadataFailing "instance-metadata-failing" Critical AtOnce  Group   Cause "the instance metadata service does not answer the agent";
    ProvisioningDisabled    "provisioning-disabled"     Critical AtOnce  Cluster Cause "a setting keeps the agent from attaching addresses";
    Ipv6PrefixMissing       "ipv6-prefix-missing"       Critical AtOnce  Pool    Cause "an IPv6 node has no prefix";
    PoolCappedByMaxPods     "pool-capped-by-max-pods"   Critical Lasting Group   Cause "the agent stops at the node's maximum number of pods";
    MaxEniSetting           "max-eni-setting"           Critical Lasting Group   Cause "MAX_ENI is below what the instance type has";
    SubnetExcludedByTag     "subnet-excluded-by-tag"    Critical Lasting Pool    Cause "the node's own subnet is excluded by a tag";
    CooldownOnFullNode      "cooldown-on-full-node"     Warning  Lasting Group   Cause "a full node waits for addresses that cool down";
    MaxPodsTooHigh          "max-pods-too-high"         Critical AtOnce  Group   Cause "more pods are admitted than the node has addresses for";
    NodeFull                "node-full"                 Warning  Lasting Group   Cause "the node holds all addresses that it can use";
    NodeCordoned            "node-cordoned"             Warning  Lasting Group   Cause "the agent does not grow the pool of a cordoned node";
    MinimumWithoutWarm      "minimum-without-warm"      Critical AtOnce  Cluster Cause "MINIMUM_IP_TARGET without WARM_IP_TARGET stops the pool at the minimum";
    IamRoleUnusable         "iam-role-unusable"         Critical AtOnce  Group   Cause "the agents' credentials are refused";
    IamPermissionMissing    "iam-permission-missing"    Critical AtOnce  Group   Cause "the agents' role lacks a permission";
    SubnetFragmented        "subnet-fragmented"         Critical AtOnce  Pool    Cause "the subnet has no free /28 block";
    SubnetExhausted         "subnet-exhausted"          Critical AtOnce  Pool    Cause "the subnet has too few free addresses";
    EniSlotsTaken           "eni-slots-taken"           Critical AtOnce  Group   Cause "other ENIs take the instance's slots";
    EniQuotaReached         "eni-quota-reached"         Critical AtOnce  Cluster Cause "the account's quota of network interfaces is used up";
    EniconfigInvalid        "eniconfig-invalid"         Critical AtOnce  Pool    Cause "the ENIConfig names a subnet or a security group that does not fit";
    Ec2Throttled            "ec2-throttled"             Critical Lasting Cluster Cause "EC2 throttles the account";
    Ec2Unreachable          "ec2-unreachable"           Critical Lasting Pool    Cause "the agents do not reach EC2";
    Ec2RefusesOtherwise     "ec2-refuses-otherwise"     Critical Lasting Pool    Cause "EC2 refuses the agents' calls";
    PoolLoopStalled         "pool-loop-stalled"         Critical Lasting Group   Cause "the agent's pool loop waits for one call";
    EniAttachStuck          "eni-attach-stuck"          Critical AtOnce  Group   Cause "attached ENIs do not appear in the instance metadata";
    WarmTargetsZero         "warm-targets-zero"         Critical Lasting Cluster Cause "WARM_ENI_TARGET=0 without other targets";
    PoolGrowing             "pool-growing"              Info     AtOnce  Group   Cause "the pool grows, and pods wait a moment";
    WarmPoolTooSmall        "warm-pool-too-small"       Warning  AtOnce  Group   Cause "pods start faster than the warm pool grows";
    CauseUnknown            "cause-unknown"             Warning  Lasting Group   Cause "nothing that was read explains the refusals";

    BranchEniNotProvided    "branch-eni-not-provided"   Critical AtOnce  Group   Trouble "pods get no branch ENI";
    TrunkSlotMissing        "trunk-slot-missing"        Warning  AtOnce  Group   Trouble "no ENI slot is free for the trunk of security groups for pods";
    EniconfigMissing        "custom-networking-without-eniconfig" Warning AtOnce Pool Trouble "custom networking is on and the nodes have no ENIConfig";
    AgentSettingsRefused    "agent-settings-refused"    Critical AtOnce  Cluster Trouble "the agent does not start with its settings";
    AgentNotStarted         "agent-not-started"         Critical AtOnce  Group   Trouble "the agent does not start";
    AgentNotReady           "agent-not-ready"           Warning  AtOnce  Group   Trouble "the agent gives a page, but is not ready";
    AgentSilent             "agent-silent"              Warning  AtOnce  Group   Trouble "a ready agent gives no metrics page";
    AgentRestarting         "agent-restarting"          Warning  AtOnce  Group   Trouble "the agent restarts again and again";
    EnisForceRemoved        "enis-force-removed"        Warning  AtOnce  Group   Trouble "an ENI vanished while pods used it";
    AddressesForceRemoved   "addresses-force-removed"   Warning  AtOnce  Group   Trouble "addresses vanished while pods used them";
    PoolOutOfStep           "pool-out-of-step"          Warning  AtOnce  Group   Trouble "the agent's datastore and EC2 differ again and again";
    IamRightMissingQuiet    "iam-right-missing-quiet"   Warning  AtOnce  Group   Trouble "a permission for releasing addresses is missing";
    MetricsDisabled         "metrics-disabled"          Info     AtOnce  Cluster Trouble "agents give no metrics, by a setting";
    AgentTooOld             "agent-too-old"             Info     AtOnce  Cluster Trouble "agents do not count refused requests";
    SettingsDiffer          "settings-differ"           Warning  AtOnce  Group   Trouble "agents of one node group have different settings";
    AgentVersionsDiffer     "agent-versions-differ"     Warning  AtOnce  Group   Trouble "agents of one node group have different versions";
    WarmPoolOversized       "warm-pool-oversized"       Info     AtOnce  Group   Trouble "more than half of the held addresses are idle for a day";
    MaxPodsTooLow           "max-pods-too-low"          Info     AtOnce  Group   Trouble "nodes have addresses for more pods than are admitted";
    WarmEniTargetIgnored    "warm-eni-target-ignored"   Info     AtOnce  Cluster Trouble "WARM_ENI_TARGET has no effect beside other targets";
    WarmIpTargetCostsPrefix "warm-ip-target-costs-prefix" Info   AtOnce  Cluster Trouble "WARM_IP_TARGET is below the size of a prefix";
    TargetsIgnoredOnIpv6    "targets-ignored-on-ipv6"   Info     AtOnce  Cluster Trouble "targets have no effect on IPv6 nodes";
    PrefixesUnsupported     "prefixes-unsupported"      Info     AtOnce  Group   Trouble "the instance type cannot have prefixes";
}

impl FindingId {
    /// The stable name.
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// The finding of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|id| id.name() == name)
    }
}

impl fmt::Display for FindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finding_is_found_by_its_name_which_no_other_has() {
        for (number, id) in FindingId::ALL.into_iter().enumerate() {
            assert_eq!((id as usize, FindingId::by_name(id.name())), (number, Some(id)));
            assert!(id.name().bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'));
        }
    }
}
