//! The simulated Kubernetes API server: discovery, objects with watches, leases, and the pod proxy, over HTTP and HTTPS.
//!
//! It shows what is in the [`KubeStore`](crate::kube_store::KubeStore) and asks the cluster, through [`Backend`], what a
//! scrape meets. `kubectl` and client libraries work against it unmodified.

pub mod access;
pub mod backend;
mod body;
pub mod discovery;
pub(crate) mod listen;
mod negotiate;
mod options;
mod protobuf;
mod proxy;
mod read;
mod review;
mod route;
pub(crate) mod scrape;
mod selector;
mod service;
mod status;
mod table;
mod watch;
pub(crate) mod connection;
mod write;

pub use access::{AccessControl, Rule, User};
pub use backend::{Backend, SharedBackend};
pub(crate) use body::{Body, cut, full, with_type};
pub(crate) use negotiate::accepts_gzip;
pub use options::ApiServerOptions;
pub(crate) use service::http_date;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::fault::ApiFault;
use crate::meter::{Traffic, TrafficFigures};
use crate::port::HeldPort;
use crate::tls::{Tls, TlsError};
use listen::Listening;
use service::Service;

/// How often the server checks for the fault that takes it down.
const FAULT_POLL: Duration = Duration::from_millis(20);

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ApiServerError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// No certificate could be made.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A running API server. Dropping it stops it; [`ApiServer::stop`] waits until its ports are free.
pub struct ApiServer {
    http: Option<SocketAddr>,
    https: Option<(SocketAddr, String)>,
    access: Arc<AccessControl>,
    service: Arc<Service>,
    http_traffic: Arc<Traffic>,
    https_traffic: Arc<Traffic>,
    tasks: Vec<JoinHandle<()>>,
    stop: CancellationToken,
    _guard: DropGuard,
}

impl ApiServer {
    /// Starts listening. Must be called within a tokio runtime.
    pub fn start(backend: SharedBackend, options: ApiServerOptions) -> Result<Self, ApiServerError> {
        let (http, https) = (options.http, options.https);
        let access = Arc::new(AccessControl::default());
        let stop = CancellationToken::new();
        let down = tokio::sync::watch::Sender::new(backend.api_fault() == ApiFault::Down);
        let service = Arc::new(Service {
            backend: Arc::clone(&backend),
            access: Arc::clone(&access),
            options,
            down: down.clone(),
            counts: Mutex::default(),
            refusals: Mutex::default(),
            sequence: AtomicU64::new(0),
        });
        let mut listening = Listening {
            handler: Arc::clone(&service),
            backend: Arc::clone(&backend),
            tls: None,
            down: down.subscribe(),
            stop: stop.clone(),
            traffic: Arc::default(),
        };
        let http_traffic = Arc::clone(&listening.traffic);
        let https_traffic = Arc::<Traffic>::default();
        let mut tasks = vec![tokio::spawn(watch_fault(backend, down, stop.clone()))];
        let http = http.map(|address| listen(&listening, address, &mut tasks)).transpose()?;
        let https = match https {
            None => None,
            Some(address) => {
                let tls = Tls::generate()?;
                listening.traffic = Arc::clone(&https_traffic);
                listening.tls = Some(TlsAcceptor::from(tls.server_config));
                Some((listen(&listening, address, &mut tasks)?, tls.ca_pem))
            }
        };
        Ok(Self {
            http,
            https,
            access,
            service,
            http_traffic,
            https_traffic,
            tasks,
            stop: stop.clone(),
            _guard: stop.drop_guard(),
        })
    }

    /// The HTTP address, if it listens there.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http
    }

    /// The HTTPS address, if it listens there.
    pub fn https_address(&self) -> Option<SocketAddr> {
        self.https.as_ref().map(|(address, _)| *address)
    }

    /// The certificate that clients must trust for HTTPS, PEM.
    pub fn ca_pem(&self) -> Option<&str> {
        self.https.as_ref().map(|(_, pem)| pem.as_str())
    }

    /// Tokens and denials, to be changed at any time.
    pub fn access(&self) -> &Arc<AccessControl> {
        &self.access
    }

    /// How many requests of each kind came in so far, by verb and resource: `list pods`, `get pods/proxy`. Requests
    /// that a fault of the whole server answered are not among them.
    pub fn requests(&self) -> BTreeMap<String, u64> {
        self.service.requests()
    }

    /// How many of them were answered with 403, by verb, resource and namespace: `list nodes`, `get pods/proxy in
    /// kube-system`.
    pub fn refusals(&self) -> BTreeMap<String, u64> {
        self.service.refusals()
    }

    /// What the HTTP and the HTTPS listener saw.
    pub fn traffic(&self) -> [TrafficFigures; 2] {
        [self.http_traffic.figures(), self.https_traffic.figures()]
    }

    /// The same and the requests, for readers that outlive this handle.
    pub(crate) fn meters(&self) -> ApiMeters {
        ApiMeters {
            service: Arc::clone(&self.service),
            http: Arc::clone(&self.http_traffic),
            https: Arc::clone(&self.https_traffic),
        }
    }

    /// Stops listening and cuts all connections.
    pub async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            // A task that panicked is as stopped as one that ended.
            let _ = task.await;
        }
    }
}

/// What the API server counts, shared with the control listener.
#[derive(Clone)]
pub(crate) struct ApiMeters {
    service: Arc<Service>,
    pub(crate) http: Arc<Traffic>,
    pub(crate) https: Arc<Traffic>,
}

impl ApiMeters {
    pub(crate) fn requests(&self) -> BTreeMap<String, u64> {
        self.service.requests()
    }
}

fn listen(
    listening: &Listening<Service>,
    address: SocketAddr,
    tasks: &mut Vec<JoinHandle<()>>,
) -> Result<SocketAddr, ApiServerError> {
    let failed = |source| ApiServerError::Listen { address, source };
    // The port the system chose is kept through restarts.
    let port = HeldPort::take(address).map_err(failed)?;
    let (bound, listener) = (port.address(), port.listen().map_err(failed)?);
    tasks.push(tokio::spawn(listening.clone().run(port, listener)));
    Ok(bound)
}

/// Takes the server down and up again as the cluster's faults require. The watch cache of a restarted server begins at the
/// present: a client that resumes from an earlier version gets 410 Gone.
async fn watch_fault(backend: SharedBackend, down: tokio::sync::watch::Sender<bool>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(FAULT_POLL) => {}
        }
        let now_down = backend.api_fault() == ApiFault::Down;
        let was_down = *down.borrow();
        if was_down && !now_down {
            backend.kube().forget_history();
        }
        if was_down != now_down {
            down.send_replace(now_down);
        }
    }
}
