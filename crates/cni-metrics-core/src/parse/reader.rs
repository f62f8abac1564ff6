//! One reading of a page, line by line.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::error::{LineError, LineErrorKind, MAX_LINE_ERRORS, excerpt};
use super::fold::{Contribution, Fold};
use super::kept;
use super::labels::{Canonical, Label, canonical};
use super::limits::{MAX_LINE_BYTES, MAX_SERIES};
use super::line::{Sample, sample, split};
use super::name::recognise;
use super::series::{SERIES, Series};
use super::value::{value_and_rest, whole_number_line};
use cni_types::catalogue::LabelledFamily;

/// In which order a reading takes series to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Each family's series ascend as text: nothing is remembered but the last one.
    Ascending,
    /// Any: a fingerprint of every series is remembered.
    Any,
}

/// How many different unlabelled series must be repeated for a page to be several.
const REPEATED_SERIES: u32 = 3;

/// What a reading found.
#[derive(Debug, Default)]
pub(super) struct Reading<'p> {
    /// The sums.
    pub(super) fold: Fold<'p>,
    /// Lines that were neither blank nor bad.
    pub(super) readable_lines: u64,
    /// The first bad lines.
    pub(super) errors: Vec<LineError>,
    /// How many lines were bad.
    pub(super) error_count: u64,
    /// The unlabelled series that occurred more than once, a bit each.
    repeated: u32,
}

const _: () = assert!(SERIES <= u32::BITS as usize, "a bit for each series");

impl Reading<'_> {
    /// True if pages of several nodes, or several pages of one, follow each other.
    pub(super) fn is_several_pages(&self) -> bool {
        self.repeated.count_ones() >= REPEATED_SERIES
    }
}

/// A page under way.
#[derive(Debug)]
pub(super) struct Reader<'p> {
    /// What is left of it.
    text: &'p [u8],
    reading: Reading<'p>,
    seen: Seen<'p>,
    /// The current line, counted from 1.
    line: u64,
    blank_lines: u64,
    /// Lines of the catalogue's so far.
    series: u32,
    /// The labels of the last line of the catalogue's.
    previous: Canonical<'p>,
}

/// The series read so far, to find duplicates.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one a page, on the stack, in the usual case")]
enum Seen<'p> {
    /// The last label block of each series.
    Last([Option<&'p [u8]>; SERIES]),
    /// Fingerprints of everything.
    All(HashSet<u128>),
}

/// Why a reading cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The series do not ascend, so a duplicate could go unnoticed.
    OutOfOrder,
    /// There are more than [`MAX_SERIES`].
    TooManySeries,
}

impl<'p> Reader<'p> {
    pub(super) fn new(page: &'p [u8], order: Order) -> Self {
        let seen = match order {
            Order::Ascending => Seen::Last([None; SERIES]),
            Order::Any => Seen::All(HashSet::new()),
        };
        Self {
            text: page.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(page),
            reading: Reading::default(),
            seen,
            line: 0,
            blank_lines: 0,
            series: 0,
            previous: Canonical::default(),
        }
    }

    /// Reads about this number of bytes, at least a line; true once nothing is left.
    pub(super) fn read(&mut self, bytes: usize) -> Result<bool, Stop> {
        let mut text = self.text;
        let leave = text.len().saturating_sub(bytes.max(1));
        while text.len() > leave {
            self.line += 1;
            text = self.line(text)?;
        }
        self.text = text;
        Ok(text.is_empty())
    }

    /// True if a line of a counter was lost, and which ones were not is not known yet.
    pub(super) fn must_read_again(&self) -> bool {
        matches!(self.seen, Seen::Last(_)) && self.reading.fold.has_damaged_counter()
    }

    /// What was found.
    pub(super) fn finish(self) -> Reading<'p> {
        let Self { mut reading, seen, line, blank_lines, .. } = self;
        if matches!(seen, Seen::All(_)) {
            reading.fold.keep_readable_of_damaged();
        }
        reading.readable_lines = line - blank_lines - reading.error_count;
        reading
    }

    /// Reads the first line and returns the lines after it.
    #[inline]
    fn line(&mut self, text: &'p [u8]) -> Result<&'p [u8], Stop> {
        match text {
            [b'#', ..] => Ok(self.comment(text)),
            [b'a' | b'p', ..] => match recognise(text) {
                Some((series, after)) => self.sample(series, text, after),
                None => Ok(split(text).1),
            },
            [b'a'..=b'z' | b'A'..=b'Z' | b'_' | b':', ..] => Ok(split(text).1),
            _ => self.odd_line(text),
        }
    }

    /// A line that begins with neither a name nor a `#`: indented, blank or bad.
    #[cold]
    fn odd_line(&mut self, start: &'p [u8]) -> Result<&'p [u8], Stop> {
        let (line, rest) = split(start);
        let looked_at = line.get(..MAX_LINE_BYTES).unwrap_or(line);
        let indent = looked_at.len() - looked_at.trim_ascii_start().len();
        let text = start.get(indent..).unwrap_or_default();
        match line.get(indent..).unwrap_or_default() {
            [] => self.blank_lines += 1,
            [b'#', ..] => return Ok(self.comment(text)),
            [b'a'..=b'z' | b'A'..=b'Z' | b'_' | b':', ..] => {
                if let Some((series, after)) = recognise(text) {
                    return self.sample(series, start, after);
                }
            }
            _ => self.fail(None, start, LineErrorKind::NotAMetric),
        }
        Ok(rest)
    }

    /// Only the type of our own families is looked at, and only to report one that does not exist.
    #[inline]
    fn comment(&mut self, text: &'p [u8]) -> &'p [u8] {
        let (line, rest) = split(text);
        if line.starts_with(b"# TYPE awscni_") {
            let usual = line.ends_with(b" counter") || line.ends_with(b" gauge") || line.ends_with(b" summary");
            if !usual && (line.len() > MAX_LINE_BYTES || has_unknown_type(line)) {
                self.fail(None, text, LineErrorKind::UnknownType);
            }
        }
        rest
    }

    /// A line of the catalogue's: `start` is the line's, `after` what follows the name. Kept out of the loop over lines,
    /// most of which need none of its registers.
    #[inline(never)]
    fn sample(&mut self, series: Series, start: &'p [u8], after: &'p [u8]) -> Result<&'p [u8], Stop> {
        self.series += 1;
        if self.series > MAX_SERIES {
            return Err(Stop::TooManySeries);
        }
        if matches!(series, Series::LatencyQuantile | Series::BuildInfo) {
            return Ok(self.aside(series, after));
        }
        if matches!(self.seen, Seen::Last(_))
            && let Some((labels, tail)) = canonical(after, self.pair_of(series))
        {
            self.previous = labels;
            if let Some((value, rest)) = whole_number_line(tail) {
                self.canonical(series, start, labels, value)?;
                return Ok(rest);
            }
            if !labels.block.is_empty() {
                let (tail, rest) = split(tail);
                match value_and_rest(tail) {
                    Ok(value) => self.canonical(series, start, labels, value)?,
                    Err(kind) => self.fail(Some(series), start, kind),
                }
                return Ok(rest);
            }
        }
        let (tail, rest) = split(after);
        match sample(tail) {
            Ok(sample) => self.read_slowly(series, start, &sample)?,
            Err(kind) => self.fail(Some(series), start, kind),
        }
        Ok(rest)
    }

    /// A line whose value says nothing. Returns the lines after it.
    fn aside(&mut self, series: Series, after: &'p [u8]) -> &'p [u8] {
        let (labels, rest) = split(after);
        match series {
            Series::BuildInfo => self.reading.fold.note_version(version(labels)),
            _ => self.reading.fold.note_quantile(),
        }
        rest
    }

    /// Labels that a line probably repeats: `_count` follows `_sum`.
    #[inline]
    fn pair_of(&self, series: Series) -> Canonical<'p> {
        if series == Series::LatencyCount { self.previous } else { Canonical::default() }
    }

    /// Adds a line as Go agents write it.
    #[inline]
    fn canonical(&mut self, series: Series, start: &'p [u8], labels: Canonical<'p>, value: f64) -> Result<(), Stop> {
        let added = Contribution::new(series, labels.api, value).and_then(|contribution| {
            match self.seen.check_last(series, labels.block) {
                Ok(true) => self.reading.fold.add(contribution).map(Ok),
                Ok(false) => Err(LineErrorKind::Duplicate),
                Err(stop) => Ok(Err(stop)),
            }
        });
        match added {
            Ok(Ok(())) => {
                if let Some(family) = series.labelled() {
                    self.note_labels(family, &labels, value);
                }
                Ok(())
            }
            Ok(stop) => stop,
            Err(kind) => {
                self.fail(Some(series), start, kind);
                Ok(())
            }
        }
    }

    /// Kept out of the way of lines without labels that are kept.
    #[inline(never)]
    fn note_labels(&mut self, family: LabelledFamily, labels: &Canonical<'p>, value: f64) {
        if let Some(values) = kept::usual(family, labels) {
            self.reading.fold.note_usual_labels(family, values, value);
        } else if let Some(values) = kept::of_block(family, labels.block) {
            self.reading.fold.note_labels(family, values, value);
        }
    }

    /// Adds a line that took the slow path.
    fn read_slowly(&mut self, series: Series, start: &'p [u8], sample: &Sample<'p>) -> Result<(), Stop> {
        match &mut self.seen {
            Seen::Last(_) if sample.labels.is_empty() => {
                return self.canonical(series, start, Canonical::default(), sample.value);
            }
            Seen::Last(_) => return Err(Stop::OutOfOrder),
            Seen::All(seen) => {
                let added = Contribution::new(series, sample.label(b"api"), sample.value).and_then(|contribution| {
                    let [own, other] = fingerprint(series, &sample.labels);
                    if !seen.insert(u128::from(own) << 64 | u128::from(other)) {
                        return Err(LineErrorKind::Duplicate);
                    }
                    self.reading.fold.add(contribution)?;
                    if let Some(family) = series.family() {
                        self.reading.fold.note_readable(family, own);
                    }
                    if let Some(family) = series.labelled()
                        && let Some(values) = kept::of_labels(family, &sample.labels)
                    {
                        self.reading.fold.note_labels(family, values, sample.value);
                    }
                    Ok(())
                });
                if let Err(kind) = added {
                    self.fail(Some(series), start, kind);
                }
            }
        }
        Ok(())
    }

    #[cold]
    fn fail(&mut self, series: Option<Series>, start: &[u8], kind: LineErrorKind) {
        self.reading.error_count += 1;
        if kind == LineErrorKind::Duplicate
            && let Some(series) = series
            && !split(start).0.contains(&b'{')
        {
            self.reading.repeated |= 1 << series.index();
        }
        if kind == LineErrorKind::NotAMetric {
            self.reading.fold.note_lost_line();
        }
        if self.reading.errors.len() < MAX_LINE_ERRORS {
            let line = u32::try_from(self.line).unwrap_or(u32::MAX);
            self.reading.errors.push(LineError { line, kind, excerpt: excerpt(split(start).0) });
        }
        if let Some(family) = series.and_then(Series::family)
            && kind.loses_a_value()
        {
            self.reading.fold.damage(family);
        }
    }
}

impl<'p> Seen<'p> {
    /// Whether the series is new, or proves to be out of order.
    #[inline]
    fn check_last(&mut self, series: Series, block: &'p [u8]) -> Result<bool, Stop> {
        let Self::Last(last) = self else { return Err(Stop::OutOfOrder) };
        let Some(slot) = last.get_mut(series.index()) else { return Err(Stop::OutOfOrder) };
        match slot.map(|last| block.cmp(last)) {
            None | Some(std::cmp::Ordering::Greater) => {
                *slot = Some(block);
                Ok(true)
            }
            Some(std::cmp::Ordering::Equal) => Ok(false),
            Some(std::cmp::Ordering::Less) => Err(Stop::OutOfOrder),
        }
    }
}

/// Identifies a series by two 64-bit hashes (`SipHash` as in the standard library). Among 10,000 series, two have the same
/// fingerprint with a probability below 2^-100. A page made to contain such a pair needs some 2^64 tries, and then loses
/// only one of its own lines as a duplicate.
fn fingerprint(series: Series, labels: &[Label<'_>]) -> [u64; 2] {
    [0_u8, 1].map(|half| {
        let mut hasher = DefaultHasher::new();
        half.hash(&mut hasher);
        series.index().hash(&mut hasher);
        labels.hash(&mut hasher);
        hasher.finish()
    })
}

/// The label `version` of `awscni_build_info`.
fn version(labels: &[u8]) -> Option<&[u8]> {
    const LABEL: &[u8] = b"version=\"";
    let labels = labels.get(..MAX_LINE_BYTES).unwrap_or(labels);
    // `goversion` ends like it.
    let at = memchr::memmem::find_iter(labels, LABEL).find(|at| {
        at.checked_sub(1).and_then(|before| labels.get(before)).is_some_and(|before| b"{, \t".contains(before))
    })?;
    let value = labels.get(at + LABEL.len()..)?;
    value.get(..memchr::memchr(b'"', value)?)
}

/// True for a `# TYPE` line of the catalogue's that names no type there is.
fn has_unknown_type(line: &[u8]) -> bool {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).skip(2);
    let (name, kind) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let ours = recognise(name).is_some_and(|(_, rest)| rest.is_empty());
    let known: [&[u8]; 9] = [
        b"counter",
        b"gauge",
        b"summary",
        b"histogram",
        b"untyped",
        b"unknown",
        b"info",
        b"stateset",
        b"gaugehistogram",
    ];
    ours && !known.contains(&kind)
}
