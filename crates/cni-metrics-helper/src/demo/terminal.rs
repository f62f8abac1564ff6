//! The terminal of a live view: its size, and its alternate screen, which leaves the scrollback as it is.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Enters the alternate screen, hides the cursor, and cuts long lines instead of wrapping them.
pub const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";

/// Undoes [`ENTER`].
pub const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// A terminal without a size of its own is taken for one of the least common size.
const LEAST: Size = Size { columns: 80, rows: 24 };

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Characters in a line.
    pub columns: usize,
    /// Lines.
    pub rows: usize,
}

/// The alternate screen of standard output, left when this is dropped or the process panics.
#[derive(Debug)]
pub struct Alternate {
    output: Arc<File>,
    is_entered: Arc<AtomicBool>,
}

impl Alternate {
    /// Enters the alternate screen of standard output. From then on a panic anywhere in the process leaves it before it is
    /// reported.
    pub fn enter() -> io::Result<Self> {
        // A file of its own for the same place: no holder of the lock of standard output is in the way of leaving.
        let output = Arc::new(File::from(io::stdout().as_fd().try_clone_to_owned()?));
        let is_entered = Arc::new(AtomicBool::new(true));
        (&*output).write_all(ENTER.as_bytes())?;
        let (at_panic, was_entered, report) = (Arc::clone(&output), Arc::clone(&is_entered), panic::take_hook());
        panic::set_hook(Box::new(move |about| {
            leave(&at_panic, &was_entered);
            report(about);
        }));
        Ok(Self { output, is_entered })
    }

    /// The terminal's size at this moment.
    pub fn size(&self) -> Size {
        rustix::termios::tcgetwinsize(&*self.output)
            .map_or(LEAST, |size| Size { columns: usize::from(size.ws_col), rows: usize::from(size.ws_row) })
            .or_least()
    }
}

impl Size {
    /// Some terminals, and pipes that pretend to be one, say 0.
    fn or_least(self) -> Self {
        if self.columns == 0 || self.rows == 0 { LEAST } else { self }
    }
}

impl Drop for Alternate {
    fn drop(&mut self) {
        leave(&self.output, &self.is_entered);
    }
}

/// Once: a second time would clear what was written since.
fn leave(output: &File, is_entered: &AtomicBool) {
    if is_entered.swap(false, Ordering::SeqCst) {
        let mut output = output;
        // A terminal that is gone needs nothing.
        let _gone = output.write_all(LEAVE.as_bytes());
    }
}
