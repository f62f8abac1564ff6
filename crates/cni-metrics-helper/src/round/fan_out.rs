//! A round's scrapes: begun as the pace allows, each page folded as it comes, until all have ended or the deadline came.

use std::time::Duration;

use cni_metrics_core::aggregate;
use cni_metrics_core::model::{NodeSample, Observation, Target};
use cni_metrics_core::parse::parse;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, MissedTickBehavior};

use super::history::History;
use super::pace::{Flights, Pace, Sign};
use super::{Scraped, Targets};
use crate::discover::Pod;
use crate::scrape::{Ask, Path, ScrapeError, Scraper};
use crate::self_stats::RoundFigures;
use crate::shutdown::Shutdown;

/// After the signal to stop, a round in flight has this long before the scrapes still open are given up.
const STOPPING_ROUND: Duration = Duration::from_secs(2);

/// How often it is looked who has waited for long.
const PARKING_STEP: Duration = Duration::from_millis(50);

/// Direct connections are kept for the next round in clusters of up to so many nodes: some 10 MB.
const KEPT_CONNECTIONS: usize = 500;

/// Who is asked next, by position among the targets.
#[derive(Debug)]
pub(super) struct Queue {
    /// Nodes that answered or were never asked, from the last to the first.
    steady: Vec<Asked>,
    /// Nodes that failed lately, from the last to the first. They are spread out: no more hung ones wait at once than must,
    /// and none keeps a good one from being asked.
    suspects: Vec<Asked>,
    /// How many there were of each in the beginning.
    sizes: (usize, usize),
}

/// Whom to ask, and whether directly at once.
#[derive(Debug, Clone, Copy)]
struct Asked {
    position: usize,
    directly: bool,
}

impl Queue {
    pub(super) fn new(targets: &Targets, history: &History, round: u64) -> Self {
        let mut order: Vec<((u8, u64), Asked)> = targets
            .iter()
            .enumerate()
            .map(|(position, (pod, _))| {
                let directly = history.takes_detour(&pod.uid, round);
                (history.order(&pod.uid, round), Asked { position, directly })
            })
            .collect();
        order.sort_by_key(|(order, _)| std::cmp::Reverse(*order));
        let (suspects, steady): (Vec<_>, Vec<_>) = order.into_iter().partition(|((class, _), _)| *class > 1);
        let asked = |all: Vec<(_, Asked)>| all.into_iter().map(|(_, asked)| asked).collect::<Vec<_>>();
        let sizes = (steady.len(), suspects.len());
        Self { steady: asked(steady), suspects: asked(suspects), sizes }
    }

    fn is_empty(&self) -> bool {
        self.steady.is_empty() && self.suspects.is_empty()
    }

    /// The next one for whom there is room, and whether it failed lately.
    fn next(&mut self, flights: &Flights, pace: &Pace) -> Option<(Asked, bool)> {
        if !flights.has_room(pace) {
            return None;
        }
        // The suspects are spread over the first half of the round, so that the last of them is given up before the others'
        // time and a scrape's have passed.
        let (steady_asked, suspects_asked) = (self.sizes.0 - self.steady.len(), self.sizes.1 - self.suspects.len());
        let turn = suspects_asked * self.sizes.0 <= 2 * steady_asked * self.sizes.1;
        if turn
            && flights.has_room_for_suspect(pace)
            && let Some(asked) = self.suspects.pop()
        {
            return Some((asked, true));
        }
        self.steady.pop().map(|asked| (asked, false))
    }
}

/// What a round asks, and until when.
pub(super) struct FanOut<'a> {
    pub(super) scraper: &'a Scraper,
    pub(super) targets: &'a Targets,
    pub(super) deadline: Instant,
}

/// A scrape that ended: what is kept of it, what the page said, and its share of the round's figures.
type Ended = (Scraped, Option<NodeSample>, RoundFigures);

impl FanOut<'_> {
    /// Asks all of `queue`. Pages go to `round` as they come; of a target that is left over the outcome stays `None`.
    pub(super) async fn run(
        &self,
        mut queue: Queue,
        pace: &mut Pace,
        round: &mut aggregate::Round<'_>,
        shutdown: &Shutdown,
    ) -> (Vec<Option<Scraped>>, RoundFigures) {
        let mut figures = RoundFigures::default();
        let mut results: Vec<Option<Scraped>> = std::iter::repeat_with(|| None).take(self.targets.len()).collect();
        let (mut scrapes, mut flights) = (FuturesUnordered::new(), Flights::default());
        let mut stop = shutdown.clone();
        let mut stopping = false;
        let mut end = std::pin::pin!(tokio::time::sleep_until(self.deadline));
        let mut parking = tokio::time::interval(PARKING_STEP);
        parking.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pace.begin(self.targets.len());
        loop {
            while let Some((asked, suspect)) = queue.next(&flights, pace) {
                let Some((pod, target)) = self.targets.get(asked.position) else { continue };
                let number = flights.begin(Instant::now(), suspect);
                let (position, directly) = (asked.position, asked.directly);
                scrapes.push(async move { (number, position, target, self.scrape(pod, directly).await) });
            }
            tokio::select! {
                biased;
                next = scrapes.next() => match next {
                    Some((number, position, target, ended)) => {
                        let took = flights.end(number).map_or(Duration::ZERO, |began| began.elapsed());
                        let (scraped, sample, share) = ended;
                        pace.learn(sign(&scraped, took));
                        figures += share;
                        fold(round, target, sample);
                        if let Some(slot) = results.get_mut(position) {
                            *slot = Some(scraped);
                        }
                    }
                    None if queue.is_empty() => return (results, figures),
                    // Nothing is under way, so there is room for the next.
                    None => {}
                },
                () = &mut end => return (results, figures),
                () = stop.ended(), if !stopping => {
                    stopping = true;
                    let sooner = self.deadline.min(Instant::now() + STOPPING_ROUND);
                    end.as_mut().reset(sooner);
                }
                now = parking.tick(), if !queue.is_empty() => flights.park(now, pace.parked_after()),
            }
        }
    }

    async fn scrape(&self, pod: &Pod, known_detour: bool) -> Ended {
        let keep_connection = self.targets.len() <= KEPT_CONNECTIONS;
        let ask = Ask { known_detour, keep_connection, round_deadline: self.deadline };
        let page = match self.scraper.scrape(pod, ask).await {
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
}

fn fold(round: &mut aggregate::Round<'_>, target: &Target, sample: Option<NodeSample>) {
    if let Some(sample) = sample {
        round.observe(Observation { target: target.clone(), expected: true, outcome: Ok(sample) });
    }
}

/// What a scrape says of the way to the nodes.
fn sign(scraped: &Scraped, took: Duration) -> Sign {
    match &scraped.outcome {
        Ok(()) if scraped.detour.is_none() => Sign::Answered(took),
        Err(error) if matches!(**error, ScrapeError::Throttled { .. } | ScrapeError::ApiServer(_)) => Sign::Overloaded,
        _ => Sign::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::round::pace::Limits;

    fn asked(positions: std::ops::Range<usize>) -> Vec<Asked> {
        positions.rev().map(|position| Asked { position, directly: false }).collect()
    }

    fn queue(steady: usize, suspects: usize) -> Queue {
        Queue { steady: asked(0..steady), suspects: asked(steady..steady + suspects), sizes: (steady, suspects) }
    }

    #[test]
    fn nodes_that_failed_lately_are_spread_over_the_first_half_of_the_round() {
        let mut queue = queue(90, 10);
        let (pace, mut flights, now) = (Pace::new(Limits::of(None)), Flights::default(), Instant::now());
        let mut order = Vec::new();
        while let Some((asked, suspect)) = queue.next(&flights, &pace) {
            let number = flights.begin(now, suspect);
            flights.end(number);
            order.push(asked.position);
        }
        assert_eq!(order.len(), 100);
        assert!(queue.is_empty());
        let suspects: Vec<_> = order.chunks(11).map(|part| part.iter().filter(|asked| **asked >= 90).count()).collect();
        assert_eq!(suspects, [2, 2, 2, 2, 2, 0, 0, 0, 0, 0], "{order:?}");
    }

    #[test]
    fn hung_nodes_never_keep_a_good_one_waiting() {
        let mut queue = queue(4, 4);
        let (pace, mut flights, now) = (Pace::new(Limits::of(Some(4))), Flights::default(), Instant::now());
        let mut good = 0;
        while let Some((_, suspect)) = queue.next(&flights, &pace) {
            let number = flights.begin(now, suspect);
            if !suspect {
                flights.end(number);
                good += 1;
            }
        }
        assert_eq!((good, queue.suspects.len()), (4, 2), "two hang, and two wait for their places");
    }
}
