//! Findings as text, under the tables.

use std::fmt::Write as _;

use cni_insight::evidence::Source;
use cni_insight::finding::{Certainty, Conclusion, Finding, Severity};
use cni_metrics_core::summary::counted;

use super::wrap::{command, paragraph};

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
        text.push('\n');
        text.push_str(&paragraph(&format!("muted: {}", muted.join(", ")), "", "  "));
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
        if let Some(words) = &remedy.command {
            text.push_str(&command(words, "     $ ", "         "));
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

#[cfg(test)]
mod tests {
    use cni_insight::catalogue::FindingId;
    use cni_insight::finding::{Identity, Remedy, Scope, ScopeKind};

    use super::super::wrap::COLUMNS;
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
    }
}
