//! The identity, how far the search for it has come, and why there may be none.

use std::fmt;
use std::sync::Arc;

use aws_config::SdkConfig;
use tokio::sync::watch;

use super::credentials::CredentialKind;
use crate::CaBundleError;

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
    pub(super) fn given(value: &str, source: &str) -> Option<Self> {
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
    pub(super) fn announce(&self) {
        tracing::info!(
            "identity: region {}, CLUSTER_ID {}, credentials {}",
            self.region,
            self.cluster_id,
            self.credentials
        );
    }
}
