//! How many scrapes run at once.
//!
//! The window is the maximum number of concurrent scrapes that are expected to answer soon. It grows while answers are as
//! fast as before and shrinks when they slow down or the API server asks for less, as TCP does with its window. It is never
//! larger than the number of targets, and grows no further than the round can use: a small cluster keeps few connections.
//! After a window's number of answers a sample window ends, and the window is adapted; answers are counted over rounds, so
//! this also happens where a round has fewer answers than the window. A scrape that has waited much longer than usual joins
//! the slow set: it keeps its connection but leaves the window, so that hung nodes do not slow down a round. Times are
//! arguments; nothing here waits, and all arithmetic saturates.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The first window: enough to learn from, too few to overload the API server.
const FIRST_WINDOW: usize = 16;

/// The window never falls below this, or the round would hardly end.
const LEAST_WINDOW: usize = 4;

/// A round that would end within this time at the present window needs no wider one.
const SOON_ENOUGH: Duration = Duration::from_millis(100);

/// The window grows while answers take at most this multiple of the time in the fastest sample window, plus what the
/// scheduler of a busy machine may add.
const STILL_FINE: (u32, Duration) = (2, Duration::from_millis(5));

/// Lower bound of the usual answer time: if it were 0, no answer would ever be fast enough again.
const LEAST_USUAL: Duration = Duration::from_millis(1);

/// The window shrinks from this multiple on, plus this time.
const TOO_SLOW: (u32, Duration) = (4, Duration::from_millis(20));

/// A scrape counts as slow after this multiple of the usual answer time, within these bounds.
const SLOW_AFTER: (u32, Duration, Duration) = (8, Duration::from_millis(250), Duration::from_secs(2));

/// The same while no node has answered yet: where every node is out of reach, waiting would only take longer.
const SLOW_AT_FIRST: Duration = Duration::from_millis(500);

/// Maximum concurrent scrapes, where no limit is set: expected to answer soon; in all; of nodes that failed lately.
/// One core reads some 15,000 pages a second: 256 at once are enough for answers of 15 ms.
const UNSET: Limits = Limits { window: 256, open: 1280, failed_lately: 1024, longest_answer: LONGEST_ANSWER };

/// What is usual is never believed to be longer than this where no scrape timeout was given.
const LONGEST_ANSWER: Duration = Duration::from_secs(5);

/// What is never exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    window: usize,
    open: usize,
    failed_lately: usize,
    /// The scrape timeout: no answer takes longer.
    longest_answer: Duration,
}

impl Limits {
    /// Of `SCRAPE_CONCURRENCY`: that many in all, half of them for nodes that failed lately.
    pub(super) fn of(concurrency: Option<usize>) -> Self {
        concurrency.map_or(UNSET, |most| Self { window: most, open: most, failed_lately: most.div_ceil(2), ..UNSET })
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

/// The window, learned over rounds.
#[derive(Debug)]
pub(super) struct ConcurrencyLimiter {
    limits: Limits,
    window: usize,
    /// How many nodes the round has.
    targets: usize,
    /// The mean of the fastest sample window lately: what an answer takes when nothing is in its way.
    usual: Option<Duration>,
    /// Answers of the present sample window, which may have begun in an earlier round, and their time together.
    answers: (usize, Duration),
    /// The window was halved in this sample window already.
    eased: bool,
}

impl ConcurrencyLimiter {
    pub(super) fn new(limits: Limits) -> Self {
        let window = FIRST_WINDOW.min(limits.window);
        Self { limits, window, targets: 0, usual: None, answers: (0, Duration::ZERO), eased: false }
    }

    /// The window now.
    pub(super) fn window(&self) -> usize {
        self.window
    }

    /// A new round. What was usual may have changed for good: it is believed a little less each time, up to the scrape
    /// timeout. The window follows the number of targets down at once.
    pub(super) fn begin(&mut self, targets: usize) {
        self.targets = targets;
        let longest = self.limits.longest_answer;
        self.usual = self.usual.map(|usual| usual.saturating_add(usual / 8).min(longest));
        self.set_window(self.window);
    }

    /// After how long a scrape joins the slow set.
    pub(super) fn slow_after(&self) -> Duration {
        let (times, least, most) = SLOW_AFTER;
        self.usual.map_or(SLOW_AT_FIRST, |usual| usual.saturating_mul(times).clamp(least, most))
    }

    /// Learns from a scrape that ended.
    pub(super) fn learn(&mut self, sign: Sign) {
        match sign {
            Sign::Answered(took) => {
                let (count, together) = self.answers;
                // No answer took longer than the timeout; a clock that jumped must not spoil the mean.
                let took = took.min(self.limits.longest_answer);
                self.answers = (count.saturating_add(1), together.saturating_add(took));
                if self.answers.0 >= self.window {
                    self.end_sample_window();
                }
            }
            Sign::Overloaded if !self.eased => {
                self.eased = true;
                self.set_window(self.window / 2);
            }
            Sign::Overloaded | Sign::Nothing => {}
        }
    }

    /// As many answers as the window have come: the end of a sample window.
    fn end_sample_window(&mut self) {
        let (count, together) = std::mem::take(&mut self.answers);
        let mean = together / u32::try_from(count).unwrap_or(u32::MAX).max(1);
        let usual = self.usual.map_or(mean, |usual| usual.min(mean)).max(LEAST_USUAL);
        self.usual = Some(usual);
        let within = |(times, slack): (u32, Duration)| mean <= usual.saturating_mul(times).saturating_add(slack);
        let useful = self.useful_window(usual);
        if !within(TOO_SLOW) {
            self.set_window(self.window - self.window / 4);
        } else if self.window > useful.max(FIRST_WINDOW) {
            // Answers were slow when it grew; now the round ends soon enough with less.
            self.set_window((self.window - self.window / 8).max(useful).max(FIRST_WINDOW));
        } else if within(STILL_FINE) && !self.eased {
            let wider = self.window.saturating_add(self.window.div_ceil(4));
            self.set_window(wider.min(useful.max(self.window)));
        }
        self.eased = false;
    }

    /// The window at which the round ends soon enough; one for each target is the most that is of use.
    fn useful_window(&self, usual: Duration) -> usize {
        let one_by_one_ms = usual.as_millis().saturating_mul(self.targets as u128);
        let useful = usize::try_from(one_by_one_ms.div_ceil(SOON_ENOUGH.as_millis())).unwrap_or(usize::MAX);
        useful.min(self.targets)
    }

    /// Keeps the window within its bounds: [`LEAST_WINDOW`], the targets, and before all the operator's limit.
    fn set_window(&mut self, window: usize) {
        self.window = window.min(self.targets).max(LEAST_WINDOW).min(self.limits.window);
    }
}

/// One scrape under way.
#[derive(Debug, Clone, Copy)]
struct OpenScrape {
    began: Instant,
    failed_lately: bool,
    ended: bool,
}

/// The scrapes under way, oldest first.
#[derive(Debug, Default)]
pub(super) struct OpenScrapes {
    open: VecDeque<OpenScrape>,
    /// The number of the first in `open`.
    first: usize,
    /// How many of `open`, from the front, were considered for the slow set.
    considered: usize,
    slow: usize,
    active: usize,
    failed_lately: usize,
}

impl OpenScrapes {
    /// There is room for one more, of a node that answered lately.
    pub(super) fn has_room(&self, limiter: &ConcurrencyLimiter) -> bool {
        self.active < limiter.window && self.active + self.slow < limiter.limits.open
    }

    /// There is room for one more of a node that failed lately.
    pub(super) fn has_room_for_failed(&self, limiter: &ConcurrencyLimiter) -> bool {
        self.has_room(limiter) && self.failed_lately < limiter.limits.failed_lately
    }

    /// One more begins; returns its number.
    pub(super) fn begin(&mut self, began: Instant, failed_lately: bool) -> usize {
        self.open.push_back(OpenScrape { began, failed_lately, ended: false });
        self.active += 1;
        self.failed_lately += usize::from(failed_lately);
        self.first + self.open.len() - 1
    }

    /// A scrape ended; returns when it began.
    pub(super) fn end(&mut self, number: usize) -> Option<Instant> {
        let position = number.checked_sub(self.first)?;
        let scrape = self.open.get_mut(position).filter(|scrape| !scrape.ended)?;
        scrape.ended = true;
        self.failed_lately -= usize::from(scrape.failed_lately);
        let began = scrape.began;
        if position < self.considered {
            self.slow -= 1;
        } else {
            self.active -= 1;
        }
        while self.open.front().is_some_and(|scrape| scrape.ended) {
            self.open.pop_front();
            self.first += 1;
            self.considered = self.considered.saturating_sub(1);
        }
        Some(began)
    }

    /// Parks those that have waited for `after`.
    pub(super) fn note_slow(&mut self, now: Instant, after: Duration) {
        while let Some(scrape) = self.open.get(self.considered)
            && (scrape.ended || now.saturating_duration_since(scrape.began) >= after)
        {
            if !scrape.ended {
                self.slow += 1;
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

    /// Of a cluster that can use any window.
    fn large(concurrency: Option<usize>) -> ConcurrencyLimiter {
        let mut limiter = ConcurrencyLimiter::new(Limits::of(concurrency));
        limiter.begin(100_000);
        limiter
    }

    fn fill(limiter: &mut ConcurrencyLimiter, sample_windows: usize, took: Duration) {
        for _ in 0..sample_windows {
            for _ in 0..limiter.window {
                limiter.learn(Sign::Answered(took));
            }
        }
    }

    #[test]
    fn the_window_grows_while_answers_are_fast_and_never_over_the_limit() {
        let mut limiter = large(Some(100));
        assert_eq!(limiter.window, FIRST_WINDOW);
        fill(&mut limiter, 1, 10 * MS);
        assert_eq!(limiter.window, 20);
        fill(&mut limiter, 20, 20 * MS);
        assert_eq!(limiter.window, 100);
        assert_eq!(ConcurrencyLimiter::new(Limits::of(Some(2))).window, 2);
    }

    #[test]
    fn the_window_holds_at_twice_the_usual_time_and_shrinks_beyond_four_times() {
        let mut limiter = large(None);
        fill(&mut limiter, 4, 10 * MS);
        let window = limiter.window;
        fill(&mut limiter, 4, 40 * MS);
        assert_eq!(limiter.window, window);
        fill(&mut limiter, 1, 61 * MS);
        assert_eq!(limiter.window, window - window / 4);
        fill(&mut limiter, 50, 100 * MS);
        assert_eq!(limiter.window, LEAST_WINDOW);
    }

    #[test]
    fn a_small_cluster_keeps_few_connections() {
        let mut limiter = ConcurrencyLimiter::new(Limits::of(None));
        limiter.begin(100);
        fill(&mut limiter, 10, 10 * MS);
        assert_eq!(limiter.window, FIRST_WINDOW, "100 answers of 10 ms need ten at once");
        limiter.begin(1000);
        fill(&mut limiter, 20, 10 * MS);
        assert!((100..=120).contains(&limiter.window), "{}", limiter.window);
    }

    #[test]
    fn an_overloaded_api_server_halves_the_window_once_per_sample_window() {
        let mut limiter = large(None);
        for _ in 0..10 {
            limiter.learn(Sign::Overloaded);
            limiter.learn(Sign::Nothing);
        }
        assert_eq!(limiter.window, FIRST_WINDOW / 2);
        fill(&mut limiter, 1, MS);
        assert_eq!(limiter.window, FIRST_WINDOW / 2, "it does not grow in the sample window that was eased");
        limiter.learn(Sign::Overloaded);
        assert_eq!(limiter.window, FIRST_WINDOW / 4);
    }

    #[test]
    fn a_network_that_became_slower_for_good_is_believed_after_some_rounds() {
        let mut limiter = large(None);
        fill(&mut limiter, 10, 5 * MS);
        fill(&mut limiter, 50, 60 * MS);
        assert_eq!(limiter.window, LEAST_WINDOW);
        for _ in 0..20 {
            limiter.begin(100_000);
        }
        fill(&mut limiter, 10, 60 * MS);
        assert!(limiter.window > FIRST_WINDOW, "{}", limiter.window);
    }

    /// The bounds that hold whatever happened before.
    fn check(limiter: &ConcurrencyLimiter) {
        let most = limiter.targets.max(LEAST_WINDOW).min(limiter.limits.window);
        let least = LEAST_WINDOW.min(limiter.limits.window);
        assert!((least..=most).contains(&limiter.window), "{limiter:?}");
        let longest = limiter.limits.longest_answer;
        assert!(
            limiter.usual.is_none_or(|usual| usual >= LEAST_USUAL && usual <= longest.max(LEAST_USUAL)),
            "{limiter:?}"
        );
        assert!(limiter.slow_after() <= SLOW_AFTER.2, "{limiter:?}");
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
                    window: limiter.window,
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
    fn rounds_with_fewer_answers_than_the_window_still_end_sample_windows() {
        for (targets, answers, took) in [(20, 20, 200 * MS), (20, 14, 60 * MS), (40, 3, 500 * MS)] {
            let mut limiter = ConcurrencyLimiter::new(Limits::of(None));
            for number in 0..10_000 {
                round(&mut limiter, targets, answers, took);
                assert!(number < 20 || limiter.usual < Some(took * 10), "{number}: {limiter:?}");
            }
            assert!(limiter.window <= targets, "{limiter:?}");
        }
    }

    #[test]
    fn a_population_that_answers_again_recovers_its_window_within_ten_rounds_and_a_slower_one_within_a_hundred() {
        let mut random = fastrand::Rng::with_seed(13);
        for _ in 0..200 {
            let mut limiter = ConcurrencyLimiter::new(Limits::of(None));
            let (targets, took) = (random.usize(40..200), MS * random.u32(1..2_000));
            for _ in 0..20 {
                round(&mut limiter, targets, targets, took);
            }
            let before = limiter.window;
            for _ in 0..random.usize(..500) {
                let answers = random.usize(..4);
                round(&mut limiter, random.usize(..targets), answers, took);
                limiter.learn(Sign::Overloaded);
            }
            for _ in 0..10 {
                round(&mut limiter, targets, targets, took);
            }
            assert!(limiter.window * 8 >= before.min(limiter.useful_window(took)) * 7, "{before}: {limiter:?}");

            let slower = took + MS * random.u32(1..3_000);
            for _ in 0..100 {
                round(&mut limiter, targets, targets, slower);
            }
            assert!(limiter.window * 5 >= limiter.useful_window(slower) * 4, "{slower:?}: {limiter:?}");
        }
    }

    #[test]
    fn a_scrape_that_waits_long_joins_the_slow_set_and_makes_room() {
        let limiter = ConcurrencyLimiter::new(Limits::of(Some(3)));
        let (mut scrapes, start) = (OpenScrapes::default(), Instant::now());
        let numbers = [false, false, true].map(|failed_lately| scrapes.begin(start, failed_lately));
        assert!(!scrapes.has_room(&limiter));
        scrapes.note_slow(start + 100 * MS, 250 * MS);
        assert_eq!((scrapes.active, scrapes.slow), (3, 0));
        scrapes.end(numbers[1]);
        scrapes.note_slow(start + 250 * MS, 250 * MS);
        assert_eq!((scrapes.active, scrapes.slow, scrapes.failed_lately), (0, 2, 1));
        assert!(scrapes.has_room(&limiter));
        scrapes.begin(start + 250 * MS, false);
        assert!(!scrapes.has_room(&limiter), "three in all, slow or not");
        assert_eq!(scrapes.end(numbers[0]), Some(start));
        assert_eq!(scrapes.end(numbers[0]), None, "no scrape ends twice");
        assert_eq!(scrapes.end(numbers[2]), Some(start));
        assert_eq!((scrapes.active, scrapes.slow, scrapes.failed_lately), (1, 0, 0));
    }

    #[test]
    fn the_slow_set_follows_what_is_usual() {
        let mut limiter = large(None);
        assert_eq!(limiter.slow_after(), SLOW_AT_FIRST);
        fill(&mut limiter, 1, 100 * MS);
        assert_eq!(limiter.slow_after(), 800 * MS);
        fill(&mut limiter, 1, 10 * MS);
        assert_eq!(limiter.slow_after(), 250 * MS);
    }

    #[test]
    fn nodes_that_failed_lately_take_half_of_a_set_limit_at_most() {
        let limiter = ConcurrencyLimiter::new(Limits::of(Some(4)));
        let mut scrapes = OpenScrapes::default();
        let start = Instant::now();
        scrapes.begin(start, true);
        assert!(scrapes.has_room_for_failed(&limiter));
        scrapes.begin(start, true);
        assert!(!scrapes.has_room_for_failed(&limiter) && scrapes.has_room(&limiter));
    }

    #[test]
    fn any_order_of_ends_leaves_no_scrape_open() {
        let start = Instant::now();
        for seed in 1..200_usize {
            let (mut scrapes, mut open) = (OpenScrapes::default(), Vec::new());
            for step in 0..100_usize {
                let now = start + MS * u32::try_from(step).unwrap();
                let dice = (seed * 31 + step * 17) % 7;
                if dice < 4 {
                    open.push(scrapes.begin(now, dice == 0));
                } else if !open.is_empty() {
                    let number = open.swap_remove((seed * 13 + step) % open.len());
                    assert!(scrapes.end(number).is_some());
                }
                scrapes.note_slow(now, 20 * MS);
                assert_eq!(scrapes.active + scrapes.slow, open.len());
            }
            open.drain(..).for_each(|number| assert!(scrapes.end(number).is_some()));
            assert_eq!((scrapes.active, scrapes.slow, scrapes.failed_lately, scrapes.open.len()), (0, 0, 0, 0));
        }
    }
}
