//! The agent as a step sees it: its memory, and effects and sleeps in the name of the lane that takes the step.

use std::ops::{Deref, DerefMut};

use super::lane::Lane;
use super::memory::Agent;
use super::operations::Count;
use crate::output::{Ec2Call, Effect, HostCall, ImdsRead, KubeCall, StoreCall};

/// The SDK makes up to ten attempts of ten seconds, with pauses in between.
const EC2_BUDGET_MS: i64 = 300_000;
/// Three attempts of five seconds, with pauses in between.
const IMDS_BUDGET_MS: i64 = 16_000;
/// The client's limit for one object.
const NODE_BUDGET_MS: i64 = 3_000;
/// The client's limit for the rest.
const KUBE_BUDGET_MS: i64 = 10_000;
/// Five searches of a link, three seconds apart, and routes.
const HOST_BUDGET_MS: i64 = 20_000;
/// One small file.
const STORE_BUDGET_MS: i64 = 5_000;

/// A lane at work.
pub(crate) struct Cx<'a, K> {
    /// The memory that all lanes share.
    pub(crate) agent: &'a mut Agent<K>,
    /// Whose step this is.
    pub(crate) lane: Lane,
}

impl<K> Agent<K> {
    /// The agent as one lane sees it.
    pub(crate) fn lane(&mut self, lane: Lane) -> Cx<'_, K> {
        Cx { agent: self, lane }
    }
}

impl<K> Deref for Cx<'_, K> {
    type Target = Agent<K>;

    fn deref(&self) -> &Agent<K> {
        self.agent
    }
}

impl<K> DerefMut for Cx<'_, K> {
    fn deref_mut(&mut self) -> &mut Agent<K> {
        self.agent
    }
}

impl<K> Cx<'_, K> {
    fn ask(&mut self, budget_ms: i64, effect: Effect, count: Count) {
        let (lane, now_ms) = (self.lane, self.agent.now.mono_ms);
        self.agent.operations.ask(lane, now_ms, budget_ms, effect, count);
    }

    /// Calls EC2.
    pub(crate) fn ec2(&mut self, call: Ec2Call, count: Count) {
        self.ask(EC2_BUDGET_MS, Effect::Ec2(call), count);
    }

    /// Calls EC2 with a limit of its own.
    pub(crate) fn ec2_within(&mut self, budget_ms: i64, call: Ec2Call, count: Count) {
        self.ask(budget_ms, Effect::Ec2(call), count);
    }

    /// Reads the metadata service.
    pub(crate) fn imds(&mut self, read: ImdsRead) {
        self.ask(IMDS_BUDGET_MS, Effect::Imds(read), Count::Plain);
    }

    /// Calls the API server.
    pub(crate) fn kube(&mut self, call: KubeCall) {
        let budget_ms = if matches!(call, KubeCall::GetNode) { NODE_BUDGET_MS } else { KUBE_BUDGET_MS };
        self.ask(budget_ms, Effect::Kube(call), Count::Plain);
    }

    /// Does something in the host's network.
    pub(crate) fn host(&mut self, call: HostCall) {
        self.ask(HOST_BUDGET_MS, Effect::Host(call), Count::Plain);
    }

    /// Reads or writes the checkpoint.
    pub(crate) fn store(&mut self, call: StoreCall) {
        self.ask(STORE_BUDGET_MS, Effect::Store(call), Count::Plain);
    }

    /// Sleeps.
    pub(crate) fn sleep(&mut self, ms: i64) {
        let (lane, now_ms) = (self.lane, self.agent.now.mono_ms);
        self.agent.operations.sleep(lane, now_ms.saturating_add(ms));
    }
}
