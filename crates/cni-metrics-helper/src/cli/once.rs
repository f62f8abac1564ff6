//! `once`: one round, printed.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use cni_metrics_core::aggregate::CounterMode;

use super::output::{OutputArgs, print};
use super::settings::SettingsArgs;
use crate::config::Config;
use cni_aws::identity::ClusterIdReader;
use cni_collector::discover::Discovery;
use cni_collector::discover::connect::connect;
use cni_collector::round::{RoundParts, Rounds};
use cni_collector::scrape::Scraper;
use cni_runtime::clock::Clock;
use cni_runtime::shutdown::Shutdown;

/// How long the first list of pods may take: that of 100,000 takes some ten seconds.
const LIST_TIMEOUT: Duration = Duration::from_mins(1);

/// How long the list of nodes may take.
const LABEL_TIMEOUT: Duration = Duration::from_secs(5);

/// What `once` takes: the settings that say where the agents are and how to reach them.
#[derive(Debug, Args)]
pub struct OnceArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs one round and prints it. The exit code is 1 when agents were expected and none answered.
pub fn run(args: &OnceArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let config = Config::read(&args.settings)?;
    cni_runtime::logging::init(config.log)?;
    super::run::warn_of(&config);
    let runtime = super::run::runtime()?;
    let snapshot = runtime.block_on(one_round(&config))?;
    print(&snapshot, args.output.output, out)?;
    let silent = snapshot.coverage.scraped == 0 && snapshot.coverage.expected > 0;
    Ok(if silent { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn one_round(config: &Config) -> anyhow::Result<std::sync::Arc<cni_metrics_core::model::Snapshot>> {
    let shutdown = Shutdown::on_signals(config.grace)?;
    let clients = connect(&config.connect).await?;
    let discovery = Discovery::spawn(&clients.watch, &config.discover, &shutdown);
    let mut synced = discovery.index.synced();
    let mut ended = shutdown.clone();
    tokio::select! {
        listed = synced.wait_for(|synced| *synced) => drop(listed?),
        () = ended.ended() => anyhow::bail!("stopped before the pods were listed"),
        () = tokio::time::sleep(LIST_TIMEOUT) => {
            let why = discovery.index.trouble().unwrap_or_else(|| "no answer from the API server".to_owned());
            anyhow::bail!("the pods could not be listed within {} s: {why}", LIST_TIMEOUT.as_secs());
        }
    }
    // Labels are worth a moment, and no more: without the right to list nodes they never come.
    let mut labelled = discovery.index.labelled();
    let _without_labels = tokio::time::timeout(LABEL_TIMEOUT, labelled.wait_for(|known| *known)).await;
    let parts = RoundParts {
        cluster: ClusterIdReader::NotAsked,
        index: discovery.index,
        scraper: std::sync::Arc::new(Scraper::new(clients.scrape.clone(), config.scrape.clone())),
        api: clients.scrape,
        clock: Clock::wall(),
        interval: config.interval,
        counters: CounterMode::Totals,
        looked_for: config.looked_for(),
        baselines: None,
    };
    let at = parts.clock.now();
    Ok(Rounds::new(parts).await.run(at, config.round_limit(), &shutdown).await.0)
}
