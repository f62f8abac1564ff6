//! What happened in a world, as text: the same seed gives the same text, byte for byte.

use std::fmt::{Debug, Write};

/// A record of events.
#[derive(Debug, Default)]
pub struct History {
    text: Option<String>,
}

impl History {
    /// From now on everything is recorded. (Without this nothing is.)
    pub fn record(&mut self) {
        self.text.get_or_insert_default();
    }

    /// What was recorded: one line an event.
    pub fn text(&self) -> &str {
        self.text.as_deref().unwrap_or_default()
    }

    pub(super) fn note(&mut self, now_ms: i64, node: usize, what: &dyn Debug) {
        if let Some(text) = &mut self.text {
            // Writing into a string cannot fail.
            let _written = writeln!(text, "{now_ms} {node} {what:?}");
        }
    }
}
