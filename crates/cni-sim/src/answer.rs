//! The answer to one scrape of one agent, as the cluster hands it to the HTTP servers.

use crate::kube_store::ObjectKey;
use bytes::Bytes;
use std::fmt;
use std::time::Duration;

/// A pod's namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl PodKey {
    /// The key of `namespace/name`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for PodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl From<&PodKey> for ObjectKey {
    fn from(pod: &PodKey) -> Self {
        Self::new(pod.namespace.as_str(), pod.name.as_str())
    }
}

/// Which way a scrape came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// Through the API server's pod proxy.
    Proxy,
    /// Straight to the pod's address.
    Direct,
}

/// Identifies one rendered page. Hand it to `SimulatedCluster::delivered` once the whole body was given to the peer:
/// only delivered pages are part of the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServeTicket(pub(crate) u64);

impl ServeTicket {
    /// The ticket with this number, for backends outside this crate.
    pub fn numbered(number: u64) -> Self {
        Self(number)
    }

    /// The ticket's number.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// The answer to a scrape. The HTTP layer sends it and decides nothing.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A good page (status 200, `text/plain; version=0.0.4; charset=utf-8; escaping=underscores`).
    Page {
        /// The text, not compressed.
        body: Bytes,
        /// For the truth.
        ticket: ServeTicket,
    },
    /// A good page that was compressed beforehand; the same as [`Self::Page`] to a client.
    KeptPage {
        /// The text, gzipped.
        packed: Bytes,
        /// For the truth.
        ticket: ServeTicket,
    },
    /// A good page that is sent slowly.
    SlowPage {
        /// The text, not compressed.
        body: Bytes,
        /// Speed of the body.
        bytes_per_second: u32,
        /// Silence before the first byte.
        first_byte_after: Duration,
        /// For the truth.
        ticket: ServeTicket,
    },
    /// An HTTP answer without a page: an error status, or status 200 with an unusable body (HTML, garbage, nothing).
    Status {
        /// HTTP status code.
        code: u16,
        /// Value of `Retry-After`, in seconds.
        retry_after_s: Option<u32>,
        /// Value of `Content-Type`.
        content_type: &'static str,
        /// The body.
        body: Bytes,
    },
    /// Status 200 below this many headers of 1,000 bytes.
    LongHeaders {
        /// How many.
        count: u32,
    },
    /// Says `Content-Encoding: gzip`; the body unpacks to `unpacked_bytes` of comment lines.
    GzipBomb {
        /// Size after decompression.
        unpacked_bytes: u64,
    },
    /// A text page of `bytes` bytes, not compressed.
    Huge {
        /// Size on the wire.
        bytes: u64,
    },
    /// Half of a page, then the connection breaks.
    Truncated {
        /// What is sent before the break; the announced length is longer.
        body: Bytes,
        /// The `Content-Length` that is announced.
        announced_bytes: u64,
    },
    /// The request is read and never answered.
    Hang,
    /// One byte per second without end.
    EndlessSlow,
    /// The connection is reset after the request was read.
    Reset,
    /// Nothing listens: connection refused.
    Refused,
    /// The packets vanish: the connection never opens (a missing security-group rule).
    Dropped,
    /// No such pod.
    NotFound,
}
