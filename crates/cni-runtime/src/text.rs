//! Text from outside (services' error messages, tags, labels) as it may stand in a log line or an answer.

use cni_metrics_core::text;

/// Bytes kept of a text, before escaping.
const MOST_BYTES: usize = 300;

/// The beginning of a text on one line: runs of white space become one blank, what acts on a terminal is escaped, and what
/// is too long is cut and ends in an ellipsis.
pub fn excerpt(text: &str) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > MOST_BYTES {
            break;
        }
    }
    if line.is_empty() { "(no text)".to_owned() } else { text::excerpt(line.as_bytes(), MOST_BYTES) }
}

/// An error and its causes as one excerpt, each text once.
pub fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    excerpt(&chain(error))
}

/// What the clients of HTTP and AWS say with the names of their own types.
const CLIENTS_WORDS: [(&str, &str); 5] = [
    ("dispatch failure: io error: ", ""),
    ("client error (Connect)", "cannot connect"),
    ("client error (SendRequest)", "the request failed"),
    ("client error (ChannelClosed)", "the connection was closed"),
    ("client error (Canceled)", "the connection was closed"),
];

/// An error and its causes, each text once, as they are: for errors whose texts are written here, and may have several
/// lines.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    // No chain of causes is this long; a chain that leads back to itself ends here.
    const MOST_CAUSES: usize = 32;
    let mut texts: Vec<String> = Vec::new();
    for error in std::iter::successors(Some(error), |error| error.source()).take(MOST_CAUSES) {
        let text = error.to_string();
        if texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
    }
    plain(texts.join(": "))
}

/// A text of a client's error, without the names of that client's types.
pub fn plain(text: String) -> String {
    CLIENTS_WORDS.iter().fold(text, |text, (types, words)| text.replace(types, words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Layer {
        text: &'static str,
        source: Option<std::io::Error>,
    }

    #[test]
    fn a_cause_that_an_error_names_itself_is_not_told_again() {
        let missing = || Some(std::io::Error::from_raw_os_error(2));
        let doubled = Layer { text: "a.yaml: No such file or directory (os error 2)", source: missing() };
        assert_eq!(chain(&doubled), doubled.text);
        let layered = Layer { text: "client error (Connect)", source: missing() };
        assert_eq!(causes(&layered), "cannot connect: No such file or directory (os error 2)");
    }

    #[test]
    fn an_excerpt_is_one_short_line_without_hidden_characters() {
        assert_eq!(excerpt(" two\r\n lines\tand\u{1b}[31m red\u{202e} "), r"two lines and\u{1b}[31m red\u{202e}");
        assert_eq!(excerpt(" \n "), "(no text)");
        assert_eq!(excerpt("prod-münchen"), "prod-münchen");
        let long = excerpt(&"x".repeat(1 << 20));
        assert_eq!((long.chars().count(), long.ends_with("x…")), (MOST_BYTES + 1, true));
        assert!(excerpt(&"\0".repeat(1 << 20)).len() < 10 * MOST_BYTES);
    }
}
