//! What the election's task tells the rest of the program, and what the CloudWatch task tells it.
//!
//! Before a request the leader *claims* its newest round: the lease must say "published until then" first. So whatever
//! happens to the leader within the request, its successor does not publish the same round again.

use std::sync::Arc;
use std::time::Duration;

use cni_metrics_core::model::UnixMillis;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::clock::Clock;

/// Lapses that are remembered: the sinks look at them at every round.
const LAPSES: usize = 8;

/// Whether this process leads, and until when. Without an election it always does.
#[derive(Debug, Clone)]
pub struct Leadership(Option<Elected>);

#[derive(Debug, Clone)]
struct Elected {
    standing: watch::Receiver<LeaseState>,
    claims: Arc<watch::Sender<Claims>>,
    turns: Arc<watch::Sender<Option<Instant>>>,
    lapses: Arc<watch::Sender<Vec<Lapse>>>,
    kept: Arc<watch::Sender<Option<Kept>>>,
    clock: Clock,
    interval: Duration,
    is_warm: bool,
}

/// What the election's task knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeaseState {
    /// Leads until then.
    pub leads_until: Option<Instant>,
    /// This process last held the lease, and no other replica was seen to hold it since.
    pub holds: bool,
    /// Changes when the lease may have been another's.
    pub tenure: u64,
    /// The lease is known to say that rounds up to this one are published, or are about to be.
    pub confirmed: Option<UnixMillis>,
    /// Rounds up to this one were published by others.
    pub by_others: Option<UnixMillis>,
    /// The replica that holds the lease, where that is another.
    pub other: Option<Arc<str>>,
    /// What the replica that held the lease before us had kept in it for its successor.
    pub left: Option<Arc<str>>,
    /// When the lease was last held by us, and what has kept us from it since.
    pub trouble: Option<(Option<UnixMillis>, Arc<str>)>,
}

/// What a leader keeps in the lease for its successor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The tenure that it is of.
    pub tenure: u64,
    /// The text.
    pub text: Arc<str>,
}

/// What this process has sent or is sending.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Claims {
    accepted: Option<UnixMillis>,
    under_way: Option<UnixMillis>,
}

/// Rounds from the first to the last of these times, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first round's time.
    pub from: UnixMillis,
    /// The last round's time.
    pub to: UnixMillis,
}

/// Rounds that were measured while the lease had lapsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lapse {
    tenure: u64,
    /// The numbers of the first and the last of them.
    rounds: (u64, u64),
    span: Span,
}

/// What a replica is at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// It publishes.
    Leading,
    /// This replica holds the lease.
    StandingBy(Arc<str>),
    /// No replica is known to hold it: since when, where it was ours before, and why it is not ours now.
    NoLeader(Option<UnixMillis>, Option<Arc<str>>),
}

impl Claims {
    /// What the lease has to say of us.
    pub fn until(self) -> Option<UnixMillis> {
        self.accepted.max(self.under_way)
    }
}

/// The election's own end of a [`Leadership`].
#[derive(Debug)]
pub struct LeaseChannels {
    /// What the election's task knows.
    pub standing: watch::Sender<LeaseState>,
    /// What the sinks have sent, or are sending.
    pub claims: watch::Receiver<Claims>,
    /// When the round loop last proved that it could lead.
    pub turns: watch::Receiver<Option<Instant>>,
    /// What is to be kept in the lease.
    pub kept: watch::Receiver<Option<Kept>>,
}

/// Decides by hand who leads, for tests and tools that have no election.
#[derive(Debug)]
pub struct ManualLease(LeaseChannels);

impl Leadership {
    /// The only replica.
    pub fn always() -> Self {
        Self(None)
    }

    /// Decided by hand; no replica leads at first. `is_warm`: this replica measures while it does not lead.
    pub fn manual(is_warm: bool) -> (ManualLease, Self) {
        // Far beyond every round of a test: claims are not bounded here.
        let (channels, leadership) = Self::elected(is_warm, Clock::wall(), Duration::MAX);
        (ManualLease(channels), leadership)
    }

    /// A gate that an election opens and closes through the channels. `is_warm`: this replica measures while it does not lead.
    pub fn elected(is_warm: bool, clock: Clock, interval: Duration) -> (LeaseChannels, Self) {
        let (standing, reader) = watch::channel(LeaseState::default());
        let (claimer, claims) = watch::channel(Claims::default());
        let (turner, turns) = watch::channel(None);
        let (keeper, kept) = watch::channel(None);
        let elected = Elected {
            standing: reader,
            claims: Arc::new(claimer),
            turns: Arc::new(turner),
            lapses: Arc::new(watch::Sender::new(Vec::new())),
            kept: Arc::new(keeper),
            clock,
            interval,
            is_warm,
        };
        (LeaseChannels { standing, claims, turns, kept }, Self(Some(elected)))
    }

    /// May publish at this very moment.
    pub fn is_leading(&self) -> bool {
        self.0.as_ref().is_none_or(|elected| elected.deadline().is_some_and(|until| Instant::now() < until))
    }

    /// There is an election.
    pub fn is_elected(&self) -> bool {
        self.0.is_some()
    }

    /// What this replica is at this very moment.
    pub fn role(&self) -> Role {
        let Some(elected) = self.0.as_ref().filter(|_| !self.is_leading()) else { return Role::Leading };
        let standing = elected.standing.borrow();
        match (&standing.other, &standing.trouble) {
            (Some(other), _) => Role::StandingBy(Arc::clone(other)),
            (None, Some((since, why))) => Role::NoLeader(*since, Some(Arc::clone(why))),
            (None, None) => Role::NoLeader(None, None),
        }
    }

    /// Changes whenever the lease may have been another's after it was ours: counters' baselines of an earlier tenure are
    /// of no use then. Always the same without an election.
    pub fn tenure(&self) -> u64 {
        self.0.as_ref().map_or(0, |elected| elected.standing.borrow().tenure)
    }

    /// Waits until it is another.
    pub async fn tenure_ended(&self, tenure: u64) {
        if let Some(elected) = &self.0 {
            let mut standing = elected.standing.clone();
            if standing.wait_for(|standing| standing.tenure != tenure).await.is_ok() {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    /// This process held the lease last and no other replica was seen to hold it since: it goes on measuring, whether or not it
    /// may publish now.
    pub fn is_held(&self) -> bool {
        self.0.as_ref().is_none_or(|elected| elected.standing.borrow().holds)
    }

    /// The round loop turns, or waits for nothing but its turn to lead. A replica that does not say so leads no longer.
    pub fn turned(&self) {
        if let Some(elected) = &self.0 {
            elected.turns.send_replace(Some(Instant::now()));
        }
    }

    /// Keeps this text in the lease, from its next renewal on, for the replica that leads next. Without an election nothing is kept.
    pub fn keep(&self, text: Arc<str>) {
        if let Some(elected) = &self.0 {
            let tenure = self.tenure();
            elected.kept.send_replace(Some(Kept { tenure, text }));
        }
    }

    /// What the replica that led before had kept in the lease.
    pub fn left(&self) -> Option<Arc<str>> {
        self.0.as_ref()?.standing.borrow().left.clone()
    }

    /// A round was measured, wholly or in part, while this replica could not publish: whether it is ours is decided when the
    /// lease is seen again. `tenure` is that in which its baselines began. To be said before the sinks get it. Warm standbys
    /// measure for others and need not say so.
    pub fn measured_in_lapse(&self, tenure: u64, round: u64, at: UnixMillis) {
        let Some(elected) = self.0.as_ref().filter(|elected| !elected.is_warm) else { return };
        elected.lapses.send_modify(|lapses| {
            if let Some(Lapse { rounds, span, .. }) = lapses.last_mut().filter(|lapse| lapse.tenure == tenure) {
                *rounds = (rounds.0.min(round), rounds.1.max(round));
                *span = Span { from: span.from.min(at), to: span.to.max(at) };
                return;
            }
            if lapses.len() >= LAPSES {
                lapses.remove(0);
            }
            lapses.push(Lapse { tenure, rounds: (round, round), span: Span { from: at, to: at } });
        });
    }

    /// The round with this number was measured in a lapse, and is not ours to publish.
    pub fn is_not_ours(&self, round: u64) -> bool {
        let tenure = self.tenure();
        self.0.as_ref().is_some_and(|elected| {
            let lapses = elected.lapses.borrow();
            let lost = lapses.iter().filter(|lapse| lapse.tenure != tenure);
            lost.into_iter().any(|lapse| (lapse.rounds.0..=lapse.rounds.1).contains(&round))
        })
    }

    /// The lease was found as we had left it: what was measured in the lapse is ours.
    pub fn lapse_is_over(&self) {
        let Some(elected) = &self.0 else { return };
        let tenure = self.tenure();
        elected.lapses.send_if_modified(|lapses| {
            let before = lapses.len();
            lapses.retain(|lapse| lapse.tenure != tenure);
            lapses.len() != before
        });
    }

    /// Rounds that were measured after our last held deadline, before the lease was seen to be another's: what is kept of
    /// them must not be sent. Each span is returned once per `seen`, which begins with 0. To be looked at together with
    /// [`Leadership::is_leading`], right before each request.
    pub fn rounds_not_ours(&self, seen: &mut u64) -> Vec<Span> {
        let Some(elected) = &self.0 else { return Vec::new() };
        let tenure = self.tenure();
        let unseen = std::mem::replace(seen, tenure)..tenure;
        elected.lapses.borrow().iter().filter(|lapse| unseen.contains(&lapse.tenure)).map(|lapse| lapse.span).collect()
    }

    /// Rounds that were measured in lapses of which it is not known, or known not to be so, that they are ours: a later
    /// process, which knows nothing of the lapse, must not publish them.
    pub fn lapses(&self) -> Vec<Span> {
        self.0
            .as_ref()
            .map_or_else(Vec::new, |elected| elected.lapses.borrow().iter().map(|lapse| lapse.span).collect())
    }

    /// Waits until this process leads.
    pub async fn gained(&self) {
        let Some(elected) = &self.0 else { return };
        let mut standing = elected.standing.clone();
        let leads = |standing: &LeaseState| standing.leads_until.is_some_and(|until| Instant::now() < until);
        // The election's task outlives every reader; if it is gone, so is the program.
        if standing.wait_for(leads).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Rounds up to this one, where this replica measured them too, were published by another.
    pub fn published_by_others(&self) -> Option<UnixMillis> {
        self.0.as_ref().filter(|elected| elected.is_warm)?;
        self.last_of_others()
    }

    /// The last round that another replica published, as the lease says.
    pub fn last_of_others(&self) -> Option<UnixMillis> {
        self.0.as_ref()?.standing.borrow().by_others
    }

    /// To be asked right before a request whose newest round is `newest`: true if it may be sent now. Waits until the
    /// lease says that the round is about to be published. Each true must be followed by [`Leadership::settled`].
    pub async fn admits(&self, newest: UnixMillis) -> bool {
        let Some(elected) = &self.0 else { return true };
        // First the claim, then the look: a write of the lease that began earlier takes its confirmation back first.
        elected.claims.send_modify(|claims| claims.under_way = claims.under_way.max(Some(newest)));
        let mut standing = elected.standing.clone();
        loop {
            let (leads_until, confirmed) = {
                let standing = standing.borrow_and_update();
                (standing.leads_until, standing.confirmed)
            };
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
        let interval = i64::try_from(elected.interval.as_millis()).unwrap_or(i64::MAX);
        let latest = UnixMillis(elected.clock.now().0.saturating_add(interval));
        elected.claims.send_modify(|claims| {
            claims.under_way = None;
            // A clock that was set back takes along what was claimed before.
            claims.accepted = claims.accepted.map(|until| until.min(latest));
            if accepted {
                claims.accepted = claims.accepted.max(Some(newest.min(latest)));
            }
        });
    }
}

impl Elected {
    fn deadline(&self) -> Option<Instant> {
        self.standing.borrow().leads_until
    }
}

impl ManualLease {
    /// Leads until then, without a request to the API server; `None` revokes it.
    pub fn appoint(&self, until: Option<Instant>) {
        self.0.standing.send_modify(|standing| {
            standing.leads_until = until;
            standing.confirmed = Some(UnixMillis(i64::MAX));
        });
    }

    /// Another replica was seen to hold the lease: see [`Leadership::rounds_not_ours`].
    pub fn taken_by_another(&self) {
        self.0.standing.send_modify(|standing| {
            standing.leads_until = None;
            standing.tenure += 1;
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
mod tests;
