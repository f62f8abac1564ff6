//! One agent's page, fetched within a time limit and a size limit, or the reason why not.
//!
//! Two ways lead to an agent: through the API server's pod proxy, and straight to the node's address. `auto` begins
//! with the proxy; when the API server cannot reach the node, or has not answered after half of the scrape's time, the
//! direct way is tried beside it, so that a lost node never costs more than one scrape's time.

mod body;
mod direct;
mod failure;
mod proxy;
mod settings;

use std::time::Duration;

use kube::Client;
use tokio::time::Instant;

pub use body::LARGE_PAGES_BYTES;
pub use failure::{ApiServerEvidence, Fallback, Limiter, ScrapeError};
pub use settings::{ScrapeSettings, Via};

use crate::discover::Pod;
use cni_runtime::clock::{Clock, after};

/// The path by which a page came, or the one to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// Through the API server.
    Proxy,
    /// Straight from the node.
    Direct,
}

/// A page and how it came.
#[derive(Debug)]
pub struct Page {
    /// The page's text.
    pub body: Vec<u8>,
    /// The way it came.
    pub path: Path,
    /// In `auto`: why the node was asked directly. `None` where it was not, or where that was known before.
    pub fallback: Option<Fallback>,
    /// Its part of the memory for large pages.
    _share: body::Share,
}

/// How a round asks one node.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// The API server lately could not reach this node.
    pub known_fallback: bool,
    /// A direct connection stays open for the next round. An idle one costs some 20 KB, so that a large cluster does
    /// better without.
    pub keep_connection: bool,
    /// Of a node whose last whole page was large and of no use: no more than this is read.
    pub page_limit: Option<usize>,
    /// In the last round its connection broke both times that it was asked: once is enough.
    pub asked_once: bool,
    /// When the scrape stops.
    pub round_deadline: Instant,
}

/// Fetches pages. Connections to the API server are kept and used again.
#[derive(Clone)]
pub struct Scraper {
    settings: ScrapeSettings,
    proxy: proxy::Proxy,
    direct: direct::Direct,
}

impl Scraper {
    /// A scraper that speaks to the API server by `client`, whose own retries must be off.
    pub fn new(client: Client, settings: ScrapeSettings, clock: &Clock) -> Self {
        let budget = body::Budget::default();
        let proxy = proxy::Proxy::new(client, &settings, budget.clone());
        let direct = direct::Direct::new(&settings, clock, budget);
        Self { settings, proxy, direct }
    }

    /// Maximum concurrent scrapes that the operator allows.
    pub fn concurrency(&self) -> Option<usize> {
        self.settings.concurrency
    }

    /// The longest that one scrape takes, retries included.
    pub fn timeout(&self) -> Duration {
        self.settings.timeout
    }

    /// Fetches the pod's page.
    pub async fn scrape(&self, pod: &Pod, ask: Ask) -> Result<Page, ScrapeError> {
        let began = Instant::now();
        let deadline = ask.round_deadline.min(after(began, self.settings.timeout));
        let ask = Ask { round_deadline: deadline, ..ask };
        match self.settings.via {
            Via::Proxy => self.by_path(Path::Proxy, pod, ask).await,
            Via::Direct => self.by_path(Path::Direct, pod, ask).await,
            Via::Auto if ask.known_fallback => self.by_path(Path::Direct, pod, ask).await,
            Via::Auto => self.auto(pod, ask).await,
        }
        .map_err(|error| match (error, ask.page_limit) {
            (ScrapeError::TooLarge { limit_bytes }, Some(limit)) if limit < self.settings.max_bytes => {
                ScrapeError::StillTooLarge { limit_bytes }
            }
            (error, _) => error.or_deadline(deadline.duration_since(began) >= self.settings.timeout / 2),
        })
    }

    async fn auto(&self, pod: &Pod, ask: Ask) -> Result<Page, ScrapeError> {
        let proxy = self.by_path(Path::Proxy, pod, ask);
        tokio::pin!(proxy);
        let half_of_the_time = ask.round_deadline.saturating_duration_since(Instant::now()) / 2;
        match tokio::time::timeout(half_of_the_time, &mut proxy).await {
            Ok(Err(error)) if error.fallback().is_some() => merge(error, self.by_path(Path::Direct, pod, ask).await),
            Ok(answer) => answer,
            Err(_half_of_the_time) => {
                let direct = self.by_path(Path::Direct, pod, ask);
                tokio::pin!(direct);
                tokio::select! {
                    answer = &mut proxy => match answer {
                        Err(error) if error.fallback().is_some() => merge(error, direct.await),
                        answer => answer,
                    },
                    answer = &mut direct => match answer {
                        Ok(page) => Ok(Page { fallback: Some(Fallback::Silent), ..page }),
                        Err(error) => proxy.await.map_err(|proxy_error| proxy_error.beside(error)),
                    },
                }
            }
        }
    }

    /// One way, with one more try on a broken connection, unless it broke in the last round too, or where it was asked to wait and time remains.
    async fn by_path(&self, path: Path, pod: &Pod, ask: Ask) -> Result<Page, ScrapeError> {
        let first = self.attempt(path, pod, ask).await;
        let again = match &first {
            Err(ScrapeError::Reset(_) | ScrapeError::Lost(_)) if ask.asked_once => None,
            Err(ScrapeError::Reset(_) | ScrapeError::Lost(_) | ScrapeError::ApiServer(_)) => Some(Duration::ZERO),
            Err(ScrapeError::RateLimited { retry_after, .. }) => *retry_after,
            _ => None,
        };
        match again {
            Some(wait) if after(Instant::now(), wait) < ask.round_deadline => {
                tokio::time::sleep(wait).await;
                self.attempt(path, pod, ask).await
            }
            _ => first,
        }
    }

    async fn attempt(&self, path: Path, pod: &Pod, ask: Ask) -> Result<Page, ScrapeError> {
        let deadline = ask.round_deadline;
        let bytes = ask.page_limit.map_or(self.settings.max_bytes, |limit| limit.min(self.settings.max_bytes));
        let limit = body::Limit { bytes, deadline };
        let given = deadline.saturating_duration_since(Instant::now());
        let fetched = match path {
            Path::Proxy => tokio::time::timeout_at(deadline, self.proxy.fetch(pod, limit)).await,
            Path::Direct => tokio::time::timeout_at(deadline, self.direct.fetch(pod, limit, ask.keep_connection)).await,
        };
        match fetched {
            Ok(answer) => {
                answer.map(|body::Text { bytes, share }| Page { body: bytes, path, fallback: None, _share: share })
            }
            Err(_elapsed) => Err(ScrapeError::Timeout { after: given, by_proxy: path == Path::Proxy }),
        }
    }
}

/// The direct answer where it is a page, else the failure that says more.
fn merge(proxy_error: ScrapeError, direct: Result<Page, ScrapeError>) -> Result<Page, ScrapeError> {
    match direct {
        Ok(page) => Ok(Page { fallback: proxy_error.fallback(), ..page }),
        Err(error) => Err(proxy_error.beside(error)),
    }
}
