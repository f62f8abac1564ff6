//! Findings as series.

use cni_insight::finding::{Conclusion, Severity};
use cni_types::series::{FINDING, FINDINGS, REFUSED_BY_CAUSE};

use super::text::{head, sample};

/// Writes the open findings, their number by severity, and the refused requests by cause. A round that is too old has no findings
/// any more, but its counters.
pub(super) fn write(text: &mut String, conclusion: &Conclusion, fresh: bool, labels: &[(&str, &str)]) {
    if fresh {
        let open = conclusion.findings.iter().filter(|finding| !finding.is_muted);
        for (place, finding) in open.enumerate() {
            if place == 0 {
                head(text, &[FINDING], "gauge", &["A finding that is open (explain ID says more): 1"]);
            }
            let scope = &finding.identity.scope;
            let own = [
                ("id", finding.identity.id.name()),
                ("severity", finding.severity.name()),
                ("scope_kind", scope.kind.name()),
                ("scope", &*scope.name),
            ];
            sample(text, &[FINDING], &[&own, labels].concat(), 1.0);
        }
        head(text, &[FINDINGS], "gauge", &["Open findings by severity, muted ones left out"]);
        for severity in Severity::ALL {
            let count = conclusion.count(severity);
            sample(text, &[FINDINGS], &[&[("severity", severity.name())], labels].concat(), count as f64);
        }
    }
    let help = "Refused requests for a pod address by the cause that the node had, since the helper started";
    for (place, (cause, refused)) in conclusion.refused_by_cause.iter().enumerate() {
        if place == 0 {
            head(text, &[REFUSED_BY_CAUSE], "counter", &[help]);
        }
        sample(text, &[REFUSED_BY_CAUSE], &[&[("cause", cause.name())], labels].concat(), *refused);
    }
}

#[cfg(test)]
mod tests {
    use cni_insight::catalogue::FindingId;
    use cni_insight::finding::{Certainty, Finding, Identity, Scope, ScopeKind};

    use super::*;

    fn finding(id: FindingId, is_muted: bool) -> Finding {
        Finding {
            identity: Identity { id, scope: Scope { kind: ScopeKind::Pool, name: "a/b".into() } },
            severity: Severity::Critical,
            certainty: Certainty::Certain,
            since_ms: 0,
            last_seen_ms: 0,
            nodes: 1,
            examples: Vec::new(),
            says: String::new(),
            evidence: Vec::new(),
            remedy: Vec::new(),
            lacks: Vec::new(),
            is_muted,
        }
    }

    #[test]
    fn findings_are_gauges_that_go_with_the_round_and_causes_counters_that_stay() {
        let conclusion = Conclusion {
            findings: vec![finding(FindingId::SubnetExhausted, false), finding(FindingId::NodeFull, true)],
            refused_by_cause: vec![(FindingId::SubnetExhausted, 12.0)],
            ..Conclusion::default()
        };
        let page = |conclusion: &Conclusion, fresh| {
            let mut text = String::new();
            write(&mut text, conclusion, fresh, &[("cluster", "c")]);
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
        };
        let counter = "cni_refused_addresses_total{cause=\"subnet-exhausted\",cluster=\"c\"} 12";
        let expected = [
            "cni_finding{id=\"subnet-exhausted\",severity=\"critical\",scope_kind=\"pool\",scope=\"a/b\",cluster=\"c\"} 1",
            "cni_findings{severity=\"critical\",cluster=\"c\"} 1",
            "cni_findings{severity=\"warning\",cluster=\"c\"} 0",
            "cni_findings{severity=\"info\",cluster=\"c\"} 0",
            counter,
        ];
        assert_eq!(page(&conclusion, true), expected);
        assert_eq!(page(&conclusion, false), [counter]);
        assert_eq!(page(&Conclusion::default(), true).len(), 3, "0 of each severity is an answer");
    }
}
