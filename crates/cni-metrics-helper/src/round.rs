//! One tick: targets → scrapes → pages → samples → snapshot.
//!
//! The round owns all state that lasts from one tick to the next (the aggregate's baselines, what each node last did);
//! nothing else writes it. Its own timestamp is that of all its numbers.

mod api_clock;
mod history;
mod report;

use std::sync::Arc;
use std::time::Duration;

use cni_metrics_core::aggregate::{Aggregator, CounterMode, HelperStart};
use cni_metrics_core::model::{NodeSample, Observation, Snapshot, Target, UnixMillis};
use cni_metrics_core::parse::parse;
use futures::{StreamExt, stream};
use kube::Client;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{error, info};

use self::api_clock::ApiClock;
use self::history::History;
use self::report::{Findings, Report};
use crate::clock::Clock;
use crate::discover::{IndexReader, Pod};
use crate::scrape::{Detour, Path, ScrapeError, Scraper};
use crate::self_stats::RoundFigures;
use crate::shutdown::Shutdown;

/// After the signal to stop, a round in flight has this long before the scrapes still open are given up.
const STOPPING_ROUND: Duration = Duration::from_secs(2);

/// How long a finished round waits for the API server's time.
const API_CLOCK_PATIENCE: Duration = Duration::from_millis(250);

/// What a round needs from outside.
#[derive(Clone)]
pub struct RoundParts {
    /// The pods.
    pub index: IndexReader,
    /// The way to their pages.
    pub scraper: Arc<Scraper>,
    /// For the API server's idea of the time.
    pub api: Client,
    /// The time.
    pub clock: Clock,
    /// Counters as increases (the long-running helper) or totals (one shot).
    pub counters: CounterMode,
    /// Where the agents are looked for, for the warning when there are none.
    pub looked_for: String,
    /// Counters' baselines of an earlier process, to go on from.
    pub baselines: Option<Arc<[u8]>>,
}

/// The round loop's state.
pub struct Rounds {
    parts: RoundParts,
    api_clock: ApiClock,
    aggregator: Aggregator,
    history: History,
    report: Report,
    number: u64,
}

/// A target's scrape as the fan-out brings it back.
struct Scraped {
    outcome: Result<NodeSample, ScrapeError>,
    /// The way by which a page came.
    path: Option<Path>,
    detour: Option<Detour>,
    line_errors: Option<String>,
    /// This scrape's share of the round's figures.
    figures: RoundFigures,
}

impl Rounds {
    /// Ready for its first round. Asks the API server for its time, to tell new nodes from old ones.
    pub async fn new(parts: RoundParts) -> Self {
        let start = parts.clock.now();
        let api_clock = ApiClock::measure(parts.api.clone(), parts.clock.clone(), Duration::MAX).await;
        let start = HelperStart { clock: start, api_server: api_clock.server_time(start) };
        let mut aggregator = Aggregator::new(start, parts.counters);
        if let Some(saved) = &parts.baselines {
            match aggregator.import(saved) {
                Ok(()) => info!(nodes = aggregator.known_nodes(), "counters go on from where an earlier run left them"),
                Err(error) => error!("the saved counters cannot be used, counting begins anew: {error}"),
            }
        }
        let report = Report::new(parts.looked_for.clone());
        Self { parts, api_clock, aggregator, history: History::default(), report, number: 0 }
    }

    /// What [`RoundParts::baselines`] takes, as it is after the newest round.
    pub fn baselines(&self) -> Arc<[u8]> {
        self.aggregator.export().into()
    }

    /// Runs the round of the tick `at` within `limit` and reports it.
    pub async fn run(&mut self, at: UnixMillis, limit: Duration, shutdown: &Shutdown) -> (Arc<Snapshot>, RoundFigures) {
        let (began, began_at) = (Instant::now(), self.parts.clock.now());
        self.number += 1;
        let (targets, listed) = self.parts.index.targets();
        let api_clock = tokio::spawn(ApiClock::measure(self.parts.api.clone(), self.parts.clock.clone(), limit));
        let mut scraped = self.fan_out(&targets, began + limit, shutdown).await;
        let scraping = began.elapsed();
        let api_answers = self.note_api_clock(api_clock).await;
        let api_now = self.api_clock.server_time(began_at).unwrap_or(began_at);

        let mut figures = RoundFigures { scraping, ..RoundFigures::default() };
        let mut observations = Vec::with_capacity(targets.len());
        for ((pod, target), scraped) in targets.iter().zip(&mut scraped) {
            let scraped = scraped.take().unwrap_or_else(|| Scraped::failed(ScrapeError::Cancelled));
            figures += scraped.figures;
            let expected = pod.is_settled(api_now);
            self.history.note(self.number, pod, expected, &scraped, &mut self.report);
            // A node that nobody expects to answer yet is only there once it does.
            if scraped.outcome.is_ok() || expected || self.history.ever_answered(&pod.uid) {
                let outcome = scraped.outcome.map_err(|error| error.kind());
                observations.push(Observation { target: target.clone(), expected, outcome });
            }
        }
        self.history.forget_others(self.number);
        let aggregating = Instant::now();
        let mut snapshot = self.aggregator.round(at, observations);
        figures.aggregating = aggregating.elapsed();
        snapshot.round = self.number;
        snapshot.duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.report.round(&snapshot, Findings { listed, blocked: self.history.blocked(), api_answers });
        (Arc::new(snapshot), figures)
    }

    /// Takes over the API server's time, if it came: a slow API server must not hold up a round that does without it.
    /// Says whether it answered; `None` where the round was over before that could be told.
    async fn note_api_clock(&mut self, measuring: JoinHandle<ApiClock>) -> Option<bool> {
        let abort = measuring.abort_handle();
        match tokio::time::timeout(API_CLOCK_PATIENCE, measuring).await {
            Ok(Ok(api_clock)) => {
                self.api_clock = self.api_clock.or_keep(api_clock);
                Some(api_clock.is_known())
            }
            Ok(Err(_panicked)) => None,
            Err(_late) => {
                abort.abort();
                None
            }
        }
    }

    /// Asks all targets, so many at once, until all have answered or the deadline came. What is left stays `None`.
    async fn fan_out(
        &self,
        targets: &[(Arc<Pod>, Target)],
        deadline: Instant,
        shutdown: &Shutdown,
    ) -> Vec<Option<Scraped>> {
        let mut results: Vec<Option<Scraped>> = std::iter::repeat_with(|| None).take(targets.len()).collect();
        let mut asked: Vec<(usize, Arc<Pod>, bool)> = targets
            .iter()
            .enumerate()
            .map(|(position, (pod, _))| (position, Arc::clone(pod), self.history.takes_detour(&pod.uid, self.number)))
            .collect();
        asked.sort_by_key(|(_, pod, _)| self.history.order(&pod.uid, self.number));
        let scraper = Arc::clone(&self.parts.scraper);
        let at_once = scraper.concurrency();
        let scrapes = stream::iter(asked).map(move |(position, pod, known_detour)| {
            let scraper = Arc::clone(&scraper);
            async move { (position, scrape_one(&scraper, &pod, known_detour, deadline).await) }
        });
        let mut scrapes = std::pin::pin!(scrapes.buffer_unordered(at_once));
        let mut stop = shutdown.clone();
        let mut end = std::pin::pin!(tokio::time::sleep_until(deadline));
        let mut stopping = false;
        loop {
            tokio::select! {
                biased;
                next = scrapes.next() => match next {
                    Some((position, scraped)) => {
                        if let Some(slot) = results.get_mut(position) {
                            *slot = Some(scraped);
                        }
                    }
                    None => return results,
                },
                () = &mut end => return results,
                () = stop.ended(), if !stopping => {
                    stopping = true;
                    let sooner = deadline.min(Instant::now() + STOPPING_ROUND);
                    end.as_mut().reset(sooner);
                }
            }
        }
    }
}

async fn scrape_one(scraper: &Scraper, pod: &Pod, known_detour: bool, deadline: Instant) -> Scraped {
    let page = match scraper.scrape(pod, known_detour, deadline).await {
        Ok(page) => page,
        Err(error) => return Scraped::failed(error),
    };
    let parsing = Instant::now();
    let parsed = parse(&page.body);
    let figures = RoundFigures {
        page_bytes: page.body.len() as u64,
        by_proxy: u64::from(page.path == Path::Proxy),
        directly: u64::from(page.path == Path::Direct),
        bad_lines: parsed.error_count,
        parsing: parsing.elapsed(),
        ..RoundFigures::default()
    };
    let line_errors = parsed.errors.first().map(|first| match parsed.error_count {
        1 => format!("a bad line on the node's page: {first}"),
        count => format!("{count} bad lines on the node's page, the first is {first}"),
    });
    let outcome = parsed.sample.map_err(|error| ScrapeError::BadPage(error.to_string()));
    // A page that is refused as a whole is told as such.
    let line_errors = line_errors.filter(|_| outcome.is_ok());
    Scraped { outcome, path: Some(page.path), detour: page.detour, line_errors, figures }
}

impl Scraped {
    fn failed(error: ScrapeError) -> Self {
        Self { outcome: Err(error), path: None, detour: None, line_errors: None, figures: RoundFigures::default() }
    }
}
