//! What the HTTP servers ask of the cluster: the interface between sockets and simulation.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::answer::{Answer, PodKey, ServeTicket, Via};
use crate::fault::ApiFault;
use crate::kube_store::KubeStore;
use crate::meter::PageMeter;

/// The cluster as the servers see it. Every method is called from request tasks of a multi-threaded runtime: none may
/// block for long, none may call back into a server.
pub trait Backend: Send + Sync + 'static {
    /// The objects of the cluster.
    fn kube(&self) -> &KubeStore;

    /// The simulated time, milliseconds since the epoch: object ages and the `Date` header.
    fn now_ms(&self) -> i64;

    /// The answer to a scrape of this pod's metrics page now. The port and path asked for are already known to be the
    /// metrics page's (see [`Self::metrics_port`]). Called once per scrape; with [`Via::Proxy`] the pod exists in
    /// [`Self::kube`].
    fn serve(&self, pod: &PodKey, via: Via) -> Answer;

    /// The whole body of the answer that carried this ticket was handed to the peer. Never called for a transfer that
    /// broke off.
    fn delivered(&self, ticket: ServeTicket);

    /// The pod that answers on a node's address.
    fn pod_by_ip(&self, ip: IpAddr) -> Option<PodKey>;

    /// What the API server does to a request now; asked once per request, and a few times a second besides.
    fn api_fault(&self) -> ApiFault;

    /// How long an agent takes to answer, whatever its answer is.
    fn latency(&self) -> Duration {
        Duration::ZERO
    }

    /// Where requests for pages are counted, if anywhere.
    fn page_meter(&self) -> Option<&Arc<PageMeter>> {
        None
    }

    /// The port `aws-node` serves its page on, the only one that answers through the proxy.
    fn metrics_port(&self) -> u16 {
        61_678
    }
}

/// Shared backend, as all servers hold it.
pub type SharedBackend = Arc<dyn Backend>;
