//! How many scrapes run at once.
//!
//! The width, how many scrapes are expected to answer soon, grows while answers come as fast as they did and shrinks when
//! they slow down or the API server asks for less, as TCP does with its window. It is never larger than the number of
//! targets, and grows no further than the round can use: a small cluster keeps few connections. Answers are counted over
//! rounds, so that the sample window also ends where a round has fewer answers than the width. A scrape that has waited
//! much longer than is usual is parked: it keeps its connection but makes room for another, so that hung nodes do not slow
//! down a round. Times are arguments; nothing here waits, and all arithmetic saturates.

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

/// No answer is believed to be usual that is faster: from nothing, no answer would ever be fast enough again.
const LEAST_USUAL: Duration = Duration::from_millis(1);

/// From here on the width shrinks.
const TOO_SLOW: (u32, Duration) = (4, Duration::from_millis(20));

/// A scrape is parked after this multiple of the usual answer time, within these bounds.
const PARKED_AFTER: (u32, Duration, Duration) = (8, Duration::from_millis(250), Duration::from_secs(2));

/// The same while no node has answered yet: where every node is out of reach, waiting would only take longer.
const PARKED_AT_FIRST: Duration = Duration::from_millis(500);

/// Maximum concurrent scrapes, where no limit is set: expected to answer soon; in all; of nodes that failed lately.
/// One core reads some 15,000 pages a second: 256 at once are enough for answers of 15 ms.
const UNSET: Limits = Limits { width: 256, in_flight: 1280, suspects: 1024, longest_answer: LONGEST_ANSWER };

/// What is usual is never believed to be longer than this where no scrape timeout was given.
const LONGEST_ANSWER: Duration = Duration::from_secs(5);

/// What is never exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    width: usize,
    in_flight: usize,
    suspects: usize,
    /// The scrape timeout: no answer takes longer.
    longest_answer: Duration,
}

impl Limits {
    /// Of `SCRAPE_CONCURRENCY`: that many in all, half of them for nodes that failed lately.
    pub(super) fn of(concurrency: Option<usize>) -> Self {
        concurrency.map_or(UNSET, |most| Self { width: most, in_flight: most, suspects: most.div_ceil(2), ..UNSET })
    }

    /// The same, where no answer takes longer than `timeout`.
    pub(super) fn with_timeout(self, timeout: Duration) -> Self {
        Self { longest_answer: timeout, ..self }
    }
}

/// How an ended scrape speaks of the way to the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// An answer, after this time.
    Answered(Duration),
    /// The API server asks to slow down, or is out of reach.
    Overloaded,
    /// A node's own failure.
    Nothing,
}

/// The width, learned over rounds.
#[derive(Debug)]
pub(super) struct ConcurrencyLimiter {
    limits: Limits,
    width: usize,
    /// How many nodes the round has.
    targets: usize,
    /// The mean of the fastest flight lately: what an answer takes when nothing is in its way.
    usual: Option<Duration>,
    /// Answers of the present sample window, which may have begun in an earlier round, and their time together.
    answers: (usize, Duration),
    /// The width was halved in this flight already.
    eased: bool,
}

impl ConcurrencyLimiter {
    pub(super) fn new(limits: Limits) -> Self {
        let width = FIRST_WIDTH.min(limits.width);
        Self { limits, width, targets: 0, usual: None, answers: (0, Duration::ZERO), eased: false }
    }

    /// The width now.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// A new round. What was usual may have changed for good: it is believed a little less each time, up to the scrape
    /// timeout. The width follows the number of targets down at once.
    pub(super) fn begin(&mut self, targets: usize) {
        self.targets = targets;
        let longest = self.limits.longest_answer;
        self.usual = self.usual.map(|usual| usual.saturating_add(usual / 8).min(longest));
        self.set_width(self.width);
    }

    /// After how long a scrape is parked.
    pub(super) fn parked_after(&self) -> Duration {
        let (times, least, most) = PARKED_AFTER;
        self.usual.map_or(PARKED_AT_FIRST, |usual| usual.saturating_mul(times).clamp(least, most))
    }

    /// Learns from a scrape that ended.
    pub(super) fn learn(&mut self, sign: Sign) {
        match sign {
            Sign::Answered(took) => {
                let (count, together) = self.answers;
                // No answer took longer than the timeout; a clock that jumped must not spoil the mean.
                let took = took.min(self.limits.longest_answer);
                self.answers = (count.saturating_add(1), together.saturating_add(took));
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
        let usual = self.usual.map_or(mean, |usual| usual.min(mean)).max(LEAST_USUAL);
        self.usual = Some(usual);
        let within = |(times, slack): (u32, Duration)| mean <= usual.saturating_mul(times).saturating_add(slack);
        let useful = self.useful_width(usual);
        if !within(TOO_SLOW) {
            self.set_width(self.width - self.width / 4);
        } else if self.width > useful.max(FIRST_WIDTH) {
            // Answers were slow when it grew; now the round ends soon enough with less.
            self.set_width((self.width - self.width / 8).max(useful).max(FIRST_WIDTH));
        } else if within(STILL_FINE) && !self.eased {
            let wider = self.width.saturating_add(self.width.div_ceil(4));
            self.set_width(wider.min(useful.max(self.width)));
        }
        self.eased = false;
    }

    /// The width at which the round ends soon enough; one for each target is the most that is of use.
    fn useful_width(&self, usual: Duration) -> usize {
        let one_by_one_ms = usual.as_millis().saturating_mul(self.targets as u128);
        let useful = usize::try_from(one_by_one_ms.div_ceil(SOON_ENOUGH.as_millis())).unwrap_or(usize::MAX);
        useful.min(self.targets)
    }

    /// Keeps the width within its bounds: [`LEAST_WIDTH`], the targets, and before all the operator's limit.
    fn set_width(&mut self, width: usize) {
        self.width = width.min(self.targets).max(LEAST_WIDTH).min(self.limits.width);
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
    /// How many of `open`, from the front, were considered for parking.
    considered: usize,
    parked: usize,
    active: usize,
    suspects: usize,
}

impl Flights {
    /// There is room for one more, of a node that answered lately.
    pub(super) fn has_room(&self, limiter: &ConcurrencyLimiter) -> bool {
        self.active < limiter.width && self.active + self.parked < limiter.limits.in_flight
    }

    /// There is room for one more of a node that failed lately.
    pub(super) fn has_room_for_suspect(&self, limiter: &ConcurrencyLimiter) -> bool {
        self.has_room(limiter) && self.suspects < limiter.limits.suspects
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
    fn large(concurrency: Option<usize>) -> ConcurrencyLimiter {
        let mut limiter = ConcurrencyLimiter::new(Limits::of(concurrency));
        limiter.begin(100_000);
        limiter
    }

    fn fly(limiter: &mut ConcurrencyLimiter, flights: usize, took: Duration) {
        for _ in 0..flights {
            for _ in 0..limiter.width {
                limiter.learn(Sign::Answered(took));
            }
        }
    }

    #[test]
    fn the_width_grows_while_answers_are_fast_and_never_over_the_limit() {
        let mut limiter = large(Some(100));
        assert_eq!(limiter.width, FIRST_WIDTH);
        fly(&mut limiter, 1, 10 * MS);
        assert_eq!(limiter.width, 20);
        fly(&mut limiter, 20, 20 * MS);
        assert_eq!(limiter.width, 100);
        assert_eq!(ConcurrencyLimiter::new(Limits::of(Some(2))).width, 2);
    }

    #[test]
    fn the_width_holds_at_twice_the_usual_time_and_shrinks_beyond_four_times() {
        let mut limiter = large(None);
        fly(&mut limiter, 4, 10 * MS);
        let width = limiter.width;
        fly(&mut limiter, 4, 40 * MS);
        assert_eq!(limiter.width, width);
        fly(&mut limiter, 1, 61 * MS);
        assert_eq!(limiter.width, width - width / 4);
        fly(&mut limiter, 50, 100 * MS);
        assert_eq!(limiter.width, LEAST_WIDTH);
    }

    #[test]
    fn a_small_cluster_keeps_few_connections() {
        let mut limiter = ConcurrencyLimiter::new(Limits::of(None));
        limiter.begin(100);
        fly(&mut limiter, 10, 10 * MS);
        assert_eq!(limiter.width, FIRST_WIDTH, "100 answers of 10 ms need ten at once");
        limiter.begin(1000);
        fly(&mut limiter, 20, 10 * MS);
        assert!((100..=120).contains(&limiter.width), "{}", limiter.width);
    }

    #[test]
    fn an_overloaded_api_server_halves_the_width_once_a_flight() {
        let mut limiter = large(None);
        for _ in 0..10 {
            limiter.learn(Sign::Overloaded);
            limiter.learn(Sign::Nothing);
        }
        assert_eq!(limiter.width, FIRST_WIDTH / 2);
        fly(&mut limiter, 1, MS);
        assert_eq!(limiter.width, FIRST_WIDTH / 2, "it does not grow in the flight that was eased");
        limiter.learn(Sign::Overloaded);
        assert_eq!(limiter.width, FIRST_WIDTH / 4);
    }

    #[test]
    fn a_network_that_became_slower_for_good_is_believed_after_some_rounds() {
        let mut limiter = large(None);
        fly(&mut limiter, 10, 5 * MS);
        fly(&mut limiter, 50, 60 * MS);
        assert_eq!(limiter.width, LEAST_WIDTH);
        for _ in 0..20 {
            limiter.begin(100_000);
        }
        fly(&mut limiter, 10, 60 * MS);
        assert!(limiter.width > FIRST_WIDTH, "{}", limiter.width);
    }

    /// The bounds that hold whatever happened before.
    fn check(limiter: &ConcurrencyLimiter) {
        let most = limiter.targets.max(LEAST_WIDTH).min(limiter.limits.width);
        let least = LEAST_WIDTH.min(limiter.limits.width);
        assert!((least..=most).contains(&limiter.width), "{limiter:?}");
        let longest = limiter.limits.longest_answer;
        assert!(
            limiter.usual.is_none_or(|usual| usual >= LEAST_USUAL && usual <= longest.max(LEAST_USUAL)),
            "{limiter:?}"
        );
        assert!(limiter.parked_after() <= PARKED_AFTER.2, "{limiter:?}");
    }

    fn any_pace(random: &mut fastrand::Rng) -> ConcurrencyLimiter {
        let concurrency = random.bool().then(|| random.usize(1..300));
        ConcurrencyLimiter::new(Limits::of(concurrency).with_timeout(MS * random.u32(10..=5_000)))
    }

    #[test]
    fn a_million_steps_in_any_order_stay_within_the_bounds() {
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..10 {
            let mut limiter = any_pace(&mut random);
            limiter.begin(40);
            for _ in 0..100_000 {
                match random.u32(..100) {
                    0..20 => limiter.begin(random.usize(..400)),
                    20 => limiter.begin([0, 1, usize::MAX][random.usize(..3)]),
                    21 => limiter.learn(Sign::Answered([Duration::ZERO, Duration::MAX][random.usize(..2)])),
                    22..30 => limiter.learn(Sign::Overloaded),
                    30..40 => limiter.learn(Sign::Nothing),
                    _ => limiter.learn(Sign::Answered(MS * random.u32(..10_000))),
                }
                if limiter.targets < usize::MAX {
                    check(&limiter);
                }
            }
        }
    }

    /// A round in which these many of `targets` answer after about `took`, and the others fail.
    fn round(limiter: &mut ConcurrencyLimiter, targets: usize, answers: usize, took: Duration) {
        limiter.begin(targets);
        check(limiter);
        for position in 0..targets {
            limiter.learn(if position < answers { Sign::Answered(took) } else { Sign::Nothing });
            check(limiter);
        }
    }

    #[test]
    fn ten_thousand_rounds_of_a_population_that_grows_shrinks_and_falls_silent() {
        let mut random = fastrand::Rng::with_seed(12);
        let mut limiter = any_pace(&mut random);
        let (mut targets, mut silent, mut took) = (40, 0, 200 * MS);
        for number in 0..10_000 {
            match random.u32(..20) {
                0 => targets = random.usize(..120),
                1 => silent = random.usize(..=targets),
                2 => silent = 0,
                3 => took = MS * random.u32(..3_000),
                _ => {}
            }
            if number % 1_000 == 999 {
                limiter = ConcurrencyLimiter {
                    width: limiter.width,
                    usual: limiter.usual,
                    answers: limiter.answers,
                    ..any_pace(&mut random)
                };
                limiter.begin(targets);
            }
            round(&mut limiter, targets, targets.saturating_sub(silent), took);
        }
    }

    /// The sequences that once ended in an overflow: slow answers of a small cluster, and nodes that fall silent for good.
    #[test]
    fn rounds_with_fewer_answers_than_the_width_still_end_sample_windows() {
        for (targets, answers, took) in [(20, 20, 200 * MS), (20, 14, 60 * MS), (40, 3, 500 * MS)] {
            let mut limiter = ConcurrencyLimiter::new(Limits::of(None));
            for number in 0..10_000 {
                round(&mut limiter, targets, answers, took);
                assert!(number < 20 || limiter.usual < Some(took * 10), "{number}: {limiter:?}");
            }
            assert!(limiter.width <= targets, "{limiter:?}");
        }
    }

    #[test]
    fn a_population_that_answers_again_recovers_its_width_within_ten_rounds_and_a_slower_one_within_a_hundred() {
        let mut random = fastrand::Rng::with_seed(13);
        for _ in 0..200 {
            let mut limiter = ConcurrencyLimiter::new(Limits::of(None));
            let (targets, took) = (random.usize(40..200), MS * random.u32(1..2_000));
            for _ in 0..20 {
                round(&mut limiter, targets, targets, took);
            }
            let before = limiter.width;
            for _ in 0..random.usize(..500) {
                let answers = random.usize(..4);
                round(&mut limiter, random.usize(..targets), answers, took);
                limiter.learn(Sign::Overloaded);
            }
            for _ in 0..10 {
                round(&mut limiter, targets, targets, took);
            }
            assert!(limiter.width * 8 >= before.min(limiter.useful_width(took)) * 7, "{before}: {limiter:?}");

            let slower = took + MS * random.u32(1..3_000);
            for _ in 0..100 {
                round(&mut limiter, targets, targets, slower);
            }
            assert!(limiter.width * 5 >= limiter.useful_width(slower) * 4, "{slower:?}: {limiter:?}");
        }
    }

    #[test]
    fn who_waits_long_is_parked_and_makes_room() {
        let limiter = ConcurrencyLimiter::new(Limits::of(Some(3)));
        let (mut flights, start) = (Flights::default(), Instant::now());
        let numbers = [false, false, true].map(|suspect| flights.begin(start, suspect));
        assert!(!flights.has_room(&limiter));
        flights.park(start + 100 * MS, 250 * MS);
        assert_eq!((flights.active, flights.parked), (3, 0));
        flights.end(numbers[1]);
        flights.park(start + 250 * MS, 250 * MS);
        assert_eq!((flights.active, flights.parked, flights.suspects), (0, 2, 1));
        assert!(flights.has_room(&limiter));
        flights.begin(start + 250 * MS, false);
        assert!(!flights.has_room(&limiter), "three in all, parked or not");
        assert_eq!(flights.end(numbers[0]), Some(start));
        assert_eq!(flights.end(numbers[0]), None, "no scrape ends twice");
        assert_eq!(flights.end(numbers[2]), Some(start));
        assert_eq!((flights.active, flights.parked, flights.suspects), (1, 0, 0));
    }

    #[test]
    fn parking_follows_what_is_usual() {
        let mut limiter = large(None);
        assert_eq!(limiter.parked_after(), PARKED_AT_FIRST);
        fly(&mut limiter, 1, 100 * MS);
        assert_eq!(limiter.parked_after(), 800 * MS);
        fly(&mut limiter, 1, 10 * MS);
        assert_eq!(limiter.parked_after(), 250 * MS);
    }

    #[test]
    fn nodes_that_failed_lately_take_half_of_a_set_limit_at_most() {
        let limiter = ConcurrencyLimiter::new(Limits::of(Some(4)));
        let mut flights = Flights::default();
        let start = Instant::now();
        flights.begin(start, true);
        assert!(flights.has_room_for_suspect(&limiter));
        flights.begin(start, true);
        assert!(!flights.has_room_for_suspect(&limiter) && flights.has_room(&limiter));
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
