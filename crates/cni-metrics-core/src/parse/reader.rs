//! One reading of a page, line by line.

use std::collections::HashSet;

use super::error::{LineError, LineErrorKind, MAX_LINE_ERRORS, excerpt};
use super::fold::{Contribution, Fold};
use super::labels::{Canonical, Label, canonical};
use super::line::{Sample, sample, split};
use super::name::{SERIES, Series, recognise};
use super::value::{value_and_rest, whole_number_line};

/// In which order a reading takes series to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Each family's series ascend as text: nothing is remembered but the last one.
    Ascending,
    /// Any: every series is remembered.
    Any,
}

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
}

/// Reads a page; `None` if its series do not come in the order that was taken for granted.
pub(super) fn read(page: &[u8], order: Order) -> Option<Reading<'_>> {
    let seen = match order {
        Order::Ascending => Seen::Last([None; SERIES]),
        Order::Any => Seen::All(HashSet::new()),
    };
    let mut reader =
        Reader { reading: Reading::default(), seen, line: 0, blank_lines: 0, previous: Canonical::default() };
    let mut text = page.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(page);
    while !text.is_empty() {
        reader.line += 1;
        text = reader.line(text)?;
    }
    let Reader { mut reading, line, blank_lines, .. } = reader;
    reading.readable_lines = line - blank_lines - reading.error_count;
    Some(reading)
}

struct Reader<'p> {
    reading: Reading<'p>,
    seen: Seen<'p>,
    /// The current line, counted from 1.
    line: u64,
    blank_lines: u64,
    /// The labels of the last line of the catalogue's.
    previous: Canonical<'p>,
}

/// The series read so far, to find duplicates.
#[expect(clippy::large_enum_variant, reason = "one a page, on the stack, in the usual case")]
enum Seen<'p> {
    /// The last label block of each series.
    Last([Option<&'p [u8]>; SERIES]),
    /// Everything.
    All(HashSet<(Series, Vec<Label<'p>>)>),
}

/// The series do not ascend, so a duplicate could go unnoticed.
struct OutOfOrder;

impl<'p> Reader<'p> {
    /// Reads the first line and returns the lines after it.
    #[inline]
    fn line(&mut self, text: &'p [u8]) -> Option<&'p [u8]> {
        match text {
            [b'#', ..] => Some(self.comment(text)),
            [b'a' | b'p', ..] => match recognise(text) {
                Some((series, after)) => self.sample(series, text, after).ok(),
                None => Some(split(text).1),
            },
            [b'a'..=b'z' | b'A'..=b'Z' | b'_' | b':', ..] => Some(split(text).1),
            _ => self.odd_line(text),
        }
    }

    /// A line that begins with neither a name nor a `#`: indented, blank or bad.
    #[cold]
    fn odd_line(&mut self, start: &'p [u8]) -> Option<&'p [u8]> {
        let (line, rest) = split(start);
        let text = start.get(line.len() - line.trim_ascii_start().len()..)?;
        match line.trim_ascii_start() {
            [] => self.blank_lines += 1,
            [b'#', ..] => return Some(self.comment(text)),
            [b'a'..=b'z' | b'A'..=b'Z' | b'_' | b':', ..] => {
                if let Some((series, after)) = recognise(text) {
                    return self.sample(series, start, after).ok();
                }
            }
            _ => self.fail(None, start, LineErrorKind::NotAMetric),
        }
        Some(rest)
    }

    /// Only the type of our own families is looked at, and only to report one that does not exist.
    #[inline]
    fn comment(&mut self, text: &'p [u8]) -> &'p [u8] {
        let (line, rest) = split(text);
        if line.starts_with(b"# TYPE awscni_") {
            let usual = line.ends_with(b" counter") || line.ends_with(b" gauge") || line.ends_with(b" summary");
            if !usual && has_unknown_type(line) {
                self.fail(None, text, LineErrorKind::UnknownType);
            }
        }
        rest
    }

    /// A line of the catalogue's: `start` is the line's, `after` what follows the name. Kept out of the loop over lines,
    /// most of which need none of its registers.
    #[inline(never)]
    fn sample(&mut self, series: Series, start: &'p [u8], after: &'p [u8]) -> Result<&'p [u8], OutOfOrder> {
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
                let value = match std::str::from_utf8(tail) {
                    Ok(_) => value_and_rest(tail),
                    Err(_) => Err(LineErrorKind::NotUtf8),
                };
                match value {
                    Ok(value) => self.canonical(series, start, labels, value)?,
                    Err(kind) => self.fail(Some(series), start, kind),
                }
                return Ok(rest);
            }
        }
        let (tail, rest) = split(after);
        match sample(tail) {
            Ok(sample) => self.patient(series, start, sample)?,
            Err(kind) => self.fail(Some(series), start, kind),
        }
        Ok(rest)
    }

    /// Labels that a line probably repeats: `_count` follows `_sum`.
    #[inline]
    fn pair_of(&self, series: Series) -> Canonical<'p> {
        if series == Series::LatencyCount { self.previous } else { Canonical::default() }
    }

    /// Adds a line as Go agents write it.
    #[inline]
    fn canonical(
        &mut self,
        series: Series,
        start: &'p [u8],
        labels: Canonical<'p>,
        value: f64,
    ) -> Result<(), OutOfOrder> {
        let added = Contribution::new(series, labels.api, labels.quantile, value).and_then(|contribution| {
            match self.seen.check_last(series, labels.block) {
                Ok(true) => self.reading.fold.add(contribution).map(Ok),
                Ok(false) => Err(LineErrorKind::Duplicate),
                Err(out_of_order) => Ok(Err(out_of_order)),
            }
        });
        match added {
            Ok(in_order) => in_order,
            Err(kind) => {
                self.fail(Some(series), start, kind);
                Ok(())
            }
        }
    }

    /// Adds a line that was read patiently.
    fn patient(&mut self, series: Series, start: &'p [u8], sample: Sample<'p>) -> Result<(), OutOfOrder> {
        let (api, quantile) = (sample.label(b"api"), sample.label(b"quantile"));
        match &mut self.seen {
            Seen::Last(_) if sample.labels.is_empty() => {
                return self.canonical(series, start, Canonical::default(), sample.value);
            }
            Seen::Last(_) => return Err(OutOfOrder),
            Seen::All(seen) => {
                let added = Contribution::new(series, api, quantile, sample.value).and_then(|contribution| {
                    let is_new = seen.insert((series, sample.labels));
                    if is_new { self.reading.fold.add(contribution) } else { Err(LineErrorKind::Duplicate) }
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
    fn check_last(&mut self, series: Series, block: &'p [u8]) -> Result<bool, OutOfOrder> {
        let Self::Last(last) = self else { return Err(OutOfOrder) };
        let Some(slot) = last.get_mut(series.index()) else { return Err(OutOfOrder) };
        match slot.map(|last| block.cmp(last)) {
            None | Some(std::cmp::Ordering::Greater) => {
                *slot = Some(block);
                Ok(true)
            }
            Some(std::cmp::Ordering::Equal) => Ok(false),
            Some(std::cmp::Ordering::Less) => Err(OutOfOrder),
        }
    }
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
