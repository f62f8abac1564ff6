//! The settings of each destination and of the election.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use cni_publish::Selection;

/// What goes to CloudWatch, and how.
#[derive(Debug, Clone)]
pub struct CloudWatchConfig {
    /// The CloudWatch namespace.
    pub namespace: String,
    /// The names that are sent.
    pub selection: Selection,
    /// Storage resolution in seconds: 1 or 60.
    pub resolution_seconds: u16,
    /// Memory for unsent points.
    pub buffer_bytes: usize,
    /// Where unsent points survive a restart.
    pub spool_dir: Option<PathBuf>,
}

/// What Prometheus gets.
#[derive(Debug, Clone, Copy)]
pub struct PrometheusConfig {
    /// Where it is served.
    pub address: SocketAddr,
    /// With one series per node.
    pub node_metrics: bool,
}

/// Which clusters are measured, by contexts of the kubeconfig.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contexts {
    /// One, without a context's name: the pod's own cluster, or the kubeconfig's current context.
    Current,
    /// These, each once.
    Named(Vec<String>),
    /// All that the kubeconfig has.
    All,
}

/// How one of several replicas is elected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElectionConfig {
    /// The Lease's namespace; `None` is the helper's own.
    pub namespace: Option<String>,
    /// The Lease's name.
    pub name: String,
    /// How long it lasts without renewal.
    pub duration: Duration,
    /// Measures while another leads.
    pub standby_scrape: bool,
}
