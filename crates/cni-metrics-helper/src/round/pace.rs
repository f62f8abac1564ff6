//! How many scrapes run at once.
//!
//! The width, how many scrapes are expected to answer soon, grows while answers come as fast as they did and shrinks when
//! they slow down or the API server asks for less, as TCP does with its window. It grows no further than the round can
//! use: a small cluster keeps few connections. A scrape that has waited much longer than
//! is usual is parked: it keeps its connection but makes room for another, so that hung nodes do not slow down a round.
//! Times are arguments; nothing here waits.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The first width: enough to learn from, too few to hurt anybody.
const FIRST_WIDTH: usize = 16;

/// The width never falls below this, or the round would hardly end.
const LEAST_WIDTH: usize = 4;

/// A round that would end within this time at the present width needs no wider one.
const SOON_ENOUGH: Duration = Duration::from_millis(100);

/// Answers may take so much longer than the fastest flight's before the width stops growing: twice, and what a busy
/// machine's scheduler may add.
const STILL_FINE: (u32, Duration) = (2, Duration::from_millis(5));

/// From here on the width shrinks.
const TOO_SLOW: (u32, Duration) = (4, Duration::from_millis(20));

/// A scrape is parked after so many usual answers' time, within these bounds.
const PARKED_AFTER: (u32, Duration, Duration) = (8, Duration::from_millis(250), Duration::from_secs(2));

/// The same while nobody has answered yet: where every node is out of reach, waiting would only take longer.
const PARKED_AT_FIRST: Duration = Duration::from_millis(500);

/// Most scrapes at once, where nobody set a limit: expected to answer soon; in all; of nodes that failed lately.
/// One core reads some 15,000 pages a second: 256 at once are enough for answers of 15 ms.
const UNSET: Limits = Limits { width: 256, in_flight: 1280, suspects: 1024 };

/// What is never exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    width: usize,
    in_flight: usize,
    suspects: usize,
}

impl Limits {
    /// Of `SCRAPE_CONCURRENCY`: that many in all, half of them for nodes that failed lately.
    pub(super) fn of(concurrency: Option<usize>) -> Self {
        concurrency.map_or(UNSET, |most| Self { width: most, in_flight: most, suspects: most.div_ceil(2) })
    }
}

/// How an ended scrape speaks of the way to the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// An answer, after so long.
    Answered(Duration),
    /// The API server asks to slow down, or is out of reach.
    Overloaded,
    /// A node's own failure.
    Nothing,
}

/// The width, learned over rounds.
#[derive(Debug)]
pub(super) struct Pace {
    limits: Limits,
    width: usize,
    /// How many nodes the round has.
    targets: usize,
    /// The mean of the fastest flight lately: what an answer takes when nothing is in its way.
    usual: Option<Duration>,
    /// Answers of the present flight, and their time together.
    answers: (usize, Duration),
    /// The width was halved in this flight already.
    eased: bool,
}

impl Pace {
    pub(super) fn new(limits: Limits) -> Self {
        let width = FIRST_WIDTH.min(limits.width);
        Self { limits, width, targets: 0, usual: None, answers: (0, Duration::ZERO), eased: false }
    }

    /// A new round. What was usual may have changed for good: it is believed a little less each time.
    pub(super) fn begin(&mut self, targets: usize) {
        self.targets = targets;
        self.usual = self.usual.map(|usual| usual + usual / 8);
        self.answers = (0, Duration::ZERO);
    }

    /// After how long a scrape is parked.
    pub(super) fn parked_after(&self) -> Duration {
        let (times, least, most) = PARKED_AFTER;
        self.usual.map_or(PARKED_AT_FIRST, |usual| (usual * times).clamp(least, most))
    }

    /// Learns from a scrape that ended.
    pub(super) fn learn(&mut self, sign: Sign) {
        match sign {
            Sign::Answered(took) => {
                self.answers = (self.answers.0 + 1, self.answers.1 + took);
                if self.answers.0 >= self.width {
                    self.flight();
                }
            }
            Sign::Overloaded if !self.eased => {
                self.eased = true;
                self.set_width(self.width / 2);
            }
            Sign::Overloaded | Sign::Nothing => {}
        }
    }

    /// As many answers as the width have come: one flight.
    fn flight(&mut self) {
        let (count, together) = std::mem::take(&mut self.answers);
        let mean = together / u32::try_from(count).unwrap_or(u32::MAX).max(1);
        let usual = self.usual.map_or(mean, |usual| usual.min(mean));
        self.usual = Some(usual);
        let within = |(times, slack): (u32, Duration)| mean <= usual * times + slack;
        if !within(TOO_SLOW) {
            self.set_width(self.width - self.width / 4);
        } else if within(STILL_FINE) && !self.eased {
            let wider = self.width + self.width.div_ceil(4);
            self.set_width(wider.min(self.useful_width(usual).max(self.width)));
        }
        self.eased = false;
    }

    /// The width at which the round ends soon enough.
    fn useful_width(&self, usual: Duration) -> usize {
        let one_by_one_ms = usual.as_millis().saturating_mul(self.targets as u128);
        usize::try_from(one_by_one_ms.div_ceil(SOON_ENOUGH.as_millis())).unwrap_or(usize::MAX)
    }

    fn set_width(&mut self, width: usize) {
        self.width = width.max(LEAST_WIDTH).min(self.limits.width);
    }
}

/// One scrape under way.
#[derive(Debug, Clone, Copy)]
struct Flight {
    began: Instant,
    suspect: bool,
    ended: bool,
}

/// The scrapes under way, oldest first.
#[derive(Debug, Default)]
pub(super) struct Flights {
    open: VecDeque<Flight>,
    /// The number of the first in `open`.
    first: usize,
    /// Of `open`, so many from the front were considered for parking.
    considered: usize,
    parked: usize,
    active: usize,
    suspects: usize,
}

impl Flights {
    /// There is room for one more, of a node that answered lately.
    pub(super) fn has_room(&self, pace: &Pace) -> bool {
        self.active < pace.width && self.active + self.parked < pace.limits.in_flight
    }

    /// There is room for one more of a node that failed lately.
    pub(super) fn has_room_for_suspect(&self, pace: &Pace) -> bool {
        self.has_room(pace) && self.suspects < pace.limits.suspects
    }

    /// One more begins; returns its number.
    pub(super) fn begin(&mut self, began: Instant, suspect: bool) -> usize {
        self.open.push_back(Flight { began, suspect, ended: false });
        self.active += 1;
        self.suspects += usize::from(suspect);
        self.first + self.open.len() - 1
    }

    /// A scrape ended; returns when it began.
    pub(super) fn end(&mut self, number: usize) -> Option<Instant> {
        let position = number.checked_sub(self.first)?;
        let flight = self.open.get_mut(position).filter(|flight| !flight.ended)?;
        flight.ended = true;
        self.suspects -= usize::from(flight.suspect);
        let began = flight.began;
        if position < self.considered {
            self.parked -= 1;
        } else {
            self.active -= 1;
        }
        while self.open.front().is_some_and(|flight| flight.ended) {
            self.open.pop_front();
            self.first += 1;
            self.considered = self.considered.saturating_sub(1);
        }
        Some(began)
    }

    /// Parks those that have waited for `after`.
    pub(super) fn park(&mut self, now: Instant, after: Duration) {
        while let Some(flight) = self.open.get(self.considered)
            && (flight.ended || now.saturating_duration_since(flight.began) >= after)
        {
            if !flight.ended {
                self.parked += 1;
                self.active -= 1;
            }
            self.considered += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Of a cluster that can use any width.
    fn large(concurrency: Option<usize>) -> Pace {
        let mut pace = Pace::new(Limits::of(concurrency));
        pace.begin(100_000);
        pace
    }

    fn fly(pace: &mut Pace, flights: usize, took: Duration) {
        for _ in 0..flights {
            for _ in 0..pace.width {
                pace.learn(Sign::Answered(took));
            }
        }
    }

    #[test]
    fn the_width_grows_while_answers_are_fast_and_never_over_the_limit() {
        let mut pace = large(Some(100));
        assert_eq!(pace.width, FIRST_WIDTH);
        fly(&mut pace, 1, 10 * MS);
        assert_eq!(pace.width, 20);
        fly(&mut pace, 20, 20 * MS);
        assert_eq!(pace.width, 100);
        assert_eq!(Pace::new(Limits::of(Some(2))).width, 2);
    }

    #[test]
    fn the_width_holds_at_twice_the_usual_time_and_shrinks_beyond_four_times() {
        let mut pace = large(None);
        fly(&mut pace, 4, 10 * MS);
        let width = pace.width;
        fly(&mut pace, 4, 40 * MS);
        assert_eq!(pace.width, width);
        fly(&mut pace, 1, 61 * MS);
        assert_eq!(pace.width, width - width / 4);
        fly(&mut pace, 50, 100 * MS);
        assert_eq!(pace.width, LEAST_WIDTH);
    }

    #[test]
    fn a_small_cluster_keeps_few_connections() {
        let mut pace = Pace::new(Limits::of(None));
        pace.begin(100);
        fly(&mut pace, 10, 10 * MS);
        assert_eq!(pace.width, FIRST_WIDTH, "100 answers of 10 ms need ten at once");
        pace.begin(1000);
        fly(&mut pace, 20, 10 * MS);
        assert!((100..=120).contains(&pace.width), "{}", pace.width);
    }

    #[test]
    fn an_overloaded_api_server_halves_the_width_once_a_flight() {
        let mut pace = large(None);
        for _ in 0..10 {
            pace.learn(Sign::Overloaded);
            pace.learn(Sign::Nothing);
        }
        assert_eq!(pace.width, FIRST_WIDTH / 2);
        fly(&mut pace, 1, MS);
        assert_eq!(pace.width, FIRST_WIDTH / 2, "it does not grow in the flight that was eased");
        pace.learn(Sign::Overloaded);
        assert_eq!(pace.width, FIRST_WIDTH / 4);
    }

    #[test]
    fn a_network_that_became_slower_for_good_is_believed_after_some_rounds() {
        let mut pace = large(None);
        fly(&mut pace, 10, 5 * MS);
        fly(&mut pace, 50, 60 * MS);
        assert_eq!(pace.width, LEAST_WIDTH);
        for _ in 0..20 {
            pace.begin(100_000);
        }
        fly(&mut pace, 10, 60 * MS);
        assert!(pace.width > FIRST_WIDTH, "{}", pace.width);
    }

    #[test]
    fn who_waits_long_is_parked_and_makes_room() {
        let pace = Pace::new(Limits::of(Some(3)));
        let (mut flights, start) = (Flights::default(), Instant::now());
        let numbers = [false, false, true].map(|suspect| flights.begin(start, suspect));
        assert!(!flights.has_room(&pace));
        flights.park(start + 100 * MS, 250 * MS);
        assert_eq!((flights.active, flights.parked), (3, 0));
        flights.end(numbers[1]);
        flights.park(start + 250 * MS, 250 * MS);
        assert_eq!((flights.active, flights.parked, flights.suspects), (0, 2, 1));
        assert!(flights.has_room(&pace));
        flights.begin(start + 250 * MS, false);
        assert!(!flights.has_room(&pace), "three in all, parked or not");
        assert_eq!(flights.end(numbers[0]), Some(start));
        assert_eq!(flights.end(numbers[0]), None, "nobody ends twice");
        assert_eq!(flights.end(numbers[2]), Some(start));
        assert_eq!((flights.active, flights.parked, flights.suspects), (1, 0, 0));
    }

    #[test]
    fn parking_follows_what_is_usual() {
        let mut pace = large(None);
        assert_eq!(pace.parked_after(), PARKED_AT_FIRST);
        fly(&mut pace, 1, 100 * MS);
        assert_eq!(pace.parked_after(), 800 * MS);
        fly(&mut pace, 1, 10 * MS);
        assert_eq!(pace.parked_after(), 250 * MS);
    }

    #[test]
    fn nodes_that_failed_lately_take_half_of_a_set_limit_at_most() {
        let pace = Pace::new(Limits::of(Some(4)));
        let mut flights = Flights::default();
        let start = Instant::now();
        flights.begin(start, true);
        assert!(flights.has_room_for_suspect(&pace));
        flights.begin(start, true);
        assert!(!flights.has_room_for_suspect(&pace) && flights.has_room(&pace));
    }

    #[test]
    fn any_order_of_ends_leaves_nobody_behind() {
        let start = Instant::now();
        for seed in 1..200_usize {
            let (mut flights, mut open) = (Flights::default(), Vec::new());
            for step in 0..100_usize {
                let now = start + MS * u32::try_from(step).unwrap();
                let dice = (seed * 31 + step * 17) % 7;
                if dice < 4 {
                    open.push(flights.begin(now, dice == 0));
                } else if !open.is_empty() {
                    let number = open.swap_remove((seed * 13 + step) % open.len());
                    assert!(flights.end(number).is_some());
                }
                flights.park(now, 20 * MS);
                assert_eq!(flights.active + flights.parked, open.len());
            }
            open.drain(..).for_each(|number| assert!(flights.end(number).is_some()));
            assert_eq!((flights.active, flights.parked, flights.suspects, flights.open.len()), (0, 0, 0, 0));
        }
    }
}
