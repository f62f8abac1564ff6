//! Who publishes: region, cluster id and credentials, and where each came from.
//!
//! Every source that may be out of reach has a bound, so that start-up is never held up by more than a few seconds:
//! the instance's metadata two in all, `ec2:DescribeTags` three.

pub mod credentials;

use std::fmt;

use aws_config::meta::region::ProvideRegion as _;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};

pub use self::credentials::CredentialKind;
use crate::aws::metadata::{self, InstanceFacts};
use crate::aws::{AwsHttp, CaBundleError, tags};

/// The cluster id of clusters nobody named.
pub const FALLBACK_CLUSTER_ID: &str = "k8s-cluster";

/// What the operator set.
#[derive(Debug, Clone, Default)]
pub struct IdentitySettings {
    /// `AWS_CLUSTER_ID`; empty if not set.
    pub aws_cluster_id: String,
    /// `AWS_REGION`; empty if not set (then `AWS_DEFAULT_REGION` and the others follow).
    pub aws_region: String,
}

/// What the cluster itself says of its name.
#[derive(Debug, Clone, Default)]
pub struct ClusterHints {
    /// Node label `alpha.eksctl.io/cluster-name`.
    pub eksctl_cluster_name: Option<String>,
    /// `CLUSTER_NAME` of the aws-node container.
    pub aws_node_cluster_name: Option<String>,
    /// The helper's own node's EC2 instance id (the end of its `spec.providerID`), for where metadata is out of reach.
    pub instance_id: Option<String>,
}

/// A value and its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The value.
    pub value: String,
    /// Where it came from, as the start line and the admin page say it.
    pub source: String,
}

/// Everything that publishing to AWS needs.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The region.
    pub region: Found,
    /// The value of the dimension `CLUSTER_ID`.
    pub cluster_id: Found,
    /// Which credentials will be used.
    pub credentials: CredentialKind,
    /// The AWS SDK's configuration with all of this in it.
    pub sdk: SdkConfig,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// No source knows the region.
    #[error(
        "no AWS region: set AWS_REGION (Helm value env.AWS_REGION), or AWS_DEFAULT_REGION, or `region` in the shared \
         config profile, or let the pod reach the instance metadata service (hop limit 2); metadata said: {0}"
    )]
    NoRegion(String),
    /// See there.
    #[error(transparent)]
    CaBundle(#[from] CaBundleError),
}

/// Finds out who publishes, and says so in one line.
pub async fn resolve(settings: &IdentitySettings, hints: ClusterHints) -> Result<Identity, IdentityError> {
    let http = AwsHttp::from_env()?;
    let provider = ProviderConfig::without_region().with_http_client(http.sdk_client());
    let configured = configured_region(settings, &provider).await;
    let cluster_id = Found::given(&settings.aws_cluster_id, "AWS_CLUSTER_ID");
    let facts = match (&configured, &cluster_id) {
        (Some(_), Some(_)) => InstanceFacts::unreachable("not asked".to_owned()),
        _ => Box::pin(metadata::read(&provider)).await,
    };
    let from_metadata = || Found::given(facts.region.as_deref()?, "instance metadata");
    let region = configured.or_else(from_metadata).ok_or_else(|| {
        IdentityError::NoRegion(facts.unreachable.clone().unwrap_or_else(|| "it does not know the region".to_owned()))
    })?;

    let sdk = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http.sdk_client())
        .region(Region::new(region.value.clone()))
        .load()
        .await;
    let credentials = credentials::kind().await;
    let cluster_id = match cluster_id {
        Some(given) => given,
        None => find_cluster_id(&http, &sdk, &facts, credentials, hints).await,
    };
    let identity = Identity { region, cluster_id, credentials, sdk };
    identity.announce();
    Ok(identity)
}

/// The region as it was set by somebody, without asking the network.
async fn configured_region(settings: &IdentitySettings, provider: &ProviderConfig) -> Option<Found> {
    let variable = || std::env::var("AWS_DEFAULT_REGION").ok();
    if let Some(found) =
        Found::given(&settings.aws_region, "AWS_REGION").or_else(|| Found::given(&variable()?, "AWS_DEFAULT_REGION"))
    {
        return Some(found);
    }
    let profile = ProfileFileRegionProvider::builder().configure(provider).build();
    Found::given(profile.region().await?.as_ref(), "shared config profile")
}

async fn find_cluster_id(
    http: &AwsHttp,
    sdk: &SdkConfig,
    facts: &InstanceFacts,
    credentials: CredentialKind,
    hints: ClusterHints,
) -> Found {
    if let Some((tag, value)) = &facts.cluster_tag {
        return Found { value: value.clone(), source: format!("instance tag {tag} through metadata") };
    }
    // Credentials that come from metadata cannot be had where metadata does not answer: no use in waiting for them.
    let has_credentials = facts.unreachable.is_none() || credentials != CredentialKind::Instance;
    let instance_id = facts.instance_id.clone().or(hints.instance_id).filter(|_| has_credentials);
    if let Some(instance_id) = instance_id {
        match tags::cluster_tag(http, sdk, &instance_id).await {
            Ok(Some((tag, value))) => {
                return Found { value, source: format!("instance tag {tag} through ec2:DescribeTags") };
            }
            Ok(None) => tracing::debug!(instance_id, "the instance has none of the tags that name a cluster"),
            Err(error) => tracing::info!(%error, "no cluster name from ec2:DescribeTags, asking elsewhere"),
        }
    }
    let hint = |hint: Option<String>, source: &str| Found::given(&hint?, source);
    hint(hints.eksctl_cluster_name, "node label alpha.eksctl.io/cluster-name")
        .or_else(|| hint(hints.aws_node_cluster_name, "aws-node's CLUSTER_NAME"))
        .unwrap_or_else(|| {
            tracing::warn!(
                "no source names this cluster: publishing as {FALLBACK_CLUSTER_ID}, which mixes with every other \
                 cluster without a name in this account and region; set AWS_CLUSTER_ID"
            );
            Found { value: FALLBACK_CLUSTER_ID.to_owned(), source: "the default".to_owned() }
        })
}

impl Found {
    /// The value, if it says anything.
    fn given(value: &str, source: &str) -> Option<Self> {
        let value = value.trim();
        (!value.is_empty()).then(|| Self { value: value.to_owned(), source: source.to_owned() })
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (from {})", self.value, self.source)
    }
}

impl Identity {
    fn announce(&self) {
        tracing::info!(
            "identity: region {}, CLUSTER_ID {}, credentials {}",
            self.region,
            self.cluster_id,
            self.credentials
        );
    }
}
