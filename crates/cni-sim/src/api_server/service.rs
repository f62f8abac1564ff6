//! One request: faults, authentication, authorization, answer.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::sync::watch;

use super::access::{ADMIN, AccessControl, Action, User};
use super::backend::SharedBackend;
use super::body::{self, Body};
use super::connection::ConnectionState;
use super::listen::{Ends, Handler};
use super::negotiate::{Format, accepts_gzip};
use super::options::ApiServerOptions;
use super::proxy::{self, ProxyRequest};
use super::route::{Query, Route, verb};
use super::selector::Selector;
use super::status::Status;
use super::table::{IncludeObject, TableStyle};
use super::watch::WatchRequest;
use super::write::LeaseWrite;
use super::{discovery, read, review, watch as watching};
use crate::fault::ApiFault;
use crate::kube_store::{Kind, ObjectKey};
use cni_types::random::Random;

/// Larger request bodies are refused, as etcd would.
const MAX_REQUEST_BYTES: usize = 1_572_864;

/// The API server's request handler.
pub(crate) struct Service {
    pub(crate) backend: SharedBackend,
    pub(crate) access: Arc<AccessControl>,
    pub(crate) options: ApiServerOptions,
    pub(crate) down: watch::Sender<bool>,
    pub(crate) counts: Mutex<BTreeMap<String, u64>>,
    pub(crate) refusals: Mutex<BTreeMap<String, u64>>,
    pub(crate) sequence: AtomicU64,
}

impl Handler for Service {
    fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        _ends: Ends,
        connection: Arc<ConnectionState>,
    ) -> Pin<Box<dyn Future<Output = io::Result<Response<Body>>> + Send>> {
        Box::pin(async move {
            let fault = self.backend.api_fault();
            let mut response = match self.gate(&fault, &connection).await? {
                Some(refused) => refused.into_response(),
                None => self.answer(request, &fault, &connection).await.unwrap_or_else(Status::into_response),
            };
            response.headers_mut().insert(header::DATE, http_date(self.backend.now_ms()));
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
            Ok(response)
        })
    }
}

/// The simulated time as a `Date` header.
pub(crate) fn http_date(now_ms: i64) -> HeaderValue {
    let now = jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default();
    let text = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap_or_default();
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// A request, taken apart.
struct ApiRequest<'a> {
    method: &'a Method,
    headers: &'a HeaderMap,
    query: Query,
    user: User,
    fault: &'a ApiFault,
    body: Bytes,
}

impl ApiRequest<'_> {
    fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl Service {
    pub(crate) fn requests(&self) -> BTreeMap<String, u64> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn refusals(&self) -> BTreeMap<String, u64> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a fault of the whole server does to a request before it is read.
    async fn gate(&self, fault: &ApiFault, connection: &ConnectionState) -> io::Result<Option<Status>> {
        match fault {
            ApiFault::Down => {
                self.down.send_replace(true);
                connection.reset_on_close();
                Err(body::cut())
            }
            ApiFault::Latency { delay_ms } => {
                tokio::time::sleep(Duration::from_millis(u64::from(*delay_ms))).await;
                Ok(None)
            }
            ApiFault::Status { code, retry_after_s, share } => {
                let hit = fraction(self.sequence.fetch_add(1, Ordering::Relaxed)) < *share;
                Ok(hit.then(|| Status::fault(*code, *retry_after_s)))
            }
            ApiFault::None | ApiFault::Deny { .. } => Ok(None),
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        fault: &ApiFault,
        connection: &Arc<ConnectionState>,
    ) -> Result<Response<Body>, Status> {
        let (parts, body) = request.into_parts();
        let route = Route::parse(parts.uri.path());
        let authorization = parts.headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap_or_default());
        let user = match self.access.authenticate(authorization) {
            Some(user) => user,
            // Anonymous callers may ask how the server is.
            None if authorization.is_none() && matches!(route, Route::Health | Route::Version) => {
                User { name: ADMIN.to_owned(), allowed: None }
            }
            None => return Err(Status::unauthorized()),
        };
        let body = Limited::new(body, MAX_REQUEST_BYTES).collect().await.map_err(|_| {
            Status::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", "request body is too large")
        })?;
        let call = ApiRequest {
            method: &parts.method,
            headers: &parts.headers,
            query: Query::parse(parts.uri.query()),
            user,
            fault,
            body: body.to_bytes(),
        };
        match route {
            Route::Health => Ok(body::with_type(StatusCode::OK, "text/plain; charset=utf-8", body::full("ok"))),
            Route::Version => Ok(discovery::version()),
            Route::Document(path) => discovery::document(&path, call.header(header::HOST)),
            Route::Review(resource) if call.method == Method::POST => {
                let allows = |action: &Action<'_>| self.permits(&call, action);
                review::answer(&resource, &call.body, &call.user, allows)
            }
            Route::Review(_) => Err(Status::method_not_allowed()),
            Route::Proxy { namespace, target, path } => self.proxy(&call, &namespace, &target, &path, connection).await,
            Route::Objects { kind, namespace, name } => {
                self.objects(&call, kind, namespace.as_deref(), name.as_deref())
            }
            Route::Unknown => Err(Status::no_such_path()),
        }
    }

    async fn proxy(
        &self,
        call: &ApiRequest<'_>,
        namespace: &str,
        target: &str,
        path: &str,
        connection: &Arc<ConnectionState>,
    ) -> Result<Response<Body>, Status> {
        let verb = match *call.method {
            Method::GET | Method::HEAD => "get",
            Method::POST => "create",
            _ => return Err(Status::method_not_allowed()),
        };
        self.authorize(call, &Action { verb, group: "", resource: "pods/proxy", namespace, name: target })?;
        let gzip = accepts_gzip(call.header(header::ACCEPT_ENCODING));
        let dial_timeout = self.options.dial_timeout;
        proxy::serve(&self.backend, &ProxyRequest { namespace, target, path, gzip, dial_timeout }, connection).await
    }

    fn objects(
        &self,
        call: &ApiRequest<'_>,
        kind: Kind,
        namespace: Option<&str>,
        name: Option<&str>,
    ) -> Result<Response<Body>, Status> {
        let watch = call.query.flag("watch");
        let verb = verb(call.method, name.is_some(), watch).ok_or_else(Status::method_not_allowed)?;
        let key = ObjectKey::new(namespace.unwrap_or_default(), name.unwrap_or_default());
        let (group, resource) = (kind.group(), kind.plural());
        self.authorize(call, &Action { verb, group, resource, namespace: &key.namespace, name: &key.name })?;
        let format = Format::negotiate(call.header(header::ACCEPT));
        let style = TableStyle {
            version: if let Format::Table(version) = format { version } else { "v1" },
            include: IncludeObject::parse(call.query.get("includeObject")),
            now_ms: self.backend.now_ms(),
        };
        let kube = self.backend.kube();
        match verb {
            "get" => Ok(read::get(kube, kind, &key, format, style)),
            "list" => {
                let selector = selector(call, kind, namespace, name)?;
                read::list(kube, kind, &selector, &call.query, (format, style), namespace)
            }
            "watch" => {
                let request = WatchRequest {
                    kind,
                    selector: selector(call, kind, namespace, name)?,
                    format,
                    style,
                    bookmark_interval: self.options.bookmark_interval,
                    default_timeout: self.options.watch_timeout,
                    gone_over_http: self.options.gone_over_http,
                };
                watching::start(Arc::clone(&self.backend), request, &call.query)
            }
            _ if kind == Kind::Lease => {
                let write = LeaseWrite { kube, namespace: &key.namespace, now_ms: style.now_ms, format, style };
                match verb {
                    "create" => write.create(&call.body),
                    "update" => write.update(&key.name, &call.body),
                    "patch" => {
                        write.patch(&key.name, call.header(header::CONTENT_TYPE).unwrap_or_default(), &call.body)
                    }
                    _ => write.delete(&key.name, &call.body),
                }
            }
            _ => Err(Status::method_not_allowed()),
        }
    }

    /// Counts what is asked for, then refuses it or not.
    fn authorize(&self, call: &ApiRequest<'_>, action: &Action<'_>) -> Result<(), Status> {
        self.count(action);
        if self.permits(call, action) {
            return Ok(());
        }
        let Action { verb, resource, namespace, .. } = action;
        let place = if namespace.is_empty() { String::new() } else { format!(" in {namespace}") };
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        *refusals.entry(format!("{verb} {resource}{place}")).or_default() += 1;
        drop(refusals);
        Err(Status::new(StatusCode::FORBIDDEN, "Forbidden", action.refusal(&call.user.name)).about(action))
    }

    fn count(&self, action: &Action<'_>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        // Nearly all requests are for pages: these must not cost an allocation each.
        if let ("get", "pods/proxy") = (action.verb, action.resource)
            && let Some(count) = counts.get_mut("get pods/proxy")
        {
            *count += 1;
            return;
        }
        *counts.entry(format!("{} {}", action.verb, action.resource)).or_default() += 1;
    }

    fn permits(&self, call: &ApiRequest<'_>, action: &Action<'_>) -> bool {
        let refused = matches!(call.fault, ApiFault::Deny { verb, resource } if action.is(verb, resource));
        !refused && self.access.allows(&call.user, action)
    }
}

fn selector(
    call: &ApiRequest<'_>,
    kind: Kind,
    namespace: Option<&str>,
    name: Option<&str>,
) -> Result<Selector, Status> {
    let (labels, fields) = (call.query.get("labelSelector"), call.query.get("fieldSelector"));
    let parsed = Selector::parse(namespace, name, labels, fields);
    parsed.and_then(|selector| selector.check_fields(kind).map(|()| selector)).map_err(|error| {
        Status::bad_request(format!(
            "Unable to find \"{}, Resource={}\" that match label selector {:?}, field selector {:?}: {error}",
            kind.api_version(),
            kind.plural(),
            labels.unwrap_or_default(),
            fields.unwrap_or_default()
        ))
    })
}

/// A number in [0, 1) for the n-th request, the same in every run: decides whether a fault that affects a share of the
/// requests affects this one.
fn fraction(sequence: u64) -> f64 {
    Random::new(0).skip(sequence).fraction()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_requests_is_about_that_share() {
        let hits = (0..10_000).filter(|n| fraction(*n) < 0.3).count();
        assert!((2_850..3_150).contains(&hits), "{hits}");
        assert!((0..10_000).all(|n| fraction(n) < 1.0));
    }

    #[test]
    fn the_date_is_the_simulated_one() {
        assert_eq!(http_date(784_111_777_000), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
