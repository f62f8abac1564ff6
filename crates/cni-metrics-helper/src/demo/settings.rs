//! What `demo` is asked to do.

use std::time::Duration;

use cni_sim::scenario::Scenario;

/// What `demo` is asked to do.
#[derive(Debug)]
pub struct DemoSettings {
    /// The simulated cluster.
    pub scenario: Scenario,
    /// Its seed.
    pub seed: u64,
    /// Rounds to run.
    pub rounds: u32,
    /// Simulated seconds per second; `None` goes as fast as possible.
    pub speed: Option<f64>,
    /// Redraw a live screen.
    pub live: bool,
    /// End with one JSON object, and print nothing else.
    pub json: bool,
}

/// From one round to the next, in the simulated cluster's time: the default of the settings for a simulated cluster.
pub(super) const INTERVAL: Duration = Duration::from_secs(30);
