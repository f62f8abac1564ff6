//! Text that comes from outside (a page, an answer, an error), made fit for a log line and a terminal.

use std::fmt::Write;

/// The beginning of `text`, at most `limit_bytes` of it: what acts on a terminal or breaks a line is escaped, and a cut is
/// marked by an ellipsis.
pub fn excerpt(text: &[u8], limit_bytes: usize) -> String {
    let cut = text.get(..limit_bytes).unwrap_or(text);
    let mut shown = String::with_capacity(cut.len());
    for c in String::from_utf8_lossy(cut).chars() {
        // Beside control characters, those that reorder or hide text.
        let acts = c.is_control()
            || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}');
        if acts {
            // Writing to a String cannot fail.
            let _ = write!(shown, "{}", c.escape_default());
        } else {
            shown.push(c);
        }
    }
    if cut.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_acts_and_its_length_is_bounded() {
        assert_eq!(excerpt(b"a\nb\x1b[31m", 100), "a\\nb\\u{1b}[31m");
        assert_eq!(excerpt("a\u{202E}b".as_bytes(), 100), "a\\u{202e}b");
        assert_eq!(excerpt(b"abcdef", 3), "abc…");
        let worst = excerpt(&[0; 5_000], 200);
        assert!(worst.len() <= 200 * 8 && !worst.contains(char::is_control), "{worst}");
    }
}
