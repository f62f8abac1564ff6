//! The pod proxy: `pods/[scheme:]name[:port]/proxy/path`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use tokio::time::sleep;

use super::backend::SharedBackend;
use super::body::{self, Body};
use super::connection::ConnectionState;
use super::scrape::{self, ScrapeOutcome};
use super::status::Status;
use crate::answer::{PodKey, Via};
use crate::kube_store::ObjectKey;

/// One request through the proxy.
pub(crate) struct ProxyRequest<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) target: &'a str,
    pub(crate) path: &'a str,
    pub(crate) gzip: bool,
    /// How long the server tries to reach a pod that does not answer its SYN.
    pub(crate) dial_timeout: Duration,
}

/// Serves it.
pub(crate) async fn serve(
    backend: &SharedBackend,
    request: &ProxyRequest<'_>,
    connection: &Arc<ConnectionState>,
) -> Result<Response<Body>, Status> {
    let Some((scheme, name, port)) = split_target(request.target) else {
        return Err(Status::bad_request(format!("invalid pod request {:?}", request.target)));
    };
    let pod_key = PodKey::new(request.namespace, name);
    let missing = || Status::not_found("", "pods", name);
    let pod = backend.kube().pod(&ObjectKey::from(&pod_key)).ok_or_else(missing)?;
    let Some(ip) = pod.pod_ip else { return Err(Status::bad_request("address not allowed")) };
    let first_port =
        pod.template.containers.iter().flat_map(|container| &container.ports).map(|(_, port)| *port).next();
    let port = match port {
        Some(text) => text.parse::<u16>().map_err(|_| Status::bad_request(format!("invalid port {text:?}")))?,
        None => first_port.unwrap_or(80),
    };
    if port != backend.metrics_port() {
        return Err(unreachable(&format!("dial tcp {}: connect: connection refused", address(ip, port))));
    }
    if scheme == "https" {
        return Err(unreachable("http: server gave HTTP response to HTTPS client"));
    }
    if request.path != "/metrics" {
        return Ok(body::with_type(
            StatusCode::NOT_FOUND,
            "text/plain; charset=utf-8",
            body::full("404 page not found\n"),
        ));
    }
    match scrape::fetch(backend, &pod_key, Via::Proxy, request.gzip, connection).await {
        ScrapeOutcome::Response(response) => Ok(*response),
        ScrapeOutcome::Reset => Err(unreachable("EOF")),
        ScrapeOutcome::Refused => {
            Err(unreachable(&format!("dial tcp {}: connect: connection refused", address(ip, port))))
        }
        ScrapeOutcome::Dropped => {
            sleep(request.dial_timeout).await;
            Err(unreachable(&format!("dial tcp {}: i/o timeout", address(ip, port))))
        }
        ScrapeOutcome::NotFound => Err(missing()),
    }
}

fn unreachable(why: &str) -> Status {
    Status::unavailable(format!("error trying to reach service: {why}"))
}

fn address(ip: IpAddr, port: u16) -> std::net::SocketAddr {
    (ip, port).into()
}

/// `[scheme:]name[:port]` as the API server splits it: two parts are name and port, three start with the scheme.
fn split_target(target: &str) -> Option<(&str, &str, Option<&str>)> {
    let parts: Vec<&str> = target.split(':').collect();
    let (scheme, name, port) = match parts.as_slice() {
        [name] => ("", *name, None),
        [name, port] => ("", *name, Some(*port)),
        [scheme @ ("" | "http" | "https"), name, port] => (*scheme, *name, Some(*port).filter(|port| !port.is_empty())),
        _ => return None,
    };
    (!name.is_empty()).then_some((scheme, name, port))
}

#[cfg(test)]
mod tests {
    use super::split_target;

    #[test]
    fn targets() {
        assert_eq!(split_target("a:61678"), Some(("", "a", Some("61678"))));
        assert_eq!(split_target("a"), Some(("", "a", None)));
        assert_eq!(split_target("http:a:61678"), Some(("http", "a", Some("61678"))));
        assert_eq!(split_target("https:a:"), Some(("https", "a", None)));
        assert_eq!(split_target("ftp:a:1"), None);
        assert_eq!(split_target(":1"), None);
    }
}
