//! `run`: the long-running helper.

use std::process::ExitCode;

use anyhow::Context;

use super::settings::SettingsArgs;
use crate::app::{App, AwsSource};
use crate::clock::Clock;
use crate::config::Config;
use crate::shutdown::Shutdown;

/// Runs until a signal, then ends the round in flight, sends what is queued and exits 0.
pub fn run(settings: &SettingsArgs) -> anyhow::Result<ExitCode> {
    let config = Config::read(settings)?;
    crate::logging::init(config.log)?;
    runtime()?.block_on(async {
        let shutdown = Shutdown::on_signals()?;
        App::build(config, AwsSource::Environment, Clock::wall(), shutdown).await?.run().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// The runtime of every command that needs one.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime cannot be started")
}
