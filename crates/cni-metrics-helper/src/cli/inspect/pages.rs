//! A text to pages of one node each.

mod federate;
mod log;
mod several;

use std::borrow::Cow;

use super::saved_page::{Lines, SavedPage, SavedPages};
use super::text;

/// True for a log of the upstream helper, whose lines are objects.
pub(super) fn is_log(text: &[u8]) -> bool {
    text::find(text, text::LOG_MARK.as_bytes()).is_some()
}

/// Tells the pages of a text apart: of the upstream helper's log, of a Prometheus' `/federate`, or one after the other.
/// Anything else is one page.
pub(super) fn pages(text: &[u8]) -> SavedPages<'_> {
    if is_log(text) {
        return log::pages(text);
    }
    if let Some(pages) = federate::pages(text) {
        return pages;
    }
    if let Some(pages) = several::pages(text) {
        return pages;
    }
    let lines = Lines::After(0);
    let whole = SavedPage { node: None, part: String::new(), text: Cow::Borrowed(text), lines, ends_with_text: true };
    SavedPages { pages: vec![whole], ..SavedPages::default() }
}
