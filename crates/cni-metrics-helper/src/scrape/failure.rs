//! Why a scrape gave no page. The variant's kind is the metric label, the log field and the JSON key.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use cni_metrics_core::model::FailureKind;
use thiserror::Error;

/// A scrape's failure, in a sentence an operator can act on.
#[derive(Debug, Clone, Error)]
pub enum ScrapeError {
    /// No complete answer in time.
    #[error("no complete answer within {:.1} s{}", after.as_secs_f64(), if *.by_proxy { " through the API server" } else { "" })]
    Timeout {
        /// The time that was given.
        after: Duration,
        /// Only the API server was asked, or the node was as silent when asked directly.
        by_proxy: bool,
    },
    /// Refused.
    #[error("connection refused: {0}")]
    Refused(String),
    /// Our own connection to the API server: refused, broken off, or none.
    #[error("the API server cannot be reached: {0}")]
    ApiServer(String),
    /// Broken off, reset, or no route.
    #[error("connection failed or was broken off: {0}")]
    Broken(String),
    /// RBAC, or credentials that the API server does not take.
    #[error("the API server denies the request: {0}")]
    Forbidden(String),
    /// The pod is gone.
    #[error("the pod is gone: {0}")]
    NotFound(String),
    /// The API server could not reach the node.
    #[error("the API server cannot reach the node: {0}")]
    ProxyUnavailable(String),
    /// Too many requests.
    #[error("the API server asks to slow down: {message}")]
    Throttled {
        /// Its own words.
        message: String,
        /// When to ask again.
        retry_after: Option<Duration>,
    },
    /// Another HTTP status.
    #[error("HTTP status {code}: {message}")]
    BadStatus {
        /// The status.
        code: u16,
        /// The beginning of the body.
        message: String,
    },
    /// Over the size limit.
    #[error("the page is larger than {limit_bytes} bytes (SCRAPE_MAX_BYTES)")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// A large page, while other large pages use up the memory for them.
    #[error("the page is large, and the large pages under way need more than {limit_bytes} bytes together")]
    Crowded {
        /// The limit for all of them.
        limit_bytes: usize,
    },
    /// The helper itself lacks what a connection needs.
    #[error("the helper cannot open a connection: {0}")]
    Local(String),
    /// Not a page of metrics.
    #[error("the page cannot be read: {0}")]
    BadPage(String),
    /// The pod has no address, so it cannot be asked directly.
    #[error("the pod has no address yet")]
    NoAddress,
    /// The round's deadline came first.
    #[error("the round's deadline came first")]
    Cancelled,
}

impl ScrapeError {
    /// The kind under which it is counted.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Timeout { .. } => FailureKind::Timeout,
            Self::Refused(_) | Self::ApiServer(_) | Self::Broken(_) | Self::NoAddress => FailureKind::ConnectRefused,
            Self::Forbidden(_) => FailureKind::Forbidden,
            Self::NotFound(_) => FailureKind::NotFound,
            Self::ProxyUnavailable(_) => FailureKind::ProxyUnavailable,
            Self::Throttled { .. } => FailureKind::Throttled,
            Self::BadStatus { .. } => FailureKind::BadStatus,
            Self::TooLarge { .. } | Self::Crowded { .. } => FailureKind::TooLarge,
            Self::BadPage(_) => FailureKind::BadPage,
            Self::Local(_) | Self::Cancelled => FailureKind::Cancelled,
        }
    }

    /// Why the way through the API server is at fault, as far as can be told: the node may answer directly.
    pub(super) fn detour(&self) -> Option<Detour> {
        match self {
            Self::ProxyUnavailable(_) => Some(Detour::Unreachable),
            Self::Timeout { .. } => Some(Detour::Silent),
            Self::ApiServer(_) => Some(Detour::ApiServer),
            _ => None,
        }
    }

    /// Why the node could not be had through the API server, where that is this failure's story: the API server's word,
    /// or its silence.
    pub fn blocked(&self) -> Option<Detour> {
        match self {
            Self::ProxyUnavailable(_) => Some(Detour::Unreachable),
            Self::Timeout { by_proxy: true, .. } => Some(Detour::Silent),
            _ => None,
        }
    }

    /// Of a proxied failure (`self`) and a direct one, what tells more: a refusal or an unreadable page seen with our
    /// own eyes beats silence.
    pub(super) fn beside(self, direct: Self) -> Self {
        match (&self, &direct) {
            (Self::ProxyUnavailable(text), Self::Timeout { .. } | Self::Broken(_) | Self::NoAddress) => {
                Self::ProxyUnavailable(format!("{text}; directly: {direct}"))
            }
            (_, Self::Timeout { .. } | Self::Broken(_) | Self::Local(_) | Self::NoAddress) => self,
            _ => direct,
        }
    }

    /// A scrape that the round's deadline left less than half of its time is not the node's fault.
    pub(super) fn or_cancelled(self, had_half_its_time: bool) -> Self {
        match self {
            Self::Timeout { .. } if !had_half_its_time => Self::Cancelled,
            other => other,
        }
    }

    /// Reads a client's error: refused, timed out, or otherwise broken.
    pub(super) fn from_client(error: &(dyn StdError + 'static)) -> Self {
        let text = crate::discover::connect::causes(error);
        let mut next = Some(error);
        while let Some(cause) = next {
            if let Some(io) = cause.downcast_ref::<io::Error>() {
                match io.kind() {
                    io::ErrorKind::ConnectionRefused => return Self::Refused(text),
                    _ if matches!(io.raw_os_error(), Some(PROCESS_FILES | SYSTEM_FILES)) => return Self::Local(text),
                    _ => {}
                }
            }
            next = cause.source();
        }
        Self::Broken(text)
    }

    /// The same for a connection to the API server, whose failure says nothing of the node.
    pub(super) fn from_api_server(error: &(dyn StdError + 'static)) -> Self {
        match Self::from_client(error) {
            Self::Refused(text) | Self::Broken(text) => Self::ApiServer(text),
            other => other,
        }
    }
}

/// EMFILE and ENFILE: no more open files for the process, or for the system.
const PROCESS_FILES: i32 = 24;
const SYSTEM_FILES: i32 = 23;

/// Why a node was asked directly although the proxy comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detour {
    /// The API server said that it cannot reach the node.
    Unreachable,
    /// The API server had not answered in time.
    Silent,
    /// The API server itself was out of reach.
    ApiServer,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_connection_is_found_at_the_bottom_of_the_chain() {
        let error = io::Error::other(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert_eq!(ScrapeError::from_client(&error).kind(), FailureKind::ConnectRefused);
    }

    #[test]
    fn what_was_seen_directly_beats_silence() {
        let timeout = || ScrapeError::Timeout { after: Duration::from_secs(5), by_proxy: true };
        let refused = || ScrapeError::Refused(String::new());
        assert_eq!(timeout().beside(refused()).kind(), FailureKind::ConnectRefused);
        assert_eq!(timeout().beside(timeout()).kind(), FailureKind::Timeout);
        assert_eq!(
            ScrapeError::ProxyUnavailable(String::new()).beside(timeout()).kind(),
            FailureKind::ProxyUnavailable
        );
    }
}
