//! Log lines that a unit test reads back.

use std::io::{Result, Write};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, channel};

use tracing::{Dispatch, Subscriber};
use tracing_subscriber::fmt::MakeWriter;

/// Receives what is logged.
pub(crate) struct CapturedLog(Receiver<Vec<u8>>);

#[derive(Clone)]
struct Writer(Sender<Vec<u8>>);

/// A subscriber for lines at INFO and above without times and colours, and what it receives.
pub(crate) fn captured_log() -> (impl Subscriber + Send + Sync, CapturedLog) {
    // While there is only one subscriber, `tracing` asks the thread that reaches a log statement first whether anything
    // listens, and keeps the answer for all threads: another test's thread, to which no subscriber belongs, would switch
    // the line off for this one. With a second subscriber in the process, it asks all of them.
    static SECOND: OnceLock<Dispatch> = OnceLock::new();
    SECOND.get_or_init(|| Dispatch::new(tracing_subscriber::fmt().with_writer(std::io::sink).finish()));
    let (sender, receiver) = channel();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(Writer(sender)).finish();
    (subscriber, CapturedLog(receiver))
}

impl CapturedLog {
    /// The lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        let bytes: Vec<u8> = self.0.try_iter().flatten().collect();
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        // The test that has ended reads no more.
        let _unread = self.0.send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::captured_log;

    fn say() {
        tracing::info!("said");
    }

    #[test]
    fn a_line_that_a_thread_without_a_subscriber_reaches_first_is_captured() {
        let (subscriber, log) = captured_log();
        let _guard = tracing::subscriber::set_default(subscriber);
        std::thread::spawn(say).join().unwrap();
        say();
        assert_eq!(log.lines().len(), 1);
    }
}
