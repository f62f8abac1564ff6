//! `demo`: a simulated cluster and the helper in one process, over sockets.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;
use cni_sim::scenario::{BUILT_IN, Scenario};

use super::output::{Output, OutputArgs};
use super::sim::WorldArgs;
use crate::demo::{self, DemoSettings};
use crate::view::wrap;

/// Rounds where neither the command line nor the scenario says how many.
const ROUNDS: u32 = 10;

/// What memory has room for: every round is kept until the end.
const MOST_ROUNDS: u32 = 100_000;

/// What `demo` takes.
#[derive(Debug, Args)]
pub struct DemoArgs {
    #[command(flatten)]
    world: WorldArgs,
    /// Rounds to run, 30 simulated seconds apart [default: what the scenario asks for, else 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_ROUNDS)))]
    rounds: Option<u32>,
    /// Simulated seconds a second; without it 30 on a terminal, and as fast as it goes elsewhere
    #[arg(long, value_name = "SPEED")]
    speed: Option<f64>,
    /// List the built-in scenarios and what happens in each, and exit
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Plays the demo. Exits with 1 if something was published that is not the truth.
pub fn run(args: &DemoArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    if args.list {
        return list(out);
    }
    let speed = args.speed;
    anyhow::ensure!(speed.is_none_or(|speed| speed.is_finite() && speed > 0.0), "--speed must be above 0");
    let live = std::io::stdout().is_terminal() && args.output.output == Output::Table;
    let scenario = args.world.scenario()?;
    let settings = DemoSettings {
        seed: args.world.seed,
        rounds: args.rounds.or(scenario.rounds).unwrap_or(ROUNDS).clamp(1, MOST_ROUNDS),
        scenario,
        speed: speed.or(live.then_some(30.0)),
        live,
        json: args.output.output == Output::Json,
    };
    super::runtime::wide_runtime()?.block_on(demo::play(settings, out))
}

/// The built-in scenarios, in lines that fit a terminal of 80 columns.
fn list(out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let names = || BUILT_IN.iter().map(|(name, _)| *name);
    let width = names().map(str::len).max().unwrap_or(0);
    for name in names() {
        let scenario = Scenario::named(name)?;
        let (first, others) = (format!("{name:width$}  "), " ".repeat(width + 2));
        write!(out, "{}", wrap::paragraph(&scenario.description, &first, &others))?;
    }
    Ok(ExitCode::SUCCESS)
}
