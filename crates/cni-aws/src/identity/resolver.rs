//! From sources to one identity: which answer counts, what happens without one, and what is heard too late.

mod search;

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_config::meta::region::ProvideRegion as _;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;

use self::search::Resolver;
use super::credentials;
use super::evidence::ClusterEvidence;
use super::settings::IdentitySettings;
use super::sources::{Attempts, Source, Sources};
use super::state::{Found, IdentityError, IdentityReader, IdentityState};
use crate::AwsHttp;
use crate::metadata::InstanceFacts;
use cni_runtime::shutdown::Shutdown;
use cni_runtime::text::excerpt;
use cni_types::cluster_id::ClusterId;

/// Finds out who publishes. What is set is known on return; else the search goes on in a task that ends with `shutdown`,
/// and says in one line what it found. An error is a setting that cannot work.
pub async fn resolve(
    settings: &IdentitySettings,
    evidence: watch::Receiver<ClusterEvidence>,
    shutdown: &Shutdown,
) -> Result<IdentityReader, IdentityError> {
    let Start { resolver, region, cluster_id } = Start::new(settings, evidence).await?;
    let (state, reader) = (Arc::clone(&resolver.state), resolver.state.subscribe());
    if let Some(cluster_id) = &cluster_id
        && (region.is_some() || !settings.needs_region)
    {
        let sdk = resolver.sdk(region.as_ref()).await;
        resolver.know(region, cluster_id.clone(), sdk);
    } else {
        supervise(shutdown.clone().or_ended(async move { resolver.run(region, cluster_id).await }), state);
    }
    Ok(reader)
}

/// Asks each source once, for a program that is about to end: no source is waited for, and none is asked again. What the
/// watches have not shown by now counts as no answer. `None` if no source names the cluster.
pub async fn ask_once(
    settings: &IdentitySettings,
    evidence: watch::Receiver<ClusterEvidence>,
) -> Result<Option<Found<ClusterId>>, IdentityError> {
    let Start { mut resolver, region, cluster_id } = Start::new(settings, evidence).await?;
    if cluster_id.is_some() {
        return Ok(cluster_id);
    }
    let sdk = resolver.sdk(region.as_ref()).await;
    let mut pass = resolver.pass(&[Source::MetadataTags], &sdk, Attempts::Single).await;
    if pass.found.is_none() {
        let region = region.or_else(|| Found::given(resolver.sources.facts.region.value()?, "instance metadata"));
        let sdk = resolver.sdk(region.as_ref()).await;
        let others = [Source::Ec2Tags, Source::NodeLabel, Source::AgentVariable];
        let others = resolver.pass(&others, &sdk, Attempts::Single).await;
        pass.missed.extend(others.missed);
        pass.found = others.found;
    }
    let missed = pass.missed();
    match &pass.found {
        Some((_, found)) if !missed.is_empty() => {
            warn!("CLUSTER_ID {found} is used without a better source, which did not answer: {missed}");
        }
        None if !missed.is_empty() => warn!("no source names this cluster; these did not answer: {missed}"),
        _ => {}
    }
    Ok(pass.found.map(|(_, found)| found))
}

/// What was set, and what can ask for the rest.
struct Start {
    resolver: Resolver,
    region: Option<Found>,
    cluster_id: Option<Found<ClusterId>>,
}

impl Start {
    async fn new(
        settings: &IdentitySettings,
        evidence: watch::Receiver<ClusterEvidence>,
    ) -> Result<Self, IdentityError> {
        let environment = &settings.environment;
        let http = AwsHttp::new(environment.ca_bundle.clone())?;
        let provider = ProviderConfig::without_region().with_http_client(http.sdk_client());
        let region = configured_region(settings, &provider).await;
        let cluster_id = settings.aws_cluster_id.clone();
        let cluster_id = cluster_id.map(|value| Found { value, source: "AWS_CLUSTER_ID".to_owned() });
        let state = Arc::new(watch::Sender::new(IdentityState::Awaiting(Source::MetadataTags.name().to_owned())));
        let credentials = credentials::kind(environment).await;
        let facts = InstanceFacts::unasked();
        let sources = Sources {
            http,
            provider,
            environment: Arc::clone(environment),
            credentials,
            limits: settings.limits,
            evidence,
            facts,
            began: Instant::now(),
        };
        let resolver = Resolver {
            sources,
            needs_region: settings.needs_region,
            fallback: settings.fallback,
            state,
            logged: BTreeSet::new(),
        };
        Ok(Self { resolver, region, cluster_id })
    }
}

/// Runs the search. A panic in it is its failure, unless the identity was known by then: what is known stays.
fn supervise(search: impl Future<Output = ()> + Send + 'static, state: Arc<watch::Sender<IdentityState>>) {
    let task = tokio::spawn(search);
    tokio::spawn(async move {
        let Err(error) = task.await else { return };
        let text = excerpt(&error.to_string());
        if state.borrow().known().is_some() {
            warn!(
                "sources that did not name the cluster at the start are not asked again: the search has ended ({text})"
            );
        } else {
            state.send_replace(IdentityState::Failed(Arc::new(IdentityError::Ended(text))));
        }
    });
}

/// The region as it was set, without asking the network.
async fn configured_region(settings: &IdentitySettings, provider: &ProviderConfig) -> Option<Found> {
    if let Some(found) = Found::given(&settings.aws_region, "AWS_REGION")
        .or_else(|| Found::given(settings.environment.default_region.as_ref()?, "AWS_DEFAULT_REGION"))
    {
        return Some(found);
    }
    Found::given(&profile_region(provider).await?, "shared config profile")
}

async fn profile_region(provider: &ProviderConfig) -> Option<String> {
    let profile = ProfileFileRegionProvider::builder().configure(provider).build();
    profile.region().await.map(|region| region.as_ref().to_owned())
}

/// The region of the shared AWS configuration (`~/.aws/config`, `AWS_PROFILE`). Only files are read.
pub async fn region_of_files() -> Option<String> {
    profile_region(&ProviderConfig::without_region()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_search_that_dies_is_a_failure_and_one_that_is_over_is_none() {
        let state = Arc::new(watch::Sender::new(IdentityState::Awaiting("a test".to_owned())));
        supervise(async { panic!("a fault of the program") }, Arc::clone(&state));
        let error = super::super::failed(state.subscribe()).await.to_string();
        assert!(
            error.starts_with("the search for the cluster's identity has ended: ") && error.contains("a fault"),
            "{error}"
        );

        let state = Arc::new(watch::Sender::new(IdentityState::Awaiting("a test".to_owned())));
        supervise(async {}, Arc::clone(&state));
        while Arc::strong_count(&state) > 1 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(&*state.borrow(), IdentityState::Awaiting(_)));
    }
}
