//! Pages whose last line has no newline: it may be cut, and what comes behind it may be missing.
//!
//! A scrape refuses such a page. Of a saved one the lines before are read, and nothing is taken for absent that the page
//! has not come to.

use std::fmt;

use super::text::name_of;
use cni_metrics_core::model::{FamilySample, NodeSample};
use cni_types::catalogue::{FAMILY_PREFIX, Family};

/// What OpenMetrics ends a page with: a proxy may have trimmed the newline behind it.
const END_MARK: &[u8] = b"\n# EOF";

/// A last line without newline.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CutLine<'p> {
    line: &'p [u8],
    /// Its number, from 1.
    number: u32,
}

/// The lines that are whole, and the last one if it is not. A page without any whole line stays as it is.
pub(super) fn whole_lines(page: &[u8]) -> (&[u8], Option<CutLine<'_>>) {
    let end = page.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let (lines, last) = page.split_at(end);
    if last.is_empty() || lines.is_empty() || page.ends_with(END_MARK) {
        return (page, None);
    }
    let before = memchr::memchr_iter(b'\n', lines).count();
    let number = u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1);
    (lines, Some(CutLine { line: last, number }))
}

impl fmt::Display for CutLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} has no newline at its end: it may be cut, and is left out", self.number)?;
        if self.may_hide_metrics() {
            f.write_str("; metrics that may have come after it count as not measured")?;
        }
        Ok(())
    }
}

impl CutLine<'_> {
    /// True if metrics of ipamd's may be missing: agents write metrics in the order of their names.
    fn may_hide_metrics(&self) -> bool {
        let prefix = FAMILY_PREFIX.as_bytes();
        let starts_later = self.line.first().is_some_and(u8::is_ascii_lowercase)
            && self.line > prefix
            && !self.line.starts_with(prefix);
        !starts_later
    }

    /// Marks what the sample does not know: families that the page does not have, and the one that is cut.
    pub(super) fn mark(&self, sample: &mut NodeSample) {
        if !self.may_hide_metrics() {
            return;
        }
        sample.has_lost_lines = true;
        let comment = self.line.strip_prefix(b"# HELP ").or_else(|| self.line.strip_prefix(b"# TYPE "));
        let cut = name_of(comment.unwrap_or(self.line));
        for family in Family::ALL {
            let names = [Some(family.name()), family.former_name()];
            let is_cut = names.into_iter().flatten().any(|name| {
                let name = name.as_bytes();
                !cut.is_empty() && (name.starts_with(cut) || (cut.starts_with(name) && family.counts_events()))
            });
            if is_cut && let Some(slot) = sample.families.get_mut(family as usize) {
                let sum = slot.map_or(0.0, |known| known.sum);
                let readable = slot.map_or(0, |known| known.readable);
                *slot = Some(FamilySample { sum, damaged: true, readable });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(line: &str) -> CutLine<'_> {
        CutLine { line: line.as_bytes(), number: 2 }
    }

    #[test]
    fn a_last_line_without_newline_is_left_out() {
        let page = "awscni_eni_max 3\nprocess_start_time_seconds 17\n";
        assert_eq!(whole_lines(page.as_bytes()), (page.as_bytes(), None));
        for (text, lines, last) in [
            ("awscni_eni_max 3\nprocess_start_time_seconds 1", "awscni_eni_max 3\n", "process_start_time_seconds 1"),
            ("a 1\nawscni_ip", "a 1\n", "awscni_ip"),
        ] {
            assert_eq!(whole_lines(text.as_bytes()), (lines.as_bytes(), Some(cut(last))), "{text}");
        }
        for whole in ["", "awscni_eni_max 3", "a 1\n# EOF", "a 1\n"] {
            assert_eq!(whole_lines(whole.as_bytes()), (whole.as_bytes(), None), "{whole}");
        }
    }

    #[test]
    fn ipamds_metrics_may_be_missing_unless_the_cut_line_comes_after_them() {
        for later in ["go_threads 1", "process_start_time_seconds 1", "awt"] {
            assert!(!cut(later).may_hide_metrics(), "{later}");
        }
        for ours in ["awscni_ip", "awscni_eni_max 3", "aw", "# TY", "# TYPE awscni_eni_max gauge", "{", "ü"] {
            assert!(cut(ours).may_hide_metrics(), "{ours}");
        }
    }

    #[test]
    fn the_family_that_is_cut_and_those_behind_it_are_not_known() {
        let damaged = |line: &str| {
            let mut sample = NodeSample::default();
            cut(line).mark(&mut sample);
            assert!(sample.has_lost_lines, "{line}");
            let all = Family::ALL.into_iter().filter(|family| sample.get(*family).is_some_and(|known| known.damaged));
            all.map(Family::name).collect::<Vec<_>>()
        };
        assert_eq!(damaged("awscni_ip_max 2"), ["awscni_ip_max"]);
        assert_eq!(damaged("awscni_aws_api_latency_ms_sum{api=\"Att"), ["awscni_aws_api_latency_ms"]);
        assert_eq!(damaged("# TYPE awscni_ec2api_req_c"), ["awscni_ec2api_req_count"]);
        assert_eq!(damaged("awscni_eni_").len(), 2, "eni_allocated and eni_max");
        assert!(damaged("# TY").is_empty());
        let mut whole = NodeSample::default();
        cut("go_threads 1").mark(&mut whole);
        assert_eq!(whole, NodeSample::default());
    }
}
