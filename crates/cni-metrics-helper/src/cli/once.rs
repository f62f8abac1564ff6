//! `once`: one round of one cluster or of several, printed.

mod look;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::anyhow;
use clap::Args;
use cni_metrics_core::model::Snapshot;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{Instrument as _, info_span};

use self::look::look;
use super::output::{ClusterLook, OutputArgs, print, print_clusters};
use super::settings::SettingsArgs;
use crate::config::{Config, Contexts};
use cni_collector::discover::connect::contexts;
use cni_runtime::shutdown::Shutdown;

/// Clusters that are measured at the same time. Each has connections and pages of its own.
const AT_ONCE: usize = 4;

/// What `once` takes: the settings that say where the agents are and how to reach them.
#[derive(Debug, Args)]
pub struct OnceArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl OnceArgs {
    /// The settings, to note the sources of their values.
    pub(super) fn settings_mut(&mut self) -> &mut SettingsArgs {
        &mut self.settings
    }
}

/// Runs one round of each cluster and prints it. The exit code is 1 when a cluster could not be measured, or when agents of
/// it were expected and none answered. What is known of the other clusters is printed all the same.
pub fn run(args: &OnceArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let (config, wanted) = Config::read_with_contexts(&args.settings)?;
    cni_runtime::logging::init(config.log)?;
    super::runtime::warn_of(&config.warnings);
    let names = match &wanted {
        Contexts::Current => Vec::new(),
        Contexts::Named(names) => names.clone(),
        Contexts::All => contexts(&config.connect)?,
    };
    let is_list = wanted == Contexts::All || names.len() > 1;
    let runtime = super::runtime::runtime()?;
    let is_good = runtime.block_on(async {
        let shutdown = Shutdown::on_signals(config.grace)?;
        if is_list {
            let looks = looks(config, names, &shutdown).await;
            print_clusters(&looks, args.output.output, out)?;
            return Ok(looks.iter().all(|look| look.outcome.as_ref().is_ok_and(|snapshot| !is_silent(snapshot))));
        }
        let snapshot = look(&config, names.first().map(String::as_str), &shutdown).await?;
        print(&snapshot, args.output.output, out)?;
        anyhow::Ok(!is_silent(&snapshot))
    })?;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Agents were expected, and none answered.
fn is_silent(snapshot: &Snapshot) -> bool {
    snapshot.coverage.scraped == 0 && snapshot.coverage.expected > 0
}

/// One round of each context's cluster, in the order of `names`. A cluster that fails, in whatever way, is only its own loss.
async fn looks(config: Config, names: Vec<String>, shutdown: &Shutdown) -> Vec<ClusterLook> {
    let (config, free) = (Arc::new(config), Arc::new(Semaphore::new(AT_ONCE)));
    let mut looks: Vec<ClusterLook> = Vec::with_capacity(names.len());
    let mut tasks = JoinSet::new();
    for (position, context) in names.into_iter().enumerate() {
        let (config, free, shutdown) = (Arc::clone(&config), Arc::clone(&free), shutdown.clone());
        let (span, name) = (info_span!("cluster", context), context.clone());
        let task = async move {
            let _turn = free.acquire().await;
            (position, look(&config, Some(&name), &shutdown).await)
        };
        tasks.spawn(task.instrument(span));
        // What stays of a task that panics; the panic hook has logged the reason.
        looks.push(ClusterLook { context, outcome: Err(anyhow!("internal error, see the log")) });
    }
    while let Some(ended) = tasks.join_next().await {
        if let Ok((position, outcome)) = ended
            && let Some(look) = looks.get_mut(position)
        {
            look.outcome = outcome;
        }
    }
    looks
}
