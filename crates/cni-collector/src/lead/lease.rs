//! The election's task: reads and writes the Lease object, with the API server's own optimistic locking.

use std::sync::Arc;
use std::time::Duration;

use cni_metrics_core::model::UnixMillis;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::candidate::{Candidate, Doubt, Moment, Record, Step, Wish, Write};
use super::settings::{FINDINGS, LOOKS_PER_LEASE, LeadSettings, PUBLISHED_UNTIL};
use crate::client_error::causes;
use cni_runtime::gate::{LeaseChannels, LeaseState};

/// A published-until that cannot be is logged again after this time.
const DOUBT_AGAIN: Duration = Duration::from_hours(1);

struct LeaseManager {
    api: Api<Lease>,
    settings: LeadSettings,
    candidate: Candidate,
    channels: LeaseChannels,
    /// The failure last logged.
    failure: Option<String>,
    /// The impossible published-until last logged, and when.
    doubt: Option<(Doubt, Instant)>,
    led: bool,
    /// When the lease was last held, by the clock of rounds.
    held_at: Option<UnixMillis>,
}

/// Why the lease could not be read or written.
enum Failure {
    /// The API server says that we may not.
    Denied(String),
    /// It did not answer, or not usefully.
    Other(String),
}

impl Failure {
    fn of(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if matches!(status.code, 401 | 403) => Self::Denied(causes(error)),
            _ => Self::Other(causes(error)),
        }
    }

    fn late(limit: Duration) -> Self {
        Self::Other(format!("no answer within {:.1} s", limit.as_secs_f64()))
    }
}

/// Reads and renews the lease until asked to stop; then releases it.
pub(super) async fn stand(
    client: Client,
    settings: LeadSettings,
    channels: LeaseChannels,
    mut stopped: watch::Receiver<bool>,
) {
    let period = settings.duration / LOOKS_PER_LEASE;
    let api = Api::namespaced(client, &settings.namespace);
    let candidate = Candidate::new(settings.identity.clone(), settings.duration, settings.interval);
    let (mut claims, mut turns) = (channels.claims.clone(), channels.turns.clone());
    let mut manager =
        LeaseManager { api, settings, candidate, channels, failure: None, doubt: None, led: false, held_at: None };
    loop {
        manager.look(period).await;
        let next = Instant::now() + period;
        // A round is about to be published: the lease must say so first. Failures keep their distance.
        let claimed = async {
            let news = claims.wait_for(|claims| claims.until() > manager.confirmed()).await.map(drop);
            if news.is_err() {
                std::future::pending::<()>().await;
            }
        };
        // The first turn of the loop is not waited for a whole period.
        let turned = async {
            if turns.wait_for(Option::is_some).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = ended(&mut stopped) => break,
            () = claimed, if manager.may_claim() => {}
            () = turned, if !manager.has_turned() => {}
            () = sleep_until(next) => {}
        }
    }
    manager.release().await;
}

/// A leader whose clock is ahead writes another impossible time with each round: that is logged once an hour.
fn is_news(logged: Option<(Doubt, Instant)>, doubt: Doubt, now: Instant) -> bool {
    logged.is_none_or(|(last, at)| last.said != doubt.said && now.saturating_duration_since(at) >= DOUBT_AGAIN)
}

/// A sender that is gone ends us too.
async fn ended(stopped: &mut watch::Receiver<bool>) {
    let _gone = stopped.wait_for(|stopped| *stopped).await;
}

impl LeaseManager {
    fn confirmed(&self) -> Option<UnixMillis> {
        self.channels.standing.borrow().confirmed
    }

    fn may_claim(&self) -> bool {
        self.failure.is_none() && self.candidate.leads(Instant::now())
    }

    fn has_turned(&self) -> bool {
        self.channels.turns.borrow().is_some()
    }

    /// The round loop turned not long ago.
    fn turns(&self) -> bool {
        let limit = self.settings.stuck_after();
        self.channels.turns.borrow().is_some_and(|turned| turned.elapsed() <= limit)
    }

    /// One look, and one write where it is our turn. Both requests together are given two periods, so that a server
    /// that hangs cannot hold back the next try.
    async fn look(&mut self, period: Duration) {
        let began = Instant::now();
        let limit = period * 2;
        let outcome = match timeout(limit, self.try_hold(began, limit)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(Failure::late(limit)),
        };
        let claimed = match outcome {
            Ok(Some(write)) => {
                self.candidate.held(began, write);
                self.held_at = Some(self.settings.clock.now());
                write.claimed
            }
            Ok(None) => {
                self.candidate.lost();
                None
            }
            Err(failure) => return self.failed(failure),
        };
        self.failure = None;
        let deadline = self.candidate.leads_until();
        let waits = deadline.is_none() && !self.turns();
        self.publish(|standing| {
            standing.leads_until = deadline;
            standing.confirmed = claimed;
            standing.trouble = waits.then(|| (None, Arc::from("no round of this replica has completed lately")));
        });
        self.tell();
    }

    /// What was sent where the lease is ours now; `None` where it is not.
    async fn try_hold(&mut self, now: Instant, limit: Duration) -> Result<Option<Write>, Failure> {
        let current = self.api.get_opt(&self.settings.name).await.map_err(|error| Failure::of(&error))?;
        if now.elapsed() > limit {
            // The process was stopped in between: what it has in hand is the lease of then, and the rounds, which did not
            // turn either, have not had their chance to.
            return Err(Failure::late(limit));
        }
        let record = current.as_ref().map(record);
        let claimed = self.channels.claims.borrow().until();
        let at = Moment { now, wall: self.settings.clock.now() };
        let wish = Wish { claimed, is_ready: self.turns() };
        let step = self.candidate.look(at, record.as_ref(), wish);
        let is_ours = record.as_ref().is_some_and(|record| record.holder.as_ref() == Some(&self.settings.identity));
        let left = current.as_ref().and_then(left);
        self.publish(|standing| {
            // What is in it while it is ours, we have written.
            if !is_ours {
                standing.left = left;
            }
        });
        let (write, holder) = match step {
            Step::Hold(write) => {
                // While the write is under way it is not known what the lease says. Only then are the claims read, so that
                // each claim is either in this write or waits for its end.
                self.channels.standing.send_modify(|standing| standing.confirmed = None);
                let claimed = self.channels.claims.borrow().until();
                (self.candidate.claim(at.wall, write, claimed), Some(self.settings.identity.clone()))
            }
            Step::Release(write) => {
                self.gives_up();
                (write, None)
            }
            Step::Wait => return Ok(None),
        };
        let lease = self.lease(current.as_ref(), write, holder.clone());
        let written = match current {
            None => self.api.create(&PostParams::default(), &lease).await,
            Some(_) => self.api.replace(&self.settings.name, &PostParams::default(), &lease).await,
        };
        match written {
            Ok(_) => Ok(holder.map(|_ours| write)),
            // Another was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
            Err(error) => Err(Failure::of(&error)),
        }
    }

    /// Tells the rest of the program what the candidate knows, and whatever `change` adds to it.
    fn publish(&mut self, change: impl FnOnce(&mut LeaseState)) {
        let (holds, tenure, by_others) = (self.candidate.holds(), self.candidate.tenure(), self.candidate.by_others());
        let other = self.candidate.other().map(Arc::from);
        self.channels.standing.send_modify(|standing| {
            (standing.holds, standing.tenure, standing.by_others) = (holds, tenure, by_others);
            standing.other = other;
            change(standing);
        });
        let now = Instant::now();
        if let Some(doubt) = self.candidate.doubt().filter(|doubt| is_news(self.doubt, *doubt, now)) {
            let ahead = doubt.said.0.saturating_sub(doubt.assumed.0) / 1000;
            warn!(
                "lease {}/{} says that rounds are published until Unix time {} ms, which is {ahead} s ahead of this \
                 machine's clock: not believed; rounds up to now count as published, later ones are published by their \
                 leader. Check the clocks of the replicas' nodes",
                self.settings.namespace, self.settings.name, doubt.said.0
            );
            self.doubt = Some((doubt, now));
        }
    }

    /// The lease as `write` says, keeping what others wrote beside it.
    fn lease(&self, current: Option<&Lease>, write: Write, holder: Option<String>) -> Lease {
        let now = Some(MicroTime(Timestamp::now()));
        let spec = current.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let mut metadata = current.map_or_else(
            || ObjectMeta { name: Some(self.settings.name.clone()), ..ObjectMeta::default() },
            |lease| lease.metadata.clone(),
        );
        let annotations = metadata.annotations.get_or_insert_default();
        match write.published_until {
            Some(until) => annotations.insert(PUBLISHED_UNTIL.to_owned(), until.0.to_string()),
            None => annotations.remove(PUBLISHED_UNTIL),
        };
        // What was kept before another may have held the lease is older than what that one keeps in it.
        let kept = self.channels.kept.borrow().clone().filter(|kept| kept.tenure == self.candidate.tenure());
        if let Some(kept) = kept {
            annotations.insert(FINDINGS.to_owned(), kept.text.to_string());
        }
        Lease {
            metadata,
            spec: Some(LeaseSpec {
                holder_identity: holder,
                lease_duration_seconds: i32::try_from(self.settings.duration.as_secs()).ok(),
                acquire_time: if write.was_ours { spec.acquire_time } else { now.clone() },
                renew_time: now,
                lease_transitions: Some(write.transitions),
                ..spec
            }),
        }
    }

    /// A leader leads until its last renewal expires; a failure is logged once.
    fn failed(&mut self, failure: Failure) {
        let LeadSettings { namespace, name, .. } = &self.settings;
        let (text, remedy) = match failure {
            Failure::Denied(text) => {
                let role = format!("; a Role with get, create and update on leases is needed in namespace {namespace}");
                (text, role)
            }
            Failure::Other(text) => (text, String::new()),
        };
        if self.failure.as_deref() == Some(&text) {
            debug!("lease {name} failed again: {text}");
        } else if self.candidate.holds() {
            warn!("cannot renew lease {namespace}/{name}, trying again: {text}{remedy}");
        } else {
            warn!("cannot acquire lease {namespace}/{name}, trying again: {text}{remedy}");
        }
        let trouble = (self.held_at.filter(|_| self.candidate.holds()), Arc::from(text.as_str()));
        self.failure = Some(text);
        self.publish(|standing| standing.trouble = Some(trouble));
        self.tell();
    }

    /// The rounds do not complete: another replica may be able to measure.
    fn gives_up(&mut self) {
        let LeadSettings { namespace, name, identity, .. } = &self.settings;
        self.channels.standing.send_modify(|standing| standing.leads_until = None);
        self.led = false;
        warn!(
            "not leading any more: {identity} releases lease {namespace}/{name}: no round ended for {:.0} s; it takes \
             part in the election again once its rounds complete",
            self.settings.stuck_after().as_secs_f64()
        );
    }

    fn tell(&mut self) {
        let leads = self.candidate.leads(Instant::now());
        let LeadSettings { namespace, name, identity, .. } = &self.settings;
        match (self.led, leads, self.candidate.other()) {
            (false, true, _) => info!("leading: {identity} holds the lease {namespace}/{name}"),
            (true, false, Some(other)) => {
                warn!("not leading any more: {identity} lost lease {namespace}/{name} to {other}");
            }
            (true, false, None) => warn!(
                "not leading any more: {identity} could not renew lease {namespace}/{name} ({}); it goes on measuring, and \
                 publishes what it measured if no other replica held the lease meanwhile",
                self.failure.as_deref().unwrap_or(if self.candidate.holds() {
                    "the answer came too late"
                } else {
                    "another write came first"
                })
            ),
            _ => {}
        }
        self.led = leads;
    }

    /// Empties the holder, so that another replica takes over at its next look.
    async fn release(&mut self) {
        self.channels.standing.send_modify(|standing| standing.leads_until = None);
        if !self.candidate.holds() {
            return;
        }
        let LeadSettings { namespace, name, .. } = self.settings.clone();
        let current = match self.api.get_opt(&name).await {
            Ok(Some(current)) => current,
            Ok(None) => return,
            Err(error) => return warn!("cannot release lease {namespace}/{name}: {}", causes(&error)),
        };
        let at = Moment { now: Instant::now(), wall: self.settings.clock.now() };
        let wish = Wish { claimed: self.channels.claims.borrow().until(), is_ready: false };
        let Step::Release(write) = self.candidate.look(at, Some(&record(&current)), wish) else { return };
        let free = self.lease(Some(&current), write, None);
        match self.api.replace(&name, &PostParams::default(), &free).await {
            Ok(_) => info!("released lease {namespace}/{name}"),
            Err(error) => warn!("cannot release lease {namespace}/{name}: {}", causes(&error)),
        }
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.as_ref();
    let seconds = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|seconds| u64::try_from(seconds).ok());
    Record {
        holder: spec.and_then(|spec| spec.holder_identity.clone()).filter(|holder| !holder.is_empty()),
        duration: Duration::from_secs(seconds.unwrap_or(0)),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        transitions: spec.and_then(|spec| spec.lease_transitions).unwrap_or(0),
        published_until: published_until(lease),
    }
}

/// Up to which round everything is published, as the lease says. `None` if the annotation is not a number.
fn published_until(lease: &Lease) -> Option<UnixMillis> {
    lease.metadata.annotations.as_ref()?.get(PUBLISHED_UNTIL)?.parse().ok().map(UnixMillis)
}

/// What its holder keeps in it for its successor.
fn left(lease: &Lease) -> Option<Arc<str>> {
    lease.metadata.annotations.as_ref()?.get(FINDINGS).map(|text| Arc::from(text.as_str()))
}

#[cfg(test)]
mod tests;
