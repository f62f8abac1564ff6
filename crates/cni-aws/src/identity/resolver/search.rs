//! The search for what was not set: which source is asked when, and what its answer leads to.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use crate::Verdict;
use crate::identity::evidence::ClusterEvidence;
use crate::identity::settings::ClusterIdFallback;
use crate::identity::sources::{Attempts, Source, Sources};
use crate::identity::state::{Found, Identity, IdentityError, IdentityState};
use cni_runtime::backoff::Backoff;
use cni_runtime::text::excerpt;
use cni_types::cluster_id::{ClusterId, FALLBACK_CLUSTER_ID};
use cni_types::names::CLUSTER_ID_RULE;

/// Unusable values that are remembered, so that each is logged once.
const MOST_LOGGED: usize = 64;

/// The search, and what it remembers.
pub(super) struct Resolver {
    pub(super) sources: Sources,
    pub(super) needs_region: bool,
    pub(super) fallback: ClusterIdFallback,
    pub(super) state: Arc<watch::Sender<IdentityState>>,
    /// Unusable values that were logged, with their sources.
    pub(super) logged: BTreeSet<(String, String)>,
}

/// What asking a number of sources in their order has brought.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// The first usable answer.
    pub(super) found: Option<(Source, Found<ClusterId>)>,
    /// Sources before it that did not answer, and why.
    pub(super) missed: Vec<(Source, String)>,
}

impl Pass {
    pub(super) fn missed(&self) -> String {
        self.missed.iter().map(|(source, why)| format!("{} ({why})", source.name())).collect::<Vec<_>>().join(", ")
    }

    fn missed_sources(&self) -> BTreeSet<Source> {
        self.missed.iter().map(|(source, _)| *source).collect()
    }
}

impl Resolver {
    pub(super) async fn run(mut self, region: Option<Found>, cluster_id: Option<Found<ClusterId>>) {
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
    pub(super) async fn region_of_the_instance(&mut self) -> Result<Found, IdentityError> {
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
    pub(super) async fn region_if_the_instance_has_one(&mut self) -> Option<Found> {
        self.sources.metadata(Attempts::AtStart).await;
        Found::given(self.sources.facts.region.value()?, "instance metadata")
    }

    /// Without a region only what needs none can be made with it.
    pub(super) async fn sdk(&self, region: Option<&Found>) -> SdkConfig {
        let http = self.sources.http.sdk_client();
        match region {
            Some(region) => {
                let region = Region::new(region.value.clone());
                aws_config::defaults(BehaviorVersion::latest()).http_client(http).region(region).load().await
            }
            None => SdkConfig::builder().behavior_version(BehaviorVersion::latest()).http_client(http).build(),
        }
    }

    pub(super) fn know(&self, region: Option<Found>, cluster_id: Found<ClusterId>, sdk: SdkConfig) {
        let identity = Identity { region, cluster_id, credentials: self.sources.credentials, sdk };
        identity.announce();
        self.state.send_replace(IdentityState::Known(Arc::new(identity)));
    }

    /// Asks these sources in their order until one gives a usable answer.
    pub(super) async fn pass(&mut self, sources: &[Source], sdk: &SdkConfig, attempts: Attempts) -> Pass {
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
