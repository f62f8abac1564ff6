//! A page's text to a sample: our own reader of the Prometheus text format.
//!
//! It borrows from the page and materialises only what the catalogue names. It is total: any bytes give a sample or a
//! [`PageError`], and line errors beside it; one bad line costs that line. Lines of other families are only checked to
//! begin like a metric, a comment or nothing.
//!
//! A page is read twice at most. The first reading (`reader`) relies on what every Go agent does, series in ascending
//! order with sorted label names, which makes a duplicate show next to its twin. A valid page that is ordered
//! otherwise is read again, with every series remembered.

mod error;
mod fold;
mod labels;
mod line;
mod name;
mod reader;
mod value;

pub use error::{LineError, LineErrorKind, MAX_LINE_ERRORS, PageError};

use crate::model::NodeSample;
use reader::{Order, read};

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

/// Reads a page as ipamd serves it, decompressed.
pub fn parse(page: &[u8]) -> Parsed {
    if let Err(error) = look(page) {
        return Parsed { sample: Err(error), errors: Vec::new(), error_count: 0 };
    }
    let reading = match read(page, Order::Ascending) {
        Some(reading) => reading,
        None => read(page, Order::Any).unwrap_or_default(),
    };
    let sample = if reading.readable_lines == 0 {
        Err(PageError::Unreadable { first: reading.errors.first().cloned() })
    } else if reading.fold.is_empty() {
        Err(PageError::NoIpamdFamilies)
    } else {
        Ok(reading.fold.finish())
    };
    Parsed { sample, errors: reading.errors, error_count: reading.error_count }
}

/// What shows without reading: that it is something else than metrics, or that its end is missing.
fn look(page: &[u8]) -> Result<(), PageError> {
    let start = page.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(page).trim_ascii_start();
    let looks_like = match start {
        [] => return Err(PageError::Empty),
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
