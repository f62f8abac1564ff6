//! `once`: one round of one cluster or of several, printed.

mod look;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use cni_metrics_core::model::Snapshot;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{Instrument as _, Level, info_span};

use self::look::{Glance, look};
use super::nodes::NodeChoice;
use super::output::{ClusterLook, Look, LookStyle, OutputArgs, print, print_clusters};
use super::progress::Progress;
use super::settings::SettingsArgs;
use super::sources::Source;
use crate::config::{Config, Contexts, duration_flag};
use cni_collector::discover::connect::contexts;
use cni_runtime::logging::LogSettings;
use cni_runtime::shutdown::Shutdown;

/// Clusters that are measured at the same time. Each has connections and pages of its own.
const AT_ONCE: usize = 4;

/// What `once` takes: the settings that say where the agents are and how to reach them.
#[derive(Debug, Args)]
pub struct OnceArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// How long to wait for the API server's list of pods, such as 10s
    #[arg(long, value_name = "DURATION", value_parser = duration_flag, default_value = "60s")]
    request_timeout: Duration,
    /// Scrape twice, this far apart, such as 60s; counters are then the increase between the two, and not totals
    #[arg(long = "for", value_name = "DURATION", value_parser = duration_flag)]
    window: Option<Duration>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    nodes: NodeChoice,
}

impl OnceArgs {
    /// The settings, to note the sources of their values.
    pub(super) fn settings_mut(&mut self) -> &mut SettingsArgs {
        &mut self.settings
    }

    fn shown(&self) -> LookStyle<'_> {
        LookStyle { output: self.output.output, nodes: &self.nodes }
    }

    /// An error if a node of `--node` is in none of these looks. Where none has a node, that is said elsewhere.
    fn check_nodes<'a>(&self, looks: impl Iterator<Item = &'a Look> + Clone) -> anyhow::Result<()> {
        let with_nodes = looks.map(|look| &*look.snapshot).filter(|snapshot| !snapshot.nodes.is_empty());
        if with_nodes.clone().next().is_none() { Ok(()) } else { self.nodes.check(&with_nodes) }
    }

    /// A command that prints its result logs warnings only, unless a level is set.
    fn log(&self, settings: LogSettings) -> LogSettings {
        let is_set = self.settings.sources.source("log_level") != Source::Default;
        if is_set { settings } else { LogSettings { level: Level::WARN, ..settings } }
    }
}

/// Runs one round of each cluster and prints it. The exit code is 1 when a cluster could not be measured, or no agent of it
/// was found, or none answered. What is known of the other clusters is printed all the same.
pub fn run(args: &OnceArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let (config, wanted) = Config::read_with_contexts(&args.settings)?;
    cni_runtime::logging::init(args.log(config.log))?;
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
        let progress = Progress::on_stderr();
        let phase = progress.phase();
        let glance = Glance { config, timeout: args.request_timeout, window: args.window, phase, shutdown };
        if is_list {
            let looks = looks(glance, names).await;
            drop(progress);
            print_clusters(&looks, args.shown(), out)?;
            args.check_nodes(looks.iter().filter_map(|look| look.outcome.as_ref().ok()))?;
            return Ok(looks.iter().all(|look| look.outcome.as_ref().is_ok_and(|look| !is_silent(&look.snapshot))));
        }
        let look = look(&glance, names.first().map(String::as_str)).await?;
        drop(progress);
        args.check_nodes([&look].into_iter())?;
        print(&look, args.shown(), out)?;
        anyhow::Ok(!is_silent(&look.snapshot))
    })?;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// No agent answered; none may have been found.
fn is_silent(snapshot: &Snapshot) -> bool {
    snapshot.coverage.scraped == 0
}

/// One round of each context's cluster, in the order of `names`. A cluster that fails, in whatever way, is only its own loss.
async fn looks(glance: Glance, names: Vec<String>) -> Vec<ClusterLook> {
    glance.phase.set(format!("measuring {} clusters", names.len()));
    let (glance, free) = (Arc::new(glance.without_phase()), Arc::new(Semaphore::new(AT_ONCE)));
    let mut looks: Vec<ClusterLook> = Vec::with_capacity(names.len());
    let mut tasks = JoinSet::new();
    for (position, context) in names.into_iter().enumerate() {
        let (glance, free) = (Arc::clone(&glance), Arc::clone(&free));
        let (span, name) = (info_span!("cluster", context), context.clone());
        let task = async move {
            let _turn = free.acquire().await;
            (position, look(&glance, Some(&name)).await)
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
