//! Keeps the spool's file true to what is unsent: images and claims in, one job at a time on the folder's thread, and
//! a limit on every wait, so that the disk never holds delivery.
//!
//! Before a request is sent the file must say so, or must be gone: what a start finds is never sent a second time. Where
//! the file can neither be written nor removed, delivery goes on all the same, and says so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use super::folder::{Aside, Done, Folder, FolderError, Found, Job, Waited};
use cni_runtime::clock::Clock;

/// The longest wait of a claim for the disk, and after it that for the file's removal.
const CLAIM_LIMIT: Duration = Duration::from_secs(2);
const REMOVE_LIMIT: Duration = Duration::from_secs(1);
/// The longest wait for an image that no request waits for: large ones on slow volumes take their time.
const IMAGE_LIMIT: Duration = Duration::from_secs(10);
/// How often a wait for the disk looks whether a claim has come in meanwhile.
const STEP: Duration = Duration::from_millis(100);
/// At most one claim and one settlement are ever under way.
const REQUESTS: usize = 8;

/// The sink's end. Dropping it ends the keeper where it stands, as the end of the process would.
#[derive(Debug)]
pub(crate) struct Spool {
    images: watch::Sender<Option<Arc<Vec<u8>>>>,
    requests: mpsc::Sender<Request>,
    health: watch::Receiver<Health>,
}

/// How the spool is, for the sink's figures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Health {
    /// What is wrong, and what follows from it.
    pub(crate) trouble: Option<String>,
    /// Points of earlier runs that were found too late and set aside, since the start.
    pub(crate) set_aside: u64,
}

#[derive(Debug)]
enum Request {
    Claim { record: Vec<u8>, began: Instant, over: oneshot::Sender<()> },
    Settle(Vec<u8>),
    Flush { until: Instant, is_current: oneshot::Sender<bool> },
}

/// Whether the start took the folder over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Yes,
    No,
    /// The folder's thread does not come back.
    Hangs,
}

/// What is in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The newest image and every record since.
    Current,
    /// Something older, which is still true: nothing was sent since.
    Behind,
    /// Nothing of ours: this start could not take the folder over. What may be in it was not read, hence is not sent.
    Unused,
    /// Nothing of ours any more: it was removed.
    Gone,
    /// Something older that could not be removed when something was sent.
    Stuck,
}

pub(super) struct Keeper {
    folder: Folder,
    images: watch::Receiver<Option<Arc<Vec<u8>>>>,
    requests: mpsc::Receiver<Request>,
    health: watch::Sender<Health>,
    clock: Clock,
    state: State,
    /// The folder's thread does not come back from its job.
    hangs: bool,
    pending: Option<Request>,
}

impl Spool {
    /// Runs the keeper of a folder that was taken over, or could not be; `trouble` is what is wrong with it so far.
    pub(super) fn keep(folder: Folder, taken: Taken, trouble: Option<String>, clock: Clock) -> Self {
        let (images, new_images) = watch::channel(None);
        let (requests, incoming) = mpsc::channel(REQUESTS);
        let (health, reader) = watch::channel(Health { trouble, set_aside: 0 });
        let keeper = Keeper {
            folder,
            images: new_images,
            requests: incoming,
            health,
            clock,
            state: if taken == Taken::Yes { State::Behind } else { State::Unused },
            hangs: taken == Taken::Hangs,
            pending: None,
        };
        tokio::spawn(keeper.run());
        Self { images, requests, health: reader }
    }

    /// Hands over what the file is to say. Never waits; of two images the later counts.
    pub(crate) fn save(&self, image: Vec<u8>) {
        self.images.send_replace(Some(Arc::new(image)));
    }

    /// What a request needs to claim its points.
    pub(crate) fn claims(&self) -> Claims {
        Claims(self.requests.clone())
    }

    /// Says what became of the claim. Never waits: if it is lost, the claim stays, and a start counts it as in doubt.
    pub(crate) fn settle(&self, record: Vec<u8>) {
        let _lost = self.requests.try_send(Request::Settle(record));
    }

    /// Waits until the newest image is written; true if it is.
    pub(crate) async fn flush(&self, within: Duration) -> bool {
        let (is_current, answer) = oneshot::channel();
        let until = later(Instant::now(), within.min(CLAIM_LIMIT));
        let _ended = self.requests.send(Request::Flush { until, is_current }).await;
        answer.await.unwrap_or(false)
    }

    /// One whose keeper has ended, as by a panic.
    #[cfg(test)]
    pub(crate) fn ended() -> Self {
        let (images, _) = watch::channel(None);
        let (requests, _) = mpsc::channel(REQUESTS);
        let (_, health) = watch::channel(Health::default());
        Self { images, requests, health }
    }

    pub(crate) fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }
}

/// The way by which a request claims its points.
#[derive(Debug, Clone)]
pub(crate) struct Claims(mpsc::Sender<Request>);

impl Claims {
    /// Returns once a start from the file would not repeat these points' counters: because the claim is written, or
    /// because the file is gone; or, where neither can be done in time, because delivery must go on.
    pub(crate) async fn claim(&self, record: Vec<u8>) {
        let (over, done) = oneshot::channel();
        let _ended = self.0.send(Request::Claim { record, began: Instant::now(), over }).await;
        let _ended = done.await;
    }
}

impl Keeper {
    async fn run(mut self) {
        loop {
            if !self.hangs && self.images.has_changed().unwrap_or(false) {
                self.replace().await;
            } else if let Some(request) = self.pending.take() {
                self.serve(request).await;
            } else {
                let answered = Arc::clone(&self.folder.answered);
                tokio::select! {
                    changed = self.images.changed(), if !self.hangs => {
                        if changed.is_err() {
                            return;
                        }
                        // Seen by the next turn.
                        self.images.mark_changed();
                    }
                    request = self.requests.recv() => {
                        let Some(request) = request else { return };
                        self.pending = Some(request);
                    }
                    () = answered.notified(), if self.hangs => self.woken().await,
                }
            }
        }
    }

    async fn replace(&mut self) {
        let Some(image) = self.images.borrow_and_update().clone() else { return };
        let job = Job::Replace { bytes: image, now: self.clock.now() };
        let limit = match &self.pending {
            Some(Request::Claim { began, .. }) => left(later(*began, CLAIM_LIMIT)),
            Some(Request::Flush { until, .. }) => left(*until),
            Some(Request::Settle(_)) | None => IMAGE_LIMIT,
        };
        match self.work(job, limit).await {
            Ok(done) => {
                self.state = State::Current;
                if let Done::Replaced(Some(aside)) = done {
                    self.found_anothers(&aside);
                }
                self.well();
            }
            Err(error) => {
                if self.state == State::Current {
                    self.state = State::Behind;
                }
                self.unwell(&error);
            }
        }
    }

    async fn serve(&mut self, request: Request) {
        match request {
            Request::Claim { record, began, over } => {
                self.claim(record, began).await;
                let _not_waited_for = over.send(());
            }
            Request::Settle(record) if self.state == State::Current => {
                if let Err(error) = self.work(Job::Append(record), CLAIM_LIMIT).await {
                    self.state = State::Behind;
                    self.unwell(&error);
                }
            }
            Request::Settle(_) => {}
            Request::Flush { is_current, .. } => {
                let _not_waited_for = is_current.send(self.state == State::Current);
            }
        }
    }

    async fn claim(&mut self, record: Vec<u8>, began: Instant) {
        if self.state == State::Current {
            match self.work(Job::Append(record), left(later(began, CLAIM_LIMIT))).await {
                Ok(_) => return,
                Err(error) => {
                    self.state = State::Behind;
                    self.unwell(&error);
                }
            }
        }
        if self.state == State::Behind {
            let is_gone = if self.hangs {
                self.folder.remove_beside(REMOVE_LIMIT).await
            } else {
                self.work(Job::Remove, REMOVE_LIMIT).await.is_ok()
            };
            self.state = if is_gone { State::Gone } else { State::Stuck };
            self.unwell_after_claim();
        }
    }

    /// A job that was given up is over. Whatever it put in place is older than what was sent since.
    async fn woken(&mut self) {
        let Some(answer) = self.folder.late_answer() else { return };
        self.hangs = false;
        let is_placed = matches!(answer, Ok(Done::Replaced(_)));
        if let Ok(Done::Replaced(Some(aside)) | Done::Opened(Found::Unreadable(_, aside), _)) = answer {
            self.found_anothers(&aside);
        }
        let is_outdated = match self.state {
            State::Gone | State::Stuck => true,
            // Without a file of ours nothing is claimed.
            State::Unused => is_placed,
            State::Current | State::Behind => false,
        };
        if is_outdated {
            let is_gone = self.work(Job::Remove, REMOVE_LIMIT).await.is_ok();
            self.state = if is_gone { State::Gone } else { State::Stuck };
        }
    }

    /// One job. A claim that comes in meanwhile shortens the wait for it.
    async fn work(&mut self, job: Job, limit: Duration) -> Result<Done, Failed> {
        let mut until = later(Instant::now(), limit);
        self.folder.begin(job);
        loop {
            let step = until.min(later(Instant::now(), STEP));
            match self.folder.wait(step).await {
                Waited::Done(done) => return done.map_err(Failed::Said),
                Waited::NotYet if Instant::now() >= until => {
                    self.folder.give_up();
                    self.hangs = true;
                    return Err(Failed::Hangs(limit));
                }
                Waited::NotYet => {}
            }
            if self.pending.is_none()
                && let Ok(request) = self.requests.try_recv()
            {
                match &request {
                    Request::Claim { began, .. } => until = until.min(later(*began, CLAIM_LIMIT)),
                    Request::Flush { until: flushed, .. } => until = until.min(*flushed),
                    Request::Settle(_) => {}
                }
                self.pending = Some(request);
            }
        }
    }

    fn well(&mut self) {
        let recovered = self.health.send_if_modified(|health| health.trouble.take().is_some());
        if recovered {
            tracing::info!(path = %self.folder.path().display(), "the spool is written again");
        }
    }

    fn unwell(&mut self, error: &Failed) {
        let then = match self.state {
            State::Current | State::Behind => "a restart now goes on from what was written last",
            State::Unused | State::Gone => "a restart now loses the points that are not sent yet",
            State::Stuck => CANNOT_BE_REMOVED,
        };
        self.tell(&format!("spool not written: {error}; {then}"));
    }

    fn unwell_after_claim(&mut self) {
        let then = match self.state {
            State::Stuck => CANNOT_BE_REMOVED,
            _ => {
                "the file was removed before anything was sent, so that a restart repeats nothing; a restart now loses \
                  the points that are not sent yet"
            }
        };
        let before = self.health.borrow().trouble.clone().unwrap_or_default();
        let what = before.split(';').next().unwrap_or_default();
        self.tell(&format!("{what}; {then}"));
    }

    fn tell(&self, trouble: &str) {
        let is_news = self.health.send_if_modified(|health| {
            let is_news = health.trouble.as_deref() != Some(trouble);
            health.trouble = Some(trouble.to_owned());
            is_news
        });
        if is_news {
            tracing::warn!(
                "{trouble}. Delivery goes on; see that the volume of SPOOL_DIR is writable, not full, and answers"
            );
        }
    }

    fn found_anothers(&mut self, aside: &Aside) {
        tracing::error!(
            set_aside = %aside.path.display(),
            points = aside.points,
            "the spool's folder held a file that this run could not read at its start; it was set aside, and its points \
             are not sent"
        );
        let points = aside.points.unwrap_or(0);
        self.health.send_modify(|health| health.set_aside = health.set_aside.saturating_add(points));
    }
}

const CANNOT_BE_REMOVED: &str = "the file cannot be removed either: delivery goes on without claims, and a kill now may \
                                 make the next start send again what was unsent when it was written last";

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Said(FolderError),
    #[error("the volume did not answer within {:.1} s", .0.as_secs_f64())]
    Hangs(Duration),
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

fn later(from: Instant, by: Duration) -> Instant {
    from.checked_add(by).unwrap_or(from)
}

#[cfg(test)]
mod tests;
