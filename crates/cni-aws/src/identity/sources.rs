//! The sources that may name the cluster, best first, and how each is asked.

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::provider_config::ProviderConfig;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::credentials::CredentialKind;
use super::evidence::{AGENT_VARIABLE, ClusterEvidence, Listing, NODE_LABEL};
use super::settings::IdentityLimits;
use crate::metadata::{self, CLUSTER_TAGS, InstanceFacts};
use crate::{AwsHttp, Environment, Verdict, tags};
use cni_runtime::backoff::Backoff;
use cni_types::iam::FIND_CLUSTER_NAME;

/// A source, in the order in which they count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// The instance's tags, from its metadata.
    MetadataTags,
    /// The instance's tags, from EC2.
    Ec2Tags,
    /// The label that eksctl gives nodes.
    NodeLabel,
    /// The agents' own setting.
    AgentVariable,
}

impl Source {
    /// All of them, best first.
    pub(super) const ALL: [Self; 4] = [Self::MetadataTags, Self::Ec2Tags, Self::NodeLabel, Self::AgentVariable];

    /// What it is called in the log.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::MetadataTags => "the instance metadata service",
            Self::Ec2Tags => FIND_CLUSTER_NAME.action,
            Self::NodeLabel => "the nodes' label alpha.eksctl.io/cluster-name",
            Self::AgentVariable => AGENT_VARIABLE,
        }
    }
}

/// What a source answered: one or more candidates, the better first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// The source, and which of its values.
    pub(super) from: String,
    pub(super) verdict: Verdict<Vec<String>>,
}

/// How often a source is asked before it counts as unavailable.
#[derive(Debug, Clone, Copy)]
pub(super) enum Attempts {
    /// As often as the limits allow: the program has just started.
    AtStart,
    /// Once: it was asked at the start.
    Single,
}

/// Everything that can be asked.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) http: AwsHttp,
    pub(super) provider: ProviderConfig,
    pub(super) environment: Arc<Environment>,
    pub(super) credentials: CredentialKind,
    pub(super) limits: IdentityLimits,
    pub(super) evidence: watch::Receiver<ClusterEvidence>,
    /// What metadata has said so far.
    pub(super) facts: InstanceFacts,
    /// When asking began.
    pub(super) began: Instant,
}

impl Sources {
    /// Asks the instance's metadata until it has answered everything, or for as long as it is given.
    pub(super) async fn metadata(&mut self, attempts: Attempts) {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(2));
        let tries = match attempts {
            Attempts::AtStart => self.limits.metadata_tries,
            Attempts::Single => 1,
        };
        for number in 1..=tries {
            let later = Box::pin(metadata::read(&self.provider, &self.environment, self.limits.metadata_try)).await;
            let known = std::mem::replace(&mut self.facts, InstanceFacts::unasked());
            self.facts = known.or(later);
            if !self.facts.is_open() {
                return;
            }
            if number < tries {
                tracing::debug!(number, tries, "the instance metadata service has not answered everything");
                tokio::time::sleep(backoff.pause()).await;
            }
        }
    }

    /// Asks one source.
    pub(super) async fn ask(&mut self, source: Source, sdk: &SdkConfig, attempts: Attempts) -> Vec<Reply> {
        match source {
            Source::MetadataTags => {
                // Also later: a tag that was set meanwhile is an answer that was not there before.
                if matches!(attempts, Attempts::Single) {
                    self.facts.tags = InstanceFacts::unasked().tags;
                }
                if self.facts.is_open() {
                    self.metadata(attempts).await;
                }
                let tag = |(name, verdict): (&str, &Verdict<String>)| Reply {
                    from: format!("instance tag {name} through metadata"),
                    verdict: one(verdict.clone()),
                };
                CLUSTER_TAGS.into_iter().zip(&self.facts.tags).map(tag).collect()
            }
            Source::Ec2Tags => match self.ec2(sdk, attempts).await {
                Verdict::Says(tags) => {
                    let tag = |(name, value): (&str, String)| Reply {
                        from: format!("instance tag {name} through ec2:DescribeTags"),
                        verdict: Verdict::Says(vec![value]),
                    };
                    tags.into_iter().map(tag).collect()
                }
                Verdict::SaysNo(why) => vec![Reply::of(source, Verdict::SaysNo(why))],
                Verdict::Unavailable(why) => vec![Reply::of(source, Verdict::Unavailable(why))],
            },
            Source::NodeLabel => {
                let verdict = self.watched(attempts, |seen| (seen.nodes, &seen.eksctl_names)).await;
                vec![Reply { from: NODE_LABEL.to_owned(), verdict }]
            }
            Source::AgentVariable => {
                let verdict = self.watched(attempts, |seen| (seen.pods, &seen.agent_names)).await;
                vec![Reply::of(source, verdict)]
            }
        }
    }

    /// Asks EC2, with back-off, until it answers or has been unavailable for too long.
    async fn ec2(&mut self, sdk: &SdkConfig, attempts: Attempts) -> Verdict<tags::Tags> {
        if sdk.region().is_none() {
            let why = "not asked: the AWS region is not known".to_owned();
            return if self.facts.region.is_open() { Verdict::Unavailable(why) } else { Verdict::SaysNo(why) };
        }
        let metadata_is_silent = self.facts.region.is_open() && self.facts.instance_id.is_open();
        if metadata_is_silent && self.credentials == CredentialKind::Instance {
            let why = "not asked: its credentials would come from the instance metadata service, which does not answer";
            return Verdict::Unavailable(why.to_owned());
        }
        let instance_id = match self.instance_id(attempts).await {
            Verdict::Says(id) => id,
            Verdict::SaysNo(why) => return Verdict::SaysNo(why),
            Verdict::Unavailable(why) => return Verdict::Unavailable(why),
        };
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(15));
        let until = Instant::now() + self.limits.unavailable_after;
        loop {
            let verdict =
                tags::cluster_tags(&self.http, &self.environment, sdk, &instance_id, self.limits.ec2_try).await;
            let next = Instant::now() + backoff.pause();
            if !verdict.is_open() || matches!(attempts, Attempts::Single) || next >= until {
                return verdict;
            }
            if let Verdict::Unavailable(why) = &verdict {
                tracing::debug!("ec2:DescribeTags has not answered: {why}");
            }
            sleep_until(next).await;
        }
    }

    /// The helper's own instance: from instance metadata, else from its node as the watch shows it.
    async fn instance_id(&mut self, attempts: Attempts) -> Verdict<String> {
        if let Some(id) = self.facts.instance_id.value() {
            return Verdict::Says(id.clone());
        }
        let until = self.until(attempts);
        let is_settled = |seen: &ClusterEvidence| seen.instance_id.is_some() || seen.nodes != Listing::Awaited;
        let seen = match timeout_at(until, self.evidence.wait_for(is_settled)).await {
            Ok(Ok(seen)) => seen.clone(),
            _ => ClusterEvidence::default(),
        };
        match (seen.instance_id, &self.facts.instance_id, seen.nodes) {
            (Some(id), ..) => Verdict::Says(id),
            (None, Verdict::Unavailable(_), _) | (None, _, Listing::Awaited) => Verdict::Unavailable(
                "not asked: neither the instance metadata service nor the watch of nodes has shown this node's instance id"
                    .to_owned(),
            ),
            (None, ..) => Verdict::SaysNo("not asked: this node is no EC2 instance".to_owned()),
        }
    }

    /// What the watches have shown.
    async fn watched(
        &mut self,
        attempts: Attempts,
        names: fn(&ClusterEvidence) -> (Listing, &Vec<String>),
    ) -> Verdict<Vec<String>> {
        let until = self.until(attempts);
        let is_settled = |seen: &ClusterEvidence| names(seen).0 != Listing::Awaited;
        let Ok(Ok(seen)) = timeout_at(until, self.evidence.wait_for(is_settled)).await else {
            return Verdict::Unavailable("the API server has not listed them".to_owned());
        };
        match names(&seen) {
            (Listing::Denied, _) => Verdict::SaysNo("the API server denies the list".to_owned()),
            (_, names) if names.is_empty() => Verdict::SaysNo("not set".to_owned()),
            (_, names) => Verdict::Says(names.clone()),
        }
    }

    fn until(&self, attempts: Attempts) -> Instant {
        match attempts {
            Attempts::AtStart => self.began + self.limits.unavailable_after,
            Attempts::Single => Instant::now(),
        }
    }
}

impl Reply {
    fn of(source: Source, verdict: Verdict<Vec<String>>) -> Self {
        Self { from: source.name().to_owned(), verdict }
    }
}

fn one(verdict: Verdict<String>) -> Verdict<Vec<String>> {
    match verdict {
        Verdict::Says(value) => Verdict::Says(vec![value]),
        Verdict::SaysNo(why) => Verdict::SaysNo(why),
        Verdict::Unavailable(why) => Verdict::Unavailable(why),
    }
}
