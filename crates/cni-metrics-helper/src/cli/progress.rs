//! What a command that takes a while is doing, on one line of a terminal.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

/// Work that is over sooner shows nothing.
const QUIET: Duration = Duration::from_secs(1);
/// The line is written anew this often.
const PERIOD: Duration = Duration::from_millis(250);

/// The line. It is erased when this value is dropped.
#[derive(Debug)]
pub(super) struct Progress {
    text: Arc<tokio::sync::watch::Sender<String>>,
    writer: Option<JoinHandle<()>>,
}

/// Sets the text of a line.
#[derive(Debug, Clone, Default)]
pub(super) struct Phase(Arc<tokio::sync::watch::Sender<String>>);

impl Phase {
    /// What goes on from now on.
    pub(super) fn set(&self, text: String) {
        self.0.send_replace(text);
    }
}

impl Progress {
    /// A line on standard error if that is a terminal, else none. Needs a runtime.
    pub(super) fn on_stderr() -> Self {
        let text = Arc::new(tokio::sync::watch::Sender::new(String::new()));
        let writer = std::io::stderr().is_terminal().then(|| {
            let text = text.subscribe();
            tokio::spawn(async move {
                let began = Instant::now();
                let mut ticks = tokio::time::interval_at(began + QUIET, PERIOD);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    ticks.tick().await;
                    let line = line(&text.borrow(), began.elapsed());
                    let _gone = std::io::stderr().write_all(line.as_bytes());
                }
            })
        });
        Self { text, writer }
    }

    /// What sets its text.
    pub(super) fn phase(&self) -> Phase {
        Phase(Arc::clone(&self.text))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.abort();
            let _gone = std::io::stderr().write_all(b"\r\x1b[K");
        }
    }
}

/// The line ends at its own beginning, so that a line of the log writes over it.
fn line(text: &str, elapsed: Duration) -> String {
    if text.is_empty() { String::new() } else { format!("\r\x1b[K{text}, {} s\r", elapsed.as_secs()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_replaces_the_one_before_and_lets_the_log_write_over_it() {
        assert_eq!(line("listing the pods", Duration::from_millis(3_900)), "\r\x1b[Klisting the pods, 3 s\r");
        assert_eq!(line("", Duration::from_secs(3)), "");
    }
}
