//! Who publishes: region, cluster id and credentials, and where each came from.
//!
//! What is set is used at once. Everything else is asked for beside the start: each source has its own time limit and its
//! own verdict ([`crate::Verdict`]), and rounds, watches and Prometheus do not wait for any of them. The id that was
//! once published never changes in a process.

pub mod credentials;
mod evidence;
mod resolver;
mod sources;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use tokio::sync::watch;

pub use self::credentials::CredentialKind;
pub use self::evidence::{ClusterEvidence, Listing};
pub use self::resolver::resolve;
use crate::CaBundleError;

/// The cluster id of clusters that no source names.
pub const FALLBACK_CLUSTER_ID: &str = "k8s-cluster";

/// What the operator set.
#[derive(Debug, Clone, Default)]
pub struct IdentitySettings {
    /// `AWS_CLUSTER_ID`; empty if not set.
    pub aws_cluster_id: String,
    /// `AWS_REGION`; empty if not set (then `AWS_DEFAULT_REGION` and the others follow).
    pub aws_region: String,
    /// What happens where no source names the cluster.
    pub fallback: ClusterIdFallback,
    /// How long the sources may take.
    pub limits: IdentityLimits,
}

/// What happens where no source names the cluster: `CLUSTER_ID_FALLBACK`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClusterIdFallback {
    /// It is published as [`FALLBACK_CLUSTER_ID`], like every other cluster without a name.
    #[default]
    Default,
    /// Nothing is published to CloudWatch until a source names it.
    Refuse,
}

/// How long the sources of an identity may take.
#[derive(Debug, Clone, Copy)]
pub struct IdentityLimits {
    /// One try at the instance's metadata.
    pub metadata_try: Duration,
    /// Tries at the instance's metadata.
    pub metadata_tries: u32,
    /// One call of `ec2:DescribeTags`.
    pub ec2_try: Duration,
    /// A source that has not answered for this long is unavailable, and the next one is used.
    pub unavailable_after: Duration,
    /// Sources that did not answer are asked again after this time.
    pub ask_again: Duration,
    /// While nothing is published for lack of a name, the log says so this often, and every source is asked again.
    pub remind: Duration,
}

impl Default for IdentityLimits {
    fn default() -> Self {
        Self {
            metadata_try: Duration::from_secs(2),
            metadata_tries: 4,
            ec2_try: Duration::from_secs(5),
            unavailable_after: Duration::from_mins(2),
            ask_again: Duration::from_mins(5),
            remind: Duration::from_hours(1),
        }
    }
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

/// How far the search for an identity has come.
#[derive(Debug, Clone)]
pub enum IdentityState {
    /// A source has not answered yet; this says which.
    Awaiting(String),
    /// It is known, and stays.
    Known(Arc<Identity>),
    /// No source names the cluster, and `CLUSTER_ID_FALLBACK=refuse`: nothing is published until one does.
    Refused(String),
    /// There never will be one.
    Failed(Arc<IdentityError>),
}

/// Readers of the search's state.
pub type IdentityReader = watch::Receiver<IdentityState>;

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// No source knows the region.
    #[error(
        "no AWS region: set AWS_REGION (Helm value env.AWS_REGION), or AWS_DEFAULT_REGION, or `region` in the shared \
         config profile, or let the pod reach the instance metadata service (hop limit 2); metadata said: {0}"
    )]
    NoRegion(String),
    /// The task that asks the sources has ended.
    #[error("the search for the cluster's identity has ended: {0}")]
    Ended(String),
    /// See there.
    #[error(transparent)]
    CaBundle(#[from] CaBundleError),
}

/// The reader of an identity that the caller gives.
pub fn given(identity: Identity) -> IdentityReader {
    watch::Sender::new(IdentityState::Known(Arc::new(identity))).subscribe()
}

/// Waits until the search has failed for good; for ever, if it does not.
pub async fn failed(mut reader: IdentityReader) -> Arc<IdentityError> {
    let is_failed = |state: &IdentityState| matches!(state, IdentityState::Failed(_));
    let state = reader.wait_for(is_failed).await.map(|state| state.clone());
    match state {
        Ok(IdentityState::Failed(error)) => error,
        _ => std::future::pending().await,
    }
}

impl IdentityState {
    /// The identity, if it is known.
    pub fn known(&self) -> Option<Arc<Identity>> {
        match self {
            Self::Known(identity) => Some(Arc::clone(identity)),
            _ => None,
        }
    }

    /// What publishing waits for, in words; `None` if it waits for nothing.
    pub fn awaited(&self) -> Option<String> {
        match self {
            Self::Awaiting(what) => Some(format!("the cluster's identity is not known yet: waiting for {what}")),
            Self::Known(_) => None,
            Self::Refused(why) => Some(format!(
                "nothing is published to CloudWatch: no source names this cluster and CLUSTER_ID_FALLBACK is refuse \
                 ({why}); set AWS_CLUSTER_ID"
            )),
            Self::Failed(error) => Some(error.to_string()),
        }
    }
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
