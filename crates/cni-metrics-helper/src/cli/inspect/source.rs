//! Where saved pages are: files, folders, compressed files, archives, and any of these in another.
//!
//! Nothing is written to disk. [`Limits`] bound how much is read and unpacked, whatever a file claims to be.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use cni_metrics_core::model::FailureKind;
use cni_metrics_core::text::excerpt;
use flate2::read::MultiGzDecoder;

use super::tar::{self, Archive};
use super::text;

/// How much one argument may make the program read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Of one file or entry.
    pub(super) file_bytes: u64,
    /// Of everything that an argument unpacks to.
    pub(super) unpacked_bytes: u64,
    /// Files and entries of an argument.
    pub(super) entries: u32,
    /// Folders, compressed files and archives inside each other.
    pub(super) depth: u32,
}

/// A file may hold the pages of many nodes. A support bundle unpacks to some hundred megabytes.
pub(super) const LIMITS: Limits = Limits { file_bytes: 64 << 20, unpacked_bytes: 4 << 30, entries: 100_000, depth: 16 };

/// Names are shown up to this length.
const NAME_BYTES: usize = 300;

/// What messages call the standard input.
pub(super) const STDIN: &str = "standard input";

/// Takes what is found.
pub(super) trait Found {
    /// The text of a file or entry that is, or should be, saved pages. `place` names it in messages.
    fn text(&mut self, place: &str, text: &[u8]) -> io::Result<()>;

    /// Something that cannot be read.
    fn failed(&mut self, place: &str, kind: FailureKind, why: &str) -> io::Result<()>;

    /// The end of an argument that is a folder or an archive: the number of files with pages, or that should have had
    /// some, and of the others.
    fn gathered(&mut self, place: &str, pages: u64, others: u64) -> io::Result<()>;
}

/// Reads one argument of the command line.
pub(super) fn read(argument: &str, limits: Limits, found: &mut dyn Found) -> io::Result<()> {
    let left = Rc::new(Cell::new(limits.unpacked_bytes));
    let mut walk = Walk { limits, left, entries: 0, is_over: false, gathers: false, found, texts: 0, others: 0 };
    let place = if argument == "-" { STDIN.to_owned() } else { excerpt(argument.as_bytes(), NAME_BYTES) };
    if argument == "-" {
        walk.stream(&place, &mut io::stdin().lock(), Role::Named, 0)?;
    } else {
        walk.path(&place, Path::new(argument), Role::Named, 0)?;
    }
    let Walk { gathers, texts, others, .. } = walk;
    if gathers { found.gathered(&place, texts, others) } else { Ok(()) }
}

/// Why a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// It was named, or its name says that it is a page: if it is none, that is an error.
    Named,
    /// It is in a folder or an archive beside the pages.
    Beside,
}

/// What is read of one argument.
struct Walk<'a> {
    limits: Limits,
    /// Bytes that may still be unpacked.
    left: Rc<Cell<u64>>,
    entries: u32,
    /// A limit was reached, and said.
    is_over: bool,
    /// The argument is a folder or an archive.
    gathers: bool,
    found: &'a mut dyn Found,
    /// Files with pages so far, and others.
    texts: u64,
    others: u64,
}

impl Walk<'_> {
    fn path(&mut self, place: &str, path: &Path, role: Role, depth: u32) -> io::Result<()> {
        // A link in a folder is followed to a file only, so that no folder is read twice.
        match std::fs::metadata(path) {
            Ok(about) if about.is_dir() => self.folder(place, path, depth),
            Ok(about) if role == Role::Beside && !about.is_file() => {
                self.pass_over();
                Ok(())
            }
            Ok(_) => match File::open(path) {
                Ok(mut file) => self.stream(place, &mut file, role, depth),
                Err(error) => self.unreadable(place, &error),
            },
            Err(error) => self.unreadable(place, &error),
        }
    }

    fn folder(&mut self, place: &str, path: &Path, depth: u32) -> io::Result<()> {
        if depth >= self.limits.depth {
            return self.too_deep(place);
        }
        let names: io::Result<Vec<_>> =
            std::fs::read_dir(path).and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
        let mut names = match names {
            Ok(names) => names,
            Err(error) => return self.unreadable(place, &error),
        };
        names.sort();
        self.gathers = true;
        for name in names {
            if !self.enter(place)? {
                break;
            }
            let shown = excerpt(name.as_encoded_bytes(), NAME_BYTES);
            let inside = format!("{}/{shown}", place.trim_end_matches('/'));
            let path = path.join(&name);
            let is_link = path.symlink_metadata().is_ok_and(|about| about.is_symlink());
            if is_link && path.is_dir() {
                self.pass_over();
            } else {
                self.path(&inside, &path, role_of(name.as_encoded_bytes()), depth.saturating_add(1))?;
            }
        }
        Ok(())
    }

    /// One file, or what a compressed one holds.
    fn stream(&mut self, place: &str, reader: &mut dyn Read, role: Role, depth: u32) -> io::Result<()> {
        let mut start = Vec::with_capacity(tar::BLOCK);
        if let Err(error) = reader.take(tar::BLOCK as u64).read_to_end(&mut start) {
            return self.unreadable(place, &error);
        }
        let mut whole = start.as_slice().chain(reader);
        let is_packed = start.starts_with(&[0x1F, 0x8B]);
        if (is_packed || tar::is_archive(&start)) && depth >= self.limits.depth {
            return self.too_deep(place);
        }
        if is_packed {
            let unpacked = MultiGzDecoder::new(whole);
            let mut unpacked = Bounded { reader: unpacked, left: Rc::clone(&self.left) };
            return self.stream(place, &mut unpacked, role, depth.saturating_add(1));
        }
        if tar::is_archive(&start) {
            return self.archive(place, &mut whole, depth.saturating_add(1));
        }
        if let Some(format) = other_format(&start).filter(|_| role == Role::Named) {
            let why = format!("it is {format}, which is not read here: unpack it first");
            return self.found.failed(place, FailureKind::BadPage, &why);
        }
        self.file(place, &mut whole, role)
    }

    fn file(&mut self, place: &str, reader: &mut dyn Read, role: Role) -> io::Result<()> {
        let most = self.limits.file_bytes;
        let mut bytes = Vec::new();
        if let Err(error) = reader.take(most.saturating_add(1)).read_to_end(&mut bytes) {
            return self.unreadable(place, &error);
        }
        let is_whole = bytes.len() as u64 <= most;
        let text = text::utf8(bytes);
        if role == Role::Beside && !text::has_pages(&text) {
            self.pass_over();
            return Ok(());
        }
        self.texts = self.texts.saturating_add(1);
        if is_whole {
            self.found.text(place, &text)
        } else {
            self.found.failed(place, FailureKind::TooLarge, &format!("larger than {most} bytes, not read"))
        }
    }

    fn archive(&mut self, place: &str, reader: &mut dyn Read, depth: u32) -> io::Result<()> {
        self.gathers = true;
        let mut archive = Archive::new(reader);
        loop {
            let entry = match archive.next() {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                Err(error) => {
                    self.unreadable(place, &error)?;
                    break;
                }
            };
            if !self.enter(place)? {
                break;
            }
            let inside = format!("{place}:{}", excerpt(&entry.name, NAME_BYTES));
            let name = entry.name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            self.stream(&inside, &mut archive.content(), role_of(name), depth)?;
            if self.is_over {
                break;
            }
        }
        Ok(())
    }

    /// Counts an entry; false once there were too many.
    fn enter(&mut self, place: &str) -> io::Result<bool> {
        self.entries = self.entries.saturating_add(1);
        if self.entries > self.limits.entries && !self.is_over {
            self.is_over = true;
            let why = format!("more than {} files: the rest is not read", self.limits.entries);
            self.found.failed(place, FailureKind::TooLarge, &why)?;
        }
        Ok(!self.is_over)
    }

    fn pass_over(&mut self) {
        self.others = self.others.saturating_add(1);
    }

    fn too_deep(&mut self, place: &str) -> io::Result<()> {
        self.texts = self.texts.saturating_add(1);
        let why = format!("more than {} folders and archives inside each other: not read", self.limits.depth);
        self.found.failed(place, FailureKind::TooLarge, &why)
    }

    fn unreadable(&mut self, place: &str, error: &io::Error) -> io::Result<()> {
        if self.is_over {
            return Ok(());
        }
        self.texts = self.texts.saturating_add(1);
        if self.left.get() == 0 {
            self.is_over = true;
            let why = format!("unpacks to more than {} bytes: the rest is not read", self.limits.unpacked_bytes);
            return self.found.failed(place, FailureKind::TooLarge, &why);
        }
        let missing = error.kind() == io::ErrorKind::NotFound;
        let kind = if missing { FailureKind::NotFound } else { FailureKind::BadPage };
        self.found.failed(place, kind, &error.to_string())
    }
}

/// A page by its name: `metrics.out` of aws-cni-support.sh, `metrics.json` of the log collector of EKS, `*.prom`.
fn role_of(name: &[u8]) -> Role {
    let is_page = name == b"metrics" || name.starts_with(b"metrics.") || name.ends_with(b".prom");
    if is_page { Role::Named } else { Role::Beside }
}

/// Formats that people pack files with, and that are not read.
fn other_format(start: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], &str); 4] = [
        (b"PK\x03\x04", "a zip archive"),
        (b"\xFD7zXZ\x00", "compressed by xz"),
        (b"\x28\xB5\x2F\xFD", "compressed by zstd"),
        (b"BZh", "compressed by bzip2"),
    ];
    known.iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, name)| *name)
}

/// Unpacked bytes, which are counted against what an argument may unpack to.
struct Bounded<R> {
    reader: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        let left = self.left.get().saturating_sub(read as u64);
        self.left.set(left);
        if left == 0 && read > 0 { Err(io::Error::other("it unpacks to too much")) } else { Ok(read) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    const SMALL: Limits = Limits { file_bytes: 1_000, unpacked_bytes: 20_000, entries: 5, depth: 3 };

    const PAGE: &[u8] = b"awscni_eni_max 3\n";

    /// What was found, in a line each.
    #[derive(Default)]
    struct Lines(Vec<String>);

    impl Found for Lines {
        fn text(&mut self, place: &str, text: &[u8]) -> io::Result<()> {
            self.0.push(format!("{place}: {} bytes", text.len()));
            Ok(())
        }

        fn failed(&mut self, place: &str, kind: FailureKind, why: &str) -> io::Result<()> {
            self.0.push(format!("{place}: {kind}: {why}"));
            Ok(())
        }

        fn gathered(&mut self, place: &str, pages: u64, others: u64) -> io::Result<()> {
            self.0.push(format!("{place}: {pages} and {others}"));
            Ok(())
        }
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn entry(name: &str, content: &[u8]) -> Vec<u8> {
        let mut block = [0_u8; tar::BLOCK];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        block[156] = b'0';
        block[257..265].copy_from_slice(b"ustar\x0000");
        block[148..156].copy_from_slice(b"        ");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let mut whole = block.to_vec();
        whole.extend_from_slice(content);
        whole.resize(whole.len().next_multiple_of(tar::BLOCK), 0);
        whole
    }

    /// What is found in a file with this content.
    fn found(content: &[u8]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, content).unwrap();
        let mut lines = Lines::default();
        read(path.to_str().unwrap(), SMALL, &mut lines).unwrap();
        let start = format!("{}/", folder.path().display());
        lines.0.into_iter().map(|line| line.replace(&start, "")).collect()
    }

    #[test]
    fn a_file_is_read_up_to_its_limit_packed_or_not() {
        let most = vec![b'\n'; 1_000];
        let more = vec![b'\n'; 1_001];
        assert_eq!((found(&most), found(&gzip(&most))), (vec!["a: 1000 bytes".into()], vec!["a: 1000 bytes".into()]));
        let refused = vec!["a: too_large: larger than 1000 bytes, not read".to_owned()];
        assert_eq!((found(&more), found(&gzip(&more))), (refused.clone(), refused));
    }

    #[test]
    fn what_an_argument_unpacks_to_is_bounded_by_all_its_entries_together() {
        // What is passed over counts too.
        let archive = [entry("x", &[b'x'; 15_000]), entry("y", &[b'y'; 15_000]), entry("metrics", PAGE)].concat();
        let said = found(&gzip(&archive));
        assert_eq!(
            said,
            ["a: too_large: unpacks to more than 20000 bytes: the rest is not read", "a: 1 and 2"],
            "{said:?}"
        );
        let whole = [entry("metrics", PAGE), entry("y", &[b'y'; 15_000])].concat();
        assert_eq!(found(&gzip(&whole)), ["a:metrics: 17 bytes", "a: 1 and 1"]);
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        let archive = entry("metrics", PAGE).repeat(9);
        let said = found(&archive);
        let mut expected = vec!["a:metrics: 17 bytes".to_owned(); 5];
        expected.push("a: too_large: more than 5 files: the rest is not read".to_owned());
        expected.push("a: 5 and 0".to_owned());
        assert_eq!(said, expected);
    }

    #[test]
    fn archives_in_each_other_are_bounded() {
        assert_eq!(found(&gzip(&gzip(&gzip(PAGE)))), ["a: 17 bytes"]);
        let deep = gzip(&gzip(&gzip(&gzip(PAGE))));
        assert_eq!(found(&deep), ["a: too_large: more than 3 folders and archives inside each other: not read"]);
        let nested = entry("b.tar", &entry("c.tar", &entry("d.tar", &entry("metrics", PAGE))));
        let said = found(&nested);
        assert!(said[0].starts_with("a:b.tar:c.tar:d.tar: too_large: more than 3"), "{said:?}");
    }

    #[test]
    fn bytes_that_are_no_archive_fail_and_never_more() {
        let whole = gzip(&[entry("metrics", PAGE), entry("y", &[b'y'; 900])].concat());
        for cut in 0..whole.len() {
            let said = found(&whole[..cut]);
            assert!(!said.is_empty(), "{cut}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x55;
            assert!(!found(&damaged).is_empty(), "{at}");
        }
    }
}
