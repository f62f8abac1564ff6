//! What can go wrong with the services around the nodes, as switches that can be set while the cluster runs.

use serde::{Deserialize, Serialize};

/// What the API server does to a request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ApiFault {
    /// Serves.
    #[default]
    None,
    /// Answers a share of the requests with an error status.
    Status {
        /// HTTP status, for example 429, 500 or 503.
        code: u16,
        /// `Retry-After` in seconds.
        #[serde(default)]
        retry_after_s: Option<u32>,
        /// Share of the requests that it affects, 0 to 1.
        #[serde(default = "one")]
        share: f64,
    },
    /// Refuses connections and drops watches: a restart.
    Down,
    /// Serves later.
    Latency {
        /// Added to every request.
        delay_ms: u32,
    },
    /// Refuses as RBAC would (403).
    Deny {
        /// Verb, or `*`.
        verb: String,
        /// Resource as RBAC writes it: `pods`, `pods/proxy`, `nodes`, or `*`.
        resource: String,
    },
}

/// What CloudWatch does to a request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum CloudWatchFault {
    /// Serves.
    #[default]
    None,
    /// HTTP 400 `Throttling` for a share of the requests.
    Throttle {
        /// 0 to 1.
        #[serde(default = "one")]
        share: f64,
    },
    /// HTTP 500 `InternalServiceError` for a share of the requests.
    ServerError {
        /// 0 to 1.
        #[serde(default = "one")]
        share: f64,
    },
    /// HTTP 403 `AccessDenied`.
    AccessDenied,
    /// HTTP 503 `ServiceUnavailable` for each request: an outage that says so.
    Down,
    /// Requests are read and not carried out, and their connections are reset: no answer.
    NoAnswer,
    /// Requests are carried out, and their connections are reset: the answers are lost.
    LostAnswer,
    /// Serves later.
    Latency {
        /// Added to every request.
        delay_ms: u32,
    },
}

/// What the EC2 API does to the helper's own requests (`DescribeTags` and so on).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ec2Fault {
    /// Serves.
    #[default]
    None,
    /// `RequestLimitExceeded` for a share of the requests.
    Throttle {
        /// 0 to 1.
        #[serde(default = "one")]
        share: f64,
    },
    /// `UnauthorizedOperation`.
    Unauthorized,
    /// Connections are reset.
    Down,
}

/// What the instance metadata service does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ImdsFault {
    /// Serves.
    #[default]
    None,
    /// Never answers, like a dropped route.
    Hang,
    /// Refuses connections.
    Refused,
    /// The token's answer does not survive the hop (hop limit 1 seen from a pod).
    HopLimit,
    /// Instance tags are not allowed in metadata (404).
    NoTags,
}

fn one() -> f64 {
    1.0
}
