//! Who publishes: region, cluster id and credentials, and where each came from.
//!
//! What is set is used at once. Everything else is searched while the program starts: each source has its own time limit
//! and its own verdict ([`crate::Verdict`]), and rounds, watches and Prometheus do not wait for any of them. The id that was
//! once published never changes in a process.

pub mod credentials;
mod evidence;
mod resolver;
mod settings;
mod sources;
mod state;

use std::sync::Arc;

use tokio::sync::watch;

pub use self::credentials::CredentialKind;
pub use self::evidence::{ClusterEvidence, Listing};
pub use self::resolver::{ask_once, region_of_files, resolve};
pub use self::settings::{ClusterIdFallback, IdentityLimits, IdentitySettings};
pub use self::state::{ClusterIdReader, Found, Identity, IdentityError, IdentityReader, IdentityState};

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
