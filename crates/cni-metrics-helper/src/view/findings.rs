//! Findings as text, under the tables.

use std::fmt::Write as _;

use cni_insight::evidence::Source;
use cni_insight::finding::{Certainty, Conclusion, Finding, Severity};
use cni_metrics_core::summary::counted;

/// Characters of a line that every terminal shows.
const COLUMNS: usize = 80;

/// The findings, the worst first. What is only info is short.
pub fn render(conclusion: &Conclusion) -> String {
    let mut text = format!("findings: {}\n", headline(conclusion));
    for finding in conclusion.findings.iter().filter(|finding| !finding.is_muted) {
        text.push('\n');
        text.push_str(&block(finding));
    }
    let muted: Vec<String> = conclusion
        .findings
        .iter()
        .filter(|finding| finding.is_muted)
        .map(|finding| format!("{} ({})", finding.identity.id, finding.identity.scope))
        .collect();
    if !muted.is_empty() {
        text.push_str(&paragraph(&format!("muted: {}", muted.join(", ")), "\n", "  "));
    }
    if conclusion.left_out > 0 {
        // Writing to a string cannot fail.
        let _written = writeln!(text, "\n{} more findings are not shown", conclusion.left_out);
    }
    text
}

/// `1 critical, 2 warnings, 1 info`, or `none`.
pub fn headline(conclusion: &Conclusion) -> String {
    let parts: Vec<String> = Severity::ALL
        .into_iter()
        .map(|severity| (severity, conclusion.count(severity)))
        .filter(|(_, count)| *count > 0)
        .map(|(severity, count)| match severity {
            Severity::Warning => counted(count as u64, "warning", "warnings"),
            Severity::Critical | Severity::Info => format!("{count} {severity}"),
        })
        .collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

/// One finding: what it is, in a sentence, what to do, what would say more.
fn block(finding: &Finding) -> String {
    let identity = &finding.identity;
    let mut text = format!("{} {} ({})\n", finding.severity, identity.id, identity.scope);
    text.push_str(&paragraph(&finding.says, "  ", "  "));
    if finding.nodes > 1 {
        let more = if finding.nodes > finding.examples.len() { ", ..." } else { "" };
        text.push_str(&paragraph(&format!("nodes: {}{more}", finding.examples.join(", ")), "  ", "  "));
    }
    let is_short = finding.severity == Severity::Info;
    for remedy in finding.remedy.iter().filter(|_| !is_short) {
        text.push_str(&paragraph(&remedy.says, "  -> ", "     "));
        if let Some(command) = &remedy.command {
            text.push_str(&lines(command, "     $ ", "         ", " \\"));
        }
    }
    if !finding.lacks.is_empty() {
        let how: Vec<&str> = finding.lacks.iter().copied().map(Source::how).collect();
        let begins = match finding.certainty {
            Certainty::Likely => "not certain; this would tell",
            Certainty::Certain => "this would say more",
        };
        text.push_str(&paragraph(&format!("{begins}: {}", how.join("; ")), "  ", "  "));
    }
    if !is_short {
        let _written = writeln!(text, "  more: cni-metrics-helper explain {}", identity.id);
    }
    text
}

/// Words in lines that fit.
fn paragraph(words: &str, first: &str, others: &str) -> String {
    lines(words, first, others, "")
}

/// The same with what a line ends with that goes on: a shell reads a backslash so.
fn lines(words: &str, first: &str, others: &str, goes_on: &str) -> String {
    let mut text = first.to_owned();
    let mut column = first.trim_start_matches('\n').chars().count();
    for (place, word) in words.split(' ').enumerate() {
        let width = word.chars().count();
        if place > 0 && column + 1 + width + goes_on.len() > COLUMNS {
            text.push_str(goes_on);
            text.push('\n');
            text.push_str(others);
            column = others.len();
        } else if place > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += width;
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use cni_insight::catalogue::FindingId;
    use cni_insight::finding::{Identity, Remedy, Scope, ScopeKind};

    use super::*;

    fn finding(severity: Severity, is_muted: bool) -> Finding {
        let scope = Scope { kind: ScopeKind::Group, name: "general".into() };
        Finding {
            identity: Identity { id: FindingId::NodeFull, scope },
            severity,
            certainty: Certainty::Likely,
            since_ms: 0,
            last_seen_ms: 0,
            nodes: 4,
            examples: vec!["a".to_owned(), "b".to_owned()],
            says: ["word"; 40].join(" "),
            evidence: Vec::new(),
            remedy: vec![Remedy { says: "do it".to_owned(), command: Some("kubectl get nodes".to_owned()) }],
            lacks: vec![Source::Nodes],
            is_muted,
        }
    }

    #[test]
    fn a_finding_is_shown_with_what_to_do_and_info_is_short() {
        let findings =
            vec![finding(Severity::Warning, false), finding(Severity::Info, false), finding(Severity::Critical, true)];
        let text = render(&Conclusion { findings, left_out: 3, ..Conclusion::default() });
        assert!(
            text.starts_with("findings: 1 warning, 1 info\n\nwarning node-full (group general)\n  word word"),
            "{text}"
        );
        for part in [
            "  nodes: a, b, ...\n  -> do it\n     $ kubectl get nodes\n",
            "  not certain; this would tell: the nodes (right: list nodes)\n",
            "  more: cni-metrics-helper explain node-full\n\ninfo node-full (group general)\n",
            "\nmuted: node-full (group general)\n\n3 more findings are not shown\n",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        assert_eq!((text.matches("->").count(), text.matches("explain").count()), (1, 1));
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
        assert_eq!(render(&Conclusion::default()), "findings: none\n");
        // A long command is one for a shell that is given all of its lines.
        let command = format!("kubectl {}", ["word"; 30].join(" "));
        let shown = lines(&command, "     $ ", "         ", " \\");
        assert!(shown.lines().count() > 1 && shown.lines().all(|line| line.chars().count() <= COLUMNS), "{shown}");
        let words: Vec<&str> = shown.split_whitespace().filter(|word| *word != "\\" && *word != "$").collect();
        assert_eq!(words.join(" "), command);
    }
}
