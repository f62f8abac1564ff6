//! `explain`: the documentation of one finding, alert or kind of failure, from the program itself. No network is needed.

use std::fmt::Write as _;
use std::io::Write;

use anyhow::bail;
use clap::Args;
use cni_generate::alert::{ALERTS, AlertNames};
use cni_insight::catalogue::FindingId;
use cni_metrics_core::model::FailureKind;

use crate::view::wrap::paragraph;

/// A section for each finding, under its id.
const FINDING_PAGES: &str = include_str!("../../../../docs/findings.md");
/// A section for each alert, under its name.
const ALERT_PAGES: &str = include_str!("../../../../docs/alerts.md");
/// A table with one row, or several, for each kind of failure.
const FAILURE_PAGES: &str = include_str!("../../../../docs/troubleshooting.md");

/// Options of `explain`.
#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    /// A finding (`subnet-exhausted`), an alert (`VpcCniNodesFull`), the name of an alarm in CloudWatch, or a kind of failure
    /// (`timeout`)
    #[arg(value_name = "ID")]
    id: Option<String>,
}

/// Prints the page, or the list of all.
pub fn run(args: &ExplainArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let page = match args.id.as_deref() {
        None => index(),
        Some(id) => match page(id) {
            Some(page) => page,
            None => bail!("there is no page about {id:?}; the pages that there are:\n{}", index().trim_end()),
        },
    };
    Ok(out.write_all(page.as_bytes())?)
}

fn page(id: &str) -> Option<String> {
    finding_page(id).or_else(|| alert_page(id)).or_else(|| failure_page(id))
}

/// Every ID, under what it is.
fn index() -> String {
    let mut text = "Findings:\n".to_owned();
    for id in FindingId::ALL {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {id}");
    }
    text.push_str("Alerts (Prometheus, CloudWatch):\n");
    for AlertNames { rule, alarm } in ALERTS {
        let _ = match alarm {
            Some(alarm) => writeln!(text, "  {rule}, {alarm}"),
            None => writeln!(text, "  {rule}"),
        };
    }
    let kinds: Vec<&str> = FailureKind::ALL.iter().map(|kind| kind.label()).collect();
    let _ = writeln!(text, "Kinds of failure:");
    for kinds in kinds.chunks(4) {
        let _ = writeln!(text, "  {}", kinds.join(", "));
    }
    text
}

fn finding_page(id: &str) -> Option<String> {
    let id = FindingId::by_name(&id.to_ascii_lowercase())?;
    let (_, rest) = FINDING_PAGES.split_once(&format!("\n## {id}\n"))?;
    let (section, _) = rest.split_once("\n## ").unwrap_or((rest, ""));
    let title = format!("{id}: {} ({})", id.facts().title, id.facts().severity);
    Some(format!("{}\n{}", filled(&title), filled(&plain(section.trim()))))
}

fn alert_page(id: &str) -> Option<String> {
    let id = id.to_ascii_lowercase();
    // An alarm in CloudWatch has the cluster's name in front, and one for each shard that shard's number behind.
    let id = id.rsplit_once("-vpc-cni-").map_or(id.as_str(), |(_, alarm)| alarm);
    let id = match id.rsplit_once("-shard-") {
        Some((alarm, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => alarm,
        _ => id,
    };
    let is_it = |alert: &&AlertNames| alert.rule.eq_ignore_ascii_case(id) || alert.alarm == Some(id);
    let alert = ALERTS.iter().find(is_it)?;
    let (_, rest) = ALERT_PAGES.split_once(&format!("\n## {}\n", alert.rule))?;
    let (section, _) = rest.split_once("\n## ").unwrap_or((rest, ""));
    Some(format!("{}\n\n{}", alert.rule, filled(&plain(section.trim()))))
}

fn failure_page(id: &str) -> Option<String> {
    let kind = FailureKind::ALL.into_iter().find(|kind| kind.label().eq_ignore_ascii_case(id))?.label();
    let mut text = format!("{kind}: why a node gave no page in a round\n");
    let rows = FAILURE_PAGES.lines().filter_map(|line| line.strip_prefix(&format!("| `{kind}` | ")));
    let mut rows = rows.filter_map(|row| row.trim_end().strip_suffix(" |")?.split_once(" | ")).peekable();
    rows.peek()?;
    for (reason, remedy) in rows {
        let said = format!("The log says: {}\n\n{}", plain(reason), plain(remedy));
        let _ = write!(text, "\n{}", filled(&said));
    }
    Some(text)
}

/// Markdown's links as their texts: where there is no network, they lead nowhere.
fn plain(markdown: &str) -> String {
    let mut text = String::with_capacity(markdown.len());
    let mut rest = markdown;
    while let Some((before, after)) = rest.split_once('[') {
        text.push_str(before);
        match after.split_once("](").and_then(|(label, target)| Some((label, target.split_once(')')?.1))) {
            Some((label, after_link)) if !label.contains(['[', ']']) => {
                text.push_str(label);
                rest = after_link;
            }
            _ => {
                text.push('[');
                rest = after;
            }
        }
    }
    text + rest
}

/// Paragraphs and items of lists with lines that fit; code stays as it is.
fn filled(markdown: &str) -> String {
    let mut blocks: Vec<String> = Vec::new();
    let (mut code, mut ended) = (false, true);
    for line in markdown.lines() {
        let fence = line.starts_with("```");
        let is_item = line.split_once(". ").is_some_and(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()));
        match blocks.last_mut() {
            Some(block) if !(ended || is_item || fence || code || line.is_empty()) => {
                block.push(' ');
                block.push_str(line.trim_start());
            }
            _ if fence => {}
            _ => blocks.push(if code { format!("    {line}") } else { line.to_owned() }),
        }
        code ^= fence;
        ended = line.is_empty() || fence || code;
    }
    let mut text = String::with_capacity(markdown.len());
    for block in blocks {
        let indent = block.split_once(". ").filter(|(number, _)| number.parse::<u8>().is_ok()).map_or("", |_| "   ");
        if block.starts_with("    ") {
            text.push_str(&block);
            text.push('\n');
        } else {
            text.push_str(&paragraph(&block, "", indent));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::wrap::COLUMNS;

    #[test]
    fn every_alert_and_every_kind_of_failure_has_a_page_under_each_of_its_names() {
        for AlertNames { rule, alarm } in ALERTS {
            let text = page(rule).unwrap_or_else(|| panic!("{rule}"));
            assert!(text.starts_with(&format!("{rule}\n\n")) && text.contains("What to do"), "{text}");
            assert_eq!(page(&rule.to_lowercase()), Some(text.clone()));
            for alarm in alarm.into_iter().flat_map(|alarm| [alarm.to_owned(), format!("orders-vpc-cni-{alarm}")]) {
                assert_eq!(page(&alarm), Some(text.clone()), "{alarm}");
                assert_eq!(page(&format!("{alarm}-shard-2")), Some(text.clone()), "{alarm}");
            }
            assert!(alarm.is_none_or(|alarm| text.contains(&format!("CloudWatch: `{alarm}`"))), "{text}");
        }
        for kind in FailureKind::ALL {
            let text = page(kind.label()).unwrap_or_else(|| panic!("{kind}"));
            assert!(text.starts_with(&format!("{kind}: ")) && text.lines().count() >= 4, "{text}");
        }
        assert_eq!(page("too_large").unwrap().matches("The log says").count(), 2);
    }

    #[test]
    fn every_finding_has_a_page_and_the_page_has_no_other() {
        for id in FindingId::ALL {
            let text = page(id.name()).unwrap_or_else(|| panic!("{id}"));
            for part in ["How it is decided: ", "How sure it is: ", "What to do: ", "FINDINGS_MUTE="] {
                assert!(text.contains(part), "{part} of {id}: {text}");
            }
            assert!(text.lines().all(|line| line.chars().count() <= COLUMNS) && !text.contains("]("), "{text}");
        }
        let is_id =
            |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        let sections: Vec<&str> =
            FINDING_PAGES.lines().filter_map(|line| line.strip_prefix("## ")).filter(is_id).collect();
        assert_eq!(sections, FindingId::ALL.map(FindingId::name));
    }

    #[test]
    fn the_tables_of_findings_are_the_catalogues() {
        for id in FindingId::ALL {
            let facts = id.facts();
            let lasts = if facts.must_last { ", if it lasts" } else { "" };
            let (severity, scope, title) = (facts.severity, facts.scope.name(), facts.title);
            let row = format!("| [{id}](#{id}) | {severity}{lasts} | {scope} | {title} |");
            assert!(FINDING_PAGES.lines().any(|line| line == row), "{row}");
        }
        let rows = FINDING_PAGES.lines().filter(|line| line.starts_with("| [")).count();
        assert_eq!(rows, FindingId::ALL.len(), "rows");
    }

    #[test]
    fn an_unknown_id_gets_the_list_of_all() {
        let args = ExplainArgs { id: Some("VpcCniNothing".to_owned()) };
        let said = run(&args, &mut Vec::new()).unwrap_err().to_string();
        assert!(said.starts_with("there is no page about \"VpcCniNothing\""), "{said}");
        for AlertNames { rule, alarm } in ALERTS {
            assert!(said.contains(rule) && said.contains(alarm.unwrap_or_default()), "{said}");
        }
        assert!(FailureKind::ALL.iter().all(|kind| said.contains(kind.label())), "{said}");
        let mut listed = Vec::new();
        run(&ExplainArgs { id: None }, &mut listed).unwrap();
        assert!(said.ends_with(String::from_utf8(listed).unwrap().trim_end()));
    }

    #[test]
    fn lines_fit_into_a_terminal_and_lists_stay_lists() {
        let long = ["word"; 40].join(" ");
        let text = filled(&format!("{long}\nand more\n\n1. {long}\n2. two\n\n```console\n$ a {long}\n```\nend"));
        let (code, others): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("    $"));
        assert_eq!(code, [format!("    $ a {long}").as_str()]);
        assert!(others.iter().all(|line| line.chars().count() <= COLUMNS && line.trim_end() == *line), "{text}");
        assert!(
            text.contains(" and more\n\n1. word") && text.contains("\n   word") && text.contains("\n2. two\n\n"),
            "{text}"
        );
        assert!(text.ends_with("\nend\n"), "{text}");
        for page in ALERTS.iter().filter_map(|alert| page(alert.rule)) {
            assert!(page.lines().all(|line| line.chars().count() <= COLUMNS), "{page}");
        }
    }

    #[test]
    fn links_become_their_texts() {
        assert_eq!(plain("see [a.md](a.md#b) and [`x`](y), a[0] and [z]"), "see a.md and `x`, a[0] and [z]");
        let pages: String = ALERTS.iter().filter_map(|alert| page(alert.rule)).collect();
        assert!(!pages.contains("]("), "{pages}");
    }
}
