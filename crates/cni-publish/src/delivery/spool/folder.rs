//! The spool's folder, worked on by a thread of its own: a disk that hangs holds up this thread and nothing else.
//!
//! The thread keeps the folder's lock for as long as it lives. It is never waited for without a limit; what comes of a
//! job that was given up is not trusted, and a file that it was about to put in place is not put there.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use cni_metrics_core::model::UnixMillis;
use tokio::sync::Notify;

use super::format::{self, Content, Unreadable};

pub(super) const FILE: &str = "points.spool";
const LOCK: &str = "points.lock";
const PROBE: &str = "points.probe";
/// How long a start waits for another helper on the same folder to end.
const LOCK_WAIT: Duration = Duration::from_secs(2);
const LOCK_LOOK: Duration = Duration::from_millis(50);

/// What the thread is to do.
#[derive(Debug)]
pub(super) enum Job {
    /// Take the folder: lock it, prove that it can be written, read what is there.
    Open,
    /// Replace the file.
    Replace { bytes: Arc<Vec<u8>>, now: UnixMillis },
    /// Add a record to the file's journal.
    Append(Vec<u8>),
    /// Remove the file, so that nothing in it is ever sent again.
    Remove,
    /// Move the file out of the way.
    SetAside { why: &'static str, now: UnixMillis },
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Done {
    /// What was there, and why nothing can be written although files can be made and removed: a full volume.
    Opened(Found, Option<FolderError>),
    /// The file was replaced; one that was there and was not ours to replace was set aside.
    Replaced(Option<Aside>),
    Appended,
    Removed,
    SetAside(Aside),
}

/// What was in the folder.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    Usable(Box<Content>),
    /// Set aside, with the reason.
    Unreadable(Unreadable, Aside),
}

/// A file that was moved out of the way, and how many points are in it as far as it says so.
#[derive(Debug)]
pub(super) struct Aside {
    pub(super) path: PathBuf,
    pub(super) points: Option<u64>,
}

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum FolderError {
    #[error("another helper uses this folder: {0} is locked")]
    Busy(PathBuf),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("it was given up")]
    GivenUp,
    #[error("its thread could not be started or has ended")]
    NoThread,
}

/// How a job ended for the one who waited.
#[derive(Debug)]
pub(super) enum Waited {
    Done(Result<Done, FolderError>),
    /// It goes on.
    NotYet,
}

pub(super) type Answer = Result<Done, FolderError>;

/// The way to the thread. One job at a time.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    jobs: Sender<(Job, Arc<AtomicBool>)>,
    /// Taken while a caller waits.
    answers: Option<Receiver<Answer>>,
    /// Notified after each answer, for those who do not wait.
    pub(super) answered: Arc<Notify>,
    given_up: Arc<AtomicBool>,
}

impl Folder {
    /// Starts the thread.
    pub(super) fn new(path: PathBuf, largest: u64) -> Self {
        let mut hands = Hands { path: path.clone(), largest, lock: None, file: None, is_ours: false };
        Self::worked_by(path, move |job, given_up| hands.work(job, given_up))
    }

    /// The thread does each job with `work`.
    pub(super) fn worked_by(path: PathBuf, mut work: impl FnMut(Job, &AtomicBool) -> Answer + Send + 'static) -> Self {
        let (jobs, incoming) = mpsc::channel::<(Job, Arc<AtomicBool>)>();
        let (answer, answers) = mpsc::channel();
        let answered = Arc::new(Notify::new());
        let tell = Arc::clone(&answered);
        // Without a thread the receiver is dropped, and every job fails.
        let _failed = thread::Builder::new().name("spool".to_owned()).spawn(move || {
            while let Ok((job, given_up)) = incoming.recv() {
                let done = work(job, &given_up);
                if answer.send(done).is_err() {
                    break;
                }
                tell.notify_one();
            }
        });
        Self { path, jobs, answers: Some(answers), answered, given_up: Arc::default() }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.path.join(FILE)
    }

    /// Hands over a job. The one before must be over.
    pub(super) fn begin(&mut self, job: Job) {
        self.given_up = Arc::default();
        let _no_thread = self.jobs.send((job, Arc::clone(&self.given_up)));
    }

    /// Waits for the job, at most until then (by the machine's clock: a disk does not follow a simulated one).
    pub(super) async fn wait(&mut self, until: Instant) -> Waited {
        let Some(answers) = self.answers.take() else { return Waited::NotYet };
        let waiting = tokio::task::spawn_blocking(move || {
            let left = until.saturating_duration_since(Instant::now());
            let answer = answers.recv_timeout(left);
            (answers, answer)
        });
        let Ok((answers, answer)) = waiting.await else { return Waited::Done(Err(FolderError::NoThread)) };
        self.answers = Some(answers);
        match answer {
            Ok(done) => Waited::Done(done),
            Err(mpsc::RecvTimeoutError::Timeout) => Waited::NotYet,
            Err(mpsc::RecvTimeoutError::Disconnected) => Waited::Done(Err(FolderError::NoThread)),
        }
    }

    /// The wait for the job is over: it must not put anything in place any more.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::SeqCst);
    }

    /// The answer of a job that was given up, if it has come.
    pub(super) fn late_answer(&mut self) -> Option<Answer> {
        self.answers.as_ref().and_then(|answers| answers.try_recv().ok())
    }

    /// Removes the file by a thread of its own, since the usual one hangs. True if it is gone in time.
    pub(super) async fn remove_beside(&mut self, within: Duration) -> bool {
        let (file, dir) = (self.path(), self.path.clone());
        let (tell, removed) = mpsc::channel();
        let started = thread::Builder::new().name("spool-remove".to_owned()).spawn(move || {
            let _not_waited_for = tell.send(remove(&file, &dir).is_ok());
        });
        if started.is_err() {
            return false;
        }
        tokio::task::spawn_blocking(move || removed.recv_timeout(within).unwrap_or(false)).await.unwrap_or(false)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// The thread's own state.
struct Hands {
    path: PathBuf,
    /// A file larger than this is not read.
    largest: u64,
    lock: Option<File>,
    /// Where records are appended.
    file: Option<File>,
    /// What is in the folder was read by us in time, or written by us.
    is_ours: bool,
}

impl Hands {
    fn work(&mut self, job: Job, given_up: &AtomicBool) -> Answer {
        match job {
            Job::Open => {
                let (found, full) = self.open()?;
                // The caller gave up and works without the spool: then the file must not be replaced.
                self.is_ours = !given_up.load(Ordering::SeqCst);
                Ok(Done::Opened(found, full))
            }
            Job::Replace { bytes, now } => self.replace(&bytes, now, given_up).map(Done::Replaced),
            Job::Append(record) => self.append(&record).map(|()| Done::Appended),
            Job::Remove => {
                self.file = None;
                self.hold()?;
                remove(&self.path.join(FILE), &self.path).map_err(|source| self.failed(source))?;
                Ok(Done::Removed)
            }
            Job::SetAside { why, now } => {
                self.file = None;
                self.set_aside(why, now).map(Done::SetAside)
            }
        }
    }

    fn open(&mut self) -> Result<(Found, Option<FolderError>), FolderError> {
        fs::create_dir_all(&self.path).map_err(|source| self.failed(source))?;
        self.lock(LOCK_WAIT)?;
        let _half_written_by_an_earlier_run = fs::remove_file(self.beside());
        let full = self.prove()?;
        Ok((self.read()?, full))
    }

    /// Proves that files can be made, written and removed. Where only the writing fails, the old file can still be taken
    /// away before anything in it is sent, which is what matters.
    fn prove(&self) -> Result<Option<FolderError>, FolderError> {
        let path = self.path.join(PROBE);
        let fail = |source| FolderError::Io { path: path.clone(), source };
        let mut file = File::create(&path).map_err(fail)?;
        let written = file.write_all(&[0; 4096]).and_then(|()| file.sync_all());
        fs::remove_file(&path).map_err(fail)?;
        Ok(written.err().map(fail))
    }

    fn read(&mut self) -> Result<Found, FolderError> {
        let path = self.path.join(FILE);
        let fail = |source| FolderError::Io { path: path.clone(), source };
        let what = match fs::symlink_metadata(&path) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(source) => return Err(fail(source)),
            Ok(file) if !file.is_file() => Err(Unreadable::Damaged("not a file")),
            Ok(file) if file.len() > self.largest => Err(Unreadable::Damaged("larger than a spool can be")),
            Ok(_) => format::decode(&self.bytes(&path).map_err(fail)?),
        };
        match what {
            Ok(content) => Ok(Found::Usable(Box::new(content))),
            Err(unreadable) => {
                let why = match unreadable {
                    Unreadable::Damaged(_) => "damaged",
                    Unreadable::Newer(_) => "newer",
                };
                self.set_aside(why, wall_clock()).map(|aside| Found::Unreadable(unreadable, aside))
            }
        }
    }

    /// A regular file's bytes, as many as a spool can have.
    fn bytes(&self, path: &Path) -> io::Result<Vec<u8>> {
        if !fs::symlink_metadata(path)?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut bytes = Vec::new();
        File::open(path)?.take(self.largest).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Written beside, synced, renamed, and the folder synced.
    fn replace(&mut self, bytes: &[u8], now: UnixMillis, given_up: &AtomicBool) -> Result<Option<Aside>, FolderError> {
        self.file = None;
        fs::create_dir_all(&self.path).map_err(|source| self.failed(source))?;
        self.hold()?;
        let beside = self.beside();
        let written = File::create(&beside).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()?;
            Ok(file)
        });
        let placed = written.map_err(|source| FolderError::Io { path: beside.clone(), source }).and_then(|file| {
            if given_up.load(Ordering::SeqCst) {
                return Err(FolderError::GivenUp);
            }
            let aside = if self.is_ours { None } else { self.keep_anothers(now)? };
            fs::rename(&beside, self.path.join(FILE)).map_err(|source| self.failed(source))?;
            // Without this the rename itself may not survive a crash of the machine.
            sync(&self.path).map_err(|source| self.failed(source))?;
            Ok((file, aside))
        });
        match placed {
            Ok((file, aside)) => {
                self.file = Some(file);
                self.is_ours = true;
                Ok(aside)
            }
            Err(error) => {
                // Half a file would take the room that the next try needs.
                let _gone = fs::remove_file(&beside);
                Err(error)
            }
        }
    }

    fn append(&mut self, record: &[u8]) -> Result<(), FolderError> {
        let Some(file) = &mut self.file else { return Err(FolderError::GivenUp) };
        let appended = file.write_all(record).and_then(|()| file.sync_data());
        appended.map_err(|source| {
            // What follows half a record could not be read.
            self.file = None;
            self.failed(source)
        })
    }

    /// A file that was there before us and was not read must not be overwritten: its data points may be wanted.
    fn keep_anothers(&self, now: UnixMillis) -> Result<Option<Aside>, FolderError> {
        match fs::symlink_metadata(self.path.join(FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            _ => self.set_aside("unused", now).map(Some),
        }
    }

    fn set_aside(&self, why: &str, now: UnixMillis) -> Result<Aside, FolderError> {
        let path = self.path.join(FILE);
        let points = self.bytes(&path).ok().and_then(|bytes| format::points_by_header(&bytes));
        let aside = self.path.join(format!("{FILE}.{why}-{}", now.0));
        fs::rename(&path, &aside).map_err(|source| FolderError::Io { path, source })?;
        Ok(Aside { path: aside, points })
    }

    /// The lock, if it is not held yet.
    fn hold(&mut self) -> Result<(), FolderError> {
        if self.lock.is_some() { Ok(()) } else { self.lock(Duration::ZERO) }
    }

    fn lock(&mut self, limit: Duration) -> Result<(), FolderError> {
        let path = self.path.join(LOCK);
        let fail = |source| FolderError::Io { path: path.clone(), source };
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(fail)?;
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => {
                    self.lock = Some(file);
                    return Ok(());
                }
                Err(TryLockError::WouldBlock) if began.elapsed() < limit => thread::sleep(LOCK_LOOK),
                Err(TryLockError::WouldBlock) => return Err(FolderError::Busy(path)),
                Err(TryLockError::Error(source)) => return Err(fail(source)),
            }
        }
    }

    fn beside(&self) -> PathBuf {
        self.path.join(format!("{FILE}.new"))
    }

    fn failed(&self, source: io::Error) -> FolderError {
        FolderError::Io { path: self.path.join(FILE), source }
    }
}

fn remove(file: &Path, dir: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync(dir),
    }
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn wall_clock() -> UnixMillis {
    cni_runtime::clock::Clock::wall().now()
}
