//! What a file's bytes say as text: UTF-8, or the UTF-16 that Windows PowerShell writes.

use cni_types::catalogue::FAMILY_PREFIX;

/// What stands before a page in the DEBUG log of the upstream helper.
pub(super) const LOG_MARK: &str = "cni-metrics text output: ";

/// How many characters without a byte order mark show that a text is UTF-16.
const SHOWING: usize = 16;

/// The text as UTF-8, without a byte order mark. A pair of bytes that is no character becomes U+FFFD; an odd byte at the
/// end is left out.
pub(super) fn utf8(bytes: Vec<u8>) -> Vec<u8> {
    let (skip, read): (usize, fn([u8; 2]) -> u16) = match bytes.as_slice() {
        [0xFF, 0xFE, ..] => (2, u16::from_le_bytes),
        [0xFE, 0xFF, ..] => (2, u16::from_be_bytes),
        start if is_ascii_in_two_bytes(start, 0) => (0, u16::from_le_bytes),
        start if is_ascii_in_two_bytes(start, 1) => (0, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, text @ ..] => return text.to_vec(),
        _ => return bytes,
    };
    let units = bytes.get(skip..).unwrap_or_default().chunks_exact(2);
    let units = units.filter_map(|pair| <[u8; 2]>::try_from(pair).ok()).map(read);
    let text: String = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    text.into_bytes()
}

/// True where each of the first characters is ASCII, `at` in its pair of bytes, and the other byte 0.
fn is_ascii_in_two_bytes(bytes: &[u8], at: usize) -> bool {
    let mut pairs = bytes.chunks_exact(2).take(SHOWING).peekable();
    pairs.peek().is_some()
        && pairs.all(|pair| {
            let (character, other) = (pair.get(at), pair.get(1 - at));
            character.is_some_and(|byte| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..0x7F)) && other == Some(&0)
        })
}

/// True if a line of the text is of ipamd's metrics, or holds a page of the upstream helper's log.
pub(super) fn has_pages(text: &[u8]) -> bool {
    lines(text).any(|(_, line)| family_line(line).is_some()) || find(text, LOG_MARK.as_bytes()).is_some()
}

/// The rest of a line of ipamd's metrics after its family's prefix; of a comment too.
fn family_line(line: &[u8]) -> Option<&[u8]> {
    let name = line.strip_prefix(b"# HELP ").or_else(|| line.strip_prefix(b"# TYPE ")).unwrap_or(line);
    name.strip_prefix(FAMILY_PREFIX.as_bytes())
}

/// Lines with their numbers, counted from 1, each with its newline.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    text.split_inclusive(|byte| *byte == b'\n').zip(1_u32..).map(|(line, number)| (number, line))
}

/// The name that a line of the text format begins with; empty where it begins with none.
pub(super) fn name_of(line: &[u8]) -> &[u8] {
    let end = line.iter().position(|byte| !matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b':'));
    line.get(..end.unwrap_or(line.len())).unwrap_or_default()
}

/// Where a text stands in another.
pub(super) fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP awscni_eni_max ü\r\nawscni_eni_max 3\r\n";

    fn utf16(text: &str, mark: &[u8], write: fn(u16) -> [u8; 2]) -> Vec<u8> {
        mark.iter().copied().chain(text.encode_utf16().flat_map(write)).collect()
    }

    #[test]
    fn utf16_is_read_in_both_orders_with_a_mark_and_without_where_it_shows() {
        for (mark, write) in [
            (&b"\xFF\xFE"[..], u16::to_le_bytes as fn(u16) -> [u8; 2]),
            (b"\xFE\xFF", u16::to_be_bytes),
            (b"", u16::to_le_bytes),
            (b"", u16::to_be_bytes),
        ] {
            assert_eq!(utf8(utf16(PAGE, mark, write)), PAGE.as_bytes(), "{mark:?}");
        }
        let mut odd = utf16("a 1\n", b"\xFF\xFE", u16::to_le_bytes);
        odd.extend([0x00, 0xD8, b'x']);
        assert_eq!(utf8(odd), "a 1\n\u{FFFD}".as_bytes());
    }

    #[test]
    fn other_bytes_stay_as_they_are_but_for_a_mark() {
        for bytes in [&b""[..], b"a", b"a 1\n", b"\x00\x01\x02\x03", b"\x80\x81", PAGE.as_bytes()] {
            assert_eq!(utf8(bytes.to_vec()), bytes);
        }
        assert_eq!(utf8(b"\xEF\xBB\xBFa 1\n".to_vec()), b"a 1\n");
    }

    #[test]
    fn a_page_is_told_from_other_texts_by_its_lines() {
        assert!(has_pages(b"x\nawscni_eni_max 3\n") && has_pages(b"# TYPE awscni_eni_max gauge\n"));
        assert!(has_pages(br#"{"msg":"cni-metrics text output: "}"#));
        assert!(!has_pages(b"expr: awscni_eni_max\n") && !has_pages(b"") && !has_pages(b"go_threads 3\n"));
    }
}
