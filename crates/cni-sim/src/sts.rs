//! STS: a web identity token becomes credentials (IRSA), and callers learn who they are.

use crate::aws::doc::Doc;
use crate::aws::error::AwsError;
use crate::aws::fault::Faults;
use crate::aws::identity::Credentials;
use crate::aws::{Clock, FaultEffect, apply_delay, auth, body, form, query, request_id, serve};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const XML_NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
const MAX_BODY_BYTES: usize = 64 * 1024;
const ACCOUNT: &str = "123456789012";

/// The service. Clones share its state.
#[derive(Clone)]
pub struct Sts {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<StsState>>,
    faults: Faults,
}

#[derive(Default)]
struct StsState {
    accepted: Option<String>,
    serial: u64,
    credentials_live_ms: Option<i64>,
    calls: Vec<StsCall>,
}

/// One exchange of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsCall {
    /// When, by the service's clock.
    pub at_ms: i64,
    /// The role asked for.
    pub role_arn: String,
    /// The session's name.
    pub session_name: String,
    /// The token, verbatim.
    pub token: String,
    /// The access key handed out, if one was.
    pub issued: Option<String>,
}

impl Sts {
    /// A service that accepts any non-empty token.
    pub fn new(clock: Arc<dyn Clock>, seed: u64) -> Self {
        Self { clock, state: Arc::default(), faults: Faults::new(seed) }
    }

    /// Accepts only `token` from now on, as after a rotation; `None` accepts any.
    pub fn accept_only(&self, token: Option<&str>) {
        self.lock().accepted = token.map(str::to_owned);
    }

    /// Credentials issued from now on live this long, whatever the caller asks for; `None` does as asked.
    pub fn set_credentials_lifetime_ms(&self, live_ms: Option<i64>) {
        self.lock().credentials_live_ms = live_ms;
    }

    /// Every exchange so far.
    pub fn calls(&self) -> Vec<StsCall> {
        self.lock().calls.clone()
    }

    /// The script of faults.
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    fn lock(&self) -> MutexGuard<'_, StsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, headers: &HeaderMap, operation: &str, input: &Doc) -> Result<Doc, AwsError> {
        match operation {
            "AssumeRoleWithWebIdentity" => self.assume(input),
            "GetCallerIdentity" => {
                let caller = auth::check(headers, "sts", self.clock.now_ms())?;
                Ok(Doc::map([
                    ("UserId", Doc::Text(format!("AROASIM:{}", caller.access_key_id))),
                    ("Account", Doc::text(ACCOUNT)),
                    ("Arn", Doc::Text(format!("arn:aws:sts::{ACCOUNT}:assumed-role/sim/{}", caller.access_key_id))),
                ]))
            }
            other => {
                let message = format!("Could not find operation {other} for version 2011-06-15");
                Err(AwsError::new(400, "InvalidAction", message))
            }
        }
    }

    fn assume(&self, input: &Doc) -> Result<Doc, AwsError> {
        let required = |name: &str| {
            let value = input.get(name).and_then(Doc::as_text).filter(|value| !value.is_empty());
            let missing = || {
                AwsError::new(
                    400,
                    "ValidationError",
                    format!("Value null at '{name}' failed to satisfy constraint: Member must not be null"),
                )
            };
            value.map(str::to_owned).ok_or_else(missing)
        };
        let (role_arn, session_name) = (required("RoleArn")?, required("RoleSessionName")?);
        let token = required("WebIdentityToken")?;
        let duration_s = input.get("DurationSeconds").map_or(Some(3600), Doc::as_i64);
        let Some(duration_s) = duration_s.filter(|seconds| (900..=43_200).contains(seconds)) else {
            return Err(AwsError::new(400, "ValidationError", "DurationSeconds must be between 900 and 43200"));
        };
        let Some((_, role)) = role_arn.split_once(":role/") else {
            return Err(AwsError::new(400, "ValidationError", format!("{role_arn} is invalid")));
        };
        let assumed = format!("arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{session_name}");
        let at_ms = self.clock.now_ms();
        let mut inner = self.lock();
        let valid = inner.accepted.as_ref().is_none_or(|accepted| *accepted == token);
        let live_ms = inner.credentials_live_ms.unwrap_or(duration_s * 1000);
        inner.serial += 1;
        let credentials = Credentials::issue("STS", inner.serial, at_ms + live_ms);
        let issued = valid.then(|| credentials.access_key_id.clone());
        inner.calls.push(StsCall { at_ms, role_arn, session_name, token, issued });
        if !valid {
            return Err(AwsError::new(400, "ExpiredTokenException", "Token expired or not valid any more"));
        }
        Ok(Doc::map([
            ("Credentials", credentials_doc(&credentials)),
            ("AssumedRoleUser", Doc::map([("Arn", Doc::Text(assumed)), ("AssumedRoleId", Doc::text("AROASIM:sim"))])),
            ("SubjectFromWebIdentityToken", Doc::text("system:serviceaccount:kube-system:cni-metrics-helper")),
            ("Provider", Doc::text("oidc.eks")),
            ("Audience", Doc::text("sts.amazonaws.com")),
        ]))
    }
}

fn credentials_doc(credentials: &Credentials) -> Doc {
    Doc::map([
        ("AccessKeyId", Doc::text(credentials.access_key_id.as_str())),
        ("SecretAccessKey", Doc::text(credentials.secret_access_key.as_str())),
        ("SessionToken", Doc::text(credentials.session_token.as_str())),
        ("Expiration", Doc::Time(credentials.expires_at_ms / 1000 * 1000)),
    ])
}

/// The service as a router.
pub fn router(sts: Sts) -> Router {
    Router::new().fallback(handle).with_state(sts)
}

async fn handle(State(sts): State<Sts>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let read = body::read(&parts.headers, body, MAX_BODY_BYTES).await.and_then(|payload| {
        let query = parts.uri.query().unwrap_or("").as_bytes();
        form::decode(if parts.method == Method::GET { query } else { &payload.content }).map_err(AwsError::malformed)
    });
    let input = match read {
        Ok(input) => input,
        Err(error) => return respond("", Err(error)),
    };
    let operation = input.get("Action").and_then(Doc::as_text).unwrap_or("");
    match apply_delay(sts.faults.decide(sts.clock.now_ms(), operation)).await {
        FaultEffect::Serve => respond(operation, sts.answer(&parts.headers, operation, &input)),
        FaultEffect::Refuse(fault) => {
            let error = AwsError::of_fault(&fault, &format!("sts:{operation}"));
            respond(operation, Err(error.unwrap_or_else(|| AwsError::new(500, "InternalFailure", "unscripted fault"))))
        }
        FaultEffect::Reset | FaultEffect::ServeThenReset => serve::reset_response(),
        FaultEffect::ServeThenHang => std::future::pending().await,
    }
}

fn respond(operation: &str, answer: Result<Doc, AwsError>) -> Response {
    let id = request_id();
    let (status, xml) = match answer {
        Ok(output) => (200, query::success(XML_NAMESPACE, operation, Some(&output), &id)),
        Err(error) => (error.status, query::failure(XML_NAMESPACE, &error, &id)),
    };
    let mut response = Response::new(Body::from(xml));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    response
}
