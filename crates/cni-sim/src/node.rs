//! The nodes' own listener: one socket for all of them, distinguished by the loopback address of the connection.
//!
//! Every simulated node has an address 127.x.y.z, and all of 127.0.0.0/8 leads to this machine. What a real network
//! would refuse or drop before the connection opens can only be simulated after it: a refused agent resets the
//! connection, a dropped one never answers on it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::answer::Via;
use crate::api_server::connection::ConnectionState;
use crate::api_server::listen::{Ends, Handler, Listening};
use crate::api_server::scrape::{self, ScrapeOutcome};
use crate::api_server::{Body, SharedBackend, accepts_gzip, cut, full, http_date, with_type};
use crate::meter::Traffic;
use crate::port::HeldPort;

/// A running node listener. Dropping it stops it; [`NodeServer::stop`] waits until its port is free.
#[derive(Debug)]
pub struct NodeServer {
    address: SocketAddr,
    traffic: Arc<Traffic>,
    task: JoinHandle<()>,
    stop: CancellationToken,
    _guard: DropGuard,
}

impl NodeServer {
    /// Listens on the address, normally `0.0.0.0:port`, for scrapes from this machine. Must be called within a tokio
    /// runtime.
    pub fn start(backend: SharedBackend, address: SocketAddr) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let port = HeldPort::take(address)?;
        let (bound, listener) = (port.address(), port.listen()?);
        // Nodes keep serving while the API server is down.
        let (never_down, down) = tokio::sync::watch::channel(false);
        let handler = Arc::new(Nodes { backend: Arc::clone(&backend) });
        let traffic = Arc::<Traffic>::default();
        let listening =
            Listening { handler, backend, tls: None, down, stop: stop.clone(), traffic: Arc::clone(&traffic) };
        let task = tokio::spawn(async move {
            listening.run(port, listener).await;
            drop(never_down);
        });
        Ok(Self { address: bound, traffic, task, stop: stop.clone(), _guard: stop.drop_guard() })
    }

    /// Where it listens; the port is that of every node.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the listener saw.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// Stops listening and cuts all connections.
    pub async fn stop(self) {
        self.stop.cancel();
        // A task that panicked is as stopped as one that ended.
        let _ = self.task.await;
    }
}

struct Nodes {
    backend: SharedBackend,
}

impl Handler for Nodes {
    /// The socket is bound to every address of the machine, but serves only the machine itself, and only addresses
    /// that are some node's.
    fn admits(&self, ends: Ends) -> bool {
        ends.peer.ip().to_canonical().is_loopback() && self.backend.pod_by_ip(ends.local.ip().to_canonical()).is_some()
    }

    fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        ends: Ends,
        connection: Arc<ConnectionState>,
    ) -> Pin<Box<dyn Future<Output = io::Result<Response<Body>>> + Send>> {
        Box::pin(async move {
            let mut response = self.answer(&request, ends, &connection).await?;
            response.headers_mut().insert(header::DATE, http_date(self.backend.now_ms()));
            Ok(response)
        })
    }
}

impl Nodes {
    async fn answer(
        &self,
        request: &Request<Incoming>,
        ends: Ends,
        connection: &Arc<ConnectionState>,
    ) -> io::Result<Response<Body>> {
        let text = |code, text: &'static str| Ok(with_type(code, "text/plain; charset=utf-8", full(text)));
        if request.uri().path() != "/metrics" {
            return text(StatusCode::NOT_FOUND, "404 page not found\n");
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
        }
        let encoding = request.headers().get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
        // The pod may have gone since the connection was opened.
        let outcome = match self.backend.pod_by_ip(ends.local.ip().to_canonical()) {
            Some(pod) => scrape::fetch(&self.backend, &pod, Via::Direct, accepts_gzip(encoding), connection).await,
            None => ScrapeOutcome::NotFound,
        };
        match outcome {
            ScrapeOutcome::Response(response) => Ok(*response),
            ScrapeOutcome::Dropped => std::future::pending().await,
            ScrapeOutcome::Reset | ScrapeOutcome::Refused | ScrapeOutcome::NotFound => {
                connection.reset_on_close();
                Err(cut())
            }
        }
    }
}
