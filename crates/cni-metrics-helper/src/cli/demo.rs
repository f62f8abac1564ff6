//! `demo`: a simulated cluster and the helper in one process, over sockets.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;

use super::sim::WorldArgs;
use super::{Output, OutputArgs};
use crate::demo::{self, DemoSettings};

/// What `demo` takes.
#[derive(Debug, Args)]
pub struct DemoArgs {
    #[command(flatten)]
    world: WorldArgs,
    /// Rounds to run, 30 simulated seconds apart
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rounds: u32,
    /// Simulated seconds a second; without it 30 on a terminal, and as fast as it goes elsewhere
    #[arg(long, value_name = "SPEED")]
    speed: Option<f64>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Plays the demo.
pub fn run(args: &DemoArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let speed = args.speed;
    anyhow::ensure!(speed.is_none_or(|speed| speed.is_finite() && speed > 0.0), "--speed must be above 0");
    let live = std::io::stdout().is_terminal() && args.output.output == Output::Table;
    let settings = DemoSettings {
        scenario: args.world.scenario()?,
        seed: args.world.seed,
        rounds: args.rounds,
        speed: speed.or(live.then_some(30.0)),
        live,
        json: args.output.output == Output::Json,
    };
    super::run::wide_runtime()?.block_on(demo::play(settings, out))
}
