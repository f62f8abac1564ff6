//! Texts that the objects of many nodes have in common.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Texts that are kept once each. Once the table is full, each further text is a copy of its own.
const LIMIT: usize = 1_024;

/// Texts, each of them kept once.
#[derive(Debug, Default)]
pub(super) struct Texts(BTreeSet<Arc<str>>);

impl Texts {
    /// The text, which others may have too.
    pub(super) fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        if self.0.len() < LIMIT {
            self.0.insert(Arc::clone(&text));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_once_and_not_without_limit() {
        let mut texts = Texts::default();
        assert!(Arc::ptr_eq(&texts.share("m5.large"), &texts.share("m5.large")));
        for number in 0..2 * LIMIT {
            assert_eq!(*texts.share(&number.to_string()), number.to_string());
        }
        assert_eq!(texts.0.len(), LIMIT);
    }
}
