//! Why a scrape gave no page. The variant's kind is the metric label, the log field and the JSON key.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use cni_metrics_core::model::FailureKind;
use cni_metrics_core::text::excerpt;
use hyper_util::client::legacy;
use thiserror::Error;

/// As much of a client's error as is shown: its chain of causes.
const CAUSES_BYTES: usize = 400;

/// A scrape's failure, in a sentence an operator can act on.
#[derive(Debug, Clone, Error)]
pub enum ScrapeError {
    /// No complete answer in time.
    #[error("timed out after {:.1} s{}", after.as_secs_f64(), if *.by_proxy { " through the API server" } else { "" })]
    Timeout {
        /// The time that was given.
        after: Duration,
        /// Only the API server was asked, or the node was as silent when asked directly.
        by_proxy: bool,
    },
    /// Refused by the node.
    #[error("connection refused: {0}")]
    Refused(String),
    /// No connection to the API server: no node has a part in that.
    #[error("the API server cannot be reached: {0}")]
    ApiServer(String),
    /// The connection to the API server ended before an answer: the API server went away, or it broke the connection off
    /// because the node did.
    #[error("connection to the API server closed before an answer: {0}")]
    Lost(String),
    /// Reset or closed by the node, or by what is between.
    #[error("connection reset or closed before a complete answer: {0}")]
    Reset(String),
    /// No network route to the node.
    #[error("no route to the node: {0}")]
    NoRoute(String),
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
    #[error("{} (HTTP {code}): {message}", by.words())]
    RateLimited {
        /// Who says so.
        by: Limiter,
        /// The HTTP status.
        code: u16,
        /// The beginning of the answer.
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
    /// Over the smaller limit of a node whose last whole page was of no use.
    #[error("the page is larger than {limit_bytes} bytes again; it is read further only now and then")]
    StillTooLarge {
        /// The smaller limit.
        limit_bytes: usize,
    },
    /// A large page, while other large pages use up the memory for them.
    #[error("the page is large, and the large pages under way need more than {limit_bytes} bytes together")]
    Crowded {
        /// The limit for all of them.
        limit_bytes: usize,
    },
    /// More series than any agent has.
    #[error("the page cannot be read: {0}")]
    TooManySeries(String),
    /// The helper itself has no file descriptor left.
    #[error("the helper cannot open a connection: {0}")]
    OutOfFiles(String),
    /// Not a page of metrics.
    #[error("the page cannot be read: {0}")]
    BadPage(String),
    /// The pod has no address, so it cannot be asked directly.
    #[error("the pod has no address yet")]
    NoAddress,
    /// The round ended before the node was asked, or had half of a scrape's time.
    #[error("the round's deadline came before the node had its time")]
    Deadline,
    /// The helper was stopped.
    #[error("the helper was stopped before the node had answered")]
    Stopped,
    /// Not asked in this round, because it failed in the rounds before: counted as it failed last.
    #[error("failed in {rounds} rounds in a row ({last}); not scraped in this round, {}", retried(*retry_in))]
    NotAsked {
        /// How it failed last.
        last: FailureKind,
        /// Rounds in a row in which it was asked and failed like that, and those in between in which it was not asked.
        rounds: u64,
        /// The most rounds until it is asked again; 1 is the next one.
        retry_in: u64,
    },
}

/// Who asks for fewer requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limiter {
    /// The node: nothing about its answer is the API server's.
    Node,
    /// The answer looks like the API server's own. That alone proves nothing: what a pod answers passes the proxy as it is,
    /// and the headers that the API server adds (`Audit-Id`, `X-Kubernetes-PF-*`) are added to every answer.
    Unproven,
    /// The API server, confirmed by a request that no node serves.
    ApiServer,
}

impl Limiter {
    fn words(self) -> &'static str {
        match self {
            Self::Node | Self::Unproven => "rate limited by the node",
            Self::ApiServer => "rate limited by the API server",
        }
    }
}

/// What a round found out about the API server without relying on a node's answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ApiServerEvidence {
    /// It asked to slow down where no node had a part in the answer.
    pub rate_limits: bool,
    /// It was out of reach.
    pub unreachable: bool,
    /// A page came through it: neither is its access denied, nor it out of reach.
    pub served_a_page: bool,
}

fn retried(rounds: u64) -> String {
    if rounds == 1 { "retried in the next".to_owned() } else { format!("retried in at most {rounds} rounds") }
}

impl ScrapeError {
    /// The kind under which it is counted.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Timeout { .. } => FailureKind::Timeout,
            Self::Refused(_) => FailureKind::ConnectRefused,
            Self::Lost(_) | Self::Reset(_) => FailureKind::ConnectionReset,
            Self::NoRoute(_) => FailureKind::NoRoute,
            Self::NoAddress => FailureKind::NoPodIp,
            Self::ProxyUnavailable(_) => FailureKind::ProxyUnavailable,
            Self::ApiServer(_) => FailureKind::ApiServerUnreachable,
            Self::RateLimited { by: Limiter::ApiServer, .. } => FailureKind::RateLimitedByApiServer,
            Self::RateLimited { .. } => FailureKind::RateLimitedByNode,
            Self::Forbidden(_) => FailureKind::Forbidden,
            Self::NotFound(_) => FailureKind::NotFound,
            Self::BadStatus { .. } => FailureKind::BadStatus,
            Self::TooLarge { .. } | Self::StillTooLarge { .. } | Self::Crowded { .. } | Self::TooManySeries(_) => {
                FailureKind::TooLarge
            }
            Self::BadPage(_) => FailureKind::BadPage,
            Self::Stopped => FailureKind::Stopped,
            Self::Deadline => FailureKind::Deadline,
            Self::OutOfFiles(_) => FailureKind::OutOfFiles,
            Self::NotAsked { last, .. } => *last,
        }
    }

    /// The HTTP status, where that is the failure.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::BadStatus { code, .. } => Some(*code),
            Self::NotFound(_) => Some(404),
            _ => None,
        }
    }

    /// The API server seems to be overloaded or out of reach. A node may cause each of these by what it answers, so only a
    /// share of all answers gives a reason to ask the API server itself.
    pub(crate) fn accuses_api_server(&self) -> bool {
        matches!(self, Self::RateLimited { by: Limiter::Unproven, .. } | Self::ApiServer(_) | Self::Lost(_))
    }

    /// The same failure in the light of the round: what an answer says of the API server is believed only where it agrees
    /// with what the API server itself did. `is_stale_claim`: the node says for the second time that its pod is gone,
    /// which is listed all the same.
    #[must_use]
    pub fn judged(self, evidence: ApiServerEvidence, is_stale_claim: bool) -> Self {
        match self {
            Self::RateLimited { by: Limiter::Unproven, code, message, retry_after } => {
                let by = if evidence.rate_limits { Limiter::ApiServer } else { Limiter::Node };
                Self::RateLimited { by, code, message, retry_after }
            }
            Self::Lost(text) if evidence.unreachable => Self::ApiServer(text),
            Self::Lost(text) => Self::Reset(text),
            // Rights are to all pods of the namespace or to none.
            Self::Forbidden(message) if evidence.served_a_page => Self::BadStatus { code: 403, message },
            Self::NotFound(message) if is_stale_claim => Self::BadStatus { code: 404, message },
            other => other,
        }
    }

    /// Why the way through the API server is at fault, as far as can be told: the node may answer directly.
    pub(super) fn fallback(&self) -> Option<Fallback> {
        match self {
            Self::ProxyUnavailable(_) => Some(Fallback::Unreachable),
            Self::Timeout { .. } => Some(Fallback::Silent),
            Self::ApiServer(_) | Self::Lost(_) => Some(Fallback::ApiServer),
            _ => None,
        }
    }

    /// Why the node could not be had through the API server, where that is this failure's story: the API server's word,
    /// or its silence.
    pub fn blocked(&self) -> Option<Fallback> {
        match self {
            Self::ProxyUnavailable(_) => Some(Fallback::Unreachable),
            Self::Timeout { by_proxy: true, .. } => Some(Fallback::Silent),
            _ => None,
        }
    }

    /// Of a proxied failure (`self`) and a direct one, what tells more: a refusal or an unreadable page seen with our
    /// own eyes beats silence.
    pub(super) fn beside(self, direct: Self) -> Self {
        match (&self, &direct) {
            (
                Self::ProxyUnavailable(text),
                Self::Timeout { .. } | Self::Reset(_) | Self::NoRoute(_) | Self::NoAddress,
            ) => Self::ProxyUnavailable(format!("{text}; directly: {direct}")),
            (_, Self::Timeout { .. } | Self::Reset(_) | Self::NoRoute(_) | Self::OutOfFiles(_) | Self::NoAddress) => {
                self
            }
            _ => direct,
        }
    }

    /// A scrape that the round's deadline left less than half of its time is not the node's fault.
    pub(super) fn or_deadline(self, had_half_its_time: bool) -> Self {
        match self {
            Self::Timeout { .. } if !had_half_its_time => Self::Deadline,
            other => other,
        }
    }

    /// Reads a client's error: refused, no route, no file left, or otherwise broken.
    pub(super) fn from_client(error: &(dyn StdError + 'static)) -> Self {
        let text = excerpt(crate::client_error::causes(error).as_bytes(), CAUSES_BYTES);
        let mut next = Some(error);
        while let Some(cause) = next {
            if let Some(io) = cause.downcast_ref::<io::Error>() {
                match io.kind() {
                    io::ErrorKind::ConnectionRefused => return Self::Refused(text),
                    io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => return Self::NoRoute(text),
                    _ if matches!(io.raw_os_error(), Some(PROCESS_FILES | SYSTEM_FILES)) => {
                        return Self::OutOfFiles(text);
                    }
                    _ => {}
                }
            }
            next = cause_of(cause);
        }
        Self::Reset(text)
    }

    /// The same for a request to the API server: whether there was no connection to it at all, which no node can cause, or
    /// one that ended before an answer.
    pub(super) fn from_api_server(error: &(dyn StdError + 'static)) -> Self {
        match Self::from_client(error) {
            Self::Refused(text) | Self::NoRoute(text) => Self::ApiServer(text),
            Self::Reset(text) if never_connected(error) => Self::ApiServer(text),
            Self::Reset(text) => Self::Lost(text),
            other => other,
        }
    }
}

fn never_connected(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        if cause.downcast_ref::<legacy::Error>().is_some_and(legacy::Error::is_connect) {
            return true;
        }
        next = cause_of(cause);
    }
    false
}

/// The next error of the chain. What an I/O error wraps is not its source, but the error itself.
fn cause_of<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

/// EMFILE and ENFILE: no more open files for the process, or for the system.
const PROCESS_FILES: i32 = 24;
const SYSTEM_FILES: i32 = 23;

/// Why a node was asked directly although the proxy comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
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

    fn kind_of(error: &io::Error) -> FailureKind {
        ScrapeError::from_client(error).kind()
    }

    #[test]
    fn a_clients_error_is_read_at_the_bottom_of_its_chain() {
        let wrapped = |kind: io::ErrorKind| io::Error::other(io::Error::from(kind));
        assert_eq!(kind_of(&wrapped(io::ErrorKind::ConnectionRefused)), FailureKind::ConnectRefused);
        assert_eq!(kind_of(&wrapped(io::ErrorKind::ConnectionReset)), FailureKind::ConnectionReset);
        assert_eq!(kind_of(&wrapped(io::ErrorKind::UnexpectedEof)), FailureKind::ConnectionReset);
        assert_eq!(kind_of(&wrapped(io::ErrorKind::HostUnreachable)), FailureKind::NoRoute);
        for code in [PROCESS_FILES, SYSTEM_FILES] {
            let error = io::Error::other(io::Error::from_raw_os_error(code));
            assert_eq!(kind_of(&error), FailureKind::OutOfFiles);
        }
        let hostile = io::Error::other("a\n2026-01-01 INFO forged ".repeat(100));
        let text = ScrapeError::from_client(&hostile).to_string();
        assert!(text.len() < 1_000 && !text.contains('\n'), "{text}");
    }

    #[test]
    fn a_connection_that_is_refused_accuses_the_api_server_and_one_that_ends_early_may_be_the_nodes() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(ScrapeError::from_api_server(&refused).kind(), FailureKind::ApiServerUnreachable);
        let lost = ScrapeError::from_api_server(&io::Error::from(io::ErrorKind::UnexpectedEof));
        assert!(lost.accuses_api_server());
        assert_eq!(lost.clone().judged(ApiServerEvidence::default(), false).kind(), FailureKind::ConnectionReset);
        let evidence = ApiServerEvidence { unreachable: true, ..ApiServerEvidence::default() };
        assert_eq!(lost.judged(evidence, false).kind(), FailureKind::ApiServerUnreachable);
    }

    #[test]
    fn what_a_node_may_have_written_is_believed_only_with_evidence() {
        let nothing = ApiServerEvidence::default();
        let limited = |by| ScrapeError::RateLimited { by, code: 429, message: String::new(), retry_after: None };
        let rate_limits = ApiServerEvidence { rate_limits: true, ..nothing };
        assert_eq!(limited(Limiter::Unproven).judged(nothing, false).kind(), FailureKind::RateLimitedByNode);
        assert_eq!(limited(Limiter::Unproven).judged(rate_limits, false).kind(), FailureKind::RateLimitedByApiServer);
        assert_eq!(limited(Limiter::Node).judged(rate_limits, false).kind(), FailureKind::RateLimitedByNode);

        let served = ApiServerEvidence { served_a_page: true, ..nothing };
        let forbidden = || ScrapeError::Forbidden(String::new());
        assert_eq!(forbidden().judged(nothing, false).kind(), FailureKind::Forbidden);
        assert_eq!(forbidden().judged(served, false).kind(), FailureKind::BadStatus);
        let gone = || ScrapeError::NotFound(String::new());
        assert_eq!(gone().judged(served, false).kind(), FailureKind::NotFound);
        assert_eq!(gone().judged(served, true).kind(), FailureKind::BadStatus);
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
