//! A node's page in a text that may hold several.

use std::borrow::Cow;

/// One node's page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SavedPage<'t> {
    /// What the node is called, where the text says it.
    pub(super) node: Option<String>,
    /// Where in the text the page is: empty where it is all of it.
    pub(super) part: String,
    pub(super) text: Cow<'t, [u8]>,
    /// The text's own lines.
    pub(super) lines: Lines,
    /// Where the end of the text is missing, so is the page's.
    pub(super) ends_with_text: bool,
}

/// Which line of the text a line of the page is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lines {
    /// The page begins after this number of lines.
    After(u32),
    /// Each line has its own.
    Each(Vec<u32>),
}

impl Lines {
    /// The text's line; both count from 1.
    pub(super) fn of_text(&self, line: u32) -> u32 {
        match self {
            Self::After(before) => before.saturating_add(line),
            Self::Each(lines) => {
                let at = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1);
                lines.get(at).copied().unwrap_or(line)
            }
        }
    }
}

/// The pages of a text, and what is said about the text beside its pages.
#[derive(Debug, Default)]
pub(super) struct SavedPages<'t> {
    pub(super) pages: Vec<SavedPage<'t>>,
    /// What a reader should know, not an error.
    pub(super) remarks: Vec<String>,
    /// Parts that should be pages and cannot be read.
    pub(super) failures: Vec<String>,
}
