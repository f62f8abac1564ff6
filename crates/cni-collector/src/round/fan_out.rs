//! A round's scrapes: begun as the limiter allows, each page folded as it comes, until all have ended or the deadline came.

use std::time::Duration;

use cni_metrics_core::aggregate;
use cni_metrics_core::model::{FailureKind, NodeSample, Observation, Target};
use cni_metrics_core::parse::{Parsed, Parser, Progress, parse};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kube::Client;
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior};

use super::back_off::RoundTime;
use super::history::History;
use super::limiter::{ConcurrencyLimiter, OpenScrapes, Sign};
use super::scraped::{Scraped, Targets};
use super::suspicion::{self, Suspicion};
use crate::discover::Pod;
use crate::scrape::{ApiServerEvidence, Ask, Path, ScrapeError, Scraper};
use crate::self_stats::RoundFigures;
use cni_runtime::clock::after;
use cni_runtime::shutdown::Shutdown;

/// After the signal to stop, a round that runs has at most this long, and a quarter of the time to end, before the scrapes
/// still open are given up.
const STOPPING_ROUND: Duration = Duration::from_secs(2);

/// Scrapes that the deadline ends say so themselves; this long is waited for it, so that they are not taken for nodes that
/// were never asked.
const LAST_ANSWERS: Duration = Duration::from_millis(250);

/// How often it is looked who has waited for long.
const SLOW_CHECK_STEP: Duration = Duration::from_millis(50);

/// This much of a page is read at a time: a real page has some 15 KB, a very large node's some 100 KB.
const STEP_BYTES: usize = 64 << 10;

/// A page of no use that is larger than this is not read as far again for a while.
const WASTE_BYTES: usize = 256 << 10;

/// The round gives its thread to others after this long, however many pages wait to be read.
const LONGEST_TURN: Duration = Duration::from_millis(2);

/// Direct connections are kept for the next round in clusters of up to this number of nodes: some 10 MB.
const KEPT_CONNECTIONS: usize = 500;

/// Who is asked next, by position among the targets.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Nodes that answered or were never asked, from the last to the first.
    steady: Vec<Asked>,
    /// Nodes that failed lately, from the last to the first. They are spread out: no more hung ones wait at once than must,
    /// and none keeps a good one from being asked.
    failed_lately: Vec<Asked>,
    /// How many there were of each in the beginning.
    sizes: (usize, usize),
    /// Nodes that are not asked, and why.
    left_out: Vec<(usize, ScrapeError)>,
}

/// Whom to ask, whether directly at once, how much of the page is worth reading, and whether only once.
#[derive(Debug, Clone, Copy)]
struct Asked {
    position: usize,
    directly: bool,
    page_limit: Option<usize>,
    once: bool,
}

impl Queue {
    pub(super) fn new(targets: &Targets, history: &History, now: RoundTime) -> Self {
        let round = now.number;
        let (mut order, mut left_out) = (Vec::with_capacity(targets.len()), Vec::new());
        let enough_answered = history.enough_answered(targets);
        for (position, (pod, _)) in targets.iter().enumerate() {
            if enough_answered && let Some(error) = history.left_out(pod, now) {
                left_out.push((position, error));
                continue;
            }
            let directly = history.takes_fallback(&pod.uid, round);
            let page_limit = history.page_limit(&pod.uid, round);
            let once = history.was_reset(&pod.uid);
            order.push((history.order(&pod.uid, round), Asked { position, directly, page_limit, once }));
        }
        order.sort_by_key(|(order, _)| std::cmp::Reverse(*order));
        let (failed_lately, steady): (Vec<_>, Vec<_>) = order.into_iter().partition(|((class, _), _)| *class > 1);
        let asked = |all: Vec<(_, Asked)>| all.into_iter().map(|(_, asked)| asked).collect::<Vec<_>>();
        let sizes = (steady.len(), failed_lately.len());
        Self { steady: asked(steady), failed_lately: asked(failed_lately), sizes, left_out }
    }

    /// The nodes that are not asked.
    #[cfg(test)]
    pub(super) fn left_out(&self) -> impl Iterator<Item = &(usize, ScrapeError)> {
        self.left_out.iter()
    }

    fn is_empty(&self) -> bool {
        self.steady.is_empty() && self.failed_lately.is_empty()
    }

    /// The next one for whom there is room, and whether it failed lately.
    fn next(&mut self, open_scrapes: &OpenScrapes, limiter: &ConcurrencyLimiter) -> Option<(Asked, bool)> {
        if !open_scrapes.has_room(limiter) {
            return None;
        }
        // Nodes that failed lately are spread over the first half of the round. So the last of them reaches its timeout no later
        // than the others are done and one scrape's timeout has passed.
        let (steady_asked, failed_asked) = (self.sizes.0 - self.steady.len(), self.sizes.1 - self.failed_lately.len());
        let turn = failed_asked * self.sizes.0 <= 2 * steady_asked * self.sizes.1;
        if turn
            && open_scrapes.has_room_for_failed(limiter)
            && let Some(asked) = self.failed_lately.pop()
        {
            return Some((asked, true));
        }
        self.steady.pop().map(|asked| (asked, false))
    }
}

/// What a round asks, and until when.
pub(super) struct FanOut<'a> {
    pub(super) scraper: &'a Scraper,
    /// The API server itself, for when nodes' answers accuse it.
    pub(super) api: &'a Client,
    pub(super) targets: &'a Targets,
    pub(super) deadline: Instant,
    /// One permit: for the large page that is read.
    pub(super) large_pages: Semaphore,
}

/// A scrape that ended: what is kept of it, what the page said, and its share of the round's figures.
type Ended = (Scraped, Option<NodeSample>, RoundFigures);

/// What a round's scrapes brought.
pub(super) struct Gathered {
    /// By target.
    pub(super) scraped: Vec<Scraped>,
    pub(super) figures: RoundFigures,
    /// What is known of the API server without relying on a node's answer.
    pub(super) evidence: ApiServerEvidence,
}

/// A round under way.
struct Gathering {
    results: Vec<Option<Scraped>>,
    open_scrapes: OpenScrapes,
    figures: RoundFigures,
    suspicion: Suspicion,
    is_stopping: bool,
}

impl FanOut<'_> {
    /// Asks all of `queue` but those that it leaves out. Pages go to `round` as they come.
    pub(super) async fn run(
        &self,
        mut queue: Queue,
        limiter: &mut ConcurrencyLimiter,
        round: &mut aggregate::Round<'_>,
        shutdown: &Shutdown,
    ) -> Gathered {
        let mut gathering = Gathering::new(self.targets.len(), std::mem::take(&mut queue.left_out));
        let (mut scrapes, mut probes) = (FuturesUnordered::new(), FuturesUnordered::new());
        let mut stop = shutdown.clone();
        let mut end = std::pin::pin!(tokio::time::sleep_until(after(self.deadline, LAST_ANSWERS)));
        let mut slow_check = tokio::time::interval(SLOW_CHECK_STEP);
        slow_check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        limiter.begin(self.targets.len());
        let mut turn = Instant::now();
        loop {
            if turn.elapsed() >= LONGEST_TURN {
                tokio::task::yield_now().await;
                turn = Instant::now();
            }
            if !queue.is_empty() && Instant::now() >= self.deadline {
                queue = Queue::default();
            }
            while let Some((asked, failed_lately)) = queue.next(&gathering.open_scrapes, limiter) {
                let Some((pod, target)) = self.targets.get(asked.position) else { continue };
                let number = gathering.open_scrapes.begin(Instant::now(), failed_lately);
                scrapes.push(async move { (number, asked.position, target, self.scrape(pod, asked).await) });
            }
            tokio::select! {
                biased;
                next = scrapes.next() => match next {
                    Some((number, position, target, (scraped, sample, share))) => {
                        fold(round, target, sample);
                        if gathering.take(number, position, scraped, share, limiter) {
                            probes.push(suspicion::ask(self.api));
                        }
                    }
                    None if queue.is_empty() && probes.is_empty() => return gathering.finish(limiter),
                    // Nothing is under way, so there is room for the next.
                    None if !queue.is_empty() => {}
                    None => tokio::select! {
                        Some(state) = probes.next() => gathering.asked(state, limiter),
                        () = &mut end => return gathering.finish(limiter),
                    },
                },
                Some(state) = probes.next() => gathering.asked(state, limiter),
                () = &mut end => return gathering.finish(limiter),
                () = stop.ended(), if !gathering.is_stopping => {
                    gathering.is_stopping = true;
                    end.as_mut().reset(self.deadline.min(after(Instant::now(), STOPPING_ROUND.min(shutdown.grace() / 4))));
                }
                now = slow_check.tick(), if !queue.is_empty() => gathering.open_scrapes.note_slow(now, limiter.slow_after()),
            }
        }
    }

    async fn scrape(&self, pod: &Pod, asked: Asked) -> Ended {
        let keep_connection = self.targets.len() <= KEPT_CONNECTIONS;
        let ask = Ask {
            known_fallback: asked.directly,
            keep_connection,
            page_limit: asked.page_limit,
            asked_once: asked.once,
            round_deadline: self.deadline,
        };
        let page = match self.scraper.scrape(pod, ask).await {
            Ok(page) => page,
            Err(error) => return (Scraped::failed(error), None, RoundFigures::default()),
        };
        let (parsed, parsing) = if page.body.len() <= STEP_BYTES {
            let began = Instant::now();
            (parse(&page.body), began.elapsed())
        } else {
            Box::pin(parse_in_steps(&self.large_pages, &page.body)).await
        };
        let figures = RoundFigures {
            page_bytes: page.body.len() as u64,
            by_proxy: u64::from(page.path == Path::Proxy),
            directly: u64::from(page.path == Path::Direct),
            bad_lines: parsed.error_count,
            parsing,
            ..RoundFigures::default()
        };
        let (outcome, sample) = match parsed.sample {
            Ok(sample) => (Ok(()), Some(sample)),
            Err(error) if error.kind() == FailureKind::TooLarge => {
                (Err(Box::new(ScrapeError::TooManySeries(error.to_string()))), None)
            }
            Err(error) => (Err(Box::new(ScrapeError::BadPage(error.to_string()))), None),
        };
        let is_waste = sample.is_none() && page.body.len() > WASTE_BYTES;
        // A page that is refused as a whole is reported as such.
        let first_error = parsed.errors.first().filter(|_| sample.is_some());
        let line_errors = first_error.map(|first| match parsed.error_count {
            1 => format!("a bad line on the node's page: {first}; metrics with bad lines are left out at this node").into(),
            count => format!(
                "{count} bad lines on the node's page, the first is {first}; metrics with bad lines are left out at this \
                 node"
            )
            .into(),
        });
        (Scraped { outcome, path: Some(page.path), fallback: page.fallback, line_errors, is_waste }, sample, figures)
    }
}

/// Reads a large page step by step, and only one at a time, so that the round's thread does its other work in between.
async fn parse_in_steps(large_pages: &Semaphore, page: &[u8]) -> (Parsed, Duration) {
    let _turn = large_pages.acquire().await;
    let (mut parser, mut parsing) = (Parser::new(page), Duration::ZERO);
    loop {
        let began = Instant::now();
        let progress = parser.step(STEP_BYTES);
        parsing = parsing.saturating_add(began.elapsed());
        match progress {
            Progress::More(next) => parser = next,
            Progress::Done(parsed) => return (parsed, parsing),
        }
        tokio::task::yield_now().await;
    }
}

impl Gathering {
    fn new(targets: usize, left_out: Vec<(usize, ScrapeError)>) -> Self {
        let figures = RoundFigures { left_out: left_out.len() as u64, ..RoundFigures::default() };
        let mut results: Vec<Option<Scraped>> = std::iter::repeat_with(|| None).take(targets).collect();
        for (position, error) in left_out {
            if let Some(slot) = results.get_mut(position) {
                *slot = Some(Scraped::failed(error));
            }
        }
        Self {
            results,
            open_scrapes: OpenScrapes::default(),
            figures,
            suspicion: Suspicion::new(targets),
            is_stopping: false,
        }
    }

    /// Takes in a scrape that ended; true if the API server itself is to be asked how it is.
    fn take(
        &mut self,
        number: usize,
        position: usize,
        scraped: Scraped,
        figures: RoundFigures,
        limiter: &mut ConcurrencyLimiter,
    ) -> bool {
        let took = self.open_scrapes.end(number).map_or(Duration::ZERO, |began| began.elapsed());
        limiter.learn(sign(&scraped, took));
        self.figures += figures;
        let accuses = scraped.outcome.as_ref().is_err_and(|error| error.accuses_api_server());
        if let Some(slot) = self.results.get_mut(position) {
            *slot = Some(scraped);
        }
        self.suspicion.note(accuses)
    }

    /// The API server was asked how it is.
    fn asked(&mut self, state: suspicion::ApiServerState, limiter: &mut ConcurrencyLimiter) {
        if self.suspicion.asked(state) {
            limiter.learn(Sign::Overloaded);
        }
    }

    /// A target that is left over was not asked, or not for long enough to say anything about it.
    fn finish(mut self, limiter: &ConcurrencyLimiter) -> Gathered {
        self.figures.window = limiter.window() as u64;
        let left_over = || if self.is_stopping { ScrapeError::Stopped } else { ScrapeError::Deadline };
        let scraped = self.results.into_iter().map(|scraped| scraped.unwrap_or_else(|| Scraped::failed(left_over())));
        let served_a_page = self.figures.by_proxy > 0;
        let evidence = ApiServerEvidence { served_a_page, ..self.suspicion.evidence() };
        Gathered { scraped: scraped.collect(), figures: self.figures, evidence }
    }
}

fn fold(round: &mut aggregate::Round<'_>, target: &Target, sample: Option<NodeSample>) {
    if let Some(sample) = sample {
        round.observe(Observation { target: target.clone(), expected: true, outcome: Ok(sample) });
    }
}

/// What a scrape shows about the path to the nodes. A failure shows nothing: only the API server itself can say that it is
/// overloaded.
fn sign(scraped: &Scraped, took: Duration) -> Sign {
    match &scraped.outcome {
        Ok(()) if scraped.fallback.is_none() => Sign::Answered(took),
        _ => Sign::Nothing,
    }
}

#[cfg(test)]
mod tests;
