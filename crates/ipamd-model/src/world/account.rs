//! What the nodes of a world share, and where an event happens.

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
}

/// Where an event happens: its moment, and what it may touch beside its node.
pub(super) struct Moment<'a> {
    pub(super) now_ms: i64,
    pub(super) index: usize,
    pub(super) account: &'a mut Account,
    pub(super) plan: &'a mut Plan,
    pub(super) history: &'a mut History,
}

impl Moment<'_> {
    pub(super) fn after(&mut self, ms: i64, event: Event) {
        self.plan.at(self.now_ms.saturating_add(ms), self.index, event);
    }

    pub(super) fn note(&mut self, what: &dyn std::fmt::Debug) {
        self.history.note(self.now_ms, self.index, what);
    }
}
