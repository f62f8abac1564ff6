//! The DEBUG log of the upstream helper: each line is a JSON object, and the field `msg` of some holds a node's page.
//!
//! It does not say which node's. It scrapes all nodes in each of its rounds, so only the pages of the last complete round
//! are used: those of other rounds are the same nodes again.

use std::borrow::Cow;

use super::super::saved_page::{Lines, SavedPage, SavedPages};
use super::super::text::{LOG_MARK, find, lines};
use cni_metrics_core::summary::counted;
use cni_metrics_core::text::excerpt;
use serde::Deserialize;

/// What the upstream helper logs between the pages of two rounds.
const BETWEEN: [&[u8]; 2] = [b"Total aws-node pod count", b"Produce "];

/// Names of problems are shown up to this length.
const WHY_BYTES: usize = 200;

#[derive(Deserialize)]
struct Logged<'l> {
    #[serde(borrow)]
    msg: Cow<'l, str>,
}

/// A page of a round, with the line of the log that holds it.
type Found = (u32, Vec<u8>);

/// The pages of the last complete round.
pub(super) fn pages(text: &[u8]) -> SavedPages<'static> {
    let mut rounds: Vec<Vec<Found>> = vec![Vec::new()];
    let mut failures = Vec::new();
    for (number, line) in lines(text) {
        if find(line, LOG_MARK.as_bytes()).is_some() {
            match (page_of(line), rounds.last_mut()) {
                (Ok(page), Some(round)) => round.push((number, page)),
                (Ok(page), None) => rounds.push(vec![(number, page)]),
                (Err(why), _) => failures.push(format!("line {number} holds a page, but {why}")),
            }
        } else if BETWEEN.iter().any(|mark| find(line, mark).is_some())
            && rounds.last().is_some_and(|round| !round.is_empty())
        {
            rounds.push(Vec::new());
        }
    }
    // What follows the last mark may be the beginning of a round.
    let last = rounds.pop().unwrap_or_default();
    let used = rounds.pop().unwrap_or(last);
    let mut remarks = vec![format!(
        "a DEBUG log of the upstream helper with the pages of {}",
        counted(used.len() as u64, "node", "nodes")
    )];
    if !rounds.is_empty() {
        remarks.push(format!(
            "the pages of {} are not used",
            counted(rounds.len() as u64, "earlier round", "earlier rounds")
        ));
    }
    let pages = used.into_iter().enumerate().map(|(at, (number, text))| SavedPage {
        node: None,
        part: format!("page {} (log line {number})", at + 1),
        text: Cow::Owned(text),
        lines: Lines::After(0),
        ends_with_text: false,
    });
    SavedPages { pages: pages.collect(), remarks, failures }
}

/// The page that a line holds. What stands before the JSON object, such as a time, is passed over.
fn page_of(line: &[u8]) -> Result<Vec<u8>, String> {
    let object = line.iter().position(|byte| *byte == b'{').and_then(|at| line.get(at..)).unwrap_or_default();
    let logged: Logged<'_> = serde_json::from_slice(object.trim_ascii_end()).map_err(|error| {
        format!("its JSON object cannot be read: {}", excerpt(error.to_string().as_bytes(), WHY_BYTES))
    })?;
    let (_, page) = logged.msg.split_once(LOG_MARK).ok_or("not in the field msg")?;
    Ok(page.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &str) -> String {
        format!("{}\n", serde_json::json!({"level": "debug", "msg": message}))
    }

    fn page(held: u32) -> String {
        line(&format!("{LOG_MARK}awscni_total_ip_addresses {held}\n"))
    }

    fn held(log: &str) -> Vec<String> {
        let texts =
            pages(log.as_bytes()).pages.into_iter().map(|page| String::from_utf8(page.text.into_owned()).unwrap());
        texts.map(|text| text.trim().replace("awscni_total_ip_addresses ", "")).collect()
    }

    #[test]
    fn the_last_complete_round_counts() {
        let (total, produce) = (line("Total aws-node pod count: 2"), line("Produce GAUGE metrics: x, value: 1"));
        assert_eq!(held(&page(1)), ["1"]);
        assert_eq!(held(&format!("{total}{}{}", page(1), page(2))), ["1", "2"]);
        let two = format!("{total}{}{}{produce}{produce}{total}{}{}{produce}", page(1), page(2), page(3), page(4));
        assert_eq!(held(&two), ["3", "4"]);
        assert_eq!(held(&format!("{two}{total}{}", page(5))), ["3", "4"], "a round that is cut");
        assert_eq!(pages(two.as_bytes()).remarks[1], "the pages of 1 earlier round are not used");
    }

    #[test]
    fn a_prefix_is_passed_over_and_a_cut_line_is_named() {
        let log = format!("2026-11-26T10:00:00Z stdout F {}{}", page(7), page(8));
        let cut = log.get(..log.len() - 10).unwrap();
        let found = pages(cut.as_bytes());
        assert_eq!((found.pages.len(), found.failures.len()), (1, 1));
        assert!(found.failures[0].starts_with("line 2 holds a page, but its JSON object cannot be read"));
    }
}
