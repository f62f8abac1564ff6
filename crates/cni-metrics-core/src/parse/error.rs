//! What can be wrong with a page and with a line, in sentences an operator can act on.

use thiserror::Error;

use super::limits::{MAX_LABELS, MAX_LINE_BYTES, MAX_SERIES};
use crate::model::FailureKind;

/// How many line errors are kept of one page; all are counted.
pub const MAX_LINE_ERRORS: usize = 20;

/// How many bytes of a bad line are shown.
const EXCERPT_BYTES: usize = 80;

/// Why a whole page counts for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PageError {
    /// Nothing but white space.
    #[error("the page is empty")]
    Empty,
    /// Something else than the Prometheus text format.
    #[error("the page is not Prometheus text: it looks like {looks_like}")]
    NotText {
        /// What it seems to be.
        looks_like: &'static str,
    },
    /// Text in two bytes a character.
    #[error("the page is UTF-16 (Windows PowerShell's > and Out-File write that): save it as UTF-8")]
    Utf16,
    /// More series than any agent has.
    #[error(
        "the page has more than {MAX_SERIES} series of ipamd's metrics; an agent has some hundred, so it is not read"
    )]
    TooManySeries,
    /// The unlabelled series of a page, again and again.
    #[error(
        "several pages in one file or answer: series that a page has once are repeated. Give each node's page a file of \
         its own"
    )]
    SeveralPages,
    /// No newline at the end. A cut number reads as another number, so nothing on the page can be trusted.
    #[error("the page ends in the middle of line {line}: its end is missing, and a number there may be cut")]
    Truncated {
        /// The line that is cut, counted from 1.
        line: u32,
    },
    /// Lines were readable, but none is of a family that the catalogue names.
    #[error("the page is readable but has none of ipamd's metrics: is this the aws-node agent's port?")]
    NoIpamdFamilies,
    /// Not one line was readable.
    #[error("no line of the page could be read{}", first_error(.first.as_ref()))]
    Unreadable {
        /// The first line's error.
        first: Option<LineError>,
    },
}

impl PageError {
    /// The kind of failure under which the node is counted.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::TooManySeries => FailureKind::TooLarge,
            Self::Empty
            | Self::NotText { .. }
            | Self::Utf16
            | Self::SeveralPages
            | Self::Truncated { .. }
            | Self::NoIpamdFamilies
            | Self::Unreadable { .. } => FailureKind::BadPage,
        }
    }
}

fn first_error(first: Option<&LineError>) -> String {
    first.map(|error| format!("; {error}")).unwrap_or_default()
}

/// A line that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {kind}: {excerpt}")]
pub struct LineError {
    /// Which line, counted from 1.
    pub line: u32,
    /// What is wrong with it.
    pub kind: LineErrorKind,
    /// Its beginning, bounded, with everything a terminal could act on escaped.
    pub excerpt: String,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LineErrorKind {
    /// The first character begins neither a metric's name nor a comment.
    #[error("it begins like neither a metric nor a comment")]
    NotAMetric,
    /// The line has bytes that are not UTF-8.
    #[error("it is not valid UTF-8")]
    NotUtf8,
    /// A label's name is missing or has a character that no label name can have.
    #[error("a label has no valid name")]
    LabelName,
    /// A label without `="value"`.
    #[error("a label has no quoted value")]
    LabelValue,
    /// A label's value, or the list of labels, does not end.
    #[error("the labels do not end")]
    UnclosedLabels,
    /// A backslash before anything but a backslash, a quote or `n`.
    #[error("a label's value has an unknown escape")]
    LabelEscape,
    /// Two labels with no comma between them, or two commas.
    #[error("the labels are not separated by single commas")]
    LabelSeparator,
    /// The same label twice.
    #[error("a label occurs twice")]
    DuplicateLabel,
    /// More labels than any metric of ipamd's has.
    #[error("it has more than {MAX_LABELS} labels")]
    TooManyLabels,
    /// A line of ours that is longer than any that ipamd writes.
    #[error("it is longer than {MAX_LINE_BYTES} bytes")]
    TooLong,
    /// A latency line that does not say of which API it is.
    #[error("the label {0} is missing")]
    MissingLabel(&'static str),
    /// Nothing after the name and the labels.
    #[error("the value is missing")]
    MissingValue,
    /// The value is no number.
    #[error("the value is not a number")]
    BadValue,
    /// NaN or infinite, or too large for a 64-bit float.
    #[error("the value is not finite")]
    NotFinite,
    /// A counter, or a count or sum of latencies, below zero.
    #[error("the value is negative, which this metric cannot be")]
    Negative,
    /// More than the metric can be.
    #[error("the value is larger than this metric can be")]
    OutOfRange,
    /// Something after the value that is neither a timestamp nor an exemplar.
    #[error("text follows the value")]
    TrailingText,
    /// The same series was read before; the first one counts.
    #[error("the same series occurs twice; the first counts")]
    Duplicate,
    /// The family's sum would be more than it can be.
    #[error("added to the lines before, it exceeds what this metric can be")]
    Overflow,
    /// A `# TYPE` line of ours with an unknown type; its samples are read regardless.
    #[error("it names an unknown metric type")]
    UnknownType,
}

impl LineErrorKind {
    /// True if the family's sum lacks a line that it should have.
    pub(super) fn loses_a_value(self) -> bool {
        !matches!(self, Self::Duplicate | Self::UnknownType)
    }
}

/// The beginning of a line, fit for a log line and a terminal.
pub(super) fn excerpt(line: &[u8]) -> String {
    crate::text::excerpt(line, EXCERPT_BYTES)
}
