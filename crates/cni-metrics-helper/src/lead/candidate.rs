//! The rules of the election, without a clock or a client: what was seen goes in, what to do comes out.

use std::time::Duration;

use tokio::time::Instant;

use super::PUBLISH_SHARE;

/// What a lease says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Who holds it; `None` once it was released.
    pub(super) holder: Option<String>,
    /// For how long without renewal.
    pub(super) duration: Duration,
    /// Changes with every write.
    pub(super) version: String,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Write our name: it is free, has run out, or is ours.
    Hold,
    /// Another holds it.
    Wait,
}

/// One replica's view of the election.
#[derive(Debug)]
pub(super) struct Candidate {
    identity: String,
    duration: Duration,
    /// The version last seen, and when it was first seen.
    seen: Option<(String, Instant)>,
    leads_until: Option<Instant>,
}

impl Candidate {
    pub(super) fn new(identity: String, duration: Duration) -> Self {
        Self { identity, duration, seen: None, leads_until: None }
    }

    /// Looks at the lease (`None` where there is none yet).
    pub(super) fn look(&mut self, now: Instant, record: Option<&Record>) -> Step {
        let Some(record) = record else { return Step::Hold };
        let since = match &self.seen {
            Some((version, since)) if *version == record.version => *since,
            _ => now,
        };
        self.seen = Some((record.version.clone(), since));
        match record.holder.as_deref() {
            None => Step::Hold,
            Some(holder) if holder == self.identity => Step::Hold,
            // Its holder's own duration counts, or a replica with another setting would take it too early.
            Some(_) if now.duration_since(since) >= record.duration.max(self.duration) => Step::Hold,
            Some(_) => Step::Wait,
        }
    }

    /// A write that began at `began` succeeded: leads until a while after that.
    pub(super) fn held(&mut self, began: Instant) -> Instant {
        let until = began + self.duration.mul_f64(PUBLISH_SHARE);
        self.leads_until = Some(until);
        until
    }

    /// Another holds the lease.
    pub(super) fn lost(&mut self) {
        self.leads_until = None;
    }

    /// Leads at `now`.
    pub(super) fn leads(&self, now: Instant) -> bool {
        self.leads_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(15);

    fn record(holder: Option<&str>, version: &str) -> Record {
        Record { holder: holder.map(str::to_owned), duration: LEASE, version: version.to_owned() }
    }

    #[test]
    fn a_free_lease_is_taken_at_once() {
        let now = Instant::now();
        let mut candidate = Candidate::new("a".to_owned(), LEASE);
        assert_eq!(candidate.look(now, None), Step::Hold);
        assert_eq!(candidate.look(now, Some(&record(None, "1"))), Step::Hold);
    }

    #[test]
    fn anothers_lease_is_taken_only_after_it_stood_still_for_its_whole_duration() {
        let begin = Instant::now();
        let mut candidate = Candidate::new("b".to_owned(), LEASE);
        assert_eq!(candidate.look(begin, Some(&record(Some("a"), "1"))), Step::Wait);
        assert_eq!(candidate.look(begin + LEASE - Duration::from_millis(1), Some(&record(Some("a"), "1"))), Step::Wait);
        assert_eq!(candidate.look(begin + LEASE, Some(&record(Some("a"), "1"))), Step::Hold);
        // A renewal in between starts the wait anew.
        assert_eq!(candidate.look(begin + LEASE, Some(&record(Some("a"), "2"))), Step::Wait);
        assert_eq!(candidate.look(begin + LEASE + LEASE, Some(&record(Some("a"), "2"))), Step::Hold);
    }

    #[test]
    fn a_leader_that_cannot_renew_stops_before_another_can_start() {
        let begin = Instant::now();
        let mut leader = Candidate::new("a".to_owned(), LEASE);
        let until = leader.held(begin);
        assert!(leader.leads(until - Duration::from_millis(1)) && !leader.leads(until));
        // The other saw the renewal at the earliest when it was written, hence after it began.
        let mut other = Candidate::new("b".to_owned(), LEASE);
        other.look(begin, Some(&record(Some("a"), "1")));
        assert_eq!(other.look(until, Some(&record(Some("a"), "1"))), Step::Wait);
    }
}
