//! A page's text to a sample: our own reader of the Prometheus text format.
//!
//! It borrows from the page and materialises only what the catalogue names. It is total: any bytes give a sample or a
//! [`PageError`], and line errors beside it; one bad line costs that line. Lines of other families are only checked to
//! begin like a metric, a comment or nothing.
//!
//! A page is read twice at most. The first reading (`reader`) relies on what every Go agent does, series in ascending
//! order with sorted label names, which makes a duplicate show next to its twin. A valid page that is ordered
//! otherwise, or that lost a line of a counter, is read again, with a fingerprint of every series remembered.
//!
//! The work is bounded whatever the page says: [`MAX_SERIES`] series, [`MAX_LINE_BYTES`] of a line that is ours, and 64
//! labels of it. [`Parser::step`] reads a piece at a time, so that a caller with other work can turn to it in between.

mod error;
mod fold;
mod kept;
mod labels;
mod limits;
mod line;
mod series;
mod known;
mod name;
mod reader;
mod value;

pub use error::{LineError, LineErrorKind, MAX_LINE_ERRORS, PageError};
pub use limits::{MAX_LINE_BYTES, MAX_SERIES};

use crate::model::NodeSample;
use reader::{Order, Reader, Reading, Stop};

/// A good number of bytes for [`Parser::step`]: with an optimised build a step ends within 5 ms on any page, and pages
/// of healthy agents take one.
pub const STEP_BYTES: usize = 64 << 10;

/// How much of a page's beginning is looked at to tell what else it may be.
const LOOK_BYTES: usize = 4096;

/// What a page yields.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The sample, or why the whole page counts for nothing.
    pub sample: Result<NodeSample, PageError>,
    /// The first [`MAX_LINE_ERRORS`] lines that could not be read, in page order.
    pub errors: Vec<LineError>,
    /// How many lines could not be read.
    pub error_count: u64,
}

/// Reads a page as ipamd serves it, decompressed, in one go.
pub fn parse(page: &[u8]) -> Parsed {
    let mut parser = Parser::new(page);
    loop {
        match parser.step(usize::MAX) {
            Progress::More(next) => parser = next,
            Progress::Done(parsed) => return parsed,
        }
    }
}

/// A page that is being read.
#[derive(Debug)]
#[must_use = "a page is read by its steps"]
pub struct Parser<'p> {
    page: &'p [u8],
    state: State<'p>,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one a page, on the stack")]
enum State<'p> {
    /// It counts for nothing, which showed without reading it.
    Refused(PageError),
    Reading(Reader<'p>),
}

/// Where a step left the page.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one a page, on the stack")]
pub enum Progress<'p> {
    /// There is more to read.
    More(Parser<'p>),
    /// The page was read.
    Done(Parsed),
}

impl<'p> Parser<'p> {
    /// Begins to read a page.
    pub fn new(page: &'p [u8]) -> Self {
        let state = match look(page) {
            Ok(()) => State::Reading(Reader::new(page, Order::Ascending)),
            Err(error) => State::Refused(error),
        };
        Self { page, state }
    }

    /// Reads about this number of bytes, at least a line. [`STEP_BYTES`] is a good number.
    pub fn step(mut self, bytes: usize) -> Progress<'p> {
        let reader = match &mut self.state {
            State::Reading(reader) => reader,
            State::Refused(error) => return Progress::Done(refused(error.clone())),
        };
        match reader.read(bytes) {
            Ok(false) => Progress::More(self),
            Ok(true) if !reader.must_read_again() => match self.state {
                State::Reading(reader) => Progress::Done(conclude(reader.finish())),
                State::Refused(error) => Progress::Done(refused(error)),
            },
            Ok(true) | Err(Stop::OutOfOrder) => {
                *reader = Reader::new(self.page, Order::Any);
                Progress::More(self)
            }
            Err(Stop::TooManySeries) => Progress::Done(refused(PageError::TooManySeries)),
        }
    }
}

fn refused(error: PageError) -> Parsed {
    Parsed { sample: Err(error), errors: Vec::new(), error_count: 0 }
}

fn conclude(reading: Reading) -> Parsed {
    let sample = if reading.readable_lines == 0 {
        Err(PageError::Unreadable { first: reading.errors.first().cloned() })
    } else if reading.is_several_pages() {
        // Its hundred repeated lines say nothing more.
        return refused(PageError::SeveralPages);
    } else if reading.fold.is_empty() {
        Err(PageError::NoIpamdFamilies)
    } else {
        Ok(reading.fold.finish())
    };
    Parsed { sample, errors: reading.errors, error_count: reading.error_count }
}

/// What shows without reading: that it is something else than metrics, or that its end is missing.
fn look(page: &[u8]) -> Result<(), PageError> {
    let start = page.get(..LOOK_BYTES).unwrap_or(page);
    let start = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(start).trim_ascii_start();
    let looks_like = match start {
        [] if page.len() <= LOOK_BYTES => return Err(PageError::Empty),
        // A byte order mark, or an ASCII character in two bytes.
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] | [0x20..0x7F, 0, ..] | [0, 0x20..0x7F, ..] => {
            return Err(PageError::Utf16);
        }
        [b'<', ..] => Some("HTML or XML"),
        [b'{' | b'[', ..] => Some("JSON"),
        [0x1F, 0x8B, ..] => Some("gzip"),
        _ => None,
    };
    if let Some(looks_like) = looks_like {
        return Err(PageError::NotText { looks_like });
    }
    // OpenMetrics' end mark proves completeness even where a proxy trimmed the last newline.
    if page.ends_with(b"\n") || page.ends_with(b"\n# EOF") {
        return Ok(());
    }
    let newlines = memchr::memchr_iter(b'\n', page).count();
    Err(PageError::Truncated { line: u32::try_from(newlines).unwrap_or(u32::MAX).saturating_add(1) })
}

#[cfg(test)]
mod tests;
