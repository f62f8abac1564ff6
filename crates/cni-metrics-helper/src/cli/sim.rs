//! `sim`: a simulated cluster on real sockets, served until stopped.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use cni_sim::api_server::ApiServerOptions;
use cni_sim::scenario::Scenario;
use cni_sim::sim::{Pace, Sim, SimOptions};

use crate::shutdown::Shutdown;

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

/// Serves the world until a signal. Prints the variables that lead clients to it as shell `export` lines.
pub fn run(args: &SimArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(args.listen.ip().is_loopback(), "--listen {}: must be a loopback address", args.listen);
    let scenario = args.world.scenario()?;
    let pace = if args.lockstep { Pace::Lockstep } else { Pace::Realtime { speed: args.speed } };
    let options = SimOptions {
        seed: args.world.seed,
        pace,
        https: args.https,
        api_server: ApiServerOptions { http: Some(args.listen), ..ApiServerOptions::default() },
        agent_port: args.agent_port,
        control_port: args.control_port,
        directory: args.directory.clone(),
        ..SimOptions::new(scenario)
    };
    super::run::wide_runtime()?.block_on(async {
        let mut shutdown = Shutdown::on_signals()?;
        let sim = Sim::start(options).await?;
        let scenario = sim.world().scenario();
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
