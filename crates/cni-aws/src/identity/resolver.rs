//! From sources to one identity: which answer counts, what happens without one, and what is heard too late.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_config::meta::region::ProvideRegion as _;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use super::credentials;
use super::evidence::ClusterEvidence;
use super::settings::{ClusterIdFallback, IdentitySettings};
use super::sources::{Attempts, Source, Sources};
use super::state::{Found, Identity, IdentityError, IdentityReader, IdentityState};
use crate::metadata::InstanceFacts;
use crate::{AwsHttp, Verdict};
use cni_runtime::backoff::Backoff;
use cni_runtime::shutdown::Shutdown;
use cni_runtime::text::excerpt;
use cni_types::cluster_id::{ClusterId, FALLBACK_CLUSTER_ID};
use cni_types::names::CLUSTER_ID_RULE;

/// Unusable values that are remembered, so that each is logged once.
const MOST_LOGGED: usize = 64;

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
    let profile = ProfileFileRegionProvider::builder().configure(provider).build();
    Found::given(profile.region().await?.as_ref(), "shared config profile")
}

/// The search, and what it remembers.
struct Resolver {
    sources: Sources,
    needs_region: bool,
    fallback: ClusterIdFallback,
    state: Arc<watch::Sender<IdentityState>>,
    /// Unusable values that were logged, with their sources.
    logged: BTreeSet<(String, String)>,
}

/// What asking a number of sources in their order has brought.
#[derive(Debug, Default)]
struct Pass {
    /// The first usable answer.
    found: Option<(Source, Found<ClusterId>)>,
    /// Sources before it that did not answer, and why.
    missed: Vec<(Source, String)>,
}

impl Pass {
    fn missed(&self) -> String {
        self.missed.iter().map(|(source, why)| format!("{} ({why})", source.name())).collect::<Vec<_>>().join(", ")
    }

    fn missed_sources(&self) -> BTreeSet<Source> {
        self.missed.iter().map(|(source, _)| *source).collect()
    }
}

impl Resolver {
    async fn run(mut self, region: Option<Found>, cluster_id: Option<Found<ClusterId>>) {
        let region = match region {
            Some(region) => Some(region),
            None if !self.needs_region => self.region_if_the_instance_has_one().await,
            None => match self.region_of_the_instance().await {
                Ok(region) => Some(region),
                Err(error) => {
                    self.state.send_replace(IdentityState::Failed(Arc::new(error)));
                    return;
                }
            },
        };
        let sdk = self.sdk(region.as_ref()).await;
        if let Some(cluster_id) = cluster_id {
            return self.know(region, cluster_id, sdk);
        }
        let pass = self.pass(&Source::ALL, &sdk, Attempts::AtStart).await;
        let (used, open) = match (&pass.found, self.fallback) {
            (Some((source, found)), _) => {
                if !pass.missed.is_empty() {
                    warn!(
                        "CLUSTER_ID {found} is used without a better source, which did not answer: {}; set AWS_CLUSTER_ID \
                         to depend on none",
                        pass.missed()
                    );
                }
                self.know(region, found.clone(), sdk.clone());
                (Some((*source, found.value.clone())), pass.missed_sources())
            }
            (None, ClusterIdFallback::Default) => {
                let missed = pass.missed();
                let missed = if missed.is_empty() { String::new() } else { format!(" (no answer from {missed})") };
                warn!(
                    "no source names this cluster: publishing as {FALLBACK_CLUSTER_ID}, which mixes with every other \
                     cluster without a name in this account and region{missed}; set AWS_CLUSTER_ID"
                );
                let found = Found { value: ClusterId::fallback(), source: "the default".to_owned() };
                self.know(region, found, sdk.clone());
                (None, pass.missed_sources())
            }
            (None, ClusterIdFallback::Refuse) => {
                let (source, found) = self.wait_for_a_name(&sdk, &pass).await;
                self.know(region, found.clone(), sdk.clone());
                (Some((source, found.value)), BTreeSet::new())
            }
        };
        self.hear_better_answers(used, open, &sdk).await;
    }

    /// The region where it was not set: the instance's own. A service that answers without it is an error at once; one that
    /// does not answer is asked until it is unavailable.
    async fn region_of_the_instance(&mut self) -> Result<Found, IdentityError> {
        let until = self.sources.began + self.sources.limits.unavailable_after;
        let mut backoff = Backoff::new(self.sources.limits.metadata_try, self.sources.limits.metadata_try * 8);
        let mut attempts = Attempts::AtStart;
        loop {
            self.sources.metadata(attempts).await;
            match &self.sources.facts.region {
                Verdict::Says(region) => {
                    return Found::given(region, "instance metadata")
                        .ok_or_else(|| IdentityError::NoRegion("an empty region".to_owned()));
                }
                Verdict::SaysNo(why) => return Err(IdentityError::NoRegion(why.clone())),
                Verdict::Unavailable(why) => {
                    let next = Instant::now() + backoff.pause();
                    if next >= until {
                        return Err(IdentityError::NoRegion(why.clone()));
                    }
                    if matches!(attempts, Attempts::AtStart) {
                        let left = until.saturating_duration_since(Instant::now()).as_secs();
                        warn!(
                            "no AWS region yet: AWS_REGION is not set and the instance metadata service does not answer \
                             ({why}); asking again for {left} s, then the program ends"
                        );
                    }
                    sleep_until(next).await;
                    attempts = Attempts::Single;
                }
            }
        }
    }

    /// The region where it was not set and nothing depends on it.
    async fn region_if_the_instance_has_one(&mut self) -> Option<Found> {
        self.sources.metadata(Attempts::AtStart).await;
        Found::given(self.sources.facts.region.value()?, "instance metadata")
    }

    /// Without a region only what needs none can be made with it.
    async fn sdk(&self, region: Option<&Found>) -> SdkConfig {
        let http = self.sources.http.sdk_client();
        match region {
            Some(region) => {
                let region = Region::new(region.value.clone());
                aws_config::defaults(BehaviorVersion::latest()).http_client(http).region(region).load().await
            }
            None => SdkConfig::builder().behavior_version(BehaviorVersion::latest()).http_client(http).build(),
        }
    }

    fn know(&self, region: Option<Found>, cluster_id: Found<ClusterId>, sdk: SdkConfig) {
        let identity = Identity { region, cluster_id, credentials: self.sources.credentials, sdk };
        identity.announce();
        self.state.send_replace(IdentityState::Known(Arc::new(identity)));
    }

    /// Asks these sources in their order until one gives a usable answer.
    async fn pass(&mut self, sources: &[Source], sdk: &SdkConfig, attempts: Attempts) -> Pass {
        let mut pass = Pass::default();
        for source in sources {
            if matches!(attempts, Attempts::AtStart) {
                self.state.send_replace(IdentityState::Awaiting(source.name().to_owned()));
            }
            for reply in self.sources.ask(*source, sdk, attempts).await {
                match reply.verdict {
                    Verdict::Says(values) => {
                        if let Some(found) = values.iter().find_map(|value| self.usable(value, &reply.from)) {
                            pass.found = Some((*source, found));
                            return pass;
                        }
                    }
                    Verdict::SaysNo(why) if matches!(attempts, Attempts::AtStart) => {
                        info!("no cluster name from {}: {why}; asking the next source", reply.from);
                    }
                    Verdict::SaysNo(why) => debug!("no cluster name from {}: {why}", reply.from),
                    Verdict::Unavailable(why) if pass.missed.last().is_none_or(|(last, _)| last != source) => {
                        pass.missed.push((*source, why));
                    }
                    Verdict::Unavailable(_) => {}
                }
            }
        }
        pass
    }

    /// A value that CloudWatch takes as a dimension; another is logged once, and passed over.
    fn usable(&mut self, value: &str, from: &str) -> Option<Found<ClusterId>> {
        if let Ok(value) = value.trim().parse() {
            return Some(Found { value, source: from.to_owned() });
        }
        let text = excerpt(value);
        if self.logged.len() < MOST_LOGGED && self.logged.insert((from.to_owned(), text.clone())) {
            warn!("cluster name \"{text}\" from {from} is not used: it {CLUSTER_ID_RULE}; asking the next source");
        }
        None
    }

    /// Nothing is published. Sources that did not answer are asked again soon, all of them with each reminder, and what the
    /// watches show counts at once.
    async fn wait_for_a_name(&mut self, sdk: &SdkConfig, first: &Pass) -> (Source, Found<ClusterId>) {
        let limits = self.sources.limits;
        let mut open = first.missed_sources();
        let mut missed = first.missed();
        let mut remind_at = Instant::now();
        loop {
            if Instant::now() >= remind_at {
                let why = if missed.is_empty() {
                    "every source has answered no".to_owned()
                } else {
                    format!("no answer from {missed}")
                };
                let state = IdentityState::Refused(why);
                warn!("{}; rounds are kept within CLOUDWATCH_BUFFER", state.awaited().unwrap_or_default());
                self.state.send_replace(state);
                remind_at = Instant::now() + limits.remind;
                open.extend(Source::ALL);
            }
            tokio::select! {
                () = sleep(limits.ask_again) => {}
                () = sleep_until(remind_at) => {}
                () = changed(&mut self.sources.evidence) => {}
            }
            let sources: Vec<Source> =
                Source::ALL.into_iter().filter(|source| open.contains(source) || source.is_watched()).collect();
            let pass = self.pass(&sources, sdk, Attempts::Single).await;
            if let Some(found) = pass.found {
                return found;
            }
            open = pass.missed_sources();
            missed = pass.missed();
        }
    }

    /// Goes on asking what did not answer, and says so where it now names the cluster differently. What is published is
    /// never changed. `used` is the source in use, `None` the default.
    async fn hear_better_answers(
        &mut self,
        used: Option<(Source, ClusterId)>,
        mut open: BTreeSet<Source>,
        sdk: &SdkConfig,
    ) {
        let limits = self.sources.limits;
        let published = used.as_ref().map_or(FALLBACK_CLUSTER_ID, |(_, value)| value.as_str());
        let mut logged: Option<ClusterId> = None;
        let mut all_at = Instant::now() + limits.remind;
        while used.is_none() || !open.is_empty() {
            tokio::select! {
                () = sleep(limits.ask_again) => {}
                () = changed(&mut self.sources.evidence) => {}
            }
            if used.is_none() && Instant::now() >= all_at {
                open.extend(Source::ALL);
                all_at = Instant::now() + limits.remind;
            }
            let is_asked = |source: &Source| open.contains(source) || (used.is_none() && source.is_watched());
            let sources: Vec<Source> = Source::ALL.into_iter().filter(is_asked).collect();
            let pass = self.pass(&sources, sdk, Attempts::Single).await;
            if let Some((_, found)) = &pass.found
                && found.value != published
                && logged.as_ref() != Some(&found.value)
            {
                warn!(
                    "CLUSTER_ID would now be {found}; this process goes on publishing as {published}: restart to adopt it"
                );
                logged = Some(found.value.clone());
            }
            open = match &pass.found {
                Some((best, _)) => {
                    open.into_iter().filter(|source| source < best && pass.has_missed(*source)).collect()
                }
                None => pass.missed_sources(),
            };
        }
    }
}

impl Pass {
    fn has_missed(&self, source: Source) -> bool {
        self.missed.iter().any(|(missed, _)| *missed == source)
    }
}

impl Source {
    /// Its answers come by the watches: looking again costs no request.
    fn is_watched(self) -> bool {
        matches!(self, Self::NodeLabel | Self::AgentVariable)
    }
}

/// Waits for news from the watches; for ever, if they have ended.
async fn changed(evidence: &mut watch::Receiver<ClusterEvidence>) {
    if evidence.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
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
