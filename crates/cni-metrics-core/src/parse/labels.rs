//! The labels of a sample line.
//!
//! Values stay as written, escapes included: the valid escapes are one-to-one, so two values are equal exactly if
//! their spellings are.

use super::error::LineErrorKind;
use super::limits::{MAX_LABELS, MAX_LINE_BYTES};

/// One label: its name, and its value as written.
pub(super) type Label<'p> = (&'p [u8], &'p [u8]);

/// A label block in the form that Go agents write: sorted short names, no spaces, no trailing comma.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Canonical<'p> {
    /// The whole block. Two canonical blocks hold the same labels exactly if they are equal as bytes.
    pub(super) block: &'p [u8],
    /// Label `api`, as written.
    pub(super) api: Option<&'p [u8]>,
}

/// Label names up to this length are compared as one machine word.
const SHORT_NAME: usize = 8;
const API: u64 = word(b"api");

/// A short name as a number that orders as the text does.
const fn word(name: &[u8]) -> u64 {
    let mut word = 0;
    let mut left = name;
    let mut free = SHORT_NAME;
    while let [byte, rest @ ..] = left {
        word = word << 8 | *byte as u64;
        left = rest;
        free -= 1;
    }
    if free == SHORT_NAME { 0 } else { word << (8 * free) }
}

/// The canonical block at the front of the text, and what follows it; `None` if the block is anything else, good or
/// bad. `previous_line` is the last block that was read: a summary's lines come in pairs with equal labels.
#[inline]
pub(super) fn canonical<'p>(text: &'p [u8], previous_line: Canonical<'p>) -> Option<(Canonical<'p>, &'p [u8])> {
    let [b'{', inside @ ..] = text else { return Some((Canonical::default(), text)) };
    if !previous_line.block.is_empty()
        && let Some(after) = text.strip_prefix(previous_line.block)
    {
        return Some((previous_line, after));
    }
    let (mut found, mut rest, mut previous) = (Canonical::default(), inside, 0);
    for _ in 0..MAX_LABELS {
        let (name, after_name) = known_name(rest).or_else(|| short_name(rest))?;
        if name <= previous {
            return None;
        }
        previous = name;
        let (value, after_value) = quoted(after_name.strip_prefix(b"\"")?).ok()?;
        if name == API {
            found.api = Some(value);
        }
        match after_value {
            [b',', next @ ..] => rest = next,
            [b'}', after @ ..] => {
                found.block = text.get(..text.len() - after.len()).filter(|block| block.len() <= MAX_LINE_BYTES)?;
                let is_text = found.block.is_ascii() || std::str::from_utf8(found.block).is_ok();
                return is_text.then_some((found, after));
            }
            _ => return None,
        }
    }
    None
}

/// One of the label names that ipamd uses, as [`short_name`] would give it: one comparison instead of a walk.
#[inline]
fn known_name(text: &[u8]) -> Option<(u64, &[u8])> {
    macro_rules! pick {
        ($name:literal) => {
            text.strip_prefix(concat!($name, "=").as_bytes()).map(|rest| (const { word($name.as_bytes()) }, rest))
        };
    }
    match text.first()? {
        b'a' => pick!("api"),
        b'c' => pick!("cidr"),
        b'e' => pick!("error"),
        b'f' => pick!("fn"),
        b'r' => pick!("reason"),
        b's' => pick!("status"),
        _ => None,
    }
}

/// A label name of at most eight characters and the text after its `=`.
#[inline]
fn short_name(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut word = 0;
    for (at, byte) in text.iter().take(SHORT_NAME + 1).enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {}
            b'0'..=b'9' if at > 0 => {}
            b'=' if at > 0 => return Some((word << (8 * (SHORT_NAME - at)), text.get(at + 1..)?)),
            _ => return None,
        }
        word = word << 8 | u64::from(*byte);
    }
    None
}

/// A value up to its closing quote, and the text after that. `text` begins after the opening quote.
#[inline]
fn quoted(text: &[u8]) -> Result<(&[u8], &[u8]), LineErrorKind> {
    let mut from = 0;
    loop {
        let tail = text.get(from..).ok_or(LineErrorKind::UnclosedLabels)?;
        let at = from + memchr::memchr3(b'"', b'\\', b'\n', tail).ok_or(LineErrorKind::UnclosedLabels)?;
        match text.get(at..) {
            Some([b'"', after @ ..]) => return Ok((text.get(..at).unwrap_or_default(), after)),
            Some([b'\\', b'\\' | b'"' | b'n', ..]) => from = at + 2,
            Some([b'\\', _, ..]) => return Err(LineErrorKind::LabelEscape),
            _ => return Err(LineErrorKind::UnclosedLabels),
        }
    }
}

/// Labels in any legal spelling, and the text after them. `text` is the rest of one line after the name.
pub(super) fn labels(text: &[u8]) -> Result<(Vec<Label<'_>>, &[u8]), LineErrorKind> {
    let text = text.trim_ascii_start();
    let [b'{', inside @ ..] = text else { return Ok((Vec::new(), text)) };
    let (mut labels, mut rest) = (Vec::new(), inside.trim_ascii_start());
    loop {
        if let [b'}', after @ ..] = rest {
            return Ok((labels, after));
        }
        if labels.len() == MAX_LABELS {
            return Err(LineErrorKind::TooManyLabels);
        }
        let (label, after) = label(rest)?;
        labels.push(label);
        rest = match after.trim_ascii_start() {
            [b',', next @ ..] => next.trim_ascii_start(),
            end @ [b'}', ..] => end,
            [] => return Err(LineErrorKind::UnclosedLabels),
            _ => return Err(LineErrorKind::LabelSeparator),
        };
    }
}

fn label(text: &[u8]) -> Result<(Label<'_>, &[u8]), LineErrorKind> {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let end = text.iter().position(|byte| !is_name(byte)).ok_or(LineErrorKind::UnclosedLabels)?;
    let (name, rest) = text.split_at_checked(end).ok_or(LineErrorKind::LabelName)?;
    match (name, rest) {
        ([], [b',', ..]) => return Err(LineErrorKind::LabelSeparator),
        ([] | [b'0'..=b'9', ..], _) => return Err(LineErrorKind::LabelName),
        _ => {}
    }
    let value = match rest.trim_ascii_start() {
        [b'=', value @ ..] => value.trim_ascii_start(),
        _ => return Err(LineErrorKind::LabelValue),
    };
    let (value, after) = quoted(value.strip_prefix(b"\"").ok_or(LineErrorKind::LabelValue)?)?;
    Ok(((name, value), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_blocks_are_taken_whole() {
        let text = br#"{api="A",error="false",status="200"} 7"#;
        let (found, rest) = canonical(text, Canonical::default()).unwrap();
        assert_eq!(found.api, Some(&b"A"[..]));
        assert_eq!(found.block, br#"{api="A",error="false",status="200"}"#);
        assert_eq!(rest, b" 7");
        let (found, _) = canonical(br#"{api="a\"b",reason="r"} 7"#, found).unwrap();
        assert_eq!(found.api, Some(&br#"a\"b"#[..]));
        assert_eq!(canonical(br#"{api="a\"b",reason="r"} 9"#, found), Some((found, &b" 9"[..])), "the same again");
        assert_eq!(canonical(b" 7", found), Some((Canonical::default(), &b" 7"[..])));
    }

    #[test]
    fn other_spellings_are_left_to_the_slow_path() {
        for text in [
            "{}",
            "{fn=\"a\",}",
            "{ fn=\"a\"}",
            "{fn = \"a\"}",
            "{fn=\"b\",api=\"a\"}",
            "{fn=\"a\",fn=\"a\"}",
            "{a_long_name=\"a\"}",
            "{fn=\"a",
            "{fn=\"a\\x\"}",
            "{0=\"a\"}",
            "{=\"a\"}",
            "{fn}",
            "{fn=\"a\nb\"}",
        ] {
            assert_eq!(canonical(text.as_bytes(), Canonical::default()), None, "{text}");
        }
        assert_eq!(canonical(b"{fn=\"\xFF\"} 1", Canonical::default()), None);
    }

    #[test]
    fn any_legal_spelling_is_read() {
        let expected: Vec<Label<'_>> = vec![(b"b", b"x,}={"), (b"a", b"")];
        for text in [r#"{b="x,}={",a=""} 1"#, r#" { b = "x,}={" , a = "" , } 1"#, "\t{b=\"x,}={\",\ta=\"\"} 1"] {
            assert_eq!(labels(text.as_bytes()), Ok((expected.clone(), &b" 1"[..])), "{text}");
        }
        assert_eq!(labels(b"{} 1"), Ok((vec![], &b" 1"[..])));
    }

    #[test]
    fn blocks_and_lists_of_labels_are_bounded() {
        let list = |count: u8| {
            let names =
                (0..count).map(|at| format!("{}{}=\"\"", char::from(b'a' + at / 26), char::from(b'a' + at % 26)));
            format!("{{{}}} 1", names.collect::<Vec<_>>().join(","))
        };
        assert!(canonical(list(64).as_bytes(), Canonical::default()).is_some());
        assert_eq!(canonical(list(65).as_bytes(), Canonical::default()), None);
        assert_eq!(labels(list(64).as_bytes()).map(|(labels, _)| labels.len()), Ok(64));
        assert_eq!(labels(list(65).as_bytes()), Err(LineErrorKind::TooManyLabels));
        let block = |value: usize| format!("{{fn=\"{}\"}} 1", "x".repeat(value));
        let longest = MAX_LINE_BYTES - "{fn=\"\"}".len();
        assert!(canonical(block(longest).as_bytes(), Canonical::default()).is_some());
        assert_eq!(canonical(block(longest + 1).as_bytes(), Canonical::default()), None);
    }

    #[test]
    fn what_is_no_label() {
        use LineErrorKind::{LabelEscape, LabelName, LabelSeparator, LabelValue, UnclosedLabels};
        for (text, error) in [
            ("{", UnclosedLabels),
            ("{fn", UnclosedLabels),
            ("{fn=\"a", UnclosedLabels),
            ("{fn=\"a\"", UnclosedLabels),
            ("{fn=\"a\\", UnclosedLabels),
            ("{fn=\"a\\t\"}", LabelEscape),
            ("{fn=\"a\"b=\"c\"}", LabelSeparator),
            ("{fn=\"a\",,b=\"c\"}", LabelSeparator),
            ("{,}", LabelSeparator),
            ("{fn=a}", LabelValue),
            ("{fn}", LabelValue),
            ("{1fn=\"a\"}", LabelName),
            ("{=\"a\"}", LabelName),
            ("{f-n=\"a\"}", LabelValue),
        ] {
            assert_eq!(labels(text.as_bytes()), Err(error), "{text}");
        }
    }
}
