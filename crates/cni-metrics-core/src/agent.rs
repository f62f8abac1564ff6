//! What is known of an agent beside its page, as far as that decides what its page means.

use cni_types::version::AgentVersion;

/// What is known of a pod's agent beside its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AgentFacts {
    /// The version that the tag of its image names.
    pub version: Option<AgentVersion>,
    /// `ENABLE_MULTI_NIC` is on: its gauges describe one network card at a time, so two of them may contradict each other.
    pub multi_nic: bool,
    /// Settings that keep addresses from pods; `None` if the agent's environment is not known.
    pub pool: Option<PoolSettings>,
}

/// Settings of an agent that keep addresses of its node from pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolSettings {
    /// `AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG`: pods get no address of the primary ENI.
    pub custom_networking: bool,
    /// `ENABLE_POD_ENI`: one ENI is, or is reserved for, the trunk, whose addresses pods do not get.
    pub pod_eni: bool,
}
