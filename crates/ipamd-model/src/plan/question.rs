//! What can be asked of the calculator.

use crate::settings::Settings;
use cni_types::limits::InstanceLimits;

/// What to settle.
#[derive(Debug, Clone)]
pub struct NodeQuestion {
    /// Limits of the instance.
    pub limits: InstanceLimits,
    /// The agent's settings.
    pub settings: Settings,
    /// Pods that want a pool address, added one at a time.
    pub pods: u32,
    /// The node's pod capacity.
    pub max_pods: u32,
    /// Pods on the host network, which take none of the pool's addresses.
    pub host_network_pods: u32,
}
