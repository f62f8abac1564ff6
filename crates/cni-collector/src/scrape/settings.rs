//! How pages are fetched: what the operator sets.

use std::str::FromStr;
use std::time::Duration;

/// How nodes are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// The proxy first, directly where the API server cannot reach the node.
    Auto,
    /// The API server's pod proxy only.
    Proxy,
    /// The node's address only.
    Direct,
}

impl FromStr for Via {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "proxy" => Ok(Self::Proxy),
            "direct" => Ok(Self::Direct),
            _ => Err(()),
        }
    }
}

/// How pages are fetched.
#[derive(Debug, Clone)]
pub struct ScrapeSettings {
    /// How nodes are reached.
    pub via: Via,
    /// Maximum concurrent scrapes; `None` leaves it to the concurrency limiter.
    pub concurrency: Option<usize>,
    /// One scrape's time, retries included; never more than a round's limit.
    pub timeout: Duration,
    /// A page's size limit in bytes, after decompression.
    pub max_bytes: usize,
    /// The agents' namespace.
    pub namespace: String,
    /// The agents' metrics port.
    pub port: u16,
}
