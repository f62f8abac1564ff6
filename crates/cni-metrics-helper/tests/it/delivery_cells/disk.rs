//! The spool's folder of a cell: put into its state, and looked at after a kill.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cni_publish::delivery::buffer::Kept;
use cni_publish::delivery::spool::{self, Restored};
use cni_testkit::wait;
use tokio::time::Instant;

use super::Disk;

const TIMEOUT: Duration = Duration::from_mins(1);

/// How many points these rounds hold.
pub(crate) fn points(rounds: &[Kept]) -> i64 {
    i64::try_from(rounds.iter().map(|kept| kept.values.len()).sum::<usize>()).unwrap()
}

/// Waits until the round of this time is in the file. Files send no event.
pub(crate) async fn wait_round(dir: &Path, at: i64) {
    let give_up = Instant::now() + TIMEOUT;
    loop {
        let left = spool::look(dir).ok().flatten();
        if left.is_some_and(|left| left.rounds.iter().chain(&left.in_doubt).any(|kept| kept.at.0 == at)) {
            return;
        }
        assert!(Instant::now() < give_up, "the round of {at} never came into the spool");
        wait::pause_async().await;
    }
}

/// Waits until the disk's thread of a helper that was killed has ended its last job and let go of the folder.
pub(crate) async fn wait_let_go(dir: &Path) {
    let Ok(lock) = File::open(dir.join("points.lock")) else { return };
    let give_up = Instant::now() + TIMEOUT;
    while lock.try_lock().is_err() {
        assert!(Instant::now() < give_up, "the folder stays locked");
        wait::pause_async().await;
    }
}

/// What the file holds; `None` where there is none.
pub(crate) fn look(dir: &Path) -> Option<Restored> {
    spool::look(dir).unwrap()
}

/// A file of this kind was set aside.
pub(crate) fn is_set_aside(dir: &Path, kind: &str) -> bool {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.into_iter().any(|name| name.starts_with(&format!("points.spool.{kind}-")))
}

/// What is in the way of the spool until it is cleared.
pub(crate) enum Obstacle {
    None,
    /// Where the folder is now.
    Moved(PathBuf),
    Fifo(PathBuf),
    Full(PathBuf),
}

/// Puts the folder of a helper that was killed into this state.
pub(crate) fn lay(dir: &Path, disk: Disk) -> Obstacle {
    let file = dir.join("points.spool");
    match disk {
        Disk::Fresh | Disk::Stale | Disk::OfAnotherCluster | Disk::OfAnotherNamespace => {}
        Disk::Absent => fs::remove_file(&file).unwrap(),
        Disk::Damaged => {
            let mut bytes = fs::read(&file).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&file, bytes).unwrap();
        }
        Disk::Unwritable => {
            // A file in the folder's place stops root too.
            let away = dir.with_extension("away");
            fs::rename(dir, &away).unwrap();
            fs::write(dir, b"not a folder").unwrap();
            return Obstacle::Moved(away);
        }
        Disk::Hanging => {
            // Opening a FIFO for writing waits until it is read.
            let fifo = dir.join("points.probe");
            let kind = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, rustix::fs::Mode::from_raw_mode(0o600), 0).unwrap();
            return Obstacle::Fifo(fifo);
        }
        Disk::Full => {
            // The probe goes to a device that is full, and the next file cannot be made; what is there can be removed.
            symlink("/dev/full", dir.join("points.probe")).unwrap();
            let beside = dir.join("points.spool.new");
            fs::create_dir(&beside).unwrap();
            return Obstacle::Full(beside);
        }
    }
    Obstacle::None
}

impl Obstacle {
    /// Returns the folder that can be used again.
    pub(crate) async fn clear(self, dir: PathBuf) -> PathBuf {
        match self {
            Self::None => {}
            // Not moved back: in this process the thread of the helper that was killed may still be about to write there.
            Self::Moved(away) => return away,
            Self::Fifo(fifo) => {
                let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
                let reader = OpenOptions::new().read(true).custom_flags(flags).open(&fifo).unwrap();
                wait_let_go(&dir).await;
                drop(reader);
            }
            Self::Full(beside) => fs::remove_dir(beside).unwrap(),
        }
        dir
    }
}
