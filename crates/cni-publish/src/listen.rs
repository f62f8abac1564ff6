//! Where the program's own pages are served, and what a client may cost.
//!
//! A connection carries one request. It has a time in which the request must have come and a time in which the answer must
//! have been taken; beyond its listener's number of connections the oldest one that has not asked yet is closed, so that a
//! new probe is answered however many others hold connections open. What was closed is counted.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tower::ServiceExt;
use tracing::warn;

/// Accepting fails for as long as the process has no file descriptors left, for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// What is read of a request at most: it has no body, and no client of ours sends long headers.
const REQUEST_BYTES: usize = 16 << 10;

/// One of the program's listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// `ADMIN_ADDRESS`.
    Admin,
    /// `PROMETHEUS_ADDRESS`.
    Prometheus,
}

/// Why a connection was closed by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Newer ones took its place.
    Limit,
    /// Its request did not come, or its answer was not taken, in time.
    Timeout,
}

/// What the clients of a listener may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections held at once.
    pub connections: usize,
    /// Answers being sent at once: each may hold a whole round.
    pub answers: usize,
    /// A request must have come within this time.
    pub request: Duration,
    /// Request and answer together must be over within this time.
    pub total: Duration,
}

impl Limits {
    /// For probes and small pages.
    pub const ADMIN: Self =
        Self { connections: 32, answers: 16, request: Duration::from_secs(5), total: Duration::from_secs(10) };

    /// For pages of megabytes, each of which holds the round it shows until it was taken.
    pub const PROMETHEUS: Self =
        Self { connections: 64, answers: 4, request: Duration::from_secs(5), total: Duration::from_secs(30) };
}

static CLOSED: [[AtomicU64; Closed::ALL.len()]; Listener::ALL.len()] =
    [const { [const { AtomicU64::new(0) }; Closed::ALL.len()] }; Listener::ALL.len()];

impl Listener {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Admin, Self::Prometheus];

    /// The stable name.
    pub fn label(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Prometheus => "prometheus",
        }
    }

    /// Connections of this process' listeners that were closed for this reason.
    pub fn closed(self, why: Closed) -> u64 {
        self.counter(why).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    fn count(self, why: Closed) {
        if let Some(counter) = self.counter(why) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counter(self, why: Closed) -> Option<&'static AtomicU64> {
        CLOSED.get(self as usize)?.get(why as usize)
    }
}

impl Closed {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Limit, Self::Timeout];

    /// The stable name.
    pub fn label(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Timeout => "timeout",
        }
    }
}

/// Listens on `address`. `0.0.0.0` means every address of the machine, those of IPv6 included: in an IPv6 cluster the
/// kubelet and Prometheus come by nothing else. Where the machine has no IPv6, IPv4 alone is what there is.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    if address.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED) {
        let every = SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port()));
        if let Ok(listener) = TcpListener::bind(every).await {
            return Ok(listener);
        }
    }
    TcpListener::bind(address).await
}

/// Where it listens, in the words of the setting: its port is the listener's, which differs if the setting was 0.
pub fn shown(address: SocketAddr, listener: &TcpListener) -> io::Result<SocketAddr> {
    Ok(SocketAddr::new(address.ip(), listener.local_addr()?.port()))
}

/// Answers requests for ever.
pub async fn serve(name: Listener, listener: TcpListener, router: Router, limits: Limits) {
    let (asked, mut asking) = mpsc::channel(limits.connections.max(1));
    let mut connections = Connections { name, limits, held: Vec::new(), tasks: JoinSet::new() };
    let mut failing = false;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _client)) => {
                    failing = false;
                    connections.make_room();
                    let answering = answer(name, stream, router.clone(), limits, asked.clone());
                    let abort = connections.tasks.spawn(answering);
                    connections.held.push(Connection { id: abort.id(), abort, has_asked: false });
                }
                // The client is gone already.
                Err(error) if is_of_client(&error) => {}
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        warn!("the {} listener cannot accept connections, trying again: {error}", name.label());
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(id) = asking.recv() => connections.asked(id),
            Some(ended) = connections.tasks.join_next_with_id() => connections.ended(ended),
        }
    }
}

fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// The connections that are open; dropped, they are closed.
struct Connections {
    name: Listener,
    limits: Limits,
    /// Oldest first.
    held: Vec<Connection>,
    tasks: JoinSet<()>,
}

struct Connection {
    id: Id,
    abort: AbortHandle,
    /// Its request has come: it is being answered.
    has_asked: bool,
}

impl Connections {
    fn make_room(&mut self) {
        while self.held.len() >= self.limits.connections.max(1) {
            let silent = self.held.iter().position(|connection| !connection.has_asked);
            self.close(silent.unwrap_or(0));
        }
    }

    fn asked(&mut self, id: Id) {
        if let Some(connection) = self.held.iter_mut().find(|connection| connection.id == id) {
            connection.has_asked = true;
        }
        while self.held.iter().filter(|connection| connection.has_asked).count() > self.limits.answers.max(1) {
            let Some(oldest) = self.held.iter().position(|connection| connection.has_asked) else { return };
            self.close(oldest);
        }
    }

    fn close(&mut self, position: usize) {
        let connection = self.held.remove(position);
        if !connection.abort.is_finished() {
            connection.abort.abort();
            self.name.count(Closed::Limit);
        }
    }

    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => error.id(),
        };
        self.held.retain(|connection| connection.id != id);
    }
}

/// Reads one request and answers it.
async fn answer(name: Listener, stream: TcpStream, router: Router, limits: Limits, asked: mpsc::Sender<Id>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, asked) = (router.clone(), asked.clone());
        async move {
            if let Some(id) = tokio::task::try_id() {
                let _listener_gone = asked.send(id).await;
            }
            router.oneshot(request.map(Body::new)).await
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.request).keep_alive(false).max_buf_size(REQUEST_BYTES);
    match timeout(limits.total, http.serve_connection(TokioIo::new(stream), service)).await {
        Ok(Err(error)) if error.is_timeout() => name.count(Closed::Timeout),
        // A client that closed its connection, or does not speak HTTP, is not logged.
        Ok(_) => {}
        Err(_elapsed) => name.count(Closed::Timeout),
    }
}

#[cfg(test)]
mod tests;
