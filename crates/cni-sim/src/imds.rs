//! The instance metadata service, version 2: a token first, then the instance's own story. Version 1 is not offered.
//!
//! Real trouble with it is rarely an error answer: a container behind a hop limit of 1 asks for a token and hears
//! nothing, a network policy drops the packets, a firewall refuses them. [`Mode`] has each.

use crate::aws::identity::{Credentials, Identity};
use crate::aws::{Clock, serve, time};
use crate::port::HeldPort;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How the service behaves, seen from the helper's pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// As documented.
    #[default]
    Normal,
    /// Hop limit 1 seen from a container: the answer to a token request never arrives.
    HopLimited,
    /// Nothing listens.
    Refused,
    /// Connections are taken, nothing is ever answered.
    Blackhole,
    /// As documented, with instance tags switched off in the metadata.
    TagsOff,
    /// HTTP 500 to everything.
    ServerError,
}

/// One instance's metadata service. Clones share its state.
#[derive(Clone)]
pub struct Imds {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<ImdsState>>,
    mode: watch::Sender<Mode>,
}

struct ImdsState {
    identity: Identity,
    /// Token to the time it expires.
    tokens: BTreeMap<String, i64>,
    serial: u64,
    credentials: Option<Credentials>,
    credentials_live_ms: i64,
    log: Vec<ImdsRequest>,
}

/// One line of the request log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImdsRequest {
    /// When, by the service's clock.
    pub at_ms: i64,
    /// `GET` or `PUT`.
    pub method: String,
    /// The path.
    pub path: String,
    /// The status answered; `None` if nothing was.
    pub status: Option<u16>,
}

const TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";
/// How often listening is tried again where file descriptors are short.
const RETRY: Duration = Duration::from_millis(20);
const MAX_TTL_S: i64 = 21_600;

impl Imds {
    /// The service of one instance. Its role's credentials expire after six hours by default.
    pub fn new(clock: Arc<dyn Clock>, identity: Identity) -> Self {
        let inner = ImdsState {
            identity,
            tokens: BTreeMap::new(),
            serial: 0,
            credentials: None,
            credentials_live_ms: 6 * 3_600_000,
            log: Vec::new(),
        };
        Self { clock, state: Arc::new(Mutex::new(inner)), mode: watch::Sender::new(Mode::Normal) }
    }

    /// Changes the behaviour; a running [`serve()`] follows at once.
    pub fn set_mode(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// The behaviour now.
    pub fn mode(&self) -> Mode {
        *self.mode.borrow()
    }

    /// Changes the instance's identity: its tags, its role.
    pub fn update(&self, change: impl FnOnce(&mut Identity)) {
        change(&mut self.lock().identity);
    }

    /// Credentials issued from now on live this long; those out are withdrawn.
    pub fn set_credentials_lifetime_ms(&self, live_ms: i64) {
        let mut inner = self.lock();
        inner.credentials_live_ms = live_ms;
        inner.credentials = None;
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<ImdsRequest> {
        self.lock().log.clone()
    }

    fn lock(&self) -> MutexGuard<'_, ImdsState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self, method: &Method, path: &str, status: Option<u16>) {
        let at_ms = self.clock.now_ms();
        self.lock().log.push(ImdsRequest { at_ms, method: method.to_string(), path: path.to_owned(), status });
    }
}

/// The service as a router. [`Mode::Refused`] needs [`serve()`]; a router alone can only reset.
pub fn router(imds: Imds) -> Router {
    Router::new().fallback(handle).with_state(imds)
}

/// Serves on the port until `shutdown`. While the mode is [`Mode::Refused`] nothing listens there, and the port is held.
/// It listens from this call on, before the future is polled, so that a client may connect at once.
pub fn serve(port: HeldPort, imds: Imds, shutdown: CancellationToken) -> impl Future<Output = ()> + Send {
    let is_open = *imds.mode.borrow() != Mode::Refused;
    let listener = if is_open { port.listen().ok() } else { None };
    serve_from(listener, port, imds, shutdown)
}

async fn serve_from(mut first: Option<TcpListener>, port: HeldPort, imds: Imds, shutdown: CancellationToken) {
    let mut mode = imds.mode.subscribe();
    loop {
        if *mode.borrow_and_update() == Mode::Refused {
            first = None;
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = mode.changed() => continue,
            }
        }
        // The port is ours: this can fail for want of file descriptors only, and they come back.
        let Some(listener) = first.take().or_else(|| port.listen().ok()) else {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(RETRY) => continue,
            }
        };
        let refused = shutdown.child_token();
        let serving = serve::serve(listener, router(imds.clone()), refused.clone());
        tokio::pin!(serving);
        let closed = async { while mode.changed().await.is_ok() && *mode.borrow() != Mode::Refused {} };
        tokio::select! {
            () = &mut serving => return,
            () = closed => {
                refused.cancel();
                serving.await;
                // The mode may have changed back meanwhile; the next turn looks again.
                mode.mark_changed();
            }
        }
    }
}

async fn handle(State(imds): State<Imds>, request: Request) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let asks_token = path == "/latest/api/token";
    match imds.mode() {
        Mode::Refused => {
            imds.log(&method, &path, None);
            return serve::reset_response();
        }
        Mode::Blackhole => {
            imds.log(&method, &path, None);
            return std::future::pending().await;
        }
        // The request gets through; the answer's packets die on the way back into the container.
        Mode::HopLimited if asks_token => {
            imds.log(&method, &path, None);
            return std::future::pending().await;
        }
        Mode::ServerError => {
            imds.log(&method, &path, Some(500));
            return plain(StatusCode::INTERNAL_SERVER_ERROR, "500 - Internal Server Error");
        }
        Mode::Normal | Mode::TagsOff | Mode::HopLimited => {}
    }
    let response = match (method.clone(), asks_token) {
        (Method::PUT, true) => imds.issue_token(request.headers()),
        (Method::GET, false) if imds.token_is_good(request.headers()) => imds.metadata(&path),
        (Method::GET, false) => plain(StatusCode::UNAUTHORIZED, "401 - Unauthorized"),
        _ => plain(StatusCode::METHOD_NOT_ALLOWED, "405 - Method Not Allowed"),
    };
    imds.log(&method, &path, Some(response.status().as_u16()));
    response
}

impl Imds {
    fn issue_token(&self, headers: &HeaderMap) -> Response {
        // A forwarded request comes from a proxy, and IMDSv2 exists to refuse those.
        if headers.contains_key("x-forwarded-for") {
            return plain(StatusCode::FORBIDDEN, "403 - Forbidden");
        }
        let ttl = headers.get(TTL_HEADER).and_then(|value| value.to_str().ok()).and_then(|ttl| ttl.parse::<i64>().ok());
        let Some(ttl_s) = ttl.filter(|ttl_s| (1..=MAX_TTL_S).contains(ttl_s)) else {
            return plain(StatusCode::BAD_REQUEST, "400 - Bad Request");
        };
        let now_ms = self.clock.now_ms();
        let mut inner = self.lock();
        inner.serial += 1;
        let token = format!("SIMIMDS{:049}==", inner.serial);
        inner.tokens.retain(|_, expires_ms| *expires_ms > now_ms);
        inner.tokens.insert(token.clone(), now_ms + ttl_s * 1000);
        let mut response = plain(StatusCode::OK, &token);
        response.headers_mut().insert(TTL_HEADER, HeaderValue::from(ttl_s));
        response
    }

    fn token_is_good(&self, headers: &HeaderMap) -> bool {
        let Some(token) = headers.get(TOKEN_HEADER).and_then(|value| value.to_str().ok()) else { return false };
        self.lock().tokens.get(token).is_some_and(|expires_ms| *expires_ms > self.clock.now_ms())
    }

    fn metadata(&self, path: &str) -> Response {
        if path == "/latest/dynamic/instance-identity/document" {
            return plain(StatusCode::OK, &self.identity_document());
        }
        let found = path.strip_prefix("/latest/meta-data/").and_then(|item| self.item(item));
        found.map_or_else(|| plain(StatusCode::NOT_FOUND, "404 - Not Found"), |text| plain(StatusCode::OK, &text))
    }

    /// The text of a metadata item, or a category's listing; listings have their slash optional.
    fn item(&self, item: &str) -> Option<String> {
        if let Some(tail) = item.strip_prefix("tags/instance") {
            let tags = (self.mode() != Mode::TagsOff).then(|| self.lock().identity.tags.clone())?;
            return match tail.strip_prefix('/') {
                None | Some("") if tags.is_empty() => None,
                None | Some("") => Some(tags.into_keys().collect::<Vec<_>>().join("\n")),
                Some(key) => tags.get(&percent_decoded(key)).cloned(),
            };
        }
        if let Some(tail) = item.strip_prefix("iam/security-credentials") {
            return self.role(tail.strip_prefix('/').unwrap_or(""));
        }
        let identity = self.lock().identity.clone();
        match item.trim_end_matches('/') {
            "" => Some("iam/\ninstance-id\ninstance-type\nlocal-ipv4\nplacement/\ntags/".to_owned()),
            "placement" => Some("availability-zone\nregion".to_owned()),
            "placement/region" => Some(identity.region),
            "placement/availability-zone" => Some(identity.availability_zone),
            "instance-id" => Some(identity.instance_id),
            "instance-type" => Some(identity.instance_type),
            "local-ipv4" => Some(identity.private_ip),
            "services/domain" => Some("amazonaws.com".to_owned()),
            "services/partition" => Some("aws".to_owned()),
            _ => None,
        }
    }

    fn role(&self, asked: &str) -> Option<String> {
        let role = self.lock().identity.role_name.clone()?;
        if asked.is_empty() {
            return Some(role);
        }
        (asked == role).then(|| credentials_document(&self.credentials(), self.clock.now_ms()))
    }

    /// The role's credentials; new ones once fewer than five minutes (or half their life) are left, as AWS rotates them.
    fn credentials(&self) -> Credentials {
        let now_ms = self.clock.now_ms();
        let mut inner = self.lock();
        let margin_ms = 300_000.min(inner.credentials_live_ms / 2);
        if let Some(current) = inner.credentials.as_ref().filter(|current| current.expires_at_ms - now_ms > margin_ms) {
            return current.clone();
        }
        inner.serial += 1;
        let fresh = Credentials::issue("IMDS", inner.serial, now_ms + inner.credentials_live_ms);
        inner.credentials = Some(fresh.clone());
        fresh
    }

    fn identity_document(&self) -> String {
        let identity = self.lock().identity.clone();
        serde_json::json!({
            "accountId": identity.account_id,
            "architecture": "x86_64",
            "availabilityZone": identity.availability_zone,
            "instanceId": identity.instance_id,
            "instanceType": identity.instance_type,
            "privateIp": identity.private_ip,
            "region": identity.region,
            "version": "2017-09-30",
        })
        .to_string()
    }
}

fn credentials_document(credentials: &Credentials, now_ms: i64) -> String {
    serde_json::json!({
        "Code": "Success",
        "Type": "AWS-HMAC",
        "LastUpdated": time::format_iso(now_ms / 1000 * 1000),
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key,
        "Token": credentials.session_token,
        "Expiration": time::format_iso(credentials.expires_at_ms / 1000 * 1000),
    })
    .to_string()
}

/// Tag keys contain colons, which some clients escape.
fn percent_decoded(text: &str) -> String {
    let query = format!("k={}", text.replace('+', "%2B"));
    form_urlencoded::parse(query.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

fn plain(status: StatusCode, text: &str) -> Response {
    let mut response = Response::new(Body::from(text.to_owned()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
