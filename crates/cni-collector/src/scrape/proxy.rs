//! Through the API server: `pods/<name>:<port>/proxy/metrics`, and what its errors mean.

use std::time::Duration;

use cni_metrics_core::text;
use http::header::{ACCEPT, ACCEPT_ENCODING, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Request, StatusCode, request};
use kube::Client;
use kube::client::Body;
use serde::Deserialize;

use super::body;
use super::failure::{Limiter, ScrapeError};
use super::settings::ScrapeSettings;
use crate::discover::Pod;

/// As much of an error's body as is read: enough for a Kubernetes Status that explains a long list of roles.
pub(super) const ERROR_BYTES: usize = 64 << 10;

/// As much of a text as is shown.
const EXCERPT_BYTES: usize = 200;

const AGENT: &str = concat!("cni-metrics-helper/", env!("CARGO_PKG_VERSION"));

#[derive(Clone)]
pub(super) struct Proxy {
    client: Client,
    prefix: String,
    suffix: String,
    budget: body::Budget,
}

impl Proxy {
    pub(super) fn new(client: Client, settings: &ScrapeSettings, budget: body::Budget) -> Self {
        Self {
            client,
            prefix: format!("/api/v1/namespaces/{}/pods/", settings.namespace),
            suffix: format!(":{}/proxy/metrics", settings.port),
            budget,
        }
    }

    pub(super) async fn fetch(&self, pod: &Pod, limit: body::Limit) -> Result<body::Text, ScrapeError> {
        let uri = [self.prefix.as_str(), &pod.name, &self.suffix].concat();
        let request = page_request(Request::get(uri), Body::empty())?;
        let response = self.client.send(request).await.map_err(|error| ScrapeError::from_api_server(&error))?;
        let (head, page) = response.into_parts();
        if head.status == StatusCode::OK {
            return self.budget.read(&head.headers, page, limit).await;
        }
        let body = body::beginning(page, body::Limit { bytes: ERROR_BYTES, ..limit }).await;
        Err(classify(head.status, &head.headers, &body))
    }
}

/// Asks for the text format, compressed if the other end likes.
pub(super) fn page_request<B>(builder: request::Builder, body: B) -> Result<Request<B>, ScrapeError> {
    builder
        .header(ACCEPT, "text/plain;version=0.0.4;q=1,*/*;q=0.1")
        .header(ACCEPT_ENCODING, "gzip")
        .header(USER_AGENT, AGENT)
        .body(body)
        .map_err(|error| ScrapeError::BadPage(format!("the page's address is not valid: {error}")))
}

/// How the API server says that it got no connection to the node. Anything else it reports (EOF, a reset) happened on a
/// connection that it did get.
const UNREACHABLE: [&str; 5] =
    ["i/o timeout", "no route to host", "network is unreachable", "context deadline exceeded", "operation timed out"];

/// The fields that every error of the API server has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    kind: String,
    api_version: String,
    #[serde(rename = "status")]
    outcome: String,
    code: u16,
    #[serde(default)]
    message: String,
}

/// What the API server's own overload protection answers in plain text, always with `Retry-After`.
const OVERLOADED: [&[u8]; 2] =
    [b"Too many requests, please try again later.", b"The apiserver is shutting down, please try again later."];

/// Tells what may be the API server's own answer from what can only be the node's.
///
/// A proof it is not: what a pod answers passes the proxy unchanged, headers and body, and the API server adds its own
/// headers to both. So the errors that accuse the API server are judged once more when the round is over
/// ([`ScrapeError::judged`]).
fn classify(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ScrapeError {
    let code = status.as_u16();
    let own = serde_json::from_slice::<Status>(body).ok().filter(|own| {
        (own.kind.as_str(), own.api_version.as_str(), own.outcome.as_str()) == ("Status", "v1", "Failure")
            && own.code == code
    });
    // A Status that is cut cannot be decoded, and may be the API server's all the same.
    let is_cut = body.len() >= ERROR_BYTES && body.starts_with(br#"{"kind":"Status","apiVersion":"v1","#);
    let is_own = own.is_some() || is_cut;
    let (message, whole) = match &own {
        Some(own) => (excerpt(own.message.as_bytes()), own.message.as_str()),
        None => (excerpt(body), ""),
    };
    let retry_after = retry_after(headers);
    let plain = || OVERLOADED.contains(&body.trim_ascii()) && retry_after.is_some();
    let limited = |is_own: bool| {
        let by = if is_own { Limiter::Unproven } else { Limiter::Node };
        ScrapeError::RateLimited { by, code, message: message.clone(), retry_after }
    };
    let contains = |word: &str| message.contains(word) || whole.contains(word);
    let is_proxy_error = contains("error trying to reach service") || contains("Trying to reach:");
    let has = |words: &[&str]| words.iter().any(|word| contains(word));
    match (code, is_own) {
        (429, _) => limited(is_own || plain()),
        (401 | 403, true) => ScrapeError::Forbidden(message),
        (404, true) => ScrapeError::NotFound(message),
        (500..=504, _) if is_proxy_error && has(&["connection refused"]) => ScrapeError::Refused(message),
        (500..=504, _) if is_proxy_error && has(&UNREACHABLE) => ScrapeError::ProxyUnavailable(message),
        (500..=504, _) if is_proxy_error => ScrapeError::Reset(message),
        (503, _) if retry_after.is_some() => limited(is_own || plain()),
        (code, _) => ScrapeError::BadStatus { code, message },
    }
}

/// What a node answers directly.
pub(super) fn classify_direct(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ScrapeError {
    let (code, message, retry_after) = (status.as_u16(), excerpt(body), retry_after(headers));
    match code {
        429 => ScrapeError::RateLimited { by: Limiter::Node, code, message, retry_after },
        503 if retry_after.is_some() => ScrapeError::RateLimited { by: Limiter::Node, code, message, retry_after },
        _ => ScrapeError::BadStatus { code, message },
    }
}

/// Seconds, as Kubernetes sends it; a date is not understood and counts as absent.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<u32>().ok()?;
    Some(Duration::from_secs(u64::from(seconds)))
}

/// The beginning of a text as one printable line.
pub(super) fn excerpt(body: &[u8]) -> String {
    match body.trim_ascii() {
        [] => "(empty body)".to_owned(),
        body => text::excerpt(body, EXCERPT_BYTES),
    }
}

#[cfg(test)]
mod tests {
    use cni_metrics_core::model::FailureKind;

    use super::*;

    fn kind(code: u16, body: &str) -> FailureKind {
        classify(StatusCode::from_u16(code).unwrap(), &HeaderMap::new(), body.as_bytes()).kind()
    }

    fn status(code: u16, message: &str) -> String {
        let status = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "code": code
        });
        status.to_string()
    }

    fn with_retry_after(code: u16, body: &[u8]) -> ScrapeError {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, http::HeaderValue::from_static("2"))]);
        classify(StatusCode::from_u16(code).unwrap(), &headers, body)
    }

    #[test]
    fn the_api_servers_answers_are_told_from_the_agents() {
        assert_eq!(kind(403, &status(403, "pods \"x:61678\" is forbidden")), FailureKind::Forbidden);
        assert_eq!(kind(403, "forbidden by the agent"), FailureKind::BadStatus);
        assert_eq!(kind(404, &status(404, "pods \"x\" not found")), FailureKind::NotFound);
        assert_eq!(kind(404, "404 page not found"), FailureKind::BadStatus);
        assert_eq!(kind(403, &status(404, "another status than the answer's")), FailureKind::BadStatus);
    }

    #[test]
    fn a_request_to_slow_down_is_never_believed_to_be_the_api_servers_by_itself() {
        for (code, body) in [
            (429, status(429, "Too many requests, please try again later.")),
            (503, status(503, "the server is currently unable to handle the request")),
            (429, "Too many requests, please try again later.\n".to_owned()),
        ] {
            let error = with_retry_after(code, body.as_bytes());
            assert!(error.accuses_api_server(), "{body}");
            assert_eq!(error.kind(), FailureKind::RateLimitedByNode, "{body}");
        }
        for (code, body) in [(429, ""), (429, "slow down"), (503, "busy"), (429, r#"{"kind":"Status"}"#)] {
            let error = with_retry_after(code, body.as_bytes());
            assert!(!error.accuses_api_server(), "{body}");
            assert_eq!(error.kind(), FailureKind::RateLimitedByNode, "{body}");
        }
        assert_eq!(kind(429, ""), FailureKind::RateLimitedByNode);
        assert_eq!(kind(503, "busy"), FailureKind::BadStatus);
        let headers = HeaderMap::from_iter([(RETRY_AFTER, http::HeaderValue::from_static("2"))]);
        let direct = classify_direct(StatusCode::SERVICE_UNAVAILABLE, &headers, b"busy");
        assert_eq!(direct.kind(), FailureKind::RateLimitedByNode);
    }

    #[test]
    fn no_text_of_an_answer_breaks_a_line_or_is_long() {
        let forged =
            "pods is forbidden\n2026-11-27T09:09:09Z  INFO Produce COUNTER metrics: ipamdErr, value: 666.000000\n";
        let long = "role not found\x1b[2J, ".repeat(4_000);
        for message in [forged, long.as_str()] {
            for code in [401, 403, 404, 429, 500, 502, 503] {
                for body in [
                    status(code, message),
                    message.to_owned(),
                    status(code, &format!("error trying to reach service: {message}")),
                ] {
                    let text = with_retry_after(code, body.as_bytes()).to_string();
                    assert!(!text.contains(char::is_control), "{text:?}");
                    assert!(text.len() < 2_000, "{}", text.len());
                }
            }
        }
    }

    #[test]
    fn a_node_out_of_reach_is_told_from_a_closed_port() {
        let refused = "error trying to reach service: dial tcp 10.0.0.1:61678: connect: connection refused";
        assert_eq!(kind(503, &status(503, refused)), FailureKind::ConnectRefused);
        let lost = "error trying to reach service: dial tcp 10.0.0.1:61678: i/o timeout";
        assert_eq!(kind(503, &status(503, lost)), FailureKind::ProxyUnavailable);
        assert_eq!(kind(503, "upstream connect error"), FailureKind::BadStatus);
        let broken = status(503, "error trying to reach service: EOF");
        let error = classify(StatusCode::SERVICE_UNAVAILABLE, &HeaderMap::new(), broken.as_bytes());
        assert!(matches!(error, ScrapeError::Reset(_)), "{error}");
    }

    #[test]
    fn a_status_longer_than_what_is_read_is_still_the_api_servers() {
        let start =
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"pods is forbidden: "#;
        let long = format!("{start}{}", "role not found, ".repeat(20_000));
        let cut = long.as_bytes().get(..ERROR_BYTES).unwrap();
        let error = classify(StatusCode::FORBIDDEN, &HeaderMap::new(), cut);
        assert_eq!(error.kind(), FailureKind::Forbidden);
    }

    #[test]
    fn retry_after_makes_a_503_a_request_to_wait() {
        let error = with_retry_after(503, b"shutting down");
        assert!(
            matches!(error, ScrapeError::RateLimited { retry_after: Some(wait), .. } if wait == Duration::from_secs(2))
        );
    }

    #[test]
    fn an_excerpt_is_one_short_printable_line() {
        assert_eq!(excerpt(b"<html>\n\x1b[31mno\n"), "<html>\\n\\u{1b}[31mno");
        assert_eq!(excerpt(&[b'x'; 5000]).chars().count(), EXCERPT_BYTES + 1);
        assert_eq!(excerpt(b""), "(empty body)");
    }
}
