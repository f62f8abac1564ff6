//! What can be chosen of the API server.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How the server runs. Durations are real time.
#[derive(Debug, Clone)]
pub struct ApiServerOptions {
    /// Where to listen for HTTP.
    pub http: Option<SocketAddr>,
    /// Where to listen for HTTPS.
    pub https: Option<SocketAddr>,
    /// How long the proxy tries to reach a pod whose packets are dropped (30 s in a real server).
    pub dial_timeout: Duration,
    /// Between two bookmarks of a watch that wants them.
    pub bookmark_interval: Duration,
    /// How long a watch without `timeoutSeconds` lasts.
    pub watch_timeout: Duration,
    /// A watch from a forgotten version gets HTTP 410 instead of an ERROR event with 410 in it; real servers do both.
    pub gone_over_http: bool,
}

impl Default for ApiServerOptions {
    fn default() -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            http: Some(any_port),
            https: Some(any_port),
            dial_timeout: Duration::from_secs(30),
            bookmark_interval: Duration::from_mins(1),
            watch_timeout: Duration::from_mins(45),
            gone_over_http: false,
        }
    }
}
