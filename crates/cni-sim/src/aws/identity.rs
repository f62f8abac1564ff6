//! Who the simulated machine is, and the credentials it may hold: what IMDS, STS and the Pod Identity agent answer from.

use std::collections::BTreeMap;

/// The EC2 instance that the helper "runs on", as the instance metadata service describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Twelve digits.
    pub account_id: String,
    /// For example `eu-central-1`.
    pub region: String,
    /// For example `eu-central-1a`.
    pub availability_zone: String,
    /// For example `i-0123456789abcdef0`.
    pub instance_id: String,
    /// For example `m5.large`.
    pub instance_type: String,
    /// The instance's primary IPv4 address.
    pub private_ip: String,
    /// The instance's tags; visible through IMDS only while instance tags are switched on.
    pub tags: BTreeMap<String, String>,
    /// Name of the instance profile's role; `None` for an instance without one.
    pub role_name: Option<String>,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            account_id: "123456789012".to_owned(),
            region: "eu-central-1".to_owned(),
            availability_zone: "eu-central-1a".to_owned(),
            instance_id: "i-0123456789abcdef0".to_owned(),
            instance_type: "m5.large".to_owned(),
            private_ip: "10.0.0.10".to_owned(),
            tags: BTreeMap::new(),
            role_name: Some("eks-node-role".to_owned()),
        }
    }
}

/// What the simulator's own session tokens begin with. They end in their expiry, so that every service can tell an expired
/// one without asking the issuer, as AWS' own do.
const TOKEN_PREFIX: &str = "sim-session-";

/// Temporary credentials as AWS hands them out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `ASIA…`: the first four letters mark temporary keys.
    pub access_key_id: String,
    /// The secret half.
    pub secret_access_key: String,
    /// The session token that goes with them.
    pub session_token: String,
    /// When they stop being accepted, Unix milliseconds.
    pub expires_at_ms: i64,
}

impl Credentials {
    /// The `serial`-th set of credentials of one `issuer`; a new serial is a rotation a client can be seen to follow.
    pub fn issue(issuer: &str, serial: u64, expires_at_ms: i64) -> Self {
        Self {
            access_key_id: format!("ASIASIM{issuer}{serial:08}"),
            secret_access_key: format!("sim-secret-{issuer}-{serial}"),
            session_token: format!("{TOKEN_PREFIX}{issuer}-{serial}-{expires_at_ms}"),
            expires_at_ms,
        }
    }
}

/// When a session token of the simulator's own expires, Unix milliseconds; `None` for any other.
pub fn expiry_of(session_token: &str) -> Option<i64> {
    session_token.strip_prefix(TOKEN_PREFIX)?.rsplit('-').next()?.parse().ok()
}
