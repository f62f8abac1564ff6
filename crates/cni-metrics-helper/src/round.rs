//! One tick: targets → scrapes → pages → samples → snapshot.
//!
//! The round owns all state that lasts from one tick to the next (the aggregate's baselines, what each node last did);
//! nothing else writes it. Its own timestamp is that of all its numbers.

mod api_clock;
mod history;
mod report;

use std::sync::Arc;
use std::time::Duration;

use cni_metrics_core::aggregate::{self, Aggregator, CounterMode, HelperStart};
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

/// How a target's scrape went. Kept for every node until the round ends, hence small; what the page said is with the
/// aggregate by then.
struct Scraped {
    outcome: Result<(), Box<ScrapeError>>,
    /// The way by which a page came.
    path: Option<Path>,
    detour: Option<Detour>,
    line_errors: Option<Box<str>>,
}

/// A scrape that ended: what is kept of it, what the page said, and its share of the round's figures.
type Ended = (Scraped, Option<NodeSample>, RoundFigures);

/// What is asked, in the index's order.
type Targets = [(Arc<Pod>, Target)];

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
        let order = self.order(&targets);
        let mut round = self.aggregator.begin(at, targets.len());
        let fan_out = FanOut { scraper: &self.parts.scraper, targets: &targets, deadline: began + limit };
        let (scraped, mut figures) = fan_out.run(order, &mut round, shutdown).await;
        figures.scraping = began.elapsed();
        let measured = finished(api_clock).await;
        self.api_clock = self.api_clock.or_keep(measured.unwrap_or_default());
        let api_now = self.api_clock.server_time(began_at).unwrap_or(began_at);

        for ((pod, target), scraped) in targets.into_iter().zip(scraped) {
            let scraped = scraped.unwrap_or_else(|| Scraped::failed(ScrapeError::Cancelled));
            let expected = pod.is_settled(api_now);
            self.history.note(self.number, &pod, expected, &scraped, &mut self.report);
            // A node that nobody expects to answer yet is only there once it does.
            if let Err(error) = scraped.outcome
                && (expected || self.history.ever_answered(&pod.uid))
            {
                round.observe(Observation { target, expected, outcome: Err(error.kind()) });
            }
        }
        self.history.forget_others(self.number);
        let aggregating = Instant::now();
        let mut snapshot = round.finish();
        figures.aggregating = aggregating.elapsed();
        snapshot.round = self.number;
        snapshot.duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let api_answers = measured.map(ApiClock::is_known);
        self.report.round(&snapshot, Findings { listed, blocked: self.history.blocked(), api_answers });
        (Arc::new(snapshot), figures)
    }

    /// Whom to ask in which order, and whether directly at once.
    fn order(&self, targets: &Targets) -> Vec<(usize, bool)> {
        let uid = |position: usize| targets.get(position).map(|(pod, _)| &pod.uid);
        let mut asked: Vec<usize> = (0..targets.len()).collect();
        asked.sort_by_cached_key(|position| uid(*position).map(|uid| self.history.order(uid, self.number)));
        let detours = |position| uid(position).is_some_and(|uid| self.history.takes_detour(uid, self.number));
        asked.into_iter().map(|position| (position, detours(position))).collect()
    }
}

/// The API server's time, if it came: a slow API server must not hold up a round that does without it. `None` where the
/// round was over before it could be told whether it answers.
async fn finished(measuring: JoinHandle<ApiClock>) -> Option<ApiClock> {
    let abort = measuring.abort_handle();
    match tokio::time::timeout(API_CLOCK_PATIENCE, measuring).await {
        Ok(measured) => measured.ok(),
        Err(_late) => {
            abort.abort();
            None
        }
    }
}

/// A round's scrapes.
struct FanOut<'a> {
    scraper: &'a Scraper,
    targets: &'a Targets,
    deadline: Instant,
}

impl FanOut<'_> {
    /// Asks all targets in `order`, so many at once, until all have answered or the deadline came. Pages go to `round` as
    /// they come; of a target that is left the outcome stays `None`.
    async fn run(
        &self,
        order: Vec<(usize, bool)>,
        round: &mut aggregate::Round<'_>,
        shutdown: &Shutdown,
    ) -> (Vec<Option<Scraped>>, RoundFigures) {
        let mut figures = RoundFigures::default();
        let mut results: Vec<Option<Scraped>> = std::iter::repeat_with(|| None).take(self.targets.len()).collect();
        let asked = order.into_iter().filter_map(|(position, detour)| {
            let (pod, target) = self.targets.get(position)?;
            Some(async move { (position, target, scrape_one(self.scraper, pod, detour, self.deadline).await) })
        });
        let mut scrapes = std::pin::pin!(stream::iter(asked).buffer_unordered(self.scraper.concurrency()));
        let mut stop = shutdown.clone();
        let mut end = std::pin::pin!(tokio::time::sleep_until(self.deadline));
        let mut stopping = false;
        loop {
            tokio::select! {
                biased;
                next = scrapes.next() => {
                    let Some((position, target, (scraped, sample, share))) = next else { return (results, figures) };
                    figures += share;
                    if let Some(sample) = sample {
                        round.observe(Observation { target: target.clone(), expected: true, outcome: Ok(sample) });
                    }
                    if let Some(slot) = results.get_mut(position) {
                        *slot = Some(scraped);
                    }
                }
                () = &mut end => return (results, figures),
                () = stop.ended(), if !stopping => {
                    stopping = true;
                    let sooner = self.deadline.min(Instant::now() + STOPPING_ROUND);
                    end.as_mut().reset(sooner);
                }
            }
        }
    }
}

async fn scrape_one(scraper: &Scraper, pod: &Pod, known_detour: bool, deadline: Instant) -> Ended {
    let page = match scraper.scrape(pod, known_detour, deadline).await {
        Ok(page) => page,
        Err(error) => return (Scraped::failed(error), None, RoundFigures::default()),
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
    let (outcome, sample) = match parsed.sample {
        Ok(sample) => (Ok(()), Some(sample)),
        Err(error) => (Err(Box::new(ScrapeError::BadPage(error.to_string()))), None),
    };
    // A page that is refused as a whole is told as such.
    let first_error = parsed.errors.first().filter(|_| sample.is_some());
    let line_errors = first_error.map(|first| match parsed.error_count {
        1 => format!("a bad line on the node's page: {first}").into(),
        count => format!("{count} bad lines on the node's page, the first is {first}").into(),
    });
    (Scraped { outcome, path: Some(page.path), detour: page.detour, line_errors }, sample, figures)
}

impl Scraped {
    fn failed(error: ScrapeError) -> Self {
        Self { outcome: Err(Box::new(error)), path: None, detour: None, line_errors: None }
    }
}
