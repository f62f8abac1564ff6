//! Text in lines that fit a terminal.

use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

/// Characters of a line that every terminal shows.
pub const COLUMNS: usize = 80;

/// As many words in each line as fit. A word that is longer than a line has one of its own.
fn options(columns: usize) -> Options<'static> {
    Options::new(columns)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit)
        .break_words(false)
}

/// Words in lines of at most [`COLUMNS`], each ended. The first line begins with `first`, the others with `others`.
pub fn paragraph(words: &str, first: &str, others: &str) -> String {
    textwrap::fill(words, options(COLUMNS).initial_indent(first).subsequent_indent(others)) + "\n"
}

/// The same for a shell's command: each line but the last ends with a backslash.
pub fn command(words: &str, first: &str, others: &str) -> String {
    const GOES_ON: &str = " \\";
    let options = options(COLUMNS - GOES_ON.len()).initial_indent(first).subsequent_indent(others);
    textwrap::wrap(words, options).join(&format!("{GOES_ON}\n")) + "\n"
}

/// Lines of at most this many characters. Words that are longer are cut.
pub fn lines(words: &str, columns: usize) -> Vec<String> {
    textwrap::wrap(words, options(columns).break_words(true)).into_iter().map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_wrapped_between_words_and_long_words_are_cut_only_where_that_is_asked() {
        assert_eq!(lines("no page node=a", 8), ["no page", "node=a"]);
        assert_eq!(lines("abcdefgh ij", 4), ["abcd", "efgh", "ij"]);
        assert!(lines("a bc def ghij klmno", 3).iter().all(|line| line.chars().count() <= 3));
        let long = "x".repeat(COLUMNS + 1);
        assert_eq!(paragraph(&format!("a {long} b"), "- ", "  "), format!("- a\n  {long}\n  b\n"));
        assert_eq!(paragraph("", "", ""), "\n");
        // What a cluster sends may be wider than its characters are many.
        assert!(lines("節点節点", 4).iter().all(|line| line.chars().count() <= 2));
    }

    #[test]
    fn a_long_command_is_one_for_a_shell_that_is_given_all_of_its_lines() {
        let text = format!("kubectl {}", ["word"; 30].join(" "));
        let shown = command(&text, "     $ ", "         ");
        assert!(shown.lines().count() > 1 && shown.lines().all(|line| line.chars().count() <= COLUMNS), "{shown}");
        assert!(shown.lines().rev().skip(1).all(|line| line.ends_with(" \\")), "{shown}");
        let words: Vec<&str> = shown.split_whitespace().filter(|word| !["\\", "$"].contains(word)).collect();
        assert_eq!(words.join(" "), text);
    }
}
