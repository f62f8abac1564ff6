//! Metrics with ipamd's prefix that no known agent serves: a misspelt name, a newer agent, or a recorded rule.

use std::collections::BTreeMap;

use super::text::{lines, name_of};
use cni_metrics_core::text::excerpt;
use cni_types::catalogue::{FAMILY_PREFIX, Family, NOT_READ};

/// How many names are shown; all are counted.
const SHOWN: usize = 10;

/// How many names are told apart.
const MAX_NAMES: usize = 1_000;

/// Names are shown up to this length.
const NAME_BYTES: usize = 100;

/// What series of summaries, histograms and other exporters' counters have behind the name.
const SUFFIXES: [&str; 5] = ["_sum", "_count", "_bucket", "_total", "_created"];

/// One sentence on the unknown names of a page, if there are any. `line_of` gives the text's line of a page's line.
pub(super) fn unknown(page: &[u8], line_of: &dyn Fn(u32) -> u32) -> Option<String> {
    let mut names: BTreeMap<&[u8], (u32, u64)> = BTreeMap::new();
    let (mut all, mut more) = (0_u64, 0_u64);
    for (number, line) in lines(page) {
        let name = name_of(line.trim_ascii_start());
        if !name.starts_with(FAMILY_PREFIX.as_bytes()) || is_known(name) {
            continue;
        }
        all = all.saturating_add(1);
        if names.len() < MAX_NAMES || names.contains_key(name) {
            let (_, count) = names.entry(name).or_insert((number, 0));
            *count = count.saturating_add(1);
        } else {
            more = more.saturating_add(1);
        }
    }
    if all == 0 {
        return None;
    }
    let shown = names.iter().take(SHOWN).map(|(name, (first, count))| {
        let (name, line) = (excerpt(name, NAME_BYTES), line_of(*first));
        if *count == 1 { format!("{name} (line {line})") } else { format!("{name} ({count} lines from line {line})") }
    });
    let shown = shown.collect::<Vec<_>>().join(", ");
    let rest = names.len().saturating_sub(SHOWN);
    let rest = if rest == 0 { String::new() } else { format!(" and {rest} more names") };
    let beyond = if more == 0 { String::new() } else { format!("; {more} lines beyond {MAX_NAMES} names") };
    Some(format!("{all} series of ipamd's prefix that no known agent serves, left out: {shown}{rest}{beyond}"))
}

fn is_known(name: &[u8]) -> bool {
    let families = || Family::ALL.into_iter().flat_map(|family| [Some(family.name()), family.former_name()]).flatten();
    let known = |name: &[u8]| families().chain(NOT_READ.iter().copied()).any(|family| family.as_bytes() == name);
    known(name) || SUFFIXES.iter().any(|suffix| name.strip_suffix(suffix.as_bytes()).is_some_and(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_agents_serve_are_known() {
        for name in [
            "awscni_eni_max",
            "awscni_assigned_ip_per_ipv4cidr",
            "awscni_aws_api_lantency_ms_sum",
            "awscni_add_ip_req_count_total",
            "awscni_ipamd_startup_duration_seconds_bucket",
            "awscni_build_info",
        ] {
            assert!(is_known(name.as_bytes()), "{name}");
        }
        assert!(!is_known(b"awscni_eni_maxi") && !is_known(b"awscni_total_ip_adresses") && !is_known(b"awscni_"));
    }

    #[test]
    fn unknown_names_are_counted_and_named_with_their_first_line() {
        assert_eq!(unknown(b"awscni_eni_max 3\ngo_threads 9\n# HELP awscni_odd x\n", &|line| line), None);
        let page = b"awscni_odd{a=\"1\"} 1\nawscni_odd{a=\"2\"} 1\nawscni_eni_maxi 3\n";
        let said = unknown(page, &|line| line + 100).unwrap();
        assert!(
            said.starts_with("3 series ")
                && said.ends_with("awscni_eni_maxi (line 103), awscni_odd (2 lines from line 101)"),
            "{said}"
        );
    }

    #[test]
    fn any_number_of_names_makes_one_bounded_sentence() {
        let lines: Vec<String> = (0..5_000).map(|n| format!("awscni_odd{n} 1\n")).collect();
        let page = lines.concat();
        let said = unknown(page.as_bytes(), &|line| line).unwrap();
        assert!(said.starts_with("5000 series ") && said.len() < 1_000, "{said}");
        assert!(said.contains(" and 990 more names; 4000 lines beyond 1000 names"), "{said}");
    }
}
