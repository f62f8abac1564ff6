//! What the nodes of a world share, and where an event happens.

use ipamd_core::id::Now;

use super::ec2::Ec2;
use super::event::{Event, Plan};
use super::faults::Faults;
use super::history::History;
use super::wire::Wire;

/// What nodes share.
#[derive(Debug)]
pub struct Account {
    /// EC2.
    pub ec2: Ec2,
    /// The way to it.
    pub wire: Wire,
    /// What goes wrong.
    pub faults: Faults,
    /// Unix time at the time 0 of the world's clock, milliseconds.
    pub unix_start_ms: i64,
}

impl Account {
    /// The time as an agent sees it.
    pub(super) fn clock(&self, now_ms: i64) -> Now {
        Now { mono_ms: now_ms, unix_ns: self.unix_start_ms.saturating_add(now_ms).saturating_mul(1_000_000) }
    }
}

/// Where something happens to a node: its moment, and what it may touch beside the node.
pub struct Moment<'a> {
    /// The time, milliseconds.
    pub now_ms: i64,
    /// The number of the node.
    pub index: usize,
    /// What nodes share.
    pub account: &'a mut Account,
    /// What is to happen.
    pub plan: &'a mut Plan,
    /// What happened.
    pub history: &'a mut History,
}

impl Moment<'_> {
    pub(super) fn after(&mut self, ms: i64, event: Event) {
        self.plan.at(self.now_ms.saturating_add(ms), self.index, event);
    }

    pub(super) fn note(&mut self, what: &dyn std::fmt::Debug) {
        self.history.note(self.now_ms, self.index, what);
    }
}
