//! Listeners and connections: accept, speak TLS if asked to, hand requests to a handler, and vanish while the server is
//! down.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::backend::SharedBackend;
use super::body::Body;
use super::connection::{Connection, ConnectionState, Transport};
use crate::meter::{Metered, Traffic};
use crate::port::HeldPort;

/// How often something that failed for want of a file descriptor is tried again.
const RETRY: Duration = Duration::from_millis(20);

/// The two ends of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
}

type Answering = Pin<Box<dyn Future<Output = io::Result<Response<Body>>> + Send>>;

/// Answers requests; an error closes the connection.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Whether a connection is taken at all.
    fn admits(&self, _ends: Ends) -> bool {
        true
    }

    /// Answers one request.
    fn handle(self: Arc<Self>, request: Request<Incoming>, ends: Ends, connection: Arc<ConnectionState>) -> Answering;
}

/// Everything a listener and its connections share.
pub(crate) struct Listening<H> {
    pub(crate) handler: Arc<H>,
    pub(crate) backend: SharedBackend,
    pub(crate) tls: Option<TlsAcceptor>,
    /// True while the server is down.
    pub(crate) down: watch::Receiver<bool>,
    pub(crate) stop: CancellationToken,
    pub(crate) traffic: Arc<Traffic>,
}

impl<H> Clone for Listening<H> {
    fn clone(&self) -> Self {
        Self {
            handler: Arc::clone(&self.handler),
            backend: Arc::clone(&self.backend),
            tls: self.tls.clone(),
            down: self.down.clone(),
            stop: self.stop.clone(),
            traffic: Arc::clone(&self.traffic),
        }
    }
}

impl<H: Handler> Listening<H> {
    /// Accepts until stopped. While the server is down nothing listens: connecting is refused, and the port stays held.
    pub(crate) async fn run(mut self, port: HeldPort, listener: TcpListener) {
        let mut listener = Some(listener);
        loop {
            if *self.down.borrow_and_update() {
                drop(listener.take());
                tokio::select! {
                    () = self.stop.cancelled() => return,
                    up = self.down.wait_for(|down| !down) => if up.is_err() { return },
                }
            }
            let Some(open) = &listener else {
                // It can fail for want of file descriptors only.
                listener = port.listen().ok();
                if listener.is_none() {
                    tokio::time::sleep(RETRY).await;
                }
                continue;
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                changed = self.down.changed() => if changed.is_err() { return },
                accepted = open.accept() => match accepted {
                    Ok((stream, peer)) => self.spawn_connection(stream, peer),
                    Err(_) => tokio::time::sleep(RETRY).await,
                },
            }
        }
    }

    fn spawn_connection(&self, stream: TcpStream, peer: SocketAddr) {
        let Ok(local) = stream.local_addr() else { return };
        let ends = Ends { local, peer };
        let stream = Metered::new(stream, Arc::clone(&self.traffic));
        let connection = ConnectionState::new(Arc::clone(&self.backend));
        if !self.handler.admits(ends) {
            connection.reset_on_close();
            drop(Connection::new(Transport::Plain(stream), connection));
            return;
        }
        // Small answers must not wait for the peer's delayed ACK; if it fails they are only slower.
        let _ = stream.tcp().set_nodelay(true);
        let mut listening = self.clone();
        tokio::spawn(async move {
            let mut down = listening.down.clone();
            let stop = listening.stop.clone();
            tokio::select! {
                () = listening.serve(stream, ends, Arc::clone(&connection)) => {}
                () = stop.cancelled() => {}
                _ = down.wait_for(|down| *down) => connection.reset_on_close(),
            }
        });
    }

    async fn serve(&mut self, stream: Metered, ends: Ends, connection: Arc<ConnectionState>) {
        let transport = match &self.tls {
            None => Transport::Plain(stream),
            Some(tls) => match tls.accept(stream).await {
                Ok(stream) => Transport::Tls(Box::new(stream)),
                // A client that does not trust the certificate; it knows why.
                Err(_) => return,
            },
        };
        let io = TokioIo::new(Connection::new(transport, Arc::clone(&connection)));
        let handler = Arc::clone(&self.handler);
        let service = service_fn(move |request| Arc::clone(&handler).handle(request, ends, Arc::clone(&connection)));
        // Errors here are peers that went away and scripted breaks: nothing to report.
        let _ = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .serve_connection(io, service)
            .await;
    }
}
