//! The EKS Pod Identity agent's address: credentials for a service-account token.

use crate::aws::fault::{Fault, Faults};
use crate::aws::identity::Credentials;
use crate::aws::{Clock, FaultEffect, apply_delay, serve, time};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The agent on one node. Clones share its state.
#[derive(Clone)]
pub struct PodIdentity {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<PodIdentityState>>,
    faults: Faults,
}

#[derive(Default)]
struct PodIdentityState {
    accepted: Option<String>,
    serial: u64,
    credentials_live_ms: i64,
    calls: Vec<AgentCall>,
}

/// One line of the agent's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentCall {
    /// When, by the service's clock.
    pub at_ms: i64,
    /// The token, verbatim.
    pub token: String,
    /// The access key handed out, if one was.
    pub issued: Option<String>,
}

impl PodIdentity {
    /// An agent that accepts any token; its credentials expire after six hours by default.
    pub fn new(clock: Arc<dyn Clock>, seed: u64) -> Self {
        let inner = PodIdentityState { credentials_live_ms: 6 * 3_600_000, ..PodIdentityState::default() };
        Self { clock, state: Arc::new(Mutex::new(inner)), faults: Faults::new(seed) }
    }

    /// Accepts only `token` from now on: the service account's token was rotated. `None` accepts any.
    pub fn accept_only(&self, token: Option<&str>) {
        self.lock().accepted = token.map(str::to_owned);
    }

    /// Credentials issued from now on live this long.
    pub fn set_credentials_lifetime_ms(&self, live_ms: i64) {
        self.lock().credentials_live_ms = live_ms;
    }

    /// Every request so far, with the token it carried.
    pub fn calls(&self) -> Vec<AgentCall> {
        self.lock().calls.clone()
    }

    /// The script of faults.
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    fn lock(&self) -> MutexGuard<'_, PodIdentityState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exchange(&self, token: &str) -> Result<Credentials, (StatusCode, &'static str)> {
        let at_ms = self.clock.now_ms();
        let mut inner = self.lock();
        let refusal = if token.is_empty() {
            Some((StatusCode::BAD_REQUEST, "service account token cannot be empty"))
        } else if inner.accepted.as_ref().is_some_and(|accepted| accepted != token) {
            Some((StatusCode::BAD_REQUEST, "the service account token is expired or not valid"))
        } else {
            None
        };
        let issued = refusal.is_none().then(|| {
            inner.serial += 1;
            Credentials::issue("PODID", inner.serial, at_ms + inner.credentials_live_ms)
        });
        let key = issued.as_ref().map(|credentials| credentials.access_key_id.clone());
        inner.calls.push(AgentCall { at_ms, token: token.to_owned(), issued: key });
        issued.ok_or(refusal.unwrap_or((StatusCode::INTERNAL_SERVER_ERROR, "")))
    }
}

/// The agent as a router: `GET /v1/credentials`.
pub fn router(agent: PodIdentity) -> Router {
    Router::new().route("/v1/credentials", get(credentials)).with_state(agent)
}

async fn credentials(State(agent): State<PodIdentity>, headers: HeaderMap) -> Response {
    let fault = agent.faults.decide(agent.clock.now_ms(), "GetCredentials");
    match apply_delay(fault).await {
        FaultEffect::Serve => {}
        FaultEffect::Reset | FaultEffect::ServeThenReset => return serve::reset_response(),
        FaultEffect::ServeThenHang => std::future::pending().await,
        FaultEffect::Refuse(Fault::AccessDenied) => return text(StatusCode::FORBIDDEN, "access denied".to_owned()),
        FaultEffect::Refuse(Fault::Throttle) => return text(StatusCode::TOO_MANY_REQUESTS, "throttled".to_owned()),
        FaultEffect::Refuse(_) => return text(StatusCode::INTERNAL_SERVER_ERROR, "internal error".to_owned()),
    }
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or("");
    match agent.exchange(token) {
        Ok(credentials) => {
            let document = serde_json::json!({
                "AccessKeyId": credentials.access_key_id,
                "SecretAccessKey": credentials.secret_access_key,
                "Token": credentials.session_token,
                "AccountId": "123456789012",
                "Expiration": time::format_iso(credentials.expires_at_ms / 1000 * 1000),
            });
            let mut response = text(StatusCode::OK, document.to_string());
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err((status, reason)) => text(status, reason.to_owned()),
    }
}

fn text(status: StatusCode, content: String) -> Response {
    let mut response = Response::new(Body::from(content));
    *response.status_mut() = status;
    response
}
