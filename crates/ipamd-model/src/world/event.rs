//! What is to happen, in the order of time; events of one moment in the order in which they were planned.

use std::cmp::Ordering;
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
    /// The agent's deadline comes, or one that was replaced meanwhile.
    Wake,
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

/// Events of this time are sorted together, milliseconds: a large cluster has thousands in each.
const SPAN_MS: i64 = 500;

/// The plan. What comes soon is kept in order; what comes later is only put with the events of its span, so that putting it
/// there and taking it out costs the same for ten nodes and for ten thousand.
#[derive(Debug, Default)]
pub struct Plan {
    /// Events of the spans up to `span`: never empty while anything is planned.
    soon: BinaryHeap<Planned>,
    /// Events of later spans, by span, in no order.
    later: BTreeMap<i64, Vec<Planned>>,
    span: i64,
    len: usize,
    next: u64,
}

impl Plan {
    /// Plans an event of a node.
    pub fn at(&mut self, at_ms: i64, node: usize, event: Event) {
        self.next = self.next.saturating_add(1);
        let planned = Planned { at_ms, number: self.next, node, event };
        let span = at_ms.div_euclid(SPAN_MS);
        if self.len == 0 {
            self.span = span;
        }
        self.len += 1;
        if span <= self.span {
            self.soon.push(planned);
        } else {
            self.later.entry(span).or_default().push(planned);
        }
    }

    /// When the next event comes.
    pub fn next_ms(&self) -> Option<i64> {
        self.soon.peek().map(|planned| planned.at_ms)
    }

    /// The next event up to this time.
    pub fn pop(&mut self, until_ms: i64) -> Option<(i64, usize, Event)> {
        self.soon.peek().filter(|planned| planned.at_ms <= until_ms)?;
        let Planned { at_ms, node, event, .. } = self.soon.pop()?;
        self.len -= 1;
        if self.soon.is_empty()
            && let Some((span, events)) = self.later.pop_first()
        {
            (self.span, self.soon) = (span, events.into());
        }
        Some((at_ms, node, event))
    }

    /// How many events are planned.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Nothing is planned.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cni_types::random::Random;

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

    /// Events of many spans, planned while others happen, come as a sorted list has them.
    #[test]
    fn events_far_ahead_come_in_the_same_order() {
        let (mut plan, mut sorted, mut random) = (Plan::default(), BTreeSet::new(), Random::new(3));
        let (mut now_ms, mut number) = (-2_000, 0);
        for _ in 0..20_000 {
            if random.below(2) == 0 {
                // Many at one moment, some in the past.
                let at_ms = now_ms - 10 + random.between(0, 20) * random.between(1, 5) * random.between(1, 100);
                number += 1;
                plan.at(at_ms, number, Event::Kubelet);
                sorted.insert((at_ms, number));
            } else {
                let next = sorted.pop_first();
                assert_eq!(plan.next_ms(), next.map(|(at_ms, _)| at_ms));
                assert_eq!(plan.pop(i64::MAX).map(|(at_ms, number, _)| (at_ms, number)), next);
                now_ms = next.map_or(now_ms, |(at_ms, _)| at_ms.max(now_ms));
            }
            assert_eq!((plan.len(), plan.is_empty()), (sorted.len(), sorted.is_empty()));
        }
    }
}
