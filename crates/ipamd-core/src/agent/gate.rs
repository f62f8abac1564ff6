//! Careful: which calls of EC2 may go out now. One mutation of an ENI waits for the one before it; after EC2 throttled a call,
//! reads wait for the end of a pause that they share, and changes that are no growth do.

use std::collections::VecDeque;

use super::lane::Lane;
use crate::id::{EniId, OpId};
use crate::output::{Ec2Call, Effect};

/// ENIs whose last change is remembered.
const MOST_CHANGED: usize = 256;
/// For this long after a change, milliseconds, a listing is taken to be older than the change: the metadata service and
/// EC2's descriptions lag EC2.
const LAG_MS: i64 = 5_000;

/// The first pause after EC2 throttled a call, milliseconds ...
const FIRST_PAUSE_MS: i64 = 1_000;
/// ... and the longest.
const LONGEST_PAUSE_MS: i64 = 30_000;

/// Stands for the end of a pause that is over.
const OVER_MS: i64 = i64::MIN;

/// A call that waits.
#[derive(Debug)]
pub(crate) struct Deferred {
    pub(crate) op: OpId,
    pub(crate) lane: Lane,
    pub(crate) budget_ms: i64,
    pub(crate) effect: Effect,
}

/// The calls that wait, and why.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// The mutation of each ENI that has not been answered.
    mutating: Vec<(OpId, EniId)>,
    deferred: VecDeque<Deferred>,
    /// Until when calls wait because EC2 throttled one, and how often in a row it did.
    throttled: Option<(i64, u8)>,
    /// When an ENI was changed last, or its change began.
    changed: Vec<(EniId, i64)>,
}

impl Gate {
    /// The call must wait.
    pub(crate) fn holds(&self, lane: Lane, effect: &Effect, now_ms: i64) -> bool {
        if self.is_throttled(lane, effect, now_ms) {
            return true;
        }
        let eni = mutated(effect);
        eni.is_some_and(|eni| self.is_mutating(eni) || self.waits(eni))
    }

    /// EC2 throttled a call a short while ago: reads wait, and so do changes that are no growth.
    fn is_throttled(&self, lane: Lane, effect: &Effect, now_ms: i64) -> bool {
        let Effect::Ec2(call) = effect else { return false };
        let first = matches!(lane, Lane::Job(_)) && call.is_mutation();
        !first && self.throttled.is_some_and(|(until_ms, _)| now_ms < until_ms)
    }

    /// EC2 throttled a call: all reads of the node share one pause, milliseconds, which doubles each time.
    pub(crate) fn throttle(&mut self, now_ms: i64, jitter: impl FnOnce(i64) -> i64) {
        let times = self.throttled.map_or(0, |(_, times)| times);
        let pause_ms = (FIRST_PAUSE_MS << times.min(10)).min(LONGEST_PAUSE_MS);
        let until_ms = now_ms.saturating_add(pause_ms).saturating_add(jitter(pause_ms / 2));
        self.throttled = Some((until_ms, times.saturating_add(1)));
    }

    /// EC2 answered a read.
    pub(crate) fn calm(&mut self) {
        self.throttled = None;
    }

    /// When calls go out that wait for the end of a pause.
    pub(crate) fn deadline(&self) -> Option<i64> {
        let until_ms = self.throttled.map(|(until_ms, _)| until_ms);
        until_ms.filter(|until_ms| !self.deferred.is_empty() && *until_ms > OVER_MS)
    }

    fn is_mutating(&self, eni: EniId) -> bool {
        self.mutating.iter().any(|(_, known)| *known == eni)
    }

    fn waits(&self, eni: EniId) -> bool {
        self.deferred.iter().any(|deferred| mutated(&deferred.effect) == Some(eni))
    }

    /// It waits.
    pub(crate) fn defer(&mut self, deferred: Deferred) {
        self.deferred.push_back(deferred);
    }

    /// It goes out.
    pub(crate) fn sent(&mut self, op: OpId, effect: &Effect, now_ms: i64) {
        if let Some(eni) = mutated(effect) {
            self.mutating.push((op, eni));
            self.change(eni, now_ms);
        }
    }

    /// It was answered, or is taken for unanswered.
    pub(crate) fn closed(&mut self, op: OpId, now_ms: i64) {
        let ended = self.mutating.iter().find(|(known, _)| *known == op).map(|(_, eni)| *eni);
        self.mutating.retain(|(known, _)| *known != op);
        self.deferred.retain(|deferred| deferred.op != op);
        if let Some(eni) = ended {
            self.change(eni, now_ms);
        }
    }

    /// The next call that waits no longer; those of growth go first.
    pub(crate) fn next(&mut self, now_ms: i64) -> Option<Deferred> {
        // A pause that is over is due no more; how often EC2 throttled stays known until a read is answered.
        if let Some((until_ms, _)) = self.throttled.as_mut().filter(|(until_ms, _)| *until_ms <= now_ms) {
            *until_ms = OVER_MS;
        }
        let free = |deferred: &Deferred| {
            !self.is_throttled(deferred.lane, &deferred.effect, now_ms)
                && mutated(&deferred.effect).is_none_or(|eni| !self.is_mutating(eni))
        };
        let grows = |deferred: &Deferred| matches!(deferred.lane, Lane::Job(_));
        let first = self.deferred.iter().position(|deferred| grows(deferred) && free(deferred));
        let at = first.or_else(|| self.deferred.iter().position(free))?;
        self.deferred.remove(at)
    }

    fn change(&mut self, eni: EniId, now_ms: i64) {
        self.changed.retain(|(known, _)| *known != eni);
        if self.changed.len() >= MOST_CHANGED {
            self.changed.remove(0);
        }
        self.changed.push((eni, now_ms));
    }

    /// What was read at this time may be older than the last change of the ENI.
    pub(crate) fn outdates(&self, eni: EniId, read_ms: i64) -> bool {
        let changed = self.changed.iter().find(|(known, _)| *known == eni);
        self.is_mutating(eni) || changed.is_some_and(|(_, at_ms)| at_ms.saturating_add(LAG_MS) > read_ms)
    }
}

/// The ENI that a call changes.
fn mutated(effect: &Effect) -> Option<EniId> {
    match effect {
        Effect::Ec2(
            Ec2Call::Attach { eni, .. }
            | Ec2Call::SetDeleteOnTermination { eni, .. }
            | Ec2Call::SetGroups { eni, .. }
            | Ec2Call::Detach { eni, .. }
            | Ec2Call::Delete { eni }
            | Ec2Call::Tag { eni, .. }
            | Ec2Call::Assign { eni, .. }
            | Ec2Call::Unassign { eni, .. }
            | Ec2Call::UnassignIpv6 { eni, .. },
        ) => Some(*eni),
        _ => None,
    }
}
