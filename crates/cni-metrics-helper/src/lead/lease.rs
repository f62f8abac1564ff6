//! The election's task: reads and writes the Lease object, with the API server's own optimistic locking.

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

use super::candidate::{Candidate, Record, Step};
use super::standing::Office;
use super::{LOOKS_PER_LEASE, LeadSettings, PUBLISHED_UNTIL};
use crate::discover::connect::causes;

struct Clerk {
    api: Api<Lease>,
    settings: LeadSettings,
    candidate: Candidate,
    office: Office,
    /// The failure last logged.
    failure: Option<String>,
    led: bool,
}

/// Looks at the lease again and again until told to stop; then gives it back.
pub(super) async fn stand(client: Client, settings: LeadSettings, office: Office, mut stopped: watch::Receiver<bool>) {
    let period = settings.duration / LOOKS_PER_LEASE;
    let api = Api::namespaced(client, &settings.namespace);
    let candidate = Candidate::new(settings.identity.clone(), settings.duration);
    let mut claims = office.claims.clone();
    let mut clerk = Clerk { api, settings, candidate, office, failure: None, led: false };
    loop {
        clerk.look(period).await;
        let next = Instant::now() + period;
        // A round is about to be published: the lease must say so first. Failures keep their distance.
        let claimed = async {
            let news = claims.wait_for(|claims| claims.until() > clerk.confirmed()).await.map(drop);
            if news.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = ended(&mut stopped) => break,
            () = claimed, if clerk.may_claim() => {}
            () = sleep_until(next) => {}
        }
    }
    clerk.release().await;
}

/// A sender that is gone ends us too.
async fn ended(stopped: &mut watch::Receiver<bool>) {
    let _gone = stopped.wait_for(|stopped| *stopped).await;
}

impl Clerk {
    fn confirmed(&self) -> Option<UnixMillis> {
        self.office.standing.borrow().confirmed
    }

    fn may_claim(&self) -> bool {
        self.failure.is_none() && self.candidate.leads(Instant::now())
    }

    /// One look, and one write where it is our turn. Both requests together are given two periods, so that a server
    /// that hangs cannot hold back the next try.
    async fn look(&mut self, period: Duration) {
        let began = Instant::now();
        let outcome = match timeout(period * 2, self.try_hold(began)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(format!("no answer within {:.1} s", (period * 2).as_secs_f64())),
        };
        match outcome {
            Ok(Some(until)) => {
                let leads_until = Some(self.candidate.held(began));
                self.office.standing.send_modify(|standing| {
                    standing.leads_until = leads_until;
                    standing.confirmed = until;
                });
                self.failure = None;
            }
            Ok(None) => {
                self.candidate.lost();
                self.office.standing.send_modify(|standing| standing.leads_until = None);
                self.failure = None;
            }
            Err(text) => self.failed(text),
        }
        self.tell();
    }

    /// Where the lease is ours now, until which round it says that everything is published ; else `None`.
    async fn try_hold(&mut self, now: Instant) -> Result<Option<Option<UnixMillis>>, String> {
        let current = self.api.get_opt(&self.settings.name).await.map_err(|error| causes(&error))?;
        let record = current.as_ref().map(record);
        let ours = record.as_ref().is_some_and(|record| record.holder.as_deref() == Some(&self.settings.identity));
        if !ours {
            // Never back: a lease that was deleted does not make published rounds unpublished.
            let by_others = current.as_ref().and_then(published_until).max(self.office.standing.borrow().by_others);
            self.office
                .standing
                .send_if_modified(|standing| std::mem::replace(&mut standing.by_others, by_others) != by_others);
        }
        if self.candidate.look(now, record.as_ref()) == Step::Wait {
            return Ok(None);
        }
        // While the write is under way nobody knows what the lease says. Only then are the claims read, so that each
        // claim is either in this write or waits for its end.
        self.office.standing.send_modify(|standing| standing.confirmed = None);
        let claimed = self.office.claims.borrow().until();
        let until = claimed.max(self.office.standing.borrow().by_others);
        let lease = self.lease(current.as_ref(), until);
        let written = match current {
            None => self.api.create(&PostParams::default(), &lease).await,
            Some(_) => self.api.replace(&self.settings.name, &PostParams::default(), &lease).await,
        };
        match written {
            Ok(_) => Ok(Some(until)),
            // Another was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(None),
            Err(error) => Err(causes(&error)),
        }
    }

    /// The lease with our name on it, keeping what others wrote beside it.
    fn lease(&self, current: Option<&Lease>, until: Option<UnixMillis>) -> Lease {
        let now = Some(MicroTime(Timestamp::now()));
        let spec = current.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let is_ours = spec.holder_identity.as_deref() == Some(&self.settings.identity);
        let changes = spec.lease_transitions.unwrap_or(0);
        let mut metadata = current.map_or_else(
            || ObjectMeta { name: Some(self.settings.name.clone()), ..ObjectMeta::default() },
            |lease| lease.metadata.clone(),
        );
        let annotations = metadata.annotations.get_or_insert_default();
        match until {
            Some(until) => annotations.insert(PUBLISHED_UNTIL.to_owned(), until.0.to_string()),
            None => annotations.remove(PUBLISHED_UNTIL),
        };
        Lease {
            metadata,
            spec: Some(LeaseSpec {
                holder_identity: Some(self.settings.identity.clone()),
                lease_duration_seconds: i32::try_from(self.settings.duration.as_secs()).ok(),
                acquire_time: if is_ours { spec.acquire_time } else { now.clone() },
                renew_time: now,
                lease_transitions: Some(if is_ours || current.is_none() { changes } else { changes + 1 }),
                ..spec
            }),
        }
    }

    /// A leader stays one until its time runs out by itself; a failure is told once.
    fn failed(&mut self, text: String) {
        if self.failure.as_deref() == Some(&text) {
            debug!("lease {} failed again: {text}", self.settings.name);
        } else {
            let LeadSettings { namespace, name, .. } = &self.settings;
            warn!(
                "lease {namespace}/{name} cannot be held: {text}; a Role with get, create and update on leases is \
                 needed in namespace {namespace}"
            );
        }
        self.failure = Some(text);
    }

    fn tell(&mut self) {
        let leads = self.candidate.leads(Instant::now());
        let LeadSettings { namespace, name, identity, .. } = &self.settings;
        match (self.led, leads) {
            (false, true) => info!("leading: {identity} holds the lease {namespace}/{name}"),
            (true, false) => warn!("not leading any more: {identity} lost the lease {namespace}/{name}"),
            _ => {}
        }
        self.led = leads;
    }

    /// Empties the holder, so that another replica takes over at its next look.
    async fn release(&mut self) {
        self.office.standing.send_modify(|standing| standing.leads_until = None);
        if !self.led {
            return;
        }
        let current = match self.api.get_opt(&self.settings.name).await {
            Ok(Some(current)) => current,
            Ok(None) => return,
            Err(error) => return warn!("the lease could not be given back: {}", causes(&error)),
        };
        if record(&current).holder.as_deref() != Some(&self.settings.identity) {
            return;
        }
        let until = self.office.claims.borrow().until().max(self.office.standing.borrow().by_others);
        let mut free = self.lease(Some(&current), until);
        if let Some(spec) = &mut free.spec {
            spec.holder_identity = None;
        }
        match self.api.replace(&self.settings.name, &PostParams::default(), &free).await {
            Ok(_) => info!("gave the lease {} back", self.settings.name),
            Err(error) => warn!("the lease could not be given back: {}", causes(&error)),
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
    }
}

/// Up to which round everything is published, as the lease says it. What is no number says nothing.
fn published_until(lease: &Lease) -> Option<UnixMillis> {
    lease.metadata.annotations.as_ref()?.get(PUBLISHED_UNTIL)?.parse().ok().map(UnixMillis)
}
