//! What is to happen, in the order of time; events of one moment in the order in which they were planned.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use ipamd_core::id::{Epoch, OpId};
use ipamd_core::input::Input;
use ipamd_core::output::ImdsRead;

use super::wire::Exchange;

/// Something that happens at a node.
#[derive(Debug)]
pub enum Event {
    /// The agent's container starts.
    Start,
    /// The process of this life has ended as it was asked to.
    End(Epoch),
    /// Its liveness probe comes.
    Probe(Epoch),
    /// The agent's deadline comes.
    Wake(Epoch),
    /// An input for the agent of this life.
    Tell(Epoch, Box<Input<u64>>),
    /// An attempt of a call arrives at EC2.
    Ec2(Box<Exchange>),
    /// The instance metadata service answers a read that was sent then.
    Imds(Epoch, OpId, ImdsRead, i64),
    /// The disk begins to write the checkpoint of this generation.
    Write(Epoch, OpId, u64),
    /// Kubelet and runtime have something to do.
    Kubelet,
    /// The VPC resource controller attaches a trunk.
    Trunk,
}

/// An event with its place in the plan. Two events never have one number.
#[derive(Debug)]
struct Planned {
    at_ms: i64,
    number: u64,
    node: usize,
    event: Event,
}

impl Planned {
    fn place(&self) -> (i64, u64) {
        (self.at_ms, self.number)
    }
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Planned {}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The earliest is the greatest: a heap gives its greatest first.
impl Ord for Planned {
    fn cmp(&self, other: &Self) -> Ordering {
        other.place().cmp(&self.place())
    }
}

/// The plan.
#[derive(Debug, Default)]
pub struct Plan {
    events: BinaryHeap<Planned>,
    next: u64,
}

impl Plan {
    /// Plans an event of a node.
    pub fn at(&mut self, at_ms: i64, node: usize, event: Event) {
        self.next = self.next.saturating_add(1);
        self.events.push(Planned { at_ms, number: self.next, node, event });
    }

    /// When the next event comes.
    pub fn next_ms(&self) -> Option<i64> {
        self.events.peek().map(|planned| planned.at_ms)
    }

    /// The next event up to this time.
    pub fn pop(&mut self, until_ms: i64) -> Option<(i64, usize, Event)> {
        self.events.peek().filter(|planned| planned.at_ms <= until_ms)?;
        let Planned { at_ms, node, event, .. } = self.events.pop()?;
        Some((at_ms, node, event))
    }

    /// How many events are planned.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Nothing is planned.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_as_planned() {
        let mut plan = Plan::default();
        for (at_ms, node) in [(30, 1), (10, 2), (30, 3), (20, 4), (10, 5)] {
            plan.at(at_ms, node, Event::Kubelet);
        }
        assert_eq!((plan.next_ms(), plan.len()), (Some(10), 5));
        assert!(plan.pop(9).is_none());
        let order: Vec<_> = std::iter::from_fn(|| plan.pop(i64::MAX)).map(|(at_ms, node, _)| (at_ms, node)).collect();
        assert_eq!(order, [(10, 2), (10, 5), (20, 4), (30, 1), (30, 3)]);
        assert!(plan.is_empty() && plan.next_ms().is_none());
    }
}
