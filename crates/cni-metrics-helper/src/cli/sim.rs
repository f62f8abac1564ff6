//! `sim`: a simulated cluster on real sockets, served until stopped.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use cni_sim::api_server::ApiServerOptions;
use cni_sim::scenario::{Scenario, Span};
use cni_sim::sim::{ClockMode, Sim, SimOptions};

use cni_runtime::shutdown::{Grace, Shutdown};

/// Which world to play.
#[derive(Debug, Clone, Args)]
pub struct WorldArgs {
    /// Nodes of a healthy cluster [default: 50]
    #[arg(long, value_name = "N", conflicts_with = "scenario", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub nodes: Option<u32>,
    /// A scenario: a file, or a built-in one (see docs/scenarios.md)
    #[arg(long, value_name = "NAME|FILE")]
    pub scenario: Option<String>,
    /// Same seed, same world
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
}

impl WorldArgs {
    /// The chosen scenario.
    pub fn scenario(&self) -> anyhow::Result<Scenario> {
        match &self.scenario {
            Some(name) => Ok(Scenario::load(name)?),
            None => Ok(Scenario::calm(self.nodes.unwrap_or(50))),
        }
    }
}

/// What `sim` takes.
#[derive(Debug, Args)]
pub struct SimArgs {
    #[command(flatten)]
    world: WorldArgs,
    /// Where the API server listens (HTTP); port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The kubeconfig leads to the API server's HTTPS port
    #[arg(long)]
    https: bool,
    /// Simulated seconds a second
    #[arg(long, value_name = "SPEED", default_value_t = 1.0)]
    speed: f64,
    /// Let time stand still until POST /advance on the control listener
    #[arg(long, conflicts_with = "speed")]
    lockstep: bool,
    /// How long every agent takes to answer a scrape, such as 2ms; the scenario's own otherwise
    #[arg(long, value_name = "DURATION", value_parser = span)]
    node_latency: Option<Span>,
    /// Make an aws-node pod's manifest longer by this many bytes, as managed fields do; the scenario's own otherwise
    #[arg(long, value_name = "BYTES")]
    manifest_padding: Option<usize>,
    /// Compress a page once for each moment of the world's clock, not for each scrape: for measuring other programs
    #[arg(long)]
    keep_pages: bool,
    /// Port of the agents on every node's address; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    agent_port: u16,
    /// Port of the control listener; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    control_port: u16,
    /// Where the kubeconfig is written; without it, a temporary directory
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

fn span(text: &str) -> Result<Span, String> {
    Span::read(text)
        .filter(|span| span.ms < 60_000)
        .ok_or_else(|| "must be a whole number with ms or s, below 1m".to_owned())
}

/// Serves the world until a signal. Prints the variables that lead clients to it as shell `export` lines.
pub fn run(args: &SimArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(args.listen.ip().is_loopback(), "--listen {}: must be a loopback address", args.listen);
    let mut scenario = args.world.scenario()?;
    scenario.cluster.node_latency = args.node_latency.unwrap_or(scenario.cluster.node_latency);
    scenario.cluster.manifest_padding_bytes = args.manifest_padding.unwrap_or(scenario.cluster.manifest_padding_bytes);
    let clock = if args.lockstep { ClockMode::Lockstep } else { ClockMode::Realtime { speed: args.speed } };
    let options = SimOptions {
        seed: args.world.seed,
        clock,
        https: args.https,
        api_server: ApiServerOptions { http: Some(args.listen), ..ApiServerOptions::default() },
        agent_port: args.agent_port,
        control_port: args.control_port,
        directory: args.directory.clone(),
        keep_pages: args.keep_pages,
        ..SimOptions::new(scenario)
    };
    super::runtime::wide_runtime()?.block_on(async {
        let mut shutdown = Shutdown::on_signals(Grace::default())?;
        let sim = Sim::start(options).await?;
        let scenario = sim.cluster().scenario();
        writeln!(out, "# {}: {} nodes, seed {}; stop with Ctrl-C", scenario.name, scenario.nodes(), args.world.seed)?;
        writeln!(out, "# in another shell, paste this; then try: kubectl get pods -n kube-system -o wide")?;
        for (name, value) in sim.env() {
            writeln!(out, "export {name}={value}")?;
        }
        out.flush()?;
        shutdown.ended().await;
        sim.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}
