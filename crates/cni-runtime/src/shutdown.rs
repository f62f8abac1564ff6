//! The end of the program: asked for by a signal or by a failure inside, carried out by every holder of a [`Shutdown`], and
//! enforced from outside the runtime.
//!
//! Signals are received on a plain thread, and a second plain thread ends the process when the time to end is over. So
//! SIGTERM ends the program also while its runtime is blocked, a disk hangs or a task never returns.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, info};

use crate::logging;

/// The default of `TERMINATION_GRACE_PERIOD`, which is Kubernetes' own.
pub const DEFAULT_TERMINATION_GRACE: Duration = Duration::from_secs(30);

/// The part of `TERMINATION_GRACE_PERIOD` that is not used for work: the process must be gone when the kubelet sends
/// SIGKILL.
const RESERVE: Duration = Duration::from_secs(2);

/// Whatever the setting, there is this much time for work.
const LEAST_GRACE: Duration = Duration::from_secs(1);

/// The log's last lines are waited for at most this long.
const LAST_LINES: Duration = Duration::from_millis(500);

/// The exit code after a second signal, as shells report a death by SIGINT.
const ABORTED: i32 = 130;

/// The exit code when the time to end was over before the program was.
const OVERDUE: i32 = 1;

/// The threads need little.
const STACK_BYTES: usize = 256 << 10;

/// How long the program may take to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grace {
    /// For the program's own work.
    work: Duration,
    /// Until the process is ended from outside the runtime.
    limit: Duration,
}

impl Grace {
    /// From Kubernetes' `terminationGracePeriodSeconds`: all of it but a reserve of 2 s, and at least 1 s, is for the
    /// program's own work.
    pub fn of_termination_period(period: Duration) -> Self {
        let work = period.saturating_sub(RESERVE).max(LEAST_GRACE);
        Self { work, limit: work + period.saturating_sub(work).min(RESERVE) / 2 }
    }
}

impl Default for Grace {
    fn default() -> Self {
        Self::of_termination_period(DEFAULT_TERMINATION_GRACE)
    }
}

/// What the program does now, for the line that says what was unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Connecting, identifying, waiting for the first list of pods.
    Starting,
    /// Between rounds, or in one.
    Measuring,
    /// The sinks send what they hold.
    Draining,
    /// The lease is released.
    Releasing,
    /// All work is done.
    Ending,
}

impl Stage {
    const ALL: [Self; 5] = [Self::Starting, Self::Measuring, Self::Draining, Self::Releasing, Self::Ending];

    /// What is unfinished if the process must end in this stage.
    fn unfinished(self) -> &'static str {
        match self {
            Self::Starting => "the start (no round was begun)",
            Self::Measuring => "the current round; what the sinks hold was not sent",
            Self::Draining => "sending what the sinks hold",
            Self::Releasing => "releasing the lease, which now expires",
            Self::Ending => "the end of the process itself",
        }
    }
}

/// Held by every part that must end when the program does.
#[derive(Debug, Clone)]
pub struct Shutdown {
    ended: watch::Receiver<Option<Instant>>,
    grace: Grace,
    stage: Arc<AtomicU8>,
    /// To the thread that ends the process; absent without signals.
    events: Option<Sender<Event>>,
}

/// Ends every holder of the matching [`Shutdown`].
#[derive(Debug, Clone)]
pub struct Trigger(watch::Sender<Option<Instant>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Signal,
    /// The program ends by itself: the same time limit holds.
    Failure,
}

impl Shutdown {
    /// A pair that knows nothing of signals (for the demo and for tests).
    pub fn manual() -> (Trigger, Self) {
        Self::with(Grace::default(), None)
    }

    fn with(grace: Grace, events: Option<Sender<Event>>) -> (Trigger, Self) {
        let (sender, ended) = watch::channel(None);
        (Trigger(sender), Self { ended, grace, stage: Arc::default(), events })
    }

    /// A value that ends on SIGTERM or SIGINT. A second signal ends the process at once; so does the end of the time to
    /// end, whatever the runtime does meanwhile.
    pub fn on_signals(grace: Grace) -> io::Result<Self> {
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let (events, received) = channel();
        let (trigger, shutdown) = Self::with(grace, Some(events.clone()));
        let stage = Arc::clone(&shutdown.stage);
        let ending = thread::Builder::new().name("end".to_owned()).stack_size(STACK_BYTES);
        ending.spawn(move || end(&received, &trigger, grace, &stage))?;
        let receiving = thread::Builder::new().name("signals".to_owned()).stack_size(STACK_BYTES);
        receiving.spawn(move || signals.forever().all(|_signal| events.send(Event::Signal).is_ok()))?;
        Ok(shutdown)
    }

    /// The end was asked for.
    pub fn is_asked(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// The end has begun, or nothing is left that could begin it.
    pub fn is_ended(&self) -> bool {
        self.is_asked() || self.ended.has_changed().is_err()
    }

    /// What is left of the time for the program's own work.
    pub fn grace_left(&self) -> Duration {
        let since = self.ended.borrow().map(|at| at.elapsed()).unwrap_or_default();
        self.grace.work.saturating_sub(since)
    }

    /// All of the time for the program's own work.
    pub fn grace(&self) -> Duration {
        self.grace.work
    }

    /// Notes what the program does now.
    pub fn enter(&self, stage: Stage) {
        let number = Stage::ALL.iter().position(|known| *known == stage).unwrap_or_default();
        self.stage.store(u8::try_from(number).unwrap_or_default(), Ordering::Relaxed);
    }

    /// The program ends by itself, because a part of it failed: from now on the time to end runs as after a signal.
    pub fn failed(&self) {
        if let Some(events) = &self.events {
            let _over = events.send(Event::Failure);
        }
    }

    /// Waits for the end.
    pub async fn ended(&mut self) {
        // A dropped trigger can never end anything: that too is an end, or its holders would wait for ever.
        let _closed = self.ended.wait_for(Option::is_some).await;
    }

    /// Runs `work` until it is done or the program ends.
    pub async fn or_ended<F: Future<Output = ()>>(mut self, work: F) {
        tokio::select! {
            () = self.ended() => {}
            () = work => {}
        }
    }
}

impl Trigger {
    /// Ends all holders.
    pub fn end(&self) {
        self.0.send_if_modified(|ended| ended.is_none() && ended.replace(Instant::now()).is_none());
    }
}

/// The thread that ends the process: with a code of its own at the second signal, or when the time is over.
fn end(events: &Receiver<Event>, trigger: &Trigger, grace: Grace, stage: &AtomicU8) {
    let Ok(event) = events.recv() else { return };
    let mut begun = std::time::Instant::now();
    if event == Event::Signal {
        let seconds = grace.work.as_secs_f64();
        info!("stopping: finishing the current round and sending what is queued (at most {seconds:.0} s)");
    }
    trigger.end();
    let mut by_signal = event == Event::Signal;
    loop {
        match events.recv_timeout(grace.limit.saturating_sub(begun.elapsed())) {
            Ok(Event::Signal) if by_signal => {
                error!("second signal: stopping at once; unfinished: {}", unfinished(stage));
                exit(ABORTED);
            }
            // A signal while the program is ending by itself begins a grace period of its own.
            Ok(Event::Signal) => (by_signal, begun) = (true, std::time::Instant::now()),
            Ok(Event::Failure) => {}
            Err(over) => {
                if over == RecvTimeoutError::Disconnected {
                    thread::sleep(grace.limit.saturating_sub(begun.elapsed()));
                }
                logging::write_last(&format!(
                    "the program did not end within {:.0} s (TERMINATION_GRACE_PERIOD less a reserve): ending the process \
                     with exit code {OVERDUE}; unfinished: {}",
                    grace.work.as_secs_f64(),
                    unfinished(stage)
                ));
                exit(OVERDUE);
            }
        }
    }
}

fn unfinished(stage: &AtomicU8) -> &'static str {
    let number = usize::from(stage.load(Ordering::Relaxed));
    Stage::ALL.get(number).copied().unwrap_or(Stage::Ending).unfinished()
}

/// Ends the process without waiting for any other thread, which an ordinary exit may do.
fn exit(code: i32) -> ! {
    logging::flush(LAST_LINES);
    signal_hook::low_level::exit(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_ends_with_the_trigger() {
        let (trigger, shutdown) = Shutdown::manual();
        let work = tokio::spawn(shutdown.clone().or_ended(std::future::pending()));
        assert!(!shutdown.is_ended());
        trigger.end();
        work.await.unwrap();
        assert!(shutdown.is_ended());
    }

    #[tokio::test]
    async fn a_trigger_that_is_gone_is_an_end_for_those_who_wait_and_for_those_who_look() {
        let (trigger, mut shutdown) = Shutdown::manual();
        drop(trigger);
        shutdown.ended().await;
        assert!(shutdown.is_ended());
    }

    #[tokio::test(start_paused = true)]
    async fn the_grace_runs_from_the_first_signal() {
        let (trigger, shutdown) = Shutdown::manual();
        let grace = shutdown.grace();
        assert_eq!(shutdown.grace_left(), grace);
        trigger.end();
        tokio::time::sleep(Duration::from_secs(2)).await;
        trigger.end();
        assert_eq!(shutdown.grace_left() + Duration::from_secs(2), grace);
        tokio::time::sleep(grace).await;
        assert_eq!(shutdown.grace_left(), Duration::ZERO);
    }

    #[test]
    fn work_ends_before_the_process_is_ended_and_that_before_the_kubelet_kills() {
        for seconds in 2..200 {
            let period = Duration::from_secs(seconds);
            let Grace { work, limit } = Grace::of_termination_period(period);
            assert!(
                work >= LEAST_GRACE && work < limit && limit + LAST_LINES <= period,
                "{seconds}: {work:?} {limit:?}"
            );
        }
        assert_eq!(Grace::default().work, Duration::from_secs(28));
    }
}
