//! The simulator: a cluster, its clock, and every server that shows it, on loopback.

mod services;

use crate::api_server::{ApiServer, ApiServerError, ApiServerOptions};
use crate::cloudwatch::store::CloudWatchStore;
use crate::cluster::{SimulatedCluster, SimulatedClusterError};
use crate::node::NodeServer;
use crate::scenario::Scenario;
use crate::truth::Truth;
use crate::{control, kubeconfig};
use services::Services;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// Between two steps of a clock that runs by itself.
const STEP: Duration = Duration::from_millis(100);

/// The highest speed, simulated seconds per second; no machine keeps up with more than a thousandth of it.
const FASTEST: f64 = 1_000_000.0;

/// How the cluster's clock runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ClockMode {
    /// By itself, at a speed.
    Realtime {
        /// Simulated seconds per second; above 0, at most 1,000,000.
        speed: f64,
    },
    /// Only on request: [`SimulatedCluster::advance_to`] or `POST /advance`.
    Lockstep,
}

/// How to start. All listeners are on loopback; the nodes' listener refuses every other peer.
#[derive(Debug, Clone)]
pub struct SimOptions {
    /// The cluster to simulate.
    pub scenario: Scenario,
    /// The same seed gives the same cluster.
    pub seed: u64,
    /// What the clock shows at the beginning, Unix milliseconds; without it, now.
    pub start_ms: Option<i64>,
    /// How its clock runs.
    pub clock: ClockMode,
    /// The kubeconfig leads to HTTPS rather than HTTP.
    pub https: bool,
    /// Bearer token in the kubeconfig.
    pub token: Option<String>,
    /// The API server's addresses and time limits.
    pub api_server: ApiServerOptions,
    /// Port of the agents on every node address 127.x.y.z; 0 takes a free one.
    pub agent_port: u16,
    /// Port of the control listener; 0 takes a free one.
    pub control_port: u16,
    /// Pages are compressed once for each moment of the cluster's clock ([`SimulatedCluster::keep_pages`]).
    pub keep_pages: bool,
    /// Where the kubeconfig goes; without it, a directory of its own that is removed in the end.
    pub directory: Option<PathBuf>,
}

impl SimOptions {
    /// Real time, seed 1, HTTP, free ports.
    pub fn new(scenario: Scenario) -> Self {
        Self {
            scenario,
            seed: 1,
            start_ms: None,
            clock: ClockMode::Realtime { speed: 1.0 },
            https: false,
            token: None,
            api_server: ApiServerOptions::default(),
            agent_port: 0,
            control_port: 0,
            keep_pages: false,
            directory: None,
        }
    }

    /// The same, with a clock that moves only on request.
    #[must_use]
    pub fn lockstep(mut self) -> Self {
        self.clock = ClockMode::Lockstep;
        self
    }
}

/// Why the simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// The cluster cannot be built from the scenario.
    #[error(transparent)]
    SimulatedCluster(#[from] SimulatedClusterError),
    /// The API server.
    #[error("the simulated API server: {0}")]
    ApiServer(#[from] ApiServerError),
    /// A listener or the kubeconfig.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// A speed of 0, below, too high, or no number.
    #[error("speed {0} is out of range: above 0, at most {FASTEST}")]
    Speed(f64),
    /// The construction of the cluster was aborted.
    #[error("the simulated cluster could not be built: {0}")]
    Aborted(String),
}

/// A running simulator. Dropping it stops it; [`Sim::stop`] waits until its ports are free.
pub struct Sim {
    cluster: Arc<SimulatedCluster>,
    services: Services,
    api_server: ApiServer,
    nodes: NodeServer,
    control: SocketAddr,
    kubeconfig: PathBuf,
    /// Directory to remove.
    own_directory: Option<PathBuf>,
    tasks: Vec<JoinHandle<()>>,
    stop: CancellationToken,
    region: String,
}

impl Sim {
    /// Builds the cluster and starts every server. Must be called within a tokio runtime.
    pub async fn start(options: SimOptions) -> Result<Self, SimError> {
        if let ClockMode::Realtime { speed } = options.clock
            && !(speed > 0.0 && speed <= FASTEST)
        {
            return Err(SimError::Speed(speed));
        }
        let start_ms = options.start_ms.unwrap_or_else(crate::wall_clock::wall_ms);
        let (scenario, seed) = (options.scenario.clone(), options.seed);
        // Ten thousand nodes take a second or two to warm up.
        let built = tokio::task::spawn_blocking(move || SimulatedCluster::new(&scenario, seed, start_ms)).await;
        let cluster = built.map_err(|error| SimError::Aborted(error.to_string()))??;
        let stop = CancellationToken::new();
        // Dropped on every early return: what was started before then ends.
        let guard = stop.clone().drop_guard();

        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, options.agent_port));
        let nodes = NodeServer::start(cluster.clone(), any).map_err(io_error("the nodes' listener"))?;
        cluster.keep_pages(options.keep_pages);
        cluster.set_metrics_port(nodes.address().port());
        let api_server = ApiServer::start(cluster.clone(), options.api_server)?;
        let mut tasks = Vec::new();
        let lockstep = options.clock == ClockMode::Lockstep;
        let services =
            Services::start(&cluster, seed, lockstep, &stop, &mut tasks).await.map_err(io_error("an AWS listener"))?;
        let control = services::bind(options.control_port).await.map_err(io_error("the control listener"))?;
        let control_address = control.local_addr().map_err(io_error("the control listener"))?;
        let router = control::router(control::Control {
            cluster: cluster.clone(),
            cloudwatch: services.cloudwatch.store(),
            api_server: api_server.meters(),
            nodes: Arc::clone(nodes.traffic()),
            lockstep,
        });
        tasks.push(tokio::spawn(crate::aws::serve::serve(control, router, stop.clone())));
        if let ClockMode::Realtime { speed } = options.clock {
            tasks.push(tokio::spawn(run_clock(cluster.clone(), speed, stop.clone())));
        }
        let (directory, own_directory) =
            directory(options.directory).map_err(io_error("the kubeconfig's directory"))?;
        let kubeconfig = directory.join("kubeconfig");
        kubeconfig::write(&kubeconfig, &api_server, options.token.as_deref(), options.https)
            .map_err(io_error("the kubeconfig"))?;
        guard.disarm();
        Ok(Self {
            region: cluster.scenario().cluster.region.clone(),
            cluster,
            services,
            api_server,
            nodes,
            control: control_address,
            kubeconfig,
            own_directory,
            tasks,
            stop,
        })
    }

    /// The environment in which `kubectl`, AWS clients and the helper find the simulator.
    pub fn env(&self) -> Vec<(String, String)> {
        let http = |address: SocketAddr| format!("http://{address}");
        [
            ("KUBECONFIG", self.kubeconfig.display().to_string()),
            ("AGENT_PORT", self.nodes.address().port().to_string()),
            ("AWS_ENDPOINT_URL_CLOUDWATCH", http(self.services.cloudwatch_address)),
            ("AWS_ENDPOINT_URL_EC2", http(self.services.ec2_address)),
            ("AWS_ENDPOINT_URL_STS", http(self.services.sts_address)),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", http(self.services.imds_address)),
            ("AWS_REGION", self.region.clone()),
            ("AWS_DEFAULT_REGION", self.region.clone()),
            ("AWS_ACCESS_KEY_ID", "AKIASIMULATEDSTATIC1".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "simulated-secret-of-no-value".to_owned()),
            ("CNI_SIM_CONTROL", http(self.control)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// The kubeconfig file.
    pub fn kubeconfig_path(&self) -> &Path {
        &self.kubeconfig
    }

    /// The cluster, to advance and to inspect.
    pub fn cluster(&self) -> &Arc<SimulatedCluster> {
        &self.cluster
    }

    /// What a perfect collector would publish.
    pub fn truth(&self) -> &Truth {
        self.cluster.truth()
    }

    /// What CloudWatch has accepted.
    pub fn cloudwatch(&self) -> Arc<CloudWatchStore> {
        self.services.cloudwatch.store()
    }

    /// CloudWatch itself: its fault script too.
    pub fn cloudwatch_service(&self) -> &crate::cloudwatch::CloudWatch {
        &self.services.cloudwatch
    }

    /// The metadata service.
    pub fn imds(&self) -> &crate::imds::Imds {
        &self.services.imds
    }

    /// The EC2 API.
    pub fn ec2(&self) -> &crate::ec2::Ec2 {
        &self.services.ec2
    }

    /// The token service.
    pub fn sts(&self) -> &crate::sts::Sts {
        &self.services.sts
    }

    /// The Pod Identity agent and the URL to ask it under.
    pub fn pod_identity(&self) -> (&crate::pod_identity::PodIdentity, String) {
        let url = format!("http://{}/v1/credentials", self.services.pod_identity_address);
        (&self.services.pod_identity, url)
    }

    /// The API server: addresses, tokens, denials, request counts.
    pub fn api_server(&self) -> &ApiServer {
        &self.api_server
    }

    /// The control listener's address.
    pub fn control_address(&self) -> SocketAddr {
        self.control
    }

    /// Stops everything and waits until it has stopped.
    pub async fn stop(mut self) {
        self.stop.cancel();
        for task in std::mem::take(&mut self.tasks) {
            // A task that panicked is as stopped as one that ended.
            let _ = task.await;
        }
        if let Some(directory) = self.own_directory.take() {
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(directory) = self.own_directory.take() {
            // Nothing depends on its being gone.
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

fn io_error(what: &'static str) -> impl Fn(io::Error) -> SimError {
    move |source| SimError::Io { what, source }
}

/// The directory to use, and the same again if it is ours to remove.
fn directory(wanted: Option<PathBuf>) -> io::Result<(PathBuf, Option<PathBuf>)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    if let Some(directory) = wanted {
        std::fs::create_dir_all(&directory)?;
        return Ok((directory, None));
    }
    let serial = NEXT.fetch_add(1, Ordering::Relaxed);
    let own = std::env::temp_dir().join(format!("cni-sim-{}-{serial}", std::process::id()));
    std::fs::create_dir_all(&own)?;
    Ok((own.clone(), Some(own)))
}

async fn run_clock(cluster: Arc<SimulatedCluster>, speed: f64, stop: CancellationToken) {
    let started = Instant::now();
    let start_ms = cluster.now_ms();
    let mut ticks = tokio::time::interval(STEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let elapsed = started.elapsed().mul_f64(speed);
        let elapsed_ms = i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX);
        let (cluster, to_ms) = (cluster.clone(), start_ms.saturating_add(elapsed_ms));
        // A step of a large cluster at high speed takes longer than a server may be kept waiting.
        if tokio::task::spawn_blocking(move || cluster.advance_to(to_ms)).await.is_err() {
            return;
        }
    }
}
