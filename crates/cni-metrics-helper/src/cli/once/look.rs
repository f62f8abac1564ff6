//! One round of one cluster.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cni_metrics_core::aggregate::CounterMode;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::cli::output::Look;
use crate::cli::progress::Phase;
use crate::config::Config;
use cni_aws::identity::{ClusterIdFallback, ClusterIdReader, IdentityLimits, IdentitySettings, Listing, ask_once};
use cni_collector::discover::Discovery;
use cni_collector::discover::connect::{Clients, ConnectSettings, connect};
use cni_collector::round::{InsightParts, RoundParts, Rounds};
use cni_collector::scrape::Scraper;
use cni_runtime::clock::Clock;
use cni_runtime::shutdown::Shutdown;
use cni_types::cluster_id::ClusterId;

/// How long the list of nodes may take.
const LABEL_TIMEOUT: Duration = Duration::from_secs(5);

/// Failed lists of pods after which there is no use in waiting for another. One alone may be a moment's trouble.
const MOST_FAILURES: u64 = 3;

/// A list that has failed and is not there after this time will not come.
const FAILED_LIST_LIMIT: Duration = Duration::from_secs(5);

/// What a look at a cluster needs, whichever cluster it is.
#[derive(Debug)]
pub(super) struct Glance {
    pub(super) config: Config,
    /// How long the list of pods may take.
    pub(super) timeout: Duration,
    /// Scrape twice, this far apart, and count what happened between.
    pub(super) window: Option<Duration>,
    /// Where progress is shown.
    pub(super) phase: Phase,
    pub(super) shutdown: Shutdown,
}

impl Glance {
    /// The same without a place for progress.
    pub(super) fn without_phase(self) -> Self {
        Self { phase: Phase::default(), ..self }
    }
}

/// One round of the cluster that this context leads to; without a context, of the pod's own cluster or that of the current
/// context.
pub(super) async fn look(glance: &Glance, context: Option<&str>) -> anyhow::Result<Look> {
    let config = &glance.config;
    let connection = ConnectSettings { context: context.map(str::to_owned), ..config.connect.clone() };
    let clients = connect(&connection, &Clock::wall()).await?;
    // The watches end with this round, and not with the program, which may go on with other clusters.
    let (end, watches) = Shutdown::manual();
    let discovery = Discovery::spawn(&clients.watch, &config.discover, &watches);
    let look = measured(glance, context, clients, discovery).await;
    end.end();
    look
}

async fn measured(
    glance: &Glance,
    context: Option<&str>,
    clients: Clients,
    discovery: Discovery,
) -> anyhow::Result<Look> {
    let Glance { config, phase, shutdown, .. } = glance;
    phase.set(format!("asking {} for the pods", clients.server.url.trim_end_matches('/')));
    listed(&discovery, glance.timeout, shutdown)
        .await
        .map_err(|why| format!("the pods could not be listed: {}", cause(&why)))
        .map_err(|why| anyhow::anyhow!("{}", clients.server.failed(&why)))?;
    let parts = RoundParts {
        // It may still be asked for while the round runs.
        cluster: ClusterIdReader::NotAsked,
        index: Arc::clone(&discovery.index),
        scraper: Arc::new(Scraper::new(clients.scrape.clone(), config.scrape.clone(), &Clock::wall())),
        api: clients.scrape,
        clock: Clock::wall(),
        interval: glance.window.unwrap_or(config.interval),
        counters: if glance.window.is_some() { CounterMode::Increase } else { CounterMode::Totals },
        looked_for: config.looked_for(),
        baselines: None,
        insight: config
            .insight
            .clone()
            .map(|insight| InsightParts::new(insight.mutes, config.shard(), &discovery, None)),
    };
    let (look, cluster) =
        tokio::join!(Box::pin(scraped(glance, parts)), Box::pin(cluster(config, context, &discovery)));
    let mut look = look?;
    Arc::make_mut(&mut look.snapshot).cluster = cluster;
    Ok(look)
}

/// What the system says, without the layers that passed it on; else the whole text.
fn cause(why: &str) -> &str {
    match why.rsplit_once(": ") {
        Some((_, last)) if last.contains("(os error ") => last,
        _ => why,
    }
}

/// One round, or the second of two. The second is not waited for where the first has found nothing.
async fn scraped(glance: &Glance, parts: RoundParts) -> anyhow::Result<Look> {
    let Glance { config, phase, shutdown, window, .. } = glance;
    let (clock, limit) = (parts.clock.clone(), config.round_limit());
    phase.set(format!("scraping {} pods", parts.index.targets().1));
    let mut rounds = Rounds::new(parts).await;
    let (began, first) = (Instant::now(), clock.now());
    let (snapshot, _) = rounds.run(first, limit, shutdown).await;
    let Some(window) = window.filter(|_| snapshot.coverage.scraped > 0) else {
        return Ok(Look { snapshot, window: None, conclusion: rounds.conclusion() });
    };
    phase.set(format!("scraped once; the second scrape is {} s after the first", window.as_secs()));
    let mut ended = shutdown.clone();
    tokio::select! {
        () = tokio::time::sleep_until(began + window) => {}
        () = ended.ended() => anyhow::bail!("stopped before the second scrape"),
    }
    phase.set("scraping again".to_owned());
    // A first round that took longer than the window makes it longer.
    let window = Duration::from_secs_f64(began.elapsed().as_secs_f64().round());
    let (snapshot, _) = rounds.run(clock.now(), limit, shutdown).await;
    Ok(Look { snapshot, window: Some(window), conclusion: rounds.conclusion() })
}

/// Waits for the lists of pods and of nodes.
async fn listed(discovery: &Discovery, timeout: Duration, shutdown: &Shutdown) -> Result<(), String> {
    let mut synced = discovery.index.synced();
    let mut ended = shutdown.clone();
    tokio::select! {
        biased;
        listed = synced.wait_for(|synced| *synced) => listed.map(drop).map_err(|error| error.to_string())?,
        () = ended.ended() => return Err("stopped before that".to_owned()),
        why = refused(discovery) => return Err(why),
        () = tokio::time::sleep(timeout) => {
            let why = discovery.index.trouble();
            return Err(why.unwrap_or_else(|| format!("no answer within {} s (--request-timeout)", timeout.as_secs())));
        }
    }
    // Labels are worth a moment, and no more: without the right to list nodes they never come.
    let mut labelled = discovery.index.labelled();
    let _with_labels = tokio::time::timeout(LABEL_TIMEOUT, labelled.wait_for(|known| *known)).await.is_ok();
    if let Some(objects) = &discovery.objects {
        let _with_objects = tokio::time::timeout(LABEL_TIMEOUT, objects.settled()).await.is_ok();
    }
    Ok(())
}

/// Waits until there is no use in waiting for the list of pods, and says why.
async fn refused(discovery: &Discovery) -> String {
    const LOOK: Duration = Duration::from_millis(50);
    let began = Instant::now();
    loop {
        tokio::time::sleep(LOOK).await;
        let is_denied = discovery.pods.listing() == Listing::Denied;
        let failures = discovery.stats.pod_failures.load(Ordering::Relaxed);
        if let Some(why) = discovery.index.trouble()
            && (is_denied || failures >= MOST_FAILURES || began.elapsed() >= FAILED_LIST_LIMIT)
        {
            return why;
        }
    }
}

/// The cluster's id. A context may lead to any cluster: what this machine says of itself (`AWS_CLUSTER_ID`, the tags of its
/// instance) says nothing of that one, so there the cluster's own name counts, else the context's. That may be no id.
async fn cluster(config: &Config, context: Option<&str>, discovery: &Discovery) -> Option<ClusterId> {
    if let Some(context) = context {
        let own = discovery.evidence().borrow().own_name().map(|found| found.value);
        return own.or_else(|| context.parse().ok());
    }
    let settings = IdentitySettings {
        aws_cluster_id: config.cluster_id.clone(),
        aws_region: config.region.clone().unwrap_or_default(),
        needs_region: false,
        fallback: config.cluster_id_fallback,
        environment: Arc::clone(&config.environment),
        limits: IdentityLimits::default(),
    };
    match ask_once(&settings, discovery.evidence()).await {
        Ok(Some(found)) => Some(found.value),
        Ok(None) if config.cluster_id_fallback == ClusterIdFallback::Default => {
            let id = ClusterId::fallback();
            info!("no source names this cluster: its id is {id}; set AWS_CLUSTER_ID, or give --context");
            Some(id)
        }
        Ok(None) => None,
        // The round is worth more than its name.
        Err(error) => {
            warn!("the cluster's id is not known: {error}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_what_the_system_says() {
        let layers = "client error (Connect): tcp connect error: Connection refused (os error 111)";
        assert_eq!(cause(layers), "Connection refused (os error 111)");
        let denied = "pods is forbidden: User \"a\" cannot list resource \"pods\"";
        assert_eq!(cause(denied), denied);
    }
}
