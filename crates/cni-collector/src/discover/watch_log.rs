//! A watch's log lines: each change of its state once, and a failure that continues once an hour.

use std::time::Duration;

use cni_types::rights::ObjectRight;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::stream::{Cause, WatchFailure};

/// A failure that continues is logged again after this time.
const REMIND: Duration = Duration::from_hours(1);
/// A failure that comes back after a recovery is logged again after this time.
const COMES_BACK: Duration = Duration::from_mins(5);

/// Whether the helper works without this watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Needed,
    /// The nodes: their labels are left out without it.
    Optional,
    /// Evidence of findings.
    Source(ObjectRight),
}

impl Role {
    /// What there is not as long as nothing was listed.
    fn without(self) -> &'static str {
        match self {
            Self::Needed => "no node is scraped",
            Self::Optional => "zone, instance type and node group are left out",
            Self::Source(right) => right.without,
        }
    }

    /// What must be allowed.
    fn rights(self) -> String {
        match self {
            Self::Needed => "list and watch on pods".to_owned(),
            Self::Optional => "list and watch on nodes".to_owned(),
            Self::Source(right) => format!("list and watch on {}", right.full_name()),
        }
    }
}

/// One watch's state as it was logged.
#[derive(Debug)]
pub(super) struct WatchLog {
    what: String,
    role: Role,
    /// Since when it does not work, if it does not.
    down: Option<Down>,
    /// The last failure that was logged, and when.
    logged: Option<(Cause, Instant)>,
    /// A list was completed.
    had_list: bool,
}

#[derive(Debug, Clone, Copy)]
struct Down {
    since: Instant,
    /// The log says so.
    is_told: bool,
}

impl WatchLog {
    pub(super) fn new(what: String, role: Role) -> Self {
        Self { what, role, down: None, logged: None, had_list: false }
    }

    /// A list is complete.
    pub(super) fn synced(&mut self, objects: usize) {
        self.had_list = true;
        info!("watching {}: {objects} listed", self.what);
    }

    /// The API server answers.
    pub(super) fn works(&mut self) {
        let Some(down) = self.down.take() else { return };
        if down.is_told {
            info!("watching {} again, after {} s", self.what, down.since.elapsed().as_secs());
        }
    }

    /// A request failed.
    pub(super) fn failed(&mut self, failure: &WatchFailure) {
        let text = &failure.text;
        if failure.cause == Cause::Expired {
            return debug!("watch of {} expired, listing again", self.what);
        }
        let now = Instant::now();
        let down = *self.down.get_or_insert(Down { since: now, is_told: false });
        let is_known = self.logged.is_some_and(|(cause, at)| {
            let quiet_for = if down.is_told { REMIND } else { COMES_BACK };
            cause == failure.cause && now.saturating_duration_since(at) < quiet_for
        });
        if is_known {
            return debug!("watch of {} failed again: {text}", self.what);
        }
        let seconds = now.saturating_duration_since(down.since).as_secs();
        let lasts = if down.is_told { format!(", for {seconds} s now") } else { String::new() };
        let what = &self.what;
        match (failure.cause, self.role, self.had_list) {
            (Cause::Denied, role @ (Role::Optional | Role::Source(_)), false) if !down.is_told => {
                info!("{what} may not be listed ({text}); {}", role.without());
            }
            // A permission that was never given may be intended; it is not repeated every hour.
            (Cause::Denied, Role::Optional | Role::Source(_), false) => {
                debug!("{what} may still not be listed: {text}");
            }
            (Cause::Denied, role, _) => {
                let verbs = role.rights();
                warn!("{what} may not be watched{lasts}: {text}; the list goes out of date, {verbs} must be allowed");
            }
            // A kind that is not installed is no error: there is no object of it.
            (Cause::NoKind, Role::Source(_), _) if !down.is_told => {
                info!("the cluster has no {what}, which are looked for once a minute from now on");
            }
            (Cause::NoKind, Role::Source(_), _) => debug!("the cluster still has no {what}: {text}"),
            (Cause::Unreadable, ..) => warn!("{what}: an object cannot be read and is left out{lasts}: {text}"),
            _ => {
                let consequence = match (self.had_list, self.role) {
                    (true, _) => "the list goes out of date meanwhile".to_owned(),
                    (false, Role::Needed) => "nothing has been listed yet, so no node is scraped until then".to_owned(),
                    (false, role) => format!("until then {}", role.without()),
                };
                warn!("watch of {what} failed, trying again{lasts}: {text}; {consequence}");
            }
        }
        self.down = Some(Down { is_told: true, ..down });
        self.logged = Some((failure.cause, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captured::captured_log;

    /// The lines that `work` logs at INFO and above.
    async fn lines_of(work: impl Future<Output = ()>) -> Vec<String> {
        let (subscriber, log) = captured_log();
        let guard = tracing::subscriber::set_default(subscriber);
        work.await;
        drop(guard);
        log.lines()
    }

    fn failure(cause: Cause) -> WatchFailure {
        WatchFailure { cause, text: "connection refused".to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn trouble_is_told_once_an_hour_and_its_end_as_soon_as_the_server_answers() {
        let lines = lines_of(async {
            let mut log = WatchLog::new("pods".to_owned(), Role::Needed);
            // Three hours, a try every half minute.
            for _ in 0..=360 {
                log.failed(&failure(Cause::Unreachable));
                tokio::time::sleep(Duration::from_secs(30)).await;
            }
            log.works();
            log.works();
        });
        let lines = lines.await;
        assert_eq!(lines.iter().filter(|line| line.contains("WARN")).count(), 4, "{lines:#?}");
        assert!(lines[1].contains("for 3600 s now"), "{lines:#?}");
        assert!(lines[0].contains("no node is scraped") && !lines[0].contains("out of date"), "{lines:#?}");
        assert!(lines[4].contains("INFO") && lines[4].contains("watching pods again, after 10830 s"), "{lines:#?}");
        assert_eq!(lines.len(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_comes_and_goes_does_not_fill_the_log_and_another_cause_is_told_at_once() {
        let lines = lines_of(async {
            let mut log = WatchLog::new("pods".to_owned(), Role::Needed);
            for _ in 0..100 {
                log.failed(&failure(Cause::Silent));
                tokio::time::sleep(Duration::from_secs(1)).await;
                log.works();
            }
            log.synced(3);
            log.failed(&failure(Cause::Denied));
            log.failed(&failure(Cause::Expired));
            log.failed(&failure(Cause::Unreachable));
        });
        let lines = lines.await;
        assert_eq!(lines.len(), 5, "{lines:#?}");
        assert!(lines[4].contains("trying again") && lines[4].contains("the list goes out of date"), "{lines:#?}");
        assert!(lines[3].contains("may not be watched") && lines[3].contains("goes out of date"), "{lines:#?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_that_was_never_given_is_no_warning_and_one_that_was_taken_away_is() {
        let lines = lines_of(async {
            let mut log = WatchLog::new("nodes".to_owned(), Role::Optional);
            for _ in 0..500 {
                log.failed(&failure(Cause::Denied));
                tokio::time::sleep(Duration::from_mins(1)).await;
            }
            log.works();
            log.synced(3);
            tokio::time::sleep(COMES_BACK).await;
            log.failed(&failure(Cause::Denied));
        });
        let lines = lines.await;
        let kinds: Vec<&str> = lines.iter().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(kinds, ["INFO", "INFO", "INFO", "WARN"], "{lines:#?}");
        assert!(lines[3].contains("list and watch on nodes must be allowed"), "{lines:#?}");
    }
}
