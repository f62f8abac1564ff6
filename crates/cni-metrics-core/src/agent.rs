//! What is known of an agent beside its page, as far as that decides what an absent series means.

use cni_types::version::AgentVersion;

/// What is known of a pod's agent beside its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AgentFacts {
    /// The version that the tag of its image names.
    pub version: Option<AgentVersion>,
    /// `ENABLE_MULTI_NIC` is on: its gauges describe one network card at a time, so two of them may contradict each other.
    pub multi_nic: bool,
}
