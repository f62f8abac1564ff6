//! Which of the SDK's credential sources will be used: told from the settings alone, in the chain's order.
//!
//! Nothing is fetched here. The SDK fetches with the first request and again whenever credentials run out, so a token
//! file that is rotated, and a role that is attached late, are picked up without a restart.

use std::fmt;

use aws_runtime::env_config::file::EnvConfigFiles;
use aws_runtime::env_config::section::Profile;
use aws_types::os_shim_internal::{Env, Fs};

use crate::Environment;

/// A source of credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialKind {
    /// `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
    Environment,
    /// A profile of the shared config or credentials file.
    Profile,
    /// A role for the service account (IRSA): `AWS_ROLE_ARN` and `AWS_WEB_IDENTITY_TOKEN_FILE`.
    WebIdentity,
    /// EKS Pod Identity: `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
    PodIdentity,
    /// A container's own: `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI`.
    Container,
    /// The node's role, through instance metadata.
    Instance,
}

impl fmt::Display for CredentialKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Environment => "static keys (from AWS_ACCESS_KEY_ID)",
            Self::Profile => "profile (from the shared config or credentials file)",
            Self::WebIdentity => "web identity, IRSA (from AWS_WEB_IDENTITY_TOKEN_FILE)",
            Self::PodIdentity => "EKS Pod Identity (from AWS_CONTAINER_CREDENTIALS_FULL_URI)",
            Self::Container => "container role (from AWS_CONTAINER_CREDENTIALS_RELATIVE_URI)",
            Self::Instance => "node role (from instance metadata)",
        })
    }
}

/// The source the chain will stop at.
pub async fn kind(environment: &Environment) -> CredentialKind {
    if environment.has_access_key {
        CredentialKind::Environment
    } else if profile_has_credentials().await {
        CredentialKind::Profile
    } else if environment.roles.web_identity {
        CredentialKind::WebIdentity
    } else if environment.roles.container {
        CredentialKind::Container
    } else if environment.roles.pod_identity {
        CredentialKind::PodIdentity
    } else {
        CredentialKind::Instance
    }
}

async fn profile_has_credentials() -> bool {
    const CREDENTIAL_KEYS: [&str; 5] =
        ["aws_access_key_id", "role_arn", "credential_process", "sso_session", "sso_start_url"];
    let gives = |profile: &Profile| CREDENTIAL_KEYS.iter().any(|key| profile.get(key).is_some());
    let files = EnvConfigFiles::default();
    match aws_config::profile::load(&Fs::real(), &Env::real(), &files, None).await {
        Ok(profiles) => profiles.get_profile(profiles.selected_profile()).is_some_and(gives),
        Err(_) => false,
    }
}
