//! The election's task: reads and writes the Lease object, with the API server's own optimistic locking.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use super::candidate::{Candidate, Record, Step};
use super::{LOOKS_PER_LEASE, LeadSettings};
use crate::discover::connect::causes;

struct Office {
    api: Api<Lease>,
    settings: LeadSettings,
    candidate: Candidate,
    leads_until: watch::Sender<Option<Instant>>,
    /// The failure last logged.
    failure: Option<String>,
    led: bool,
}

/// Looks at the lease again and again until told to stop; then gives it back.
pub(super) async fn stand(
    client: Client,
    settings: LeadSettings,
    leads_until: watch::Sender<Option<Instant>>,
    mut stopped: watch::Receiver<bool>,
) {
    let period = settings.duration / LOOKS_PER_LEASE;
    let api = Api::namespaced(client, &settings.namespace);
    let candidate = Candidate::new(settings.identity.clone(), settings.duration);
    let mut office = Office { api, settings, candidate, leads_until, failure: None, led: false };
    loop {
        office.look(period).await;
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => break,
            () = tokio::time::sleep(period) => {}
        }
    }
    office.release().await;
}

impl Office {
    /// One look, and one write where it is our turn. Each request is given one period, so that a server that hangs
    /// cannot hold back the next try.
    async fn look(&mut self, patience: Duration) {
        let began = Instant::now();
        let outcome = match timeout(patience * 2, self.try_hold(began)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(format!("no answer within {:.1} s", (patience * 2).as_secs_f64())),
        };
        match outcome {
            Ok(true) => {
                let until = self.candidate.held(began);
                self.leads_until.send_replace(Some(until));
                self.failure = None;
            }
            Ok(false) => {
                self.candidate.lost();
                self.leads_until.send_replace(None);
                self.failure = None;
            }
            Err(text) => self.failed(text),
        }
        self.tell();
    }

    /// True where the lease is ours now.
    async fn try_hold(&mut self, now: Instant) -> Result<bool, String> {
        let current = self.api.get_opt(&self.settings.name).await.map_err(|error| causes(&error))?;
        let record = current.as_ref().map(record);
        if self.candidate.look(now, record.as_ref()) == Step::Wait {
            return Ok(false);
        }
        let written = match current {
            None => self.api.create(&PostParams::default(), &self.lease(None)).await,
            Some(current) => {
                let lease = self.lease(Some(&current));
                self.api.replace(&self.settings.name, &PostParams::default(), &lease).await
            }
        };
        match written {
            Ok(_) => Ok(true),
            // Another was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(causes(&error)),
        }
    }

    /// The lease with our name on it, keeping what others wrote beside it.
    fn lease(&self, current: Option<&Lease>) -> Lease {
        let now = Some(MicroTime(Timestamp::now()));
        let spec = current.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let is_ours = spec.holder_identity.as_deref() == Some(&self.settings.identity);
        let changes = spec.lease_transitions.unwrap_or(0);
        let metadata = current.map_or_else(
            || ObjectMeta { name: Some(self.settings.name.clone()), ..ObjectMeta::default() },
            |lease| lease.metadata.clone(),
        );
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
        self.leads_until.send_replace(None);
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
        let mut free = self.lease(Some(&current));
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
