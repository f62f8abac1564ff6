//! What is to happen, in the order of time; events of one moment in the order in which they were planned.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

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
    /// The agent of this life is told something.
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

/// The plan.
#[derive(Debug, Default)]
pub struct Plan {
    order: BinaryHeap<Reverse<(i64, u64)>>,
    events: BTreeMap<u64, (usize, Event)>,
    next: u64,
}

impl Plan {
    /// Plans an event of a node.
    pub fn at(&mut self, at_ms: i64, node: usize, event: Event) {
        self.next = self.next.saturating_add(1);
        self.order.push(Reverse((at_ms, self.next)));
        self.events.insert(self.next, (node, event));
    }

    /// When the next event comes.
    pub fn next_ms(&self) -> Option<i64> {
        self.order.peek().map(|Reverse((at_ms, _))| *at_ms)
    }

    /// The next event up to this time.
    pub fn pop(&mut self, until_ms: i64) -> Option<(i64, usize, Event)> {
        let Reverse((at_ms, number)) = *self.order.peek().filter(|Reverse((at_ms, _))| *at_ms <= until_ms)?;
        self.order.pop();
        let (node, event) = self.events.remove(&number)?;
        Some((at_ms, node, event))
    }

    /// How many events are planned.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Nothing is planned.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
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
