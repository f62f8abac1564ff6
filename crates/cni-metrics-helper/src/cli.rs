//! The command line: one file a subcommand.

mod check;
pub mod demo;
pub mod explain;
pub mod inspect;
pub mod once;
mod nodes;
mod output;
pub mod plan;
mod progress;
pub mod run;
mod runtime;
pub mod settings;
pub mod sim;
pub mod sources;

use std::io::Write;
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub use output::{Output, OutputArgs};
use settings::SettingsArgs;
use sources::Sources;

use cni_runtime::logging;

/// Cluster metrics of the Amazon VPC CNI, exact, to CloudWatch, Prometheus and logs.
///
/// Without a subcommand it is the long-running helper (`run`). Every setting is a flag and a variable; a flag wins over
/// its variable, except that `USE_CLOUDWATCH` wins over `--cloudwatch`.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: run::RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the long-running helper (the default)
    Run(Box<run::RunArgs>),
    /// Run one round, print the cluster and each node, and exit. Counters are totals since each agent's start, or with --for
    /// the increase between two scrapes
    Once(Box<once::OnceArgs>),
    /// Read saved pages (a curl of :61678/metrics, or metrics.json of an aws-cni-support bundle), one node each
    Inspect(inspect::InspectArgs),
    /// Work out what a node's warm pool settles at, or how many pods a node can hold
    Plan(plan::PlanArgs),
    /// Write manifests, IAM policies, dashboards, alarms and rules
    Generate(cni_generate::GenerateArgs),
    /// Print the page about an alert or a kind of failure; without an ID, list them
    Explain(explain::ExplainArgs),
    /// Serve a simulated cluster on real sockets, for kubectl, AWS clients and the helper
    Sim(sim::SimArgs),
    /// Run the helper against a simulated cluster and compare what it publishes with the truth
    Demo(demo::DemoArgs),
}

impl Cli {
    /// Reads the process's command line and variables. A mistake in the command line, `--help` and `--version` end the process.
    pub fn of_process() -> Self {
        let matches = Self::command().get_matches();
        let mut cli = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        cli.note_sources(&matches);
        cli
    }

    /// Notes where the values of the settings come from.
    fn note_sources(&mut self, matches: &ArgMatches) {
        let below = matches.subcommand().map_or(matches, |(_, below)| below);
        let settings: Option<&mut SettingsArgs> = match &mut self.command {
            None => Some(self.run.settings_mut()),
            Some(Command::Run(args)) => Some(args.settings_mut()),
            Some(Command::Once(args)) => Some(args.settings_mut()),
            Some(_) => None,
        };
        if let Some(settings) = settings {
            settings.sources = Sources::of(below);
        }
    }

    /// Runs the chosen command to its end.
    pub fn execute(self) -> anyhow::Result<ExitCode> {
        let mut out = std::io::stdout().lock();
        let code = match self.command {
            None => run::run(&self.run, &mut out),
            Some(Command::Run(args)) => run::run(&args, &mut out),
            Some(Command::Once(args)) => once::run(&args, &mut out),
            Some(Command::Inspect(args)) => inspect::run(&args, &mut out, &mut logging::Stderr),
            Some(Command::Plan(args)) => plan::run(args, &mut out).map(|()| ExitCode::SUCCESS),
            Some(Command::Generate(args)) => {
                cni_generate::run(args, &mut out, &mut logging::Stderr).map(|()| ExitCode::SUCCESS)
            }
            Some(Command::Explain(args)) => explain::run(&args, &mut out).map(|()| ExitCode::SUCCESS),
            Some(Command::Sim(args)) => sim::run(&args, &mut out),
            Some(Command::Demo(args)) => demo::run(&args, &mut out),
        }?;
        // What is not written by now would be lost in silence, on a full disk for example.
        out.flush()?;
        Ok(code)
    }
}
