//! What a world needs of an agent.

use ipamd_core::id::{Epoch, Now};
use ipamd_core::input::{CheckpointEntry, Input, SecondFile};
use ipamd_core::output::Output;

/// The decisions of one node's agent: inputs in, outputs out.
pub trait Agent {
    /// Something happened.
    fn handle(&mut self, now: Now, input: Input<u64>) -> Vec<Output>;

    /// When it wants to be told the time again, on the clock of [`Now::mono_ms`].
    fn deadline(&self) -> Option<i64>;

    /// What its checkpoint would say now.
    fn checkpoint(&self) -> Vec<CheckpointEntry<u64>>;

    /// What its second file would say now; none for an agent without one.
    fn second_file(&self) -> Option<SecondFile> {
        None
    }

    /// This number of requests to the instance metadata service was answered: agents before 1.23 count them on their pages.
    fn metadata_answered(&mut self, _requests: u64) {}
}

impl Agent for ipamd_core::Core<u64> {
    fn handle(&mut self, now: Now, input: Input<u64>) -> Vec<Output> {
        Self::handle(self, now, input)
    }

    fn deadline(&self) -> Option<i64> {
        Self::deadline(self)
    }

    fn checkpoint(&self) -> Vec<CheckpointEntry<u64>> {
        Self::checkpoint(self).collect()
    }

    fn second_file(&self) -> Option<SecondFile> {
        Self::second_file(self)
    }

    fn metadata_answered(&mut self, requests: u64) {
        let metrics = self.metrics_mut();
        metrics.imds_reads = metrics.imds_reads.saturating_add(requests);
    }
}

/// Makes the agent of a new life.
pub trait Agents {
    /// The agent.
    type Agent: Agent;

    /// The process of this life starts. What an earlier one had in memory is gone.
    fn begin(&mut self, epoch: Epoch) -> Self::Agent;
}

impl<A: Agent, F: FnMut(Epoch) -> A> Agents for F {
    type Agent = A;

    fn begin(&mut self, epoch: Epoch) -> A {
        self(epoch)
    }
}
