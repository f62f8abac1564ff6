//! What can be read of a core; nothing here changes it.

use std::net::IpAddr;

use super::{Core, Loop, Phase};
use crate::agent::careful::Waits;
use crate::agent::memory::PodKey;
use crate::config::Config;
use crate::input::{BadInput, CheckpointEntry, SecondFile};
use crate::metrics::Metrics;
use crate::settings::Mode;
use crate::store::{Pool, Targets};

impl<K: PodKey> Core<K> {
    /// Where the process is.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// What it was made with.
    pub fn config(&self) -> &Config {
        &self.agent.config
    }

    /// Its counters.
    pub fn metrics(&self) -> &Metrics {
        &self.agent.metrics
    }

    /// Its counters, for what counts scrapes.
    pub fn metrics_mut(&mut self) -> &mut Metrics {
        &mut self.agent.metrics
    }

    /// Its datastore.
    pub fn pool(&self) -> &Pool<K> {
        &self.agent.pool
    }

    /// How addresses are had on this node, once that is known.
    pub fn mode(&self) -> Mode {
        self.agent.facts.mode
    }

    /// The targets in force.
    pub fn targets(&self) -> Targets {
        self.agent.targets()
    }

    /// What the checkpoint is to hold: read it when a write begins.
    pub fn checkpoint(&self) -> impl Iterator<Item = CheckpointEntry<K>> {
        let owners = self.agent.pool.owners().iter();
        let held = owners.filter(|(key, _)| self.agent.releasing.as_ref() != Some(key)).map(|(key, address)| {
            let known = self.agent.allocations.get(key);
            let (ipv4, ipv6) = match address {
                IpAddr::V4(address) => (Some(*address), None),
                IpAddr::V6(address) => (None, Some(*address)),
            };
            CheckpointEntry {
                key: key.clone(),
                ipv4,
                ipv6,
                allocated_ns: known.map_or(0, |allocation| allocation.allocated_ns),
                pod: known.map(|allocation| allocation.pod.clone()).unwrap_or_default(),
            }
        });
        // Careful: allocations whose addresses no ENI is known to have.
        held.chain(self.agent.held.orphans.iter().cloned())
    }

    /// What the second file is to hold: read it when a write begins. `None` for an agent that decides as the original does, and
    /// before the instance is known.
    pub fn second_file(&self) -> Option<SecondFile> {
        self.agent.second_file()
    }

    /// Inputs that were not used, by name.
    pub fn bad_inputs(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.agent.bad.counts()
    }

    /// The last input that was not used.
    pub fn last_bad_input(&self) -> Option<&BadInput> {
        self.agent.bad.last()
    }

    /// CIDRs of which it remembers that they were released, and how many it forgot for want of room.
    pub fn released(&self) -> (usize, u64) {
        self.agent.released.sizes()
    }

    /// RPCs that are not answered yet.
    pub fn open_rpcs(&self) -> usize {
        self.rpcs.open.len()
    }

    /// ADDs that wait for an address, in numbers; all 0 for an agent that decides as the original does.
    pub fn waits(&self) -> Waits {
        let own = self.agent.own.as_deref();
        own.map(|own| Waits { waiting: own.line.len(), ..own.waits }).unwrap_or_default()
    }

    /// Allocations that are bound to an interface of the host, and how many ended with theirs.
    pub fn links(&self) -> (usize, u64) {
        let own = self.agent.own.as_deref();
        own.map_or((0, 0), |own| {
            let bound = own.bindings.values().filter(|binding| binding.ifindex.is_some());
            (bound.count(), own.links_ended)
        })
    }

    /// Annotations that are still to be written, and how many were given up.
    pub fn annotations(&self) -> (usize, u64) {
        let own = self.agent.own.as_deref();
        own.map_or((0, 0), |own| (own.notes.len(), own.notes.lost))
    }

    /// Whether the loop leaves checks of the pool out, and whether one would do nothing now. The first without the second does not
    /// occur.
    pub fn checks_left_out(&self) -> (bool, bool) {
        let rests = matches!(&self.pool, Some(Loop::Ipv4(step)) if step.rests());
        (rests, self.agent.check_does_nothing())
    }

    /// Effects that are not answered yet.
    pub fn open_effects(&self) -> usize {
        self.agent.operations.open().len()
    }

    /// No lane waits for two answers.
    pub fn lanes_are_single(&self) -> bool {
        let mut lanes: Vec<_> = self.agent.operations.open().iter().map(|open| open.lane).collect();
        lanes.sort_unstable();
        lanes.windows(2).all(|pair| pair.first() != pair.last())
    }
}
