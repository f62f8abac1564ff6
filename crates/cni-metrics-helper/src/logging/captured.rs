//! Log lines that a unit test reads back.

use std::io::{Result, Write};
use std::sync::mpsc::{Receiver, Sender, channel};

use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;

/// Receives what is logged.
pub(crate) struct CapturedLog(Receiver<Vec<u8>>);

#[derive(Clone)]
struct Writer(Sender<Vec<u8>>);

/// A subscriber for lines at INFO and above without times and colours, and what it receives.
pub(crate) fn captured_log() -> (impl Subscriber + Send + Sync, CapturedLog) {
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
