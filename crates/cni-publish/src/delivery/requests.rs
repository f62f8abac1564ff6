//! What to send next, and what an answer means for what is kept: the delivery rules without sockets or clock.
//!
//! Points become *due* at a flush. The rounds that became due at the latest flush are *live* and go first, topped up
//! with the oldest of the backlog to a full request; then the backlog, oldest first. A refused request is halved until
//! the bad datum stands alone.
//!
//! A request that was sent and got no answer is *in doubt*: the destination may have taken it. Its counters are given up, since
//! an event counted twice is worse than one that is missing and counted as such; its gauges are sent again. Until
//! the destination answers, each request is one round only, if possible one without counters, so that little is in doubt.

use std::collections::VecDeque;
use std::time::Duration;

use cni_metrics_core::model::UnixMillis;

use super::buffer::{Buffer, Kept, Point};
use crate::stats::DropReason;
use cni_runtime::gate::Span;

/// Data that were refused each alone, with nothing accepted in between, after which the request itself is held to be
/// wrong (a namespace, a protocol), and not its data.
const MOST_SUSPECTS: usize = 16;

/// What a destination takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// Data in one request.
    pub data: usize,
    /// The age above which it refuses a datum.
    pub max_age: Duration,
    /// How far ahead of the clock it takes a datum.
    pub max_ahead: Duration,
}

impl RequestLimits {
    /// Checks a datum's time against the clock as it is when the datum's turn comes.
    pub fn check_time(self, at: UnixMillis, now: UnixMillis) -> Result<(), DropReason> {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        if at.0 < now.0.saturating_sub(millis(self.max_age)) {
            Err(DropReason::TooOld)
        } else if at.0 > now.0.saturating_add(millis(self.max_ahead)) {
            Err(DropReason::InFuture)
        } else {
            Ok(())
        }
    }
}

/// Data that were given up, and why.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dropped(pub Vec<(DropReason, Vec<Point>)>);

/// Everything that is on its way.
#[derive(Debug)]
pub struct Delivery {
    buffer: Buffer,
    limits: RequestLimits,
    /// Rounds below this number are due.
    due: u64,
    /// Due rounds from this number on are live.
    live: u64,
    /// The request that is under way.
    sending: Option<Sending>,
    /// Parts of refused requests, to be tried each alone.
    parts: VecDeque<Vec<Point>>,
    /// Data that were refused alone before anything was accepted.
    suspects: Vec<Point>,
    /// Something was accepted since the first refusal: the service does take data, so a refused datum is bad.
    accepted_since_refusal: bool,
    /// The last request that may have been taken got no answer.
    unanswered: bool,
}

#[derive(Debug)]
struct Sending {
    points: Vec<Point>,
    is_part: bool,
}

/// A view of what was not accepted yet: the buffer may be large, so it is not copied.
#[derive(Debug)]
pub struct Unsent<'a> {
    parts: Vec<(u64, Kept)>,
    buffer: &'a Buffer,
}

impl Unsent<'_> {
    /// Rounds, and parts of rounds, with their numbers.
    pub fn rounds(&self) -> impl Iterator<Item = (u64, &Kept)> + Clone {
        self.parts.iter().map(|(round, kept)| (*round, kept)).chain(self.buffer.rounds())
    }
}

/// What a refusal led to.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// The request was halved, or its last datum is a suspect: send on.
    Isolating,
    /// This datum is bad; it is dropped.
    Bad(Point),
    /// Nothing was accepted since the first refusal: everything is kept, and tried again later.
    Everything,
}

impl Delivery {
    /// An empty one.
    pub fn new(limit_bytes: u64, limits: RequestLimits) -> Self {
        Self {
            buffer: Buffer::new(limit_bytes),
            limits: RequestLimits { data: limits.data.max(1), ..limits },
            due: 0,
            live: 0,
            sending: None,
            parts: VecDeque::new(),
            suspects: Vec::new(),
            accepted_since_refusal: false,
            unanswered: false,
        }
    }

    /// Adds a round's points; returns how many old ones were dropped.
    pub fn push(&mut self, kept: Kept) -> usize {
        self.buffer.push(kept)
    }

    /// The number of the round that was added last.
    pub fn newest_round(&self) -> Option<u64> {
        self.buffer.next_round().checked_sub(1)
    }

    /// Drops everything up to this time, because another has published it; returns how many points that were. A request
    /// that is under way stays.
    pub fn forget_until(&mut self, at: UnixMillis) -> usize {
        let before = self.outside_buffer().count();
        let forgotten = self.buffer.forget_until(at);
        self.suspects.retain(|point| point.at > at);
        for part in &mut self.parts {
            part.retain(|point| point.at > at);
        }
        self.parts.retain(|part| !part.is_empty());
        forgotten + before.saturating_sub(self.outside_buffer().count())
    }

    /// Drops the rounds of this span, because they are not this replica's to publish; returns how many points that were. A
    /// request that is under way stays: it was allowed.
    pub fn forget_between(&mut self, span: Span) -> usize {
        let before = self.outside_buffer().count();
        let is_out = |point: &Point| !(span.from..=span.to).contains(&point.at);
        self.suspects.retain(is_out);
        for part in &mut self.parts {
            part.retain(is_out);
        }
        self.parts.retain(|part| !part.is_empty());
        self.buffer.forget_between(span) + before.saturating_sub(self.outside_buffer().count())
    }

    /// Makes everything measured so far due.
    pub fn flush(&mut self) {
        self.live = self.due;
        self.due = self.buffer.next_round();
    }

    /// Rounds restored at start are late, not live.
    pub fn flush_as_backlog(&mut self) {
        self.due = self.buffer.next_round();
        self.live = self.due;
    }

    /// Live points are waiting for a request.
    pub fn has_live(&self) -> bool {
        self.buffer.has_any(self.live..self.due)
    }

    /// There is something to send.
    pub fn has_due(&self) -> bool {
        !self.parts.is_empty() || self.buffer.has_any(..self.due)
    }

    /// Everything was accepted or dropped.
    pub fn is_empty(&self) -> bool {
        self.points() == 0
    }

    /// Points not accepted yet.
    pub fn points(&self) -> u64 {
        self.buffer.points() + self.outside_buffer().count() as u64
    }

    /// What they occupy, bytes. A request under way and its halves are at most a few ten thousand on top of the limit.
    pub fn bytes(&self) -> u64 {
        self.buffer.bytes() + (self.outside_buffer().count() * size_of::<Point>()) as u64
    }

    /// The time of the oldest.
    pub fn oldest(&self) -> Option<UnixMillis> {
        self.outside_buffer().map(|point| point.at).chain(self.buffer.oldest()).min()
    }

    /// The rounds not accepted yet, for the spool; those being sent or taken apart come in parts of their own.
    pub fn unsent(&self) -> Unsent<'_> {
        let mut outside: Vec<&Point> = self.outside_buffer().collect();
        outside.sort_by_key(|point| point.round);
        let parts = outside.chunk_by(|a, b| a.round == b.round).filter_map(|group| {
            let first = group.first()?;
            Some((first.round, Kept::new(first.at, group.iter().map(|point| (point.row, point.value)))))
        });
        Unsent { parts: parts.collect(), buffer: &self.buffer }
    }

    /// The points of the request that is under way.
    pub fn sending(&self) -> &[Point] {
        self.sending.as_ref().map_or(&[], |sending| &sending.points)
    }

    /// The next request's points, and what was too old or too new to send. The request is under way until one of
    /// [`Delivery::accepted`], [`Delivery::refused`], [`Delivery::failed`] and [`Delivery::in_doubt`] settles it.
    pub fn next(&mut self, now: UnixMillis) -> (Option<Vec<Point>>, Dropped) {
        let mut dropped = Dropped::default();
        let limits = self.limits;
        let too_old = |at| limits.check_time(at, now) == Err(DropReason::TooOld);
        loop {
            let Some(mut sending) = self.choose() else { return (None, dropped) };
            let mut expired: Vec<Point> = Vec::new();
            let mut ahead: Vec<Point> = Vec::new();
            sending.points.retain(|point| match limits.check_time(point.at, now) {
                Ok(()) => true,
                Err(_) if too_old(point.at) => {
                    expired.push(*point);
                    false
                }
                Err(_) => {
                    ahead.push(*point);
                    false
                }
            });
            dropped.add(DropReason::TooOld, expired);
            dropped.add(DropReason::InFuture, ahead);
            if !sending.points.is_empty() {
                let points = sending.points.clone();
                self.sending = Some(sending);
                return (Some(points), dropped);
            }
        }
    }

    fn choose(&mut self) -> Option<Sending> {
        if self.unanswered {
            return self.choose_one_round();
        }
        let mut points = self.buffer.take(self.live..self.due, self.limits.data);
        if !points.is_empty() {
            // While a bad datum is being isolated, live points are not mixed with what may hold another.
            if self.parts.is_empty() {
                points.extend(self.buffer.take(..self.live, self.limits.data - points.len()));
            }
            return Some(Sending { points, is_part: false });
        }
        if let Some(points) = self.parts.pop_front() {
            return Some(Sending { points, is_part: true });
        }
        let points = self.buffer.take(..self.due, self.limits.data);
        (!points.is_empty()).then_some(Sending { points, is_part: false })
    }

    /// While requests get no answer, each puts as little in doubt as it can.
    fn choose_one_round(&mut self) -> Option<Sending> {
        if let Some(round) = self.buffer.without_counters(..self.due) {
            return Some(Sending { points: self.buffer.take(round..=round, self.limits.data), is_part: false });
        }
        if let Some(mut points) = self.parts.pop_front() {
            let first = points.first().map(|point| point.round);
            let end = points.iter().position(|point| Some(point.round) != first).unwrap_or(points.len());
            let rest = points.split_off(end);
            if !rest.is_empty() {
                self.parts.push_front(rest);
            }
            return Some(Sending { points, is_part: true });
        }
        let round = self.buffer.first(self.live..self.due).or_else(|| self.buffer.first(..self.due))?;
        Some(Sending { points: self.buffer.take(round..=round, self.limits.data), is_part: false })
    }

    /// The request was accepted; returns how many points that were.
    pub fn accepted(&mut self) -> usize {
        let sent = self.sending.take().map_or(0, |sending| sending.points.len());
        // Why the service refused these may be over: each is sent once more.
        self.parts.extend(self.suspects.drain(..).map(|point| vec![point]));
        self.accepted_since_refusal = !self.parts.is_empty();
        self.unanswered = false;
        sent
    }

    /// The request failed for a reason that has nothing to do with its data: it was not sent, or the destination
    /// answered that it did not take it. Returns how many old points were dropped to keep it.
    pub fn failed(&mut self, answered: bool) -> usize {
        if answered {
            self.unanswered = false;
        }
        self.sending.take().map_or(0, |sending| self.keep(sending))
    }

    /// The request was sent and got no answer. Returns the points that are given up, and how many old ones were dropped to
    /// keep the others.
    pub fn in_doubt(&mut self) -> (Vec<Point>, usize) {
        let Some(Sending { points, is_part }) = self.sending.take() else { return (Vec::new(), 0) };
        self.unanswered = true;
        let (given_up, points): (Vec<Point>, Vec<Point>) = points.into_iter().partition(Point::is_counter);
        (given_up, self.keep(Sending { points, is_part }))
    }

    fn keep(&mut self, sending: Sending) -> usize {
        match sending {
            Sending { points, .. } if points.is_empty() => 0,
            Sending { points, is_part: true } => {
                self.parts.push_front(points);
                0
            }
            Sending { points, is_part: false } => self.buffer.put_back(&points),
        }
    }

    /// The service refused the request; also returns how many old points were dropped.
    pub fn refused(&mut self) -> (Refusal, usize) {
        self.unanswered = false;
        let Some(Sending { mut points, .. }) = self.sending.take() else { return (Refusal::Isolating, 0) };
        if points.len() > 1 {
            let second = points.split_off(points.len() / 2);
            // Breadth first: as soon as one part is accepted it is certain that data, not requests, are refused.
            self.parts.extend([points, second]);
            return (Refusal::Isolating, 0);
        }
        let Some(point) = points.pop() else { return (Refusal::Isolating, 0) };
        if self.accepted_since_refusal {
            self.accepted_since_refusal = !self.parts.is_empty();
            return (Refusal::Bad(point), 0);
        }
        self.suspects.push(point);
        if self.suspects.len() < MOST_SUSPECTS {
            // With nothing left to compare it with, the suspect stays aside until something is accepted.
            return (if self.parts.is_empty() { Refusal::Everything } else { Refusal::Isolating }, 0);
        }
        let suspects = std::mem::take(&mut self.suspects).into_iter();
        let everything: Vec<Point> = suspects.chain(self.parts.drain(..).flatten()).collect();
        (Refusal::Everything, everything.into_iter().map(|point| self.buffer.put_back(&[point])).sum())
    }

    fn outside_buffer(&self) -> impl Iterator<Item = &Point> {
        let sending = self.sending.iter().flat_map(|sending| &sending.points);
        sending.chain(self.parts.iter().flatten()).chain(&self.suspects)
    }
}

impl Dropped {
    fn add(&mut self, reason: DropReason, points: Vec<Point>) {
        if !points.is_empty() {
            self.0.push((reason, points));
        }
    }
}
