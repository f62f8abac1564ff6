//! The identity, how far the search for it has come, and why there may be none.

use std::fmt;
use std::sync::Arc;

use aws_config::SdkConfig;
use tokio::sync::watch;

use super::credentials::CredentialKind;
use crate::CaBundleError;
use cni_types::cluster_id::ClusterId;

/// A value and its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<T = String> {
    /// The value.
    pub value: T,
    /// Where it came from, as the start line and the admin page say it.
    pub source: String,
}

/// Everything that publishing to AWS needs.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The region. Always known where [`IdentitySettings::needs_region`](super::IdentitySettings::needs_region) is set.
    pub region: Option<Found>,
    /// The value of the dimension `CLUSTER_ID`.
    pub cluster_id: Found<ClusterId>,
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

/// Reads the cluster's id as soon as there is one. The id never changes after that.
#[derive(Debug, Clone, Default)]
pub enum ClusterIdReader {
    /// No one asks for it.
    #[default]
    NotAsked,
    /// It was known from the start.
    Known(ClusterId),
    /// A search finds it out.
    Search(IdentityReader),
}

impl ClusterIdReader {
    /// The id, if it is known by now.
    pub fn get(&self) -> Option<ClusterId> {
        match self {
            Self::NotAsked => None,
            Self::Known(id) => Some(id.clone()),
            Self::Search(identity) => identity.borrow().known().map(|identity| identity.cluster_id.value.clone()),
        }
    }
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

impl<T: fmt::Display> fmt::Display for Found<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (from {})", self.value, self.source)
    }
}

impl Identity {
    pub(super) fn announce(&self) {
        let region = self.region.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
        tracing::info!("identity: region {region}, CLUSTER_ID {}, credentials {}", self.cluster_id, self.credentials);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_read_once_it_is_known_and_stays() {
        let state = watch::Sender::new(IdentityState::Awaiting("a test".to_owned()));
        let reader = ClusterIdReader::Search(state.subscribe());
        assert_eq!((reader.get(), ClusterIdReader::NotAsked.get()), (None, None));
        state.send_replace(IdentityState::Refused("a test".to_owned()));
        assert_eq!(reader.get(), None);
        state.send_replace(IdentityState::Known(Arc::new(Identity {
            region: None,
            cluster_id: Found { value: "prod".parse().unwrap(), source: "a test".to_owned() },
            credentials: CredentialKind::Environment,
            sdk: SdkConfig::builder().build(),
        })));
        drop(state);
        assert_eq!(reader.get(), "prod".parse().ok());
    }
}
