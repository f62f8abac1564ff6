//! The helper's own health, on a listener of its own: `/livez`, `/readyz` and `/metrics`.
//!
//! Everything here is read from what the other parts write; nothing waits for them. So the listener answers while a round
//! hangs, which is the moment it is for.

mod names;
mod page;
mod parts;
mod process;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use cni_metrics_core::model::UnixMillis;
use jiff::Timestamp;
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use cni_publish::listen::{self, Limits, Listener};
use cni_runtime::gate::Role;
use cni_runtime::supervise::Supervisor;

pub use names::{Kind, NAMES, Name};
pub use parts::AdminParts;

/// Intervals in which the round loop must have turned once.
const ALIVE_INTERVALS: u32 = 3;

/// Why health cannot be served.
#[derive(Debug, Error)]
#[error("ADMIN_ADDRESS {address}: cannot listen there: {reason} (another address, or off)")]
pub struct AdminError {
    /// Where.
    pub address: SocketAddr,
    /// What the system says.
    pub reason: std::io::Error,
}

/// The running listener; it ends when this is dropped.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Health {
    parts: AdminParts,
    started: Instant,
}

impl Admin {
    /// Listens from now on.
    pub async fn serve(address: SocketAddr, parts: AdminParts, supervisor: &Supervisor) -> Result<Self, AdminError> {
        let fail = |reason| AdminError { address, reason };
        let listener = listen::bind(address).await.map_err(fail)?;
        let bound = listen::shown(address, &listener).map_err(fail)?;
        let health = Arc::new(Health { parts, started: Instant::now() });
        let router = Router::new()
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(health);
        let serving = listen::serve(Listener::Admin, listener, router, Limits::ADMIN);
        let task = supervisor.spawn("admin listener", serving);
        Ok(Self { address: bound, task })
    }

    /// Where it listens, which differs from the setting if that left the port open.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn livez(State(health): State<Arc<Health>>) -> (StatusCode, String) {
    answer(health.alive())
}

async fn readyz(State(health): State<Arc<Health>>) -> (StatusCode, String) {
    answer(health.ready())
}

async fn metrics(State(health): State<Arc<Health>>) -> Response {
    let page = page::render(&health.parts);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page).into_response()
}

fn answer(health: Result<String, String>) -> (StatusCode, String) {
    match health {
        Ok(text) => (StatusCode::OK, text + "\n"),
        Err(text) => (StatusCode::SERVICE_UNAVAILABLE, text + "\n"),
    }
}

impl Health {
    /// The round loop turns. Whether rounds succeed is not asked: a restart would not help against a cluster's troubles.
    fn alive(&self) -> Result<String, String> {
        let last = self.parts.stats.figures().last_turn.unwrap_or(self.started);
        let age = last.elapsed();
        let limit = self.parts.clock.limit(self.parts.interval) * ALIVE_INTERVALS;
        let text = |what| format!("{what}: the round loop last turned {:.1} s ago", age.as_secs_f64());
        if age <= limit {
            Ok(text("alive"))
        } else {
            Err(format!("{}, more than {ALIVE_INTERVALS} intervals ({} s)", text("stuck"), limit.as_secs()))
        }
    }

    /// The cluster is known, and was measured or need not be yet.
    fn ready(&self) -> Result<String, String> {
        let mut awaited = self.parts.identity.as_ref().and_then(|identity| identity.borrow().awaited());
        if let Some(awaited) = &mut awaited
            && self.parts.prometheus_waits
        {
            awaited.push_str("; until then Prometheus gets the awscni_* gauges and no cni_* metrics");
        }
        readiness(Readiness {
            is_synced: self.parts.is_synced(),
            awaited,
            stale: self.parts.discovery.stale(),
            troubled: self.parts.troubled_sinks(),
            rounds: self.parts.stats.figures().rounds(),
            role: self.parts.leadership.role(),
        })
    }
}

/// What decides about `/readyz`.
struct Readiness {
    is_synced: bool,
    /// What the cluster's id is still awaited from.
    awaited: Option<String>,
    /// Which list is old, and why.
    stale: Option<String>,
    /// Sinks that are in trouble. Why is in the log: the text may name accounts and roles, which this listener does not.
    troubled: Vec<&'static str>,
    rounds: u64,
    role: Role,
}

fn readiness(of: Readiness) -> Result<String, String> {
    if !of.is_synced {
        return Err("not ready: the pods have not been listed yet".to_owned());
    }
    if let Some(awaited) = of.awaited {
        return Err(format!("not ready: {awaited}"));
    }
    let rounds = of.rounds;
    let standing = match of.role {
        Role::Leading if rounds == 0 => Err("not ready: the first round is not over yet".to_owned()),
        Role::Leading => Ok(format!("ready: {rounds} rounds done")),
        Role::StandingBy(leader) => Ok(format!("ready: standing by, {leader} leads")),
        Role::NoLeader(since, why) => Ok(no_leader(since, why.as_deref())),
    };
    // A restart would bring neither the API server nor a sink's destination back, and the other sinks go on: so these are
    // shown and are no failure.
    let stale = of.stale.map(|stale| format!("; but {stale}")).unwrap_or_default();
    let troubled = of.troubled.join(" and ");
    let sinks = if troubled.is_empty() { troubled } else { format!("; but {troubled} is in trouble, see the log") };
    standing.map(|text| text + &stale + &sinks)
}

/// Restarting this replica would not help; so it is ready, and says what is the matter.
fn no_leader(since: Option<UnixMillis>, why: Option<&str>) -> String {
    let why = why.unwrap_or("it is not known yet who holds the lease");
    match since.and_then(|since| Timestamp::from_millisecond(since.0).ok()) {
        Some(since) => format!("ready, but no replica leads: the lease could not be renewed since {since:.0}: {why}"),
        None => format!("ready, but no replica is known to lead: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(change: impl FnOnce(&mut Readiness)) -> Result<String, String> {
        let (stale, troubled) = (None, Vec::new());
        let mut of = Readiness { is_synced: true, awaited: None, stale, troubled, rounds: 3, role: Role::Leading };
        change(&mut of);
        readiness(of)
    }

    #[test]
    fn readiness_says_the_truth_of_the_list_the_sinks_and_of_who_leads() {
        assert_eq!(ready(|_| {}).unwrap(), "ready: 3 rounds done");
        assert!(ready(|of| of.is_synced = false).unwrap_err().contains("not been listed"));
        assert!(ready(|of| of.rounds = 0).unwrap_err().contains("first round"));
        assert_eq!(ready(|of| of.awaited = Some("no name yet".to_owned())).unwrap_err(), "not ready: no name yet");
        let stale = ready(|of| of.stale = Some("the list of pods is 400 s old: refused".to_owned()));
        assert_eq!(stale.unwrap(), "ready: 3 rounds done; but the list of pods is 400 s old: refused");
        let troubled = ready(|of| of.troubled = vec!["cloudwatch"]);
        assert_eq!(troubled.unwrap(), "ready: 3 rounds done; but cloudwatch is in trouble, see the log");
        assert_eq!(ready(|of| of.role = Role::StandingBy("b".into())).unwrap(), "ready: standing by, b leads");
        let lapsed = Role::NoLeader(Some(UnixMillis(1_767_225_600_000)), Some("connection refused".into()));
        let expected = "ready, but no replica leads: the lease could not be renewed since 2026-01-01T00:00:00Z: connection refused";
        assert_eq!(ready(|of| of.role = lapsed).unwrap(), expected);
        let unknown = ready(|of| (of.rounds, of.role) = (0, Role::NoLeader(None, None))).unwrap();
        assert_eq!(unknown, "ready, but no replica is known to lead: it is not known yet who holds the lease");
    }
}
