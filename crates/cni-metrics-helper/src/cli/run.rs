//! `run`: the long-running helper.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::check;
use super::output::Output;
use super::runtime::{runtime, warn_of};
use super::settings::SettingsArgs;
use crate::app::{App, AwsSource};
use crate::config::Config;
use cni_runtime::clock::Clock;
use cni_runtime::shutdown::Shutdown;

/// What `run` takes.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Print the effective configuration with the source of each value, and a warning for each combination that works worse
    /// than it looks, and exit with 0; or list all errors and exit with 1. Nothing is contacted
    #[arg(long)]
    check: bool,
    /// How --check prints its result
    #[arg(long, short, value_enum, requires = "check", default_value_t = Output::Table)]
    output: Output,
}

impl RunArgs {
    /// The settings, to note the sources of their values.
    pub(super) fn settings_mut(&mut self) -> &mut SettingsArgs {
        &mut self.settings
    }
}

/// Runs until a signal, then ends the current round, sends what is queued and exits 0; or until a part of it fails.
pub fn run(args: &RunArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    if args.check {
        return check::run(&args.settings, args.output, out);
    }
    let config = Config::read(&args.settings)?;
    cni_runtime::logging::init(config.log)?;
    warn_of(&config.warnings);
    warn_of(&config.publishing_warnings);
    let shutdown = Shutdown::on_signals(config.grace).context("signals cannot be received")?;
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let mut ended = shutdown.clone();
        let app = tokio::select! {
            app = App::build(config, AwsSource::Environment, Clock::wall(), shutdown) => app?,
            () = ended.ended() => return Ok(ExitCode::SUCCESS),
        };
        app.run().await?;
        Ok(ExitCode::SUCCESS)
    });
    // A name look-up that hangs on a thread of its own must not hold up the end.
    runtime.shutdown_background();
    ended
}
