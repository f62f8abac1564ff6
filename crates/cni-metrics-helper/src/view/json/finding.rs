//! Findings as JSON.

use cni_insight::finding::{Conclusion, EvidenceItem, Finding, FindingEvent, Identity, Remedy, Scope};
use cni_metrics_core::model::UnixMillis;
use cni_types::shard::Shard;
use serde::Serialize;

use super::number::number;
use super::time::rfc3339;

/// One finding: `{"id","severity","scope":{"kind","name"},"subnet","since","last_seen","nodes","examples","certainty","says",
/// "evidence":[{"what","value","source"}],"remedy":[{"says","command"}],"lacks":[source],"docs","muted","shard"}`.
///
/// `shard` is there where only a share of the nodes is seen.
/// `subnet` is null as long as no source names it.
#[derive(Debug, Serialize)]
pub struct FindingJson<'a> {
    id: &'static str,
    severity: &'static str,
    scope: ScopeJson<'a>,
    subnet: Option<()>,
    since: String,
    last_seen: String,
    nodes: usize,
    examples: &'a [String],
    certainty: &'static str,
    says: &'a str,
    evidence: Vec<EvidenceJson<'a>>,
    remedy: Vec<RemedyJson<'a>>,
    lacks: Vec<&'static str>,
    docs: String,
    muted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<String>,
}

#[derive(Debug, Serialize)]
struct ScopeJson<'a> {
    kind: &'static str,
    name: &'a str,
}

impl<'a> From<&'a Scope> for ScopeJson<'a> {
    fn from(scope: &'a Scope) -> Self {
        Self { kind: scope.kind.name(), name: &scope.name }
    }
}

#[derive(Debug, Serialize)]
struct EvidenceJson<'a> {
    what: &'a str,
    value: serde_json::Value,
    source: &'static str,
}

#[derive(Debug, Serialize)]
struct RemedyJson<'a> {
    says: &'a str,
    command: Option<&'a str>,
}

impl<'a> FindingJson<'a> {
    /// A finding about this share of the nodes; `None` is all.
    fn new(finding: &'a Finding, shard: Option<Shard>) -> Self {
        let Identity { id, scope } = &finding.identity;
        let evidence = |item: &'a EvidenceItem| EvidenceJson {
            what: &item.what,
            value: number(item.value),
            source: item.source.name(),
        };
        let remedy = |remedy: &'a Remedy| RemedyJson { says: &remedy.says, command: remedy.command.as_deref() };
        Self {
            id: id.name(),
            severity: finding.severity.name(),
            scope: scope.into(),
            subnet: None,
            since: rfc3339(UnixMillis(finding.since_ms)),
            last_seen: rfc3339(UnixMillis(finding.last_seen_ms)),
            nodes: finding.nodes,
            examples: &finding.examples,
            certainty: finding.certainty.name(),
            says: &finding.says,
            evidence: finding.evidence.iter().map(evidence).collect(),
            remedy: finding.remedy.iter().map(remedy).collect(),
            lacks: finding.lacks.iter().map(|source| source.name()).collect(),
            docs: format!("findings.md#{id}"),
            muted: finding.is_muted,
            shard: shard.map(|shard| shard.to_string()),
        }
    }
}

/// The findings of a conclusion.
pub(super) fn findings(conclusion: &Conclusion) -> Vec<FindingJson<'_>> {
    conclusion.findings.iter().map(|finding| FindingJson::new(finding, conclusion.shard)).collect()
}

/// The beginning or the end of a finding: `{"round","id","severity","scope":{"kind","name"},"event"}`.
#[derive(Debug, Serialize)]
pub struct FindingEventJson<'a> {
    round: u64,
    id: &'static str,
    severity: &'static str,
    scope: ScopeJson<'a>,
    event: &'static str,
}

impl<'a> FindingEventJson<'a> {
    /// What happened in a round.
    pub fn new(round: u64, event: &'a FindingEvent) -> Self {
        let Identity { id, scope } = &event.identity;
        Self { round, id: id.name(), severity: event.severity.name(), scope: scope.into(), event: event.turn.name() }
    }
}

#[cfg(test)]
mod tests {
    use cni_insight::catalogue::FindingId;
    use cni_insight::finding::{Certainty, ScopeKind, Severity};

    use super::*;

    #[test]
    fn a_shard_is_named_where_there_is_one() {
        let finding = Finding {
            identity: Identity { id: FindingId::NodeFull, scope: Scope { kind: ScopeKind::Group, name: "all".into() } },
            severity: Severity::Warning,
            certainty: Certainty::Likely,
            since_ms: 0,
            last_seen_ms: 0,
            nodes: 1,
            examples: Vec::new(),
            says: String::new(),
            evidence: Vec::new(),
            remedy: Vec::new(),
            lacks: Vec::new(),
            is_muted: false,
        };
        let of = |shard: Option<&str>| {
            let shard = shard.map(|text| text.parse().unwrap());
            let conclusion = Conclusion { findings: vec![finding.clone()], shard, ..Conclusion::default() };
            serde_json::to_value(findings(&conclusion)).unwrap()[0].get("shard").cloned()
        };
        assert_eq!((of(None), of(Some("1/3"))), (None, Some("1/3".into())));
    }
}
