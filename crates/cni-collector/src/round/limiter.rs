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

/// Upper bound of the usual answer time where no scrape timeout was given.
const LONGEST_ANSWER: Duration = Duration::from_secs(5);

/// Limits that are never exceeded.
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

/// What a scrape that ended shows about the path to the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// An answer, after this time.
    Answered(Duration),
    /// The API server limits its clients' rate, or is unreachable.
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

    /// A new round. The usual answer time may have changed for good: its estimate grows a little each time, up to the
    /// scrape timeout. The window follows the number of targets down at once.
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

    /// Moves those that have waited for `after` to the slow set.
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
mod tests;
