//! One tick: targets → scrapes → pages → samples → snapshot.
//!
//! The round owns all state that lasts from one tick to the next (the aggregate's baselines, what each node last did);
//! nothing else writes it. Its own timestamp is that of all its numbers.

mod api_clock;
mod back_off;
mod evidence;
mod fan_out;
mod finding_lines;
mod history;
mod kept;
mod limiter;
mod refusals;
mod report;
mod scraped;
mod suspicion;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use cni_insight::finding::Conclusion;
use cni_metrics_core::aggregate::{Aggregator, CounterMode, HelperStart};
use cni_metrics_core::model::{FailureKind, Observation, PodUid, Snapshot, UnixMillis};
use kube::Client;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{error, info};

use self::api_clock::ApiClock;
use self::back_off::RoundTime;
use self::evidence::{Circumstances, Conclusions};
pub use self::evidence::{InsightParts, InsightRun, conclude_from_pages, label_counts, node_evidence};
use self::fan_out::{FanOut, Gathered, Queue};
use self::history::History;
use self::limiter::{ConcurrencyLimiter, Limits};
use self::refusals::Refusals;
use self::report::{Findings, Report};
use crate::discover::IndexReader;
use crate::scrape::{ScrapeError, Scraper};
use crate::self_stats::RoundFigures;
use cni_aws::identity::ClusterIdReader;
use cni_runtime::clock::{Clock, after};
use cni_runtime::shutdown::Shutdown;

/// How long a finished round waits for the API server's time.
const API_CLOCK_TIMEOUT: Duration = Duration::from_millis(250);

/// What a round needs from outside.
#[derive(Clone)]
pub struct RoundParts {
    /// Which cluster it is, once that is known; each snapshot has it.
    pub cluster: ClusterIdReader,
    /// The pods.
    pub index: IndexReader,
    /// The way to their pages.
    pub scraper: Arc<Scraper>,
    /// For the API server's idea of the time.
    pub api: Client,
    /// The time.
    pub clock: Clock,
    /// From one round to the next, by that clock.
    pub interval: Duration,
    /// Counters as increases (the long-running helper) or totals (one shot).
    pub counters: CounterMode,
    /// Where the agents are looked for, for the warning when there are none.
    pub looked_for: String,
    /// Counters' baselines of an earlier process, to go on from.
    pub baselines: Option<Arc<[u8]>>,
    /// What conclusions need; `None` if none are drawn.
    pub insight: Option<Arc<InsightParts>>,
}

/// The round loop's state.
pub struct Rounds {
    parts: RoundParts,
    api_clock: ApiClock,
    aggregator: Aggregator,
    history: History,
    limiter: ConcurrencyLimiter,
    report: Report,
    refusals: Refusals,
    conclusions: Option<Box<Conclusions>>,
    number: u64,
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
        let limits = Limits::of(parts.scraper.concurrency()).with_timeout(parts.scraper.timeout());
        let limiter = ConcurrencyLimiter::new(limits);
        let conclusions = parts.insight.clone().map(|insight| Box::new(Conclusions::new(insight)));
        Self {
            parts,
            api_clock,
            aggregator,
            history: History::default(),
            limiter,
            report,
            refusals: Refusals::default(),
            conclusions,
            number: 0,
        }
    }

    /// The same, counting on from an earlier round of this process.
    #[must_use]
    pub fn after(mut self, number: u64) -> Self {
        self.number = number;
        self
    }

    /// The same, without a line per round in the log: a sink writes it.
    #[must_use]
    pub fn without_summary(mut self) -> Self {
        self.report.without_summary();
        self
    }

    /// The newest round's number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What is concluded from the newest round; `None` if no conclusions are drawn, or another replica draws them.
    pub fn conclusion(&self) -> Option<Arc<Conclusion>> {
        self.conclusions.as_deref().and_then(Conclusions::newest)
    }

    /// What [`RoundParts::baselines`] takes, as it is after the newest round.
    pub fn baselines(&self) -> Arc<[u8]> {
        self.aggregator.export().into()
    }

    /// Runs the round of the tick `at` within `limit` and reports it.
    pub async fn run(&mut self, at: UnixMillis, limit: Duration, shutdown: &Shutdown) -> (Arc<Snapshot>, RoundFigures) {
        let (began, began_at) = (Instant::now(), self.parts.clock.now());
        self.number = self.number.saturating_add(1);
        let (targets, listed) = self.parts.index.targets();
        let api_clock = tokio::spawn(ApiClock::measure(self.parts.api.clone(), self.parts.clock.clone(), limit));
        let now = RoundTime { number: self.number, at, interval: self.parts.interval };
        let queue = Queue::new(&targets, &self.history, now);
        let mut round = self.aggregator.begin(at, targets.len());
        let (scraper, api) = (&self.parts.scraper, &self.parts.api);
        let deadline = after(began, limit);
        let fan_out = FanOut { scraper, api, targets: &targets, deadline, large_pages: Semaphore::new(1) };
        let Gathered { scraped, mut figures, evidence } =
            fan_out.run(queue, &mut self.limiter, &mut round, shutdown).await;
        figures.scraping = began.elapsed();
        let measured = finished(api_clock).await;
        self.api_clock = self.api_clock.or_keep(measured.unwrap_or_default());
        let api_now = self.api_clock.server_time(began_at).unwrap_or(began_at);

        let mut listed_now = ListedNow::new(&self.parts.index);
        let concludes = self.conclusions.as_ref().is_some_and(|conclusions| conclusions.are_drawn());
        let mut pods = HashMap::with_capacity(if concludes { targets.len() } else { 0 });
        for ((pod, target), scraped) in targets.into_iter().zip(scraped) {
            if concludes {
                pods.insert(pod.uid.clone(), Arc::clone(&pod));
            }
            let says_gone_again =
                |error: &ScrapeError| error.kind() == FailureKind::NotFound && self.history.said_not_found(&pod.uid);
            let scraped = scraped.judged(|error| {
                let is_stale_claim = says_gone_again(&error) && listed_now.has(&pod.uid);
                error.judged(evidence, is_stale_claim)
            });
            let expected = pod.is_settled(api_now);
            self.history.note(now, &pod, expected, &scraped, &mut self.report);
            // A node that is not expected to answer yet is only there once it does.
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
        snapshot.cluster = self.parts.cluster.get();
        snapshot.round = self.number;
        snapshot.duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match &mut self.conclusions {
            Some(conclusions) if concludes => {
                let interval_ms = i64::try_from(self.parts.interval.as_millis()).unwrap_or(i64::MAX);
                let now = Circumstances { interval_ms, counters: self.parts.counters };
                conclusions.round(&snapshot, &pods, &self.parts.index, now);
            }
            Some(conclusions) => conclusions.pause(),
            None => self.refusals.round(&snapshot, &self.aggregator),
        }
        let api_answers = measured.map(ApiClock::is_known);
        self.report.round(&snapshot, Findings { listed, blocked: self.history.blocked(), api_answers });
        (Arc::new(snapshot), figures)
    }
}

/// The API server's time, if it came: a slow API server must not hold up a round that does without it. `None` where the
/// round was over before it could be told whether it answers.
async fn finished(measuring: JoinHandle<ApiClock>) -> Option<ApiClock> {
    let abort = measuring.abort_handle();
    match tokio::time::timeout(API_CLOCK_TIMEOUT, measuring).await {
        Ok(measured) => measured.ok(),
        Err(_late) => {
            abort.abort();
            None
        }
    }
}

/// The pods that are listed at the end of a round, looked up when the first of them is asked for.
struct ListedNow<'a> {
    index: &'a IndexReader,
    pods: Option<HashSet<PodUid>>,
}

impl<'a> ListedNow<'a> {
    fn new(index: &'a IndexReader) -> Self {
        Self { index, pods: None }
    }

    fn has(&mut self, uid: &PodUid) -> bool {
        let listed = || self.index.targets().0.into_iter().map(|(_, target)| target.uid).collect();
        self.pods.get_or_insert_with(listed).contains(uid)
    }
}
