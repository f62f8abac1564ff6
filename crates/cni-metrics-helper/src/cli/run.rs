//! `run`: the long-running helper.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use tokio::runtime::{Builder, Runtime};
use tracing::warn;

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
    /// Read all settings, print every mistake and every combination that works worse than it looks, and exit: 0 if the
    /// helper would start with them, else 1. Nothing is contacted
    #[arg(long)]
    check: bool,
}

/// Runs until a signal, then ends the current round, sends what is queued and exits 0; or until a part of it fails.
pub fn run(args: &RunArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let config = Config::read(&args.settings)?;
    if args.check {
        return check(&config, out);
    }
    cni_runtime::logging::init(config.log)?;
    warn_of(&config);
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

/// One line for each combination of settings that works worse than meant.
pub(super) fn warn_of(config: &Config) {
    for warning in &config.warnings {
        warn!("{warning}");
    }
}

/// The settings were read without a mistake.
fn check(config: &Config, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    for warning in &config.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    let warnings = config.warnings.len();
    writeln!(out, "the settings are valid; {warnings} {}", if warnings == 1 { "warning" } else { "warnings" })?;
    Ok(ExitCode::SUCCESS)
}

/// The runtime of the helper itself: one thread. Connections and the round on different threads wake each other for every
/// answer, which was a quarter of what a page costs; and one core is what the pod is given.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    started(Builder::new_current_thread())
}

/// The runtime of commands that play the cluster too: a thread a core.
pub(super) fn wide_runtime() -> anyhow::Result<Runtime> {
    started(Builder::new_multi_thread())
}

/// Connections are files: the soft limit on them is raised as far as it goes, as Go programs do by themselves.
fn started(mut builder: Builder) -> anyhow::Result<Runtime> {
    let files = rustix::process::Resource::Nofile;
    let limits = rustix::process::getrlimit(files);
    // Without it there are fewer connections, which is no reason not to start.
    let _kept = rustix::process::setrlimit(files, rustix::process::Rlimit { current: limits.maximum, ..limits });
    builder.enable_all().build().context("the runtime cannot be started")
}
