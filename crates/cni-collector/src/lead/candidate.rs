//! The rules of the election, without a client and without reading a clock: what was seen goes in, what to do comes out.

use std::time::Duration;

use cni_metrics_core::model::UnixMillis;
use tokio::time::Instant;

use super::settings::{LONGEST_LEASE, MAX_CLOCK_SKEW, PUBLISH_SHARE};

/// What a lease says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// The replica that holds it; `None` once it was released.
    pub(super) holder: Option<String>,
    /// For how long without renewal.
    pub(super) duration: Duration,
    /// Changes with every write.
    pub(super) version: String,
    /// How often the holder changed.
    pub(super) transitions: i32,
    /// Rounds up to this one are published, or about to be.
    pub(super) published_until: Option<UnixMillis>,
}

/// A moment, by the clock that cannot be set and by the one that rounds are dated with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Instant,
    pub(super) wall: UnixMillis,
}

/// What this process wants of the lease.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    /// The newest round that it published or is about to publish.
    pub(super) claimed: Option<UnixMillis>,
    /// It could lead: its rounds complete.
    pub(super) is_ready: bool,
}

/// What to do about a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Write our name: it is free, has run out, or is ours.
    Hold(Write),
    /// Empty the holder: it is ours, and we cannot lead.
    Release(Write),
    /// Another holds it, or we cannot lead.
    Wait,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Write {
    /// Up to where rounds are published, never later than our clock and one interval.
    pub(super) published_until: Option<UnixMillis>,
    pub(super) transitions: i32,
    /// What this process had claimed when it was written.
    pub(super) claimed: Option<UnixMillis>,
    /// The lease was ours before.
    pub(super) was_ours: bool,
    /// It empties the holder.
    pub(super) is_release: bool,
}

/// A published-until that cannot be right by our clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Doubt {
    /// What the lease says.
    pub(super) said: UnixMillis,
    /// What is assumed instead: our clock when it was first seen.
    pub(super) assumed: UnixMillis,
}

/// One replica's view of the election.
#[derive(Debug)]
pub(super) struct Candidate {
    identity: String,
    duration: Duration,
    interval: Duration,
    /// The version last seen, and when it was first seen.
    seen: Option<(String, Instant)>,
    leads_until: Option<Instant>,
    /// The lease as we last wrote it, or may have: the answer to a write can be lost. `None` once another may have held it.
    written: Option<Write>,
    attempted: Option<Write>,
    tenure: u64,
    by_others: Option<UnixMillis>,
    doubt: Option<Doubt>,
    other: Option<String>,
}

impl Candidate {
    pub(super) fn new(identity: String, duration: Duration, interval: Duration) -> Self {
        Self {
            identity,
            duration,
            interval,
            seen: None,
            leads_until: None,
            written: None,
            attempted: None,
            tenure: 0,
            by_others: None,
            doubt: None,
            other: None,
        }
    }

    /// Looks at the lease (`None` where there is none).
    pub(super) fn look(&mut self, at: Moment, record: Option<&Record>, wish: Wish) -> Step {
        self.expire(at.wall);
        let holder = record.and_then(|record| record.holder.as_deref());
        let is_ours = holder == Some(self.identity.as_str());
        if self.written.is_some() && !self.is_continued(at.now, record) {
            // Another may have held it and published: what we measured on top of our last rounds is not ours to publish.
            self.written = None;
            self.tenure += 1;
        }
        if let (Some(written), Some(record)) = (&mut self.written, record) {
            // Of a write whose answer was lost it is known now whether it was done.
            (written.transitions, written.published_until) = (record.transitions, record.published_until);
            written.is_release = record.holder.is_none();
        }
        if self.written.is_none() {
            self.attempted = self.attempted.filter(|_| is_ours);
            let until = record.and_then(|record| record.published_until);
            self.by_others = self.by_others.max(until.map(|until| self.believed(until, at.wall)));
        }
        self.other = None;
        let may_take = record.is_none_or(|record| self.may_take(at.now, record));
        if !may_take {
            self.other = holder.map(str::to_owned);
            self.lost();
            return Step::Wait;
        }
        let changes = record.map_or(0, |record| record.transitions);
        let transitions = if is_ours || record.is_none() { changes } else { changes.saturating_add(1) };
        let write =
            Write { published_until: None, transitions, claimed: None, was_ours: is_ours, is_release: !wish.is_ready };
        let write = self.claim(at.wall, write, wish.claimed);
        let step = match (wish.is_ready, is_ours) {
            (true, _) => Step::Hold(write),
            (false, true) => Step::Release(write),
            (false, false) => Step::Wait,
        };
        if !matches!(step, Step::Hold(_)) {
            self.lost();
        }
        if step == Step::Wait {
            self.attempted = None;
        }
        step
    }

    /// No other replica can have held the lease since we last wrote it: it is what one of our writes made of it.
    fn is_continued(&self, now: Instant, record: Option<&Record>) -> bool {
        // Deleted: as long as we lead, no other replica can have seen it run out.
        let Some(record) = record else { return self.leads(now) };
        let made = |write: Write| {
            let holder = (!write.is_release).then_some(self.identity.as_str());
            record.holder.as_deref() == holder
                && record.transitions == write.transitions
                && record.published_until == write.published_until
        };
        self.written.into_iter().chain(self.attempted).any(made)
    }

    fn may_take(&mut self, now: Instant, record: &Record) -> bool {
        let since = match &self.seen {
            Some((version, since)) if *version == record.version => *since,
            _ => now,
        };
        self.seen = Some((record.version.clone(), since));
        // Its holder's own duration counts, or a replica with another setting would take it too early; but only as far as
        // a setting can go.
        let duration = record.duration.min(LONGEST_LEASE).max(self.duration);
        match record.holder.as_deref() {
            None => true,
            Some(holder) => holder == self.identity || now.saturating_duration_since(since) >= duration,
        }
    }

    /// The write with what this process claims now, right before it is done.
    pub(super) fn claim(&mut self, wall: UnixMillis, write: Write, claimed: Option<UnixMillis>) -> Write {
        let latest = UnixMillis(wall.0.saturating_add(millis(self.interval)));
        let published_until = claimed.max(self.by_others).map(|until| until.min(latest));
        let write = Write { published_until, claimed, ..write };
        self.attempted = Some(write);
        write
    }

    /// A published-until as far as it can be true: a replica whose clock is ahead must not silence the others until that
    /// time comes. What it published it had published when we first saw its word.
    fn believed(&mut self, said: UnixMillis, wall: UnixMillis) -> UnixMillis {
        if said <= self.plausible(wall) {
            return said;
        }
        match self.doubt {
            Some(doubt) if doubt.said == said => doubt.assumed.min(wall),
            _ => {
                self.doubt = Some(Doubt { said, assumed: wall });
                wall
            }
        }
    }

    /// Our own clock may have been set back since: what others published is not in its future.
    fn expire(&mut self, wall: UnixMillis) {
        let latest = self.plausible(wall);
        self.by_others = self.by_others.map(|until| if until > latest { wall } else { until });
        if let Some(doubt) = &mut self.doubt {
            doubt.assumed = doubt.assumed.min(wall);
        }
    }

    /// The latest round that another replica can have published by now.
    fn plausible(&self, wall: UnixMillis) -> UnixMillis {
        UnixMillis(wall.0.saturating_add(millis(self.interval + MAX_CLOCK_SKEW)))
    }

    /// The write that began at `began` succeeded: leads until a while after that.
    pub(super) fn held(&mut self, began: Instant, write: Write) -> Instant {
        let until = began + self.duration.mul_f64(PUBLISH_SHARE);
        self.leads_until = Some(until);
        self.written = Some(write);
        self.attempted = None;
        until
    }

    /// Does not lead.
    pub(super) fn lost(&mut self) {
        self.leads_until = None;
    }

    /// Leads until then.
    pub(super) fn leads_until(&self) -> Option<Instant> {
        self.leads_until
    }

    /// Leads at `now`.
    pub(super) fn leads(&self, now: Instant) -> bool {
        self.leads_until.is_some_and(|until| now < until)
    }

    /// This process wrote the lease last, as far as was seen: what it measures is its own to publish once it leads.
    pub(super) fn holds(&self) -> bool {
        self.written.is_some()
    }

    /// Counts how often the lease may have been another's after it was ours.
    pub(super) fn tenure(&self) -> u64 {
        self.tenure
    }

    /// Rounds up to this one were published by others.
    pub(super) fn by_others(&self) -> Option<UnixMillis> {
        self.by_others
    }

    /// The replica that was last seen to hold the lease, where that is another.
    pub(super) fn other(&self) -> Option<&str> {
        self.other.as_deref()
    }

    /// The published-until that was last found impossible.
    pub(super) fn doubt(&self) -> Option<Doubt> {
        self.doubt
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
