//! Settings and policy of a core.

use crate::settings::Settings;

/// Whose decisions a core makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// The original's, v1.23.2: its sequence, its timing, its counters and its faults.
    #[default]
    Upstream,
    /// Those of an agent that keeps what a pod uses whatever a single answer says.
    Careful,
}

/// Settings and policy of a node's agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Its environment.
    pub settings: Settings,
    /// Whose decisions it makes.
    pub policy: Policy,
    /// An ENI whose subnet cannot be looked up is set up as if it served pods. Agents 1.22.0 to 1.23.1 leave it half set up
    /// instead: without its addresses, so that its pods are forgotten.
    pub unknown_subnet_serves: bool,
}

impl Config {
    /// The original's decisions in these settings.
    pub fn upstream(settings: Settings) -> Self {
        Self { settings, policy: Policy::Upstream, unknown_subnet_serves: true }
    }

    /// Careful decisions in these settings.
    pub fn careful(settings: Settings) -> Self {
        Self { policy: Policy::Careful, ..Self::upstream(settings) }
    }
}
