//! A reader of tar archives: names, sizes and contents of regular files, in one pass.
//!
//! It never writes, so a name is nothing but text to show. What a header may make it allocate is bounded. It reads the
//! formats that tar programs write: ustar, GNU's long names, and the POSIX extensions `path` and `size`.

use std::io::{self, Read};

/// An archive is a sequence of blocks of this size.
pub(super) const BLOCK: usize = 512;

/// A name, or the extensions of an entry, may be this long.
const MAX_NAME_BYTES: u64 = 64 << 10;

/// A regular file of an archive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) bytes: u64,
}

/// An archive that is being read.
pub(super) struct Archive<R> {
    reader: R,
    /// What is left of the current entry, and of the padding after it.
    left: u64,
    padding: u64,
    /// The content of an entry could not be read: what is behind it cannot be found.
    is_broken: bool,
}

/// True for the first block of an archive. Its sum tells: archives of old programs have no mark.
pub(super) fn is_archive(start: &[u8]) -> bool {
    start.first_chunk().is_some_and(|block: &[u8; BLOCK]| block.first() != Some(&0) && has_true_sum(block))
}

/// True if a header's sum is what the header says.
fn has_true_sum(block: &[u8; BLOCK]) -> bool {
    let sum: u64 = block.iter().enumerate().map(|(at, byte)| if is_sum(at) { 32 } else { u64::from(*byte) }).sum();
    block.get(148..156).and_then(number) == Some(sum)
}

impl<R: Read> Archive<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, left: 0, padding: 0, is_broken: false }
    }

    /// The next regular file. Links, folders and devices are passed over. After an error in an entry's content, which
    /// its reader has met, there is none.
    pub(super) fn next(&mut self) -> io::Result<Option<Entry>> {
        if self.is_broken {
            return Ok(None);
        }
        let (mut long_name, mut long_size) = (None, None);
        loop {
            self.skip()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let field = |from: usize, bytes: usize| header.get(from..from + bytes).unwrap_or_default();
            let size = number(field(124, 12)).ok_or_else(|| invalid("an entry has no valid size"))?;
            self.enter(size);
            match header.get(156) {
                Some(b'L') => long_name = Some(text(&self.small()?).to_vec()),
                Some(b'x') => {
                    let extensions = self.small()?;
                    long_name = extension(&extensions, b"path").map(<[u8]>::to_vec).or(long_name);
                    let size = extension(&extensions, b"size")
                        .map(|size| std::str::from_utf8(size).ok().and_then(|size| size.parse().ok()));
                    long_size =
                        size.map(|size| size.ok_or_else(|| invalid("an entry has no valid size"))).transpose()?;
                }
                // A regular file, in the formats' three ways of saying so.
                Some(b'0' | 0 | b'7') => {
                    let bytes = long_size.unwrap_or(size);
                    self.enter(bytes);
                    let name = long_name.unwrap_or_else(|| join(text(field(345, 155)), text(field(0, 100))));
                    // Old archives mark a folder by its name only.
                    if !name.ends_with(b"/") {
                        return Ok(Some(Entry { name, bytes }));
                    }
                    (long_name, long_size) = (None, None);
                }
                // The content of all others is passed over, as are long names of links (K) and extensions for all (g).
                Some(b'K' | b'g') => {}
                _ => (long_name, long_size) = (None, None),
            }
        }
    }

    /// The content of the current entry.
    pub(super) fn content(&mut self) -> Content<'_, R> {
        Content(self)
    }

    fn enter(&mut self, bytes: u64) {
        let block = BLOCK as u64;
        (self.left, self.padding) = (bytes, (block - bytes % block) % block);
    }

    /// Goes to the end of the current entry.
    fn skip(&mut self) -> io::Result<()> {
        let rest = self.left.saturating_add(self.padding);
        let skipped = io::copy(&mut self.reader.by_ref().take(rest), &mut io::sink())?;
        if skipped < rest {
            return Err(cut());
        }
        self.enter(0);
        Ok(())
    }

    /// The next header; none at the end of the archive.
    fn header(&mut self) -> io::Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.reader.read(rest)? {
                // Some programs leave out the two blocks that end an archive.
                0 if filled == 0 => return Ok(None),
                0 => return Err(cut()),
                read => filled += read,
            }
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if has_true_sum(&block) {
            Ok(Some(block))
        } else {
            Err(invalid("the archive is damaged: a header's sum is wrong"))
        }
    }

    /// The whole content of an entry that extends the one after it.
    fn small(&mut self) -> io::Result<Vec<u8>> {
        if self.left > MAX_NAME_BYTES {
            return Err(invalid("an entry's name or extensions are longer than 64 KiB"));
        }
        let mut content = Vec::new();
        self.content().read_to_end(&mut content)?;
        Ok(content)
    }
}

/// The content of one entry.
pub(super) struct Content<'a, R>(&'a mut Archive<R>);

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.0.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = match self.0.reader.read(buffer.get_mut(..most).unwrap_or_default()) {
            Ok(0) if most > 0 => Err(cut()),
            read => read,
        };
        let read = read.inspect_err(|error| self.0.is_broken |= error.kind() != io::ErrorKind::Interrupted)?;
        self.0.left = self.0.left.saturating_sub(read as u64);
        Ok(read)
    }
}

/// True for the bytes of a header that hold its sum, and count as blanks in it.
fn is_sum(at: usize) -> bool {
    (148..156).contains(&at)
}

/// Octal digits, or a number in binary as GNU writes large ones.
fn number(field: &[u8]) -> Option<u64> {
    if let [0x80, binary @ ..] = field {
        return binary.iter().try_fold(0_u64, |sum, byte| sum.checked_mul(256)?.checked_add(u64::from(*byte)));
    }
    let digits = text(field).trim_ascii();
    let digit = |byte: u8| matches!(byte, b'0'..=b'7').then(|| u64::from(byte - b'0'));
    digits.iter().try_fold(0_u64, |sum, byte| sum.checked_mul(8)?.checked_add(digit(*byte)?))
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}

/// The value of a record `LENGTH KEY=VALUE\n`; of several the last one counts.
fn extension<'a>(mut records: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let mut found = None;
    while let Some(blank) = records.iter().position(|byte| *byte == b' ') {
        let length: usize = std::str::from_utf8(records.get(..blank)?).ok()?.parse().ok()?;
        let record = records.get(blank + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        if record.get(..equals)? == wanted {
            found = record.get(equals + 1..);
        }
        records = records.get(length..)?;
    }
    found
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends early")
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One entry as tar programs write it.
    fn entry(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut block = [0_u8; BLOCK];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        block[156] = kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        signed(block, content)
    }

    fn signed(mut block: [u8; BLOCK], content: &[u8]) -> Vec<u8> {
        block[148..156].copy_from_slice(b"        ");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let mut whole = block.to_vec();
        whole.extend_from_slice(content);
        whole.resize(whole.len().next_multiple_of(BLOCK), 0);
        whole
    }

    fn all(archive: &[u8]) -> io::Result<Vec<(String, Vec<u8>)>> {
        let mut reader = Archive::new(archive);
        let mut found = Vec::new();
        while let Some(entry) = reader.next()? {
            let mut content = Vec::new();
            reader.content().read_to_end(&mut content)?;
            assert_eq!(content.len() as u64, entry.bytes);
            found.push((String::from_utf8_lossy(&entry.name).into_owned(), content));
        }
        Ok(found)
    }

    #[test]
    fn regular_files_are_found_whatever_stands_between_them() {
        let long = format!("{}/metrics.json", "n".repeat(200));
        let record = format!(" path={long}\n");
        let length = record.len() + 3;
        let archive = [
            entry("folder/", b'5', b""),
            entry("link", b'2', b""),
            entry("a", b'0', b"one"),
            entry("././@LongLink", b'L', format!("{long}\0").as_bytes()),
            entry("cut", b'0', &[b'x'; 600]),
            entry("extensions", b'x', format!("{length}{record}").as_bytes()),
            entry("cut", b'0', b""),
            vec![0; 2 * BLOCK],
        ]
        .concat();
        let found = all(&archive).unwrap();
        let names: Vec<_> = found.iter().map(|(name, content)| (name.as_str(), content.len())).collect();
        assert_eq!(names, [("a", 3), (long.as_str(), 600), (long.as_str(), 0)]);
        assert!(is_archive(&archive) && !is_archive(&archive[..BLOCK - 1]) && !is_archive(&[b'a'; BLOCK]));
        // The blocks at the end may be missing.
        assert_eq!(all(&archive[..archive.len() - 2 * BLOCK]).unwrap().len(), 3);
    }

    #[test]
    fn a_damaged_archive_is_an_error_after_what_was_whole() {
        let whole = [entry("a", b'0', b"one"), entry("b", b'0', &[b'x'; 700])].concat();
        assert!(all(&whole[..whole.len() - BLOCK]).unwrap_err().to_string().contains("ends early"));
        assert!(all(&whole[..BLOCK + BLOCK + 100]).unwrap_err().to_string().contains("ends early"));
        let mut wrong = whole;
        wrong[2 * BLOCK] = b'c';
        assert!(all(&wrong).unwrap_err().to_string().contains("sum is wrong"));
    }

    #[test]
    fn what_a_header_may_make_it_allocate_is_bounded() {
        for kind in [b'L', b'x'] {
            let mut block = [0_u8; BLOCK];
            block[124..136].copy_from_slice(b"\x80\0\0\0\0\0\0\x7f\xff\xff\xff\xff");
            block[156] = kind;
            let error = all(&signed(block, b"")).unwrap_err();
            assert!(error.to_string().contains("longer than 64 KiB"), "{error}");
        }
        assert_eq!(number(b"\x80\0\0\0\0\0\0\0\0\x01\0\0"), Some(65_536));
        assert_eq!(number(b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
        assert_eq!((number(b"0000644 "), number(b"9"), number(b"")), (Some(0o644), None, Some(0)));
    }
}
