//! What the election's task tells the rest of the program, and what the CloudWatch task tells it.
//!
//! Before a request the leader *claims* its newest round: the lease must say "published until then" first. So whatever
//! happens to the leader within the request, its successor does not publish the same round again.

use std::sync::Arc;

use cni_metrics_core::model::UnixMillis;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Whether this process leads, and until when. Without an election it always does.
#[derive(Debug, Clone)]
pub struct Leadership(Option<Elected>);

#[derive(Debug, Clone)]
struct Elected {
    standing: watch::Receiver<Standing>,
    claims: Arc<watch::Sender<Claims>>,
    is_warm: bool,
}

/// What the election's task knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// Leads until then.
    pub(super) leads_until: Option<Instant>,
    /// The lease is known to say that rounds up to this one are published, or are about to be.
    pub(super) confirmed: Option<UnixMillis>,
    /// Rounds up to this one were published by others.
    pub(super) by_others: Option<UnixMillis>,
}

/// What this process has sent or is sending.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Claims {
    accepted: Option<UnixMillis>,
    under_way: Option<UnixMillis>,
}

impl Claims {
    /// What the lease has to say of us.
    pub(super) fn until(self) -> Option<UnixMillis> {
        self.accepted.max(self.under_way)
    }
}

/// The election's own end of a [`Leadership`].
#[derive(Debug)]
pub(super) struct Office {
    pub(super) standing: watch::Sender<Standing>,
    pub(super) claims: watch::Receiver<Claims>,
}

/// Decides by hand who leads, for tests and tools that have no election.
#[derive(Debug)]
pub struct Appointment(Office);

impl Leadership {
    /// The only replica.
    pub fn always() -> Self {
        Self(None)
    }

    /// Decided by hand; nobody leads at first. `is_warm` as in [`super::LeadSettings`].
    pub fn appointed(is_warm: bool) -> (Appointment, Self) {
        let (office, leadership) = Self::elected(is_warm);
        (Appointment(office), leadership)
    }

    pub(super) fn elected(is_warm: bool) -> (Office, Self) {
        let (standing, reader) = watch::channel(Standing::default());
        let (claimer, claims) = watch::channel(Claims::default());
        (Office { standing, claims }, Self(Some(Elected { standing: reader, claims: Arc::new(claimer), is_warm })))
    }

    /// May publish at this very moment.
    pub fn is_leading(&self) -> bool {
        self.0.as_ref().is_none_or(|elected| elected.deadline().is_some_and(|until| Instant::now() < until))
    }

    /// There is an election.
    pub fn is_elected(&self) -> bool {
        self.0.is_some()
    }

    /// Waits until this process leads.
    pub async fn gained(&self) {
        let Some(elected) = &self.0 else { return };
        let mut standing = elected.standing.clone();
        let leads = |standing: &Standing| standing.leads_until.is_some_and(|until| Instant::now() < until);
        // The election's task outlives every reader; if it is gone, so is the program.
        if standing.wait_for(leads).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Rounds up to this one, where this replica measured them too, were published by another.
    pub fn published_by_others(&self) -> Option<UnixMillis> {
        let elected = self.0.as_ref().filter(|elected| elected.is_warm)?;
        elected.standing.borrow().by_others
    }

    /// To be asked right before a request whose newest round is `newest`: true if it may be sent now. Waits until the
    /// lease says that the round is about to be published. Each true must be followed by [`Leadership::settled`].
    pub async fn admits(&self, newest: UnixMillis) -> bool {
        let Some(elected) = &self.0 else { return true };
        // First the claim, then the look: a write of the lease that began earlier takes its confirmation back first.
        elected.claims.send_modify(|claims| claims.under_way = claims.under_way.max(Some(newest)));
        let mut standing = elected.standing.clone();
        loop {
            let Standing { leads_until, confirmed, .. } = *standing.borrow_and_update();
            let Some(until) = leads_until.filter(|until| Instant::now() < *until) else { break };
            if confirmed >= Some(newest) {
                return true;
            }
            tokio::select! {
                changed = standing.changed() => if changed.is_err() {
                    sleep_until(until).await;
                },
                () = sleep_until(until) => {}
            }
        }
        self.settled(newest, false);
        false
    }

    /// The request was answered.
    pub fn settled(&self, newest: UnixMillis, accepted: bool) {
        let Some(elected) = &self.0 else { return };
        elected.claims.send_modify(|claims| {
            claims.under_way = None;
            if accepted {
                claims.accepted = claims.accepted.max(Some(newest));
            }
        });
    }
}

impl Elected {
    fn deadline(&self) -> Option<Instant> {
        self.standing.borrow().leads_until
    }
}

impl Appointment {
    /// Leads until then, without asking anybody; `None` takes it back.
    pub fn appoint(&self, until: Option<Instant>) {
        self.0.standing.send_modify(|standing| {
            standing.leads_until = until;
            standing.confirmed = Some(UnixMillis(i64::MAX));
        });
    }

    /// Another has published rounds up to this one.
    pub fn others_published(&self, until: UnixMillis) {
        self.0.standing.send_modify(|standing| standing.by_others = Some(until));
    }

    /// What this process has sent or is sending.
    pub fn claimed(&self) -> Option<UnixMillis> {
        self.0.claims.borrow().until()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ROUND: UnixMillis = UnixMillis(30_000);

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_until_the_lease_says_so() {
        let (office, leadership) = Leadership::elected(true);
        let until = Instant::now() + Duration::from_secs(10);
        office.standing.send_modify(|standing| standing.leads_until = Some(until));
        let waiting = tokio::spawn({
            let leadership = leadership.clone();
            async move { leadership.admits(ROUND).await }
        });
        let mut claims = office.claims.clone();
        claims.wait_for(|claims| claims.until() == Some(ROUND)).await.unwrap();
        assert!(!waiting.is_finished());
        office.standing.send_modify(|standing| standing.confirmed = Some(ROUND));
        assert!(waiting.await.unwrap());
        leadership.settled(ROUND, false);
        assert_eq!(office.claims.borrow().until(), None, "a round that was not accepted is not published");
        leadership.settled(ROUND, true);
        assert_eq!(office.claims.borrow().until(), Some(ROUND));
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_whose_time_ran_out_sends_nothing() {
        let (hand, leadership) = Leadership::appointed(false);
        assert!(!leadership.is_leading() && !leadership.admits(ROUND).await);
        hand.appoint(Some(Instant::now() + Duration::from_secs(10)));
        assert!(leadership.is_leading() && leadership.admits(ROUND).await);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(!leadership.is_leading() && !leadership.admits(ROUND).await);
        assert_eq!(hand.claimed(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_that_nobody_confirms_ends_with_the_leadership() {
        let (office, leadership) = Leadership::elected(true);
        let until = Instant::now() + Duration::from_secs(10);
        office.standing.send_modify(|standing| standing.leads_until = Some(until));
        assert!(!leadership.admits(ROUND).await);
        assert_eq!(Instant::now(), until);
    }
}
