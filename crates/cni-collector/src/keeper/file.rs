//! A small file in a folder, replaced as a whole, by a thread of its own: a disk that hangs holds up this thread and nothing else.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use tracing::{info, warn};

const FILE: &str = "findings.json";
const LOCK: &str = "findings.lock";
/// A start waits this long for the folder.
const OPEN_LIMIT: Duration = Duration::from_secs(4);
/// Of that, for another helper on the same folder to end.
const LOCK_WAIT: Duration = Duration::from_secs(2);
const LOCK_LOOK: Duration = Duration::from_millis(50);
/// No more than this is read: a longer text is not used anyway.
const MOST_BYTES: u64 = 1 << 20;

/// Open findings in a file.
#[derive(Debug)]
pub struct FindingsFile {
    /// What was found, until something else is kept.
    earlier: watch::Sender<Option<Arc<str>>>,
    /// `None` where the folder cannot be used.
    texts: Option<Sender<Arc<str>>>,
}

impl FindingsFile {
    /// Takes the folder and reads what is there. A folder that cannot be used is named in the log, and nothing is kept.
    pub async fn open(folder: &Path) -> Self {
        let (tell, opened) = oneshot::channel();
        let (texts, incoming) = mpsc::channel();
        let writer = FolderThread { folder: folder.to_owned(), lock: None, failure: None };
        let started = thread::Builder::new().name("findings".to_owned()).spawn(move || writer.run(tell, &incoming));
        let trouble = match (started, tokio::time::timeout(OPEN_LIMIT, opened).await) {
            (Ok(_thread), Ok(Ok(Ok(text)))) => {
                return Self { earlier: watch::Sender::new(text.map(Arc::from)), texts: Some(texts) };
            }
            (Err(error), _) => format!("its thread cannot be started: {error}"),
            (_, Ok(Ok(Err(error)))) => error,
            (_, Ok(Err(_gone))) => "its thread has ended".to_owned(),
            (_, Err(_late)) => format!("it did not answer within {} s", OPEN_LIMIT.as_secs()),
        };
        warn!(
            "open findings are not kept in SPOOL_DIR {}: {trouble}; after a restart they count as new",
            folder.display()
        );
        Self { earlier: watch::Sender::new(None), texts: None }
    }

    /// What was found at the start, until something else is kept.
    pub fn earlier(&self) -> Option<Arc<str>> {
        self.earlier.borrow().clone()
    }

    /// Replaces the file's text. Never waits; of several texts that a slow disk has not taken the newest counts.
    pub fn keep(&self, text: Arc<str>) {
        self.earlier.send_replace(None);
        // A thread that has ended has said why.
        let _ended = self.texts.as_ref().map(|texts| texts.send(text));
    }
}

/// The thread's state. It holds the folder's lock as long as it lives.
struct FolderThread {
    folder: PathBuf,
    lock: Option<File>,
    /// The failure last logged.
    failure: Option<String>,
}

impl FolderThread {
    fn run(mut self, tell: oneshot::Sender<Result<Option<String>, String>>, texts: &Receiver<Arc<str>>) {
        let opened = self.open();
        let is_open = opened.is_ok();
        // A start that has not waited for it does not use it.
        if tell.send(opened).is_err() || !is_open {
            return;
        }
        while let Ok(first) = texts.recv() {
            let newest = texts.try_iter().last().unwrap_or(first);
            self.note(self.write(&newest).map_err(|error| error.to_string()));
        }
    }

    fn open(&mut self) -> Result<Option<String>, String> {
        self.lock().map_err(|error| error.to_string())?;
        let path = self.folder.join(FILE);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        let mut bytes = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        // What is no text is found damaged by its reader.
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn lock(&mut self) -> io::Result<()> {
        let path = self.folder.join(LOCK);
        let of_path = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(of_path)?;
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if began.elapsed() < LOCK_WAIT => thread::sleep(LOCK_LOOK),
                Err(TryLockError::WouldBlock) => {
                    let busy = format!("another helper uses this folder: {} is locked", path.display());
                    return Err(io::Error::new(io::ErrorKind::WouldBlock, busy));
                }
                Err(TryLockError::Error(error)) => return Err(of_path(error)),
            }
        }
        self.lock = Some(file);
        Ok(())
    }

    fn write(&self, text: &str) -> io::Result<()> {
        let (path, beside) = (self.folder.join(FILE), self.folder.join(format!("{FILE}.new")));
        let mut file = File::create(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, &path)
    }

    /// A failure is logged once, and its end.
    fn note(&mut self, outcome: Result<(), String>) {
        let path = self.folder.join(FILE);
        match (outcome, &self.failure) {
            (Ok(()), Some(_)) => {
                info!("open findings are kept in {} again", path.display());
                self.failure = None;
            }
            (Err(error), known) if known.as_ref() != Some(&error) => {
                warn!(
                    "open findings cannot be written to {}: {error}; after a restart those that are open by then count as new",
                    path.display()
                );
                self.failure = Some(error);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
