//! One round of one cluster.

use std::sync::Arc;
use std::time::Duration;

use cni_metrics_core::aggregate::CounterMode;
use cni_metrics_core::model::Snapshot;
use tracing::{info, warn};

use crate::config::Config;
use cni_aws::identity::{ClusterIdFallback, ClusterIdReader, IdentityLimits, IdentitySettings, ask_once};
use cni_collector::discover::Discovery;
use cni_collector::discover::connect::{Clients, ConnectSettings, connect};
use cni_collector::round::{RoundParts, Rounds};
use cni_collector::scrape::Scraper;
use cni_runtime::clock::Clock;
use cni_runtime::shutdown::Shutdown;
use cni_types::cluster_id::ClusterId;

/// How long the first list of pods may take: that of 100,000 takes some ten seconds.
const LIST_TIMEOUT: Duration = Duration::from_mins(1);

/// How long the list of nodes may take.
const LABEL_TIMEOUT: Duration = Duration::from_secs(5);

/// One round of the cluster that this context leads to; without a context, of the pod's own cluster or that of the current
/// context.
pub(super) async fn look(config: &Config, context: Option<&str>, shutdown: &Shutdown) -> anyhow::Result<Arc<Snapshot>> {
    let connection = ConnectSettings { context: context.map(str::to_owned), ..config.connect.clone() };
    let clients = connect(&connection).await?;
    // The watches end with this round, and not with the program, which may go on with other clusters.
    let (end, watches) = Shutdown::manual();
    let discovery = Discovery::spawn(&clients.watch, &config.discover, &watches);
    let snapshot = measured(config, context, clients, discovery, shutdown).await;
    end.end();
    snapshot
}

async fn measured(
    config: &Config,
    context: Option<&str>,
    clients: Clients,
    discovery: Discovery,
    shutdown: &Shutdown,
) -> anyhow::Result<Arc<Snapshot>> {
    listed(&discovery, shutdown).await?;
    let parts = RoundParts {
        // It may still be asked for while the round runs.
        cluster: ClusterIdReader::NotAsked,
        index: Arc::clone(&discovery.index),
        scraper: Arc::new(Scraper::new(clients.scrape.clone(), config.scrape.clone())),
        api: clients.scrape,
        clock: Clock::wall(),
        interval: config.interval,
        counters: CounterMode::Totals,
        looked_for: config.looked_for(),
        baselines: None,
    };
    let at = parts.clock.now();
    let round = async { Rounds::new(parts).await.run(at, config.round_limit(), shutdown).await.0 };
    let (mut snapshot, cluster) = tokio::join!(Box::pin(round), Box::pin(cluster(config, context, &discovery)));
    Arc::make_mut(&mut snapshot).cluster = cluster;
    Ok(snapshot)
}

/// Waits for the lists of pods and of nodes.
async fn listed(discovery: &Discovery, shutdown: &Shutdown) -> anyhow::Result<()> {
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
    Ok(())
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
