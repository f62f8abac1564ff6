//! The listener: `/metrics`, compressed for clients that accept that.

use std::convert::Infallible;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::page::{ClusterLabel, Exposed, PageParts};
use crate::listen::{self, Limits, Listener};
use cni_aws::identity::ClusterIdReader;
use cni_runtime::clock::Clock;
use cni_types::shard::Shard;

const TEXT_FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// What a request is answered from.
#[derive(Debug, Clone)]
pub(super) struct Serving {
    pub(super) newest: watch::Receiver<Option<Arc<Exposed>>>,
    pub(super) clock: Clock,
    pub(super) stale_after: Duration,
    pub(super) node_series: bool,
    pub(super) cluster: Option<ClusterIdReader>,
    pub(super) shard: Option<Shard>,
}

/// Answers requests for ever. A slow reader holds its round only within the listener's limits.
pub(super) async fn serve(listener: TcpListener, serving: Serving) {
    let router = Router::new().route("/metrics", get(metrics)).with_state(serving);
    listen::serve(Listener::Prometheus, listener, router, Limits::PROMETHEUS).await;
}

async fn metrics(State(serving): State<Serving>, headers: HeaderMap) -> Response {
    let pieces = serving.pieces();
    let mut response = if accepts_gzip(&headers) {
        let body = Body::from_stream(futures::stream::iter(gzip(pieces).map(Ok::<_, Infallible>)));
        ([(CONTENT_ENCODING, HeaderValue::from_static("gzip"))], body).into_response()
    } else {
        let pieces = pieces.map(|piece| Ok::<_, Infallible>(Bytes::from(piece)));
        Body::from_stream(futures::stream::iter(pieces)).into_response()
    };
    response.headers_mut().insert(CONTENT_TYPE, TEXT_FORMAT);
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
    response
}

impl Serving {
    /// The page as it is now. Before the first round it is empty: nothing was measured.
    fn pieces(&self) -> impl Iterator<Item = String> + Send + 'static {
        let newest = self.newest.borrow().clone();
        let fresh = newest.as_ref().is_some_and(|exposed| {
            let snapshot = &exposed.snapshot;
            let finished = snapshot.at.0.saturating_add_unsigned(snapshot.duration_ms);
            let age_ms = u64::try_from(self.clock.now().0.saturating_sub(finished)).unwrap_or(0);
            Duration::from_millis(age_ms) <= self.stale_after
        });
        let cluster = match &self.cluster {
            None => ClusterLabel::Off,
            // A round that was measured before the id was known is of the same cluster.
            Some(reader) => newest
                .as_ref()
                .and_then(|exposed| exposed.snapshot.cluster.clone())
                .or_else(|| reader.get())
                .map_or(ClusterLabel::Awaited, ClusterLabel::Id),
        };
        let parts = PageParts { node_series: self.node_series, fresh, cluster, shard: self.shard };
        newest.into_iter().flat_map(move |exposed| exposed.page(parts.clone()))
    }
}

/// True if the client lists gzip, or anything, and not with weight 0.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let listed = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut codings = listed.flat_map(|value| value.split(',')).map(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
        (name.trim(), weight.unwrap_or(1.0))
    });
    codings.any(|(name, weight)| name.eq_ignore_ascii_case("gzip") && weight > 0.0)
}

/// Compresses piece by piece: what is ready goes out, nothing is collected.
fn gzip(pieces: impl Iterator<Item = String> + Send + 'static) -> impl Iterator<Item = Bytes> + Send + 'static {
    let mut encoder = Some(GzEncoder::new(Vec::new(), Compression::fast()));
    let ready = pieces.map(Some).chain(std::iter::once(None)).map(move |piece| {
        let compressed = match (piece, &mut encoder) {
            (Some(piece), Some(encoder)) => {
                // Writing to memory cannot fail.
                let _ = encoder.write_all(piece.as_bytes());
                std::mem::take(encoder.get_mut())
            }
            _ => encoder.take().and_then(|encoder| encoder.finish().ok()).unwrap_or_default(),
        };
        Bytes::from(compressed)
    });
    ready.filter(|bytes| !bytes.is_empty())
}
