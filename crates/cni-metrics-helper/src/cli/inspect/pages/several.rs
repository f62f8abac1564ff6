//! Pages that follow each other in one file, as a loop of `kubectl get --raw … >> FILE` writes them.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::super::saved_page::{Lines, SavedPage, SavedPages};
use super::super::text::{lines, name_of};
use cni_types::catalogue::FAMILY_PREFIX;

/// How many different series without labels must be repeated for a text to be several pages.
const REPEATED: usize = 3;

/// How many different names are remembered: of one page, and while series are counted.
const MAX_NAMES: usize = 4_096;

/// The pages, if there are several.
pub(super) fn pages(text: &[u8]) -> Option<SavedPages<'_>> {
    let repeats = repeats(text)?;
    let descents = starts(text, &mut Descents::default());
    // Agents write families in the order of their names. Where that is so, the order tells pages apart best.
    let starts = if descents.len() == repeats { descents } else { starts(text, &mut Repeats::default()) };
    let ends = starts.iter().skip(1).map(|(offset, _)| *offset).chain([text.len()]);
    let mut pages = Vec::with_capacity(starts.len());
    for (number, (&(from, before), to)) in starts.iter().zip(ends).enumerate() {
        let text = text.get(from..to).unwrap_or_default();
        let part = format!("page {}", number + 1);
        let (text, lines, ends_with_text) = (Cow::Borrowed(text), Lines::After(before), number + 1 == starts.len());
        pages.push(SavedPage { node: None, part, text, lines, ends_with_text });
    }
    let remarks = vec![format!("{} pages in one file, one node each", pages.len())];
    Some(SavedPages { pages, remarks, failures: Vec::new() })
}

/// How often the series without labels that occurs most often does, if the text is several pages.
fn repeats(text: &[u8]) -> Option<usize> {
    let mut counts: HashMap<&[u8], usize> = HashMap::new();
    for (_, line) in lines(text) {
        let name = name_of(line);
        if name.starts_with(FAMILY_PREFIX.as_bytes()) && line.get(name.len()) != Some(&b'{') {
            if counts.len() >= MAX_NAMES && !counts.contains_key(name) {
                continue;
            }
            let count = counts.entry(name).or_default();
            *count = count.saturating_add(1);
        }
    }
    let repeated = counts.values().filter(|count| **count > 1).count();
    counts.into_values().max().filter(|_| repeated >= REPEATED)
}

/// Decides where a page begins.
trait Boundary<'t> {
    /// True if the family that begins here begins a page.
    fn begins(&mut self, family: &'t [u8]) -> bool;
}

/// A page begins where a family comes before the one above it.
#[derive(Default)]
struct Descents<'t>(&'t [u8]);

impl<'t> Boundary<'t> for Descents<'t> {
    fn begins(&mut self, family: &'t [u8]) -> bool {
        let descends = family < self.0;
        self.0 = family;
        descends
    }
}

/// A page begins where a family begins that the page has already.
#[derive(Default)]
struct Repeats<'t>(HashSet<&'t [u8]>);

impl<'t> Boundary<'t> for Repeats<'t> {
    fn begins(&mut self, family: &'t [u8]) -> bool {
        let is_repeated = self.0.contains(family);
        if is_repeated {
            self.0.clear();
        }
        if self.0.len() < MAX_NAMES {
            self.0.insert(family);
        }
        is_repeated
    }
}

/// Where pages begin: the offset, and the number of lines before. The text's beginning is the first.
fn starts<'t>(text: &'t [u8], boundary: &mut dyn Boundary<'t>) -> Vec<(usize, u32)> {
    let mut starts = vec![(0, 0)];
    let (mut offset, mut current): (usize, &[u8]) = (0, b"");
    for (number, line) in lines(text) {
        let comment = line.strip_prefix(b"# HELP ").or_else(|| line.strip_prefix(b"# TYPE "));
        let family = name_of(comment.unwrap_or(line));
        if !family.is_empty() && !is_of(family, current) {
            if boundary.begins(family) {
                starts.push((offset, number.saturating_sub(1)));
            }
            current = family;
        }
        offset = offset.saturating_add(line.len());
    }
    starts
}

/// True if the series is of the family, or of the same as it: a summary and a histogram have several names.
fn is_of(series: &[u8], family: &[u8]) -> bool {
    const SUFFIXES: [&[u8]; 5] = [b"_sum", b"_count", b"_bucket", b"_total", b"_created"];
    let stem = |name| SUFFIXES.iter().find_map(|suffix| <[u8]>::strip_suffix(name, *suffix)).unwrap_or(name);
    series == family || stem(series) == family || stem(series) == stem(family)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP awscni_add_ip_req_count x\n# TYPE awscni_add_ip_req_count counter\n\
        awscni_add_ip_req_count 3\nawscni_assigned_ip_addresses 2\n\
        awscni_aws_api_latency_ms_sum{api=\"a\"} 1\nawscni_aws_api_latency_ms_count{api=\"a\"} 1\n\
        awscni_aws_api_latency_ms_sum{api=\"b\"} 1\nawscni_aws_api_latency_ms_count{api=\"b\"} 1\n\
        awscni_eni_max 3\nawscni_ip_max 27\n# HELP go_threads x\ngo_threads 9\n";

    fn split(text: &str) -> Option<Vec<(String, u32)>> {
        let text_of = |page: &SavedPage<'_>| String::from_utf8(page.text.to_vec()).unwrap();
        let before = |page: &SavedPage<'_>| page.lines.of_text(0);
        pages(text.as_bytes()).map(|found| found.pages.iter().map(|page| (text_of(page), before(page))).collect())
    }

    #[test]
    fn one_page_is_not_several_in_whatever_order() {
        let reversed: String = PAGE.split_inclusive('\n').rev().collect();
        for one in ["", "x", PAGE, &reversed, "awscni_eni_max 3\nawscni_eni_max 3\n"] {
            assert_eq!(split(one), None, "{one}");
        }
    }

    #[test]
    fn pages_are_told_apart_by_the_order_of_names() {
        let shorter = PAGE.split_inclusive('\n').skip(3).collect::<String>();
        for (first, second) in [(PAGE, PAGE), (PAGE, &*shorter), (&*shorter, PAGE)] {
            let lines = u32::try_from(first.lines().count()).unwrap();
            let expected = vec![(first.to_owned(), 0), (second.to_owned(), lines)];
            assert_eq!(split(&format!("{first}{second}")), Some(expected));
        }
        assert_eq!(split(&PAGE.repeat(3)).unwrap().len(), 3);
    }

    #[test]
    fn pages_in_another_order_are_told_apart_by_what_is_repeated() {
        let page = "awscni_ip_max 27\ngo_threads 9\nawscni_eni_max 3\nawscni_add_ip_req_count 3\n";
        let expected = vec![(page.to_owned(), 0), (page.to_owned(), 4)];
        assert_eq!(split(&page.repeat(2)), Some(expected));
    }
}
