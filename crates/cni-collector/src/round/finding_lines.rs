//! What is logged of findings: when one opens, gets worse or better, spreads to more nodes, once per hour while it is more than info,
//! and when it closes.

use std::collections::BTreeMap;

use cni_insight::finding::{Conclusion, Finding, Identity, OpenFinding, Severity};
use cni_metrics_core::summary::counted;
use cni_metrics_core::text::excerpt;
use cni_types::shard::Shard;
use tracing::{info, warn};

/// Findings that one round names in the log when they open, change or last, and the same number when they close. Of further ones it
/// logs how many there are.
const NAMED: usize = 10;
/// Of findings that are only info, one round names this number.
const NAMED_INFO: usize = 3;
/// Findings that are remembered: the most that a conclusion lists, twice.
const REMEMBERED: usize = 2 * cni_insight::insight::MAX_FINDINGS;
/// It is logged again when this number of times as many nodes have it.
const SPREAD: usize = 3;
/// It is logged again after this time, milliseconds.
const REMINDER_MS: i64 = 3_600_000;
/// That it is less bad is logged when it has been so for this time, milliseconds.
const BETTER_MS: i64 = 300_000;
/// Bytes that are shown of a sentence, of a name, and of a command.
const SENTENCE_BYTES: usize = 600;
const NAME_BYTES: usize = 120;
const COMMAND_BYTES: usize = 400;

/// What was logged of the findings of these rounds.
#[derive(Debug, Default)]
pub(super) struct FindingLines {
    told: BTreeMap<Identity, Told>,
}

/// What was logged of a finding.
#[derive(Debug)]
struct Told {
    severity: Severity,
    since_ms: i64,
    at_ms: i64,
    nodes: usize,
    most_nodes: usize,
    /// Since when it is less bad than was logged.
    better_ms: Option<i64>,
}

/// Why a line is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    Opened,
    OpenAtStart,
    Changed,
    Spread,
    Still,
}

impl News {
    fn words(self) -> &'static str {
        match self {
            Self::Opened => "finding opened",
            Self::OpenAtStart => "finding open at start",
            Self::Changed => "finding changed severity",
            Self::Spread => "finding on more nodes",
            Self::Still => "finding still open",
        }
    }
}

impl FindingLines {
    /// Goes on from findings whose opening an earlier process logged.
    pub(super) fn go_on_from(open: &[OpenFinding], at_ms: i64) -> Self {
        let told = open.iter().take(REMEMBERED).map(|open| {
            let OpenFinding { identity, severity, since_ms } = open.clone();
            // How many nodes had it is not known: the first round says.
            let told = Told { severity, since_ms, at_ms, nodes: usize::MAX, most_nodes: 0, better_ms: None };
            (identity, told)
        });
        Self { told: told.collect() }
    }

    /// Logs what is new in the round of this time.
    pub(super) fn round(&mut self, conclusion: &Conclusion, at_ms: i64) {
        let mut due = Vec::new();
        for finding in conclusion.findings.iter().filter(|finding| !finding.is_muted) {
            let news = match self.told.get_mut(&finding.identity) {
                Some(told) => told.news(finding, at_ms),
                None => Some(self.open(conclusion, finding, at_ms)),
            };
            due.extend(news.map(|news| (news, finding)));
        }
        log_news(&due, conclusion.shard);
        self.close(conclusion, at_ms);
    }

    fn open(&mut self, conclusion: &Conclusion, finding: &Finding, at_ms: i64) -> News {
        let told = Told {
            severity: finding.severity,
            since_ms: finding.since_ms,
            at_ms,
            nodes: finding.nodes,
            most_nodes: finding.nodes,
            better_ms: None,
        };
        self.told.insert(finding.identity.clone(), told);
        let is_it = |identity: &Identity| *identity == finding.identity;
        let is_at_start = conclusion.events.iter().any(|event| event.is_at_start && is_it(&event.identity));
        if is_at_start { News::OpenAtStart } else { News::Opened }
    }

    /// Logs the end of those that are neither listed nor waited for. Where some were left out of the list, it is not known which
    /// are over.
    fn close(&mut self, conclusion: &Conclusion, at_ms: i64) {
        let listed: std::collections::BTreeSet<&Identity> =
            conclusion.findings.iter().map(|finding| &finding.identity).chain(&conclusion.awaited).collect();
        let is_open = |identity: &Identity| listed.contains(identity);
        if conclusion.left_out > 0 {
            while self.told.len() > REMEMBERED {
                let Some(lost) = self.told.keys().find(|identity| !is_open(identity)).cloned() else { break };
                self.told.remove(&lost);
            }
            return;
        }
        let mut closed = 0;
        self.told.retain(|identity, told| {
            if is_open(identity) {
                return true;
            }
            closed += 1;
            if closed <= NAMED {
                told.log_end(identity, at_ms, conclusion.shard);
            }
            false
        });
        if closed > NAMED {
            info!("{} closed", counted((closed - NAMED) as u64, "more finding", "more findings"));
        }
    }
}

impl Told {
    /// What is new of it, if there is something to say.
    fn news(&mut self, finding: &Finding, at_ms: i64) -> Option<News> {
        // A clock that was set back does not hold up what is due.
        self.at_ms = self.at_ms.min(at_ms);
        if self.nodes == usize::MAX {
            self.nodes = finding.nodes;
        }
        self.most_nodes = self.most_nodes.max(finding.nodes);
        let is_info = finding.severity == Severity::Info;
        let is_worse = finding.severity < self.severity;
        let news = if is_worse || self.has_been_better(finding, at_ms) {
            News::Changed
        } else if !is_info && finding.nodes >= self.nodes.saturating_mul(SPREAD) {
            News::Spread
        } else if !is_info && at_ms.saturating_sub(self.at_ms) >= REMINDER_MS {
            News::Still
        } else {
            return None;
        };
        (self.at_ms, self.severity, self.better_ms) = (at_ms, finding.severity, None);
        self.nodes = self.nodes.max(finding.nodes);
        Some(news)
    }

    fn has_been_better(&mut self, finding: &Finding, at_ms: i64) -> bool {
        if finding.severity <= self.severity {
            self.better_ms = None;
            return false;
        }
        let since = self.better_ms.map_or(at_ms, |since| since.min(at_ms));
        self.better_ms = Some(since);
        at_ms.saturating_sub(since) >= BETTER_MS
    }

    fn log_end(&self, identity: &Identity, at_ms: i64, shard: Option<Shard>) {
        let id = identity.id;
        let scope = name(&identity.scope.to_string());
        let seconds = at_ms.saturating_sub(self.since_ms).max(0) / 1000;
        let on = match self.most_nodes {
            0 => "; not seen since this process concludes".to_owned(),
            nodes => format!(", on up to {}", counted(nodes as u64, "node", "nodes")),
        };
        info!(
            id = id.name(),
            scope,
            severity = self.severity.name(),
            seconds,
            most_nodes = self.most_nodes,
            shard = shard.map(|shard| shard.to_string()),
            "finding closed: {id} ({scope}) after {seconds} s{on}"
        );
    }
}

/// One line for each of the first ones, and one for how many more there are.
fn log_news(due: &[(News, &Finding)], shard: Option<Shard>) {
    let (mut named, mut named_info) = (0, 0);
    let mut more = [0_u64; Severity::ALL.len()];
    for (news, finding) in due {
        let is_info = finding.severity == Severity::Info;
        if named >= NAMED || (is_info && named_info >= NAMED_INFO) {
            if let Some(number) = more.get_mut(finding.severity as usize) {
                *number += 1;
            }
            continue;
        }
        named += 1;
        named_info += usize::from(is_info);
        log(*news, finding, shard);
    }
    let parts: Vec<String> = Severity::ALL
        .iter()
        .zip(more)
        .filter(|(_, number)| *number > 0)
        .map(|(severity, number)| format!("{number} {severity}"))
        .collect();
    if !parts.is_empty() {
        info!(
            "more findings opened, changed or last: {}; cni-metrics-helper once lists all findings",
            parts.join(", ")
        );
    }
}

/// One line of a finding that is open.
fn log(news: News, finding: &Finding, shard: Option<Shard>) {
    let Identity { id, scope } = &finding.identity;
    let (id, scope, says) = (id.name(), name(&scope.to_string()), excerpt(finding.says.as_bytes(), SENTENCE_BYTES));
    let examples = finding.examples.iter().map(|node| name(node)).collect::<Vec<_>>().join(", ");
    let remedy = finding.remedy.first();
    let helps =
        remedy.map(|remedy| format!(" {}", excerpt(remedy.says.as_bytes(), SENTENCE_BYTES))).unwrap_or_default();
    let commands = finding.remedy.iter().find_map(|remedy| remedy.command.as_deref());
    let command = commands.map(|command| excerpt(command.as_bytes(), COMMAND_BYTES));
    let (severity, certainty, words) = (finding.severity.name(), finding.certainty.name(), news.words());
    let explain = format!("cni-metrics-helper explain {id}");
    let shard = shard.map(|shard| shard.to_string());
    macro_rules! line {
        ($level:ident) => {
            $level!(
                id,
                scope,
                severity,
                certainty,
                nodes = finding.nodes,
                examples,
                command,
                explain,
                shard,
                "{words}: {severity} {id} ({scope}): {says}{helps}"
            )
        };
    }
    if finding.severity == Severity::Info {
        line!(info);
    } else {
        line!(warn);
    }
}

fn name(text: &str) -> String {
    excerpt(text.as_bytes(), NAME_BYTES)
}

#[cfg(test)]
mod tests;
