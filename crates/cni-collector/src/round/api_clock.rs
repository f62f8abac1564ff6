//! The API server's clock beside ours: pods' creation times are by its clock, and machines differ.

use std::time::Duration;

use cni_metrics_core::model::UnixMillis;
use http::Request;
use http::header::DATE;
use jiff::fmt::rfc2822;
use kube::Client;
use kube::client::Body;
use tokio::time::timeout;

use cni_runtime::clock::Clock;

/// At most this long is waited: a slow answer would only blur the measurement.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How far the API server's clock is ahead of ours.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ApiClock {
    ahead_ms: Option<i64>,
}

impl ApiClock {
    /// Reads the `Date` header of one small request, which any authenticated client may make.
    pub(super) async fn measure(client: Client, clock: Clock, limit: Duration) -> Self {
        let Ok(request) = Request::get("/version").body(Body::empty()) else { return Self::default() };
        let before = clock.now();
        let Ok(Ok(response)) = timeout(TIMEOUT.min(limit), client.send(request)).await else { return Self::default() };
        let middle = UnixMillis(before.0.midpoint(clock.now().0));
        let date = response.headers().get(DATE).and_then(|value| value.to_str().ok());
        let parser = rfc2822::DateTimeParser::new();
        // The header counts whole seconds: half a second is the best guess at the part that it leaves out.
        let time = date.and_then(|text| parser.parse_timestamp(text).ok());
        let ahead_ms = time.map(|time| time.as_millisecond().saturating_add(500).saturating_sub(middle.0));
        Self { ahead_ms }
    }

    /// What the API server's clock shows when ours shows `ours`; `None` where it was never read.
    pub(super) fn server_time(self, ours: UnixMillis) -> Option<UnixMillis> {
        self.ahead_ms.map(|ahead| UnixMillis(ours.0.saturating_add(ahead)))
    }

    /// The API server answered.
    pub(super) fn is_known(self) -> bool {
        self.ahead_ms.is_some()
    }

    /// The newer measurement, or this one where the newer failed.
    pub(super) fn or_keep(self, newer: Self) -> Self {
        if newer.ahead_ms.is_some() { newer } else { self }
    }
}
