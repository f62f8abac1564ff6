//! The queue of log lines and the thread that writes them.
//!
//! A logging call only puts a line into the queue. When the queue is full the new line is dropped and counted; so is a line
//! that cannot be written. The next line that can be is preceded by one that says how many are missing.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// Bytes of lines that wait at most.
const QUEUE_BYTES: usize = 1 << 20;

/// A file that does not take anything right now (a non-blocking pipe) is tried again after this time.
const RETRY: Duration = Duration::from_millis(10);

/// What a waiting line costs beside its text, bytes.
const LINE_BYTES: usize = 32;

/// The thread needs little.
const STACK_BYTES: usize = 128 << 10;

/// Hands lines to the writing thread. It ends when the last copy of this is dropped.
#[derive(Debug, Clone)]
pub(super) struct LineQueue(Arc<Handle>);

#[derive(Debug)]
struct Handle(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Box<[u8]>>,
    bytes: usize,
    /// A line is with the operating system.
    is_writing: bool,
    /// Lines lost since the start.
    lost: u64,
    /// Lines lost since a line last said so.
    untold: u64,
    is_closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn lose(&mut self, lines: u64) {
        self.lost = self.lost.saturating_add(lines);
        self.untold = self.untold.saturating_add(lines);
    }
}

impl LineQueue {
    /// Starts the thread. `lost_line` makes the line that says how many lines are missing.
    pub(super) fn start(
        out: impl Write + Send + 'static,
        lost_line: impl Fn(u64) -> Vec<u8> + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let lines = Arc::clone(&shared);
        let thread = thread::Builder::new().name("log".to_owned()).stack_size(STACK_BYTES);
        thread.spawn(move || write_lines(&lines, out, lost_line))?;
        Ok(Self(Arc::new(Handle(shared))))
    }

    /// Queues a line. Never waits for the file.
    pub(super) fn push(&self, line: Vec<u8>) {
        let shared = &self.0.0;
        let mut state = shared.lock();
        let cost = line.len() + LINE_BYTES;
        if state.bytes + cost > QUEUE_BYTES {
            state.lose(1);
            return;
        }
        state.bytes += cost;
        state.lines.push_back(line.into_boxed_slice());
        drop(state);
        shared.changed.notify_all();
    }

    /// Lines lost since the start.
    pub(super) fn lost(&self) -> u64 {
        self.0.0.lock().lost
    }

    /// Waits until every line was written or given up, at most this long; true if so.
    pub(super) fn flush(&self, within: Duration) -> bool {
        let shared = &self.0.0;
        let deadline = Instant::now() + within;
        let mut state = shared.lock();
        while state.is_writing || !state.lines.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_all();
    }
}

/// The logging library writes each line with one call.
impl Write for LineQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LineQueue {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn write_lines(shared: &Shared, out: impl Write, lost_line: impl Fn(u64) -> Vec<u8>) {
    let mut out = Output { file: out, in_line: false };
    let mut state = shared.lock();
    loop {
        let Some(line) = state.lines.pop_front() else {
            if std::mem::take(&mut state.is_writing) {
                shared.changed.notify_all();
            }
            if state.is_closed {
                return;
            }
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        state.bytes = state.bytes.saturating_sub(line.len() + LINE_BYTES);
        state.is_writing = true;
        let untold = state.untold;
        drop(state);
        let told = untold > 0 && out.line(&lost_line(untold)).is_ok();
        let written = out.line(&line);
        state = shared.lock();
        if told {
            state.untold -= untold;
        }
        if written.is_err() {
            state.lose(1);
        }
    }
}

/// The file, and whether a line was broken off in it.
struct Output<W> {
    file: W,
    in_line: bool,
}

impl<W: Write> Output<W> {
    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.in_line {
            self.bytes(b"\n")?;
        }
        self.bytes(line)
    }

    fn bytes(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = bytes.get(written..).unwrap_or_default();
                    self.in_line = !bytes.is_empty();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LIMIT: Duration = Duration::from_mins(1);

    /// A file whose every write waits for a word: how many bytes it takes, or the error it ends with.
    struct Slow {
        words: mpsc::Receiver<Result<usize, ErrorKind>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let most = self.words.recv().unwrap_or(Ok(usize::MAX)).map_err(io::Error::from)?;
            let taken = bytes.len().min(most);
            self.written.lock().unwrap().extend(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    type Slowly = (mpsc::Sender<Result<usize, ErrorKind>>, Arc<Mutex<Vec<u8>>>, LineQueue);

    fn slow() -> Slowly {
        let (say, words) = mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let file = Slow { words, written: Arc::clone(&written) };
        (say, written, LineQueue::start(file, |lost| format!("{lost} lost\n").into_bytes()).unwrap())
    }

    fn text(written: &Mutex<Vec<u8>>) -> String {
        String::from_utf8(written.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_file_that_blocks_holds_up_no_caller_and_what_does_not_fit_is_counted_and_logged() {
        let (say, written, queue) = slow();
        let line = [vec![b'x'; 1023].as_slice(), b"\n"].concat();
        // The first one is with the file before any is lost: no line that is written before the others tells of them.
        queue.push(line.clone());
        let give_up = Instant::now() + LIMIT;
        while !queue.0.0.lock().is_writing {
            assert!(Instant::now() < give_up, "the thread takes no line");
            thread::yield_now();
        }
        for _ in 1..5000 {
            queue.push(line.clone());
        }
        let room = (QUEUE_BYTES / (1024 + LINE_BYTES)) as u64;
        let lost = queue.lost();
        assert_eq!(lost, 4999 - room);
        assert!(!queue.flush(Duration::from_millis(20)), "nothing was written yet");
        drop(say);
        assert!(queue.flush(LIMIT));
        queue.push(b"last\n".to_vec());
        assert!(queue.flush(LIMIT));
        let text = text(&written);
        assert!(text.contains(&format!("{lost} lost\n")) && text.ends_with("x\nlast\n"), "{}", text.len());
        assert_eq!(text.lines().count() as u64, 5000 - lost + 2);
    }

    #[test]
    fn a_line_that_cannot_be_written_is_lost_and_one_that_broke_off_does_not_swallow_the_next() {
        let (say, written, queue) = slow();
        for word in [Err(ErrorKind::BrokenPipe), Ok(0), Ok(3), Err(ErrorKind::StorageFull)] {
            say.send(word).unwrap();
        }
        queue.push(b"first\n".to_vec());
        assert!(queue.flush(LIMIT));
        assert_eq!(queue.lost(), 1);
        drop(say);
        for line in ["second\n", "third\n"] {
            queue.push(line.as_bytes().to_vec());
            assert!(queue.flush(LIMIT));
        }
        assert_eq!((text(&written).as_str(), queue.lost()), ("sec\n2 lost\nthird\n", 2));
    }

    #[test]
    fn a_non_blocking_file_is_tried_again() {
        let (say, written, queue) = slow();
        for word in [Err(ErrorKind::WouldBlock), Err(ErrorKind::Interrupted), Ok(2), Err(ErrorKind::WouldBlock)] {
            say.send(word).unwrap();
        }
        drop(say);
        queue.push(b"line\n".to_vec());
        assert!(queue.flush(LIMIT));
        assert_eq!((text(&written).as_str(), queue.lost()), ("line\n", 0));
    }
}
