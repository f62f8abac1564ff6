//! Through the API server: `pods/<name>:<port>/proxy/metrics`, and what its errors mean.

use std::time::Duration;

use http::header::{ACCEPT, ACCEPT_ENCODING, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Request, StatusCode, request};
use kube::Client;
use kube::client::Body;
use serde::Deserialize;

use super::failure::ScrapeError;
use super::{ScrapeSettings, body};
use crate::discover::Pod;

/// As much of an error's body as is read: enough for a Kubernetes Status that explains a long list of roles.
pub(super) const ERROR_BYTES: usize = 64 << 10;

/// As much of a text as is shown.
const EXCERPT_CHARS: usize = 200;

const AGENT: &str = concat!("cni-metrics-helper/", env!("CARGO_PKG_VERSION"));

#[derive(Clone)]
pub(super) struct Proxy {
    client: Client,
    prefix: String,
    suffix: String,
    max_bytes: usize,
    budget: body::Budget,
}

impl Proxy {
    pub(super) fn new(client: Client, settings: &ScrapeSettings, budget: body::Budget) -> Self {
        Self {
            client,
            prefix: format!("/api/v1/namespaces/{}/pods/", settings.namespace),
            suffix: format!(":{}/proxy/metrics", settings.port),
            max_bytes: settings.max_bytes,
            budget,
        }
    }

    pub(super) async fn fetch(&self, pod: &Pod) -> Result<Vec<u8>, ScrapeError> {
        let uri = [self.prefix.as_str(), &pod.name, &self.suffix].concat();
        let request = page_request(Request::get(uri), Body::empty())?;
        let response = self.client.send(request).await.map_err(|error| ScrapeError::from_api_server(&error))?;
        let (head, page) = response.into_parts();
        if head.status == StatusCode::OK {
            return self.budget.read(&head.headers, page, self.max_bytes).await;
        }
        let text = body::beginning(page, ERROR_BYTES).await;
        Err(classify(head.status, &head.headers, &text))
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

#[derive(Deserialize)]
struct Status {
    kind: String,
    #[serde(default)]
    message: String,
}

/// Tells the API server's own answers (a Kubernetes Status) from the agent's.
fn classify(status: StatusCode, headers: &HeaderMap, text: &[u8]) -> ScrapeError {
    let own = serde_json::from_slice::<Status>(text).ok().filter(|answer| answer.kind == "Status");
    // A Status that is cut cannot be decoded, and is the API server's all the same.
    let is_own = own.is_some() || (text.len() >= ERROR_BYTES && excerpt(text).contains(r#""kind":"Status""#));
    let message = own.map_or_else(|| excerpt(text), |answer| answer.message);
    let retry_after = retry_after(headers);
    let is_proxy_error = message.contains("error trying to reach service") || message.contains("Trying to reach:");
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    match (status.as_u16(), is_own) {
        (429, _) => ScrapeError::Throttled { message, retry_after },
        (401 | 403, true) => ScrapeError::Forbidden(message),
        (404, true) => ScrapeError::NotFound(message),
        (500..=504, _) if is_proxy_error && has(&["connection refused"]) => ScrapeError::Refused(message),
        (500..=504, _) if is_proxy_error && has(&UNREACHABLE) => ScrapeError::ProxyUnavailable(message),
        (500..=504, _) if is_proxy_error => ScrapeError::Broken(message),
        (503, _) if retry_after.is_some() => ScrapeError::Throttled { message, retry_after },
        (code, _) => ScrapeError::BadStatus { code, message },
    }
}

/// Seconds, as Kubernetes sends it; a date is not understood and counts as absent.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<u32>().ok()?;
    Some(Duration::from_secs(u64::from(seconds)))
}

/// The beginning of a text as one printable line.
pub(super) fn excerpt(text: &[u8]) -> String {
    let lossy = String::from_utf8_lossy(text);
    let line: String = lossy.chars().map(|c| if c.is_control() { ' ' } else { c }).take(EXCERPT_CHARS).collect();
    match line.trim() {
        "" => "(empty body)".to_owned(),
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use cni_metrics_core::model::FailureKind;

    use super::*;

    fn kind(code: u16, body: &str) -> FailureKind {
        classify(StatusCode::from_u16(code).unwrap(), &HeaderMap::new(), body.as_bytes()).kind()
    }

    fn status(message: &str) -> String {
        serde_json::json!({"kind": "Status", "apiVersion": "v1", "message": message}).to_string()
    }

    #[test]
    fn the_api_servers_answers_are_told_from_the_agents() {
        assert_eq!(kind(403, &status("pods \"x:61678\" is forbidden")), FailureKind::Forbidden);
        assert_eq!(kind(403, "forbidden by the agent"), FailureKind::BadStatus);
        assert_eq!(kind(404, &status("pods \"x\" not found")), FailureKind::NotFound);
        assert_eq!(kind(404, "404 page not found"), FailureKind::BadStatus);
        assert_eq!(kind(429, ""), FailureKind::Throttled);
    }

    #[test]
    fn a_node_out_of_reach_is_told_from_a_closed_port() {
        let refused = "error trying to reach service: dial tcp 10.0.0.1:61678: connect: connection refused";
        assert_eq!(kind(503, &status(refused)), FailureKind::ConnectRefused);
        let lost = "error trying to reach service: dial tcp 10.0.0.1:61678: i/o timeout";
        assert_eq!(kind(503, &status(lost)), FailureKind::ProxyUnavailable);
        assert_eq!(kind(503, "upstream connect error"), FailureKind::BadStatus);
        let broken = status("error trying to reach service: EOF");
        let error = classify(StatusCode::SERVICE_UNAVAILABLE, &HeaderMap::new(), broken.as_bytes());
        assert!(matches!(error, ScrapeError::Broken(_)), "{error}");
    }

    #[test]
    fn a_status_longer_than_what_is_read_is_still_the_api_servers() {
        let long = status(&format!("pods is forbidden: {}", "role not found, ".repeat(20_000)));
        let cut = long.as_bytes().get(..ERROR_BYTES).unwrap();
        let error = classify(StatusCode::FORBIDDEN, &HeaderMap::new(), cut);
        assert_eq!(error.kind(), FailureKind::Forbidden);
    }

    #[test]
    fn retry_after_makes_a_503_a_request_to_wait() {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, http::HeaderValue::from_static("2"))]);
        let error = classify(StatusCode::SERVICE_UNAVAILABLE, &headers, b"shutting down");
        assert!(
            matches!(error, ScrapeError::Throttled { retry_after: Some(wait), .. } if wait == Duration::from_secs(2))
        );
    }

    #[test]
    fn an_excerpt_is_one_short_printable_line() {
        assert_eq!(excerpt(b"<html>\n\x1b[31mno"), "<html>  [31mno");
        assert_eq!(excerpt(&[b'x'; 5000]).len(), EXCERPT_CHARS);
        assert_eq!(excerpt(b""), "(empty body)");
    }
}
