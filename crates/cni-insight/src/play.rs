//! For the tests: nodes whose pages are written by hand, and rounds of them.

use cni_types::agent_settings;
use cni_types::catalogue::LabelledFamily;
use cni_types::version::AgentVersion;

use crate::catalogue::FindingId;
use crate::evidence::{
    AgentEvidence, CniNodeEvidence, Counting, EniConfigContent, EniConfigEvidence, LabelCount, NodeEvidence,
    NodeStatus, PageEvidence, RoundFacts, SourceState, Sources,
};
use crate::finding::{Conclusion, Finding, Severity};
use crate::insight::{Insight, InsightRound};
use crate::mute::Mutes;

/// What a page counts by label set.
pub(crate) type Count = (LabelledFamily, &'static str, &'static str, f64);

/// An error of a call.
pub(crate) fn error(api: &'static str, code: &'static str, count: f64) -> Count {
    (LabelledFamily::AwsApiErrorCount, api, code, count)
}

/// A node: an m5.large with the settings of the manifest, of which 10 of 18 addresses are in use.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) zone: Option<&'static str>,
    pub(crate) group: Option<&'static str>,
    pub(crate) instance_type: Option<&'static str>,
    pub(crate) status: Option<NodeStatus>,
    /// Its `ENIConfig`'s name, and the subnet of the object if there is one.
    pub(crate) eni_config: Option<(&'static str, Option<&'static str>)>,
    pub(crate) wants_trunk: Option<bool>,
    pub(crate) env: Vec<(Box<str>, Box<str>)>,
    pub(crate) has_agent: bool,
    pub(crate) restarts: u32,
    pub(crate) is_ready: Option<bool>,
    pub(crate) version: Option<AgentVersion>,
    pub(crate) failure: Option<&'static str>,
    pub(crate) page: PageEvidence<'static>,
    pub(crate) counts: Vec<Count>,
}

impl Node {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            zone: Some("zone-a"),
            group: Some("general"),
            instance_type: Some("m5.large"),
            status: Some(NodeStatus { max_pods: Some(29), is_cordoned: false, is_ready: Some(true) }),
            eni_config: None,
            wants_trunk: None,
            env: agent_settings::manifest().map(|(name, value)| (name.into(), value.into())).collect(),
            has_agent: true,
            restarts: 0,
            is_ready: Some(true),
            version: Some(AgentVersion::new(1, 23, 2)),
            failure: None,
            page: PageEvidence {
                counts_refusals: Some(true),
                assigned: Some(10.0),
                held: Some(18.0),
                most: Some(27.0),
                usable: Some(27),
                enis: Some(2.0),
                most_enis: Some(3.0),
                in_progress: Some(0.0),
                refused: Some(0.0),
                requests: Some(0.0),
                forced_enis: Some(0.0),
                forced_addresses: Some(0.0),
                ..PageEvidence::default()
            },
            counts: Vec::new(),
        }
    }

    pub(crate) fn pool(mut self, assigned: f64, held: f64, usable: u32) -> Self {
        (self.page.assigned, self.page.held, self.page.usable) = (Some(assigned), Some(held), Some(usable));
        self
    }

    /// All of this number of addresses are in use, of so many that the node can have by its page.
    pub(crate) fn room(mut self, assigned: f64, most: u32) -> Self {
        self.page.most = Some(f64::from(most));
        self.pool(assigned, assigned, most)
    }

    pub(crate) fn refusing(mut self, refused: f64) -> Self {
        (self.page.refused, self.page.requests) = (Some(refused), Some(refused));
        self
    }

    pub(crate) fn max_pods(mut self, pods: u32) -> Self {
        self.status = Some(NodeStatus { max_pods: Some(pods), is_ready: Some(true), is_cordoned: false });
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    pub(crate) fn counting(mut self, count: Count) -> Self {
        self.counts.push(count);
        self
    }

    /// An agent before v1.16.
    pub(crate) fn old(mut self) -> Self {
        self.version = Some(AgentVersion::new(1, 12, 6));
        (self.page.refused, self.page.counts_refusals) = (None, Some(false));
        self
    }

    pub(crate) fn silent(mut self, failure: &'static str) -> Self {
        self.failure = Some(failure);
        self
    }
}

/// Rounds.
pub(crate) struct Play {
    pub(crate) insight: Insight,
    pub(crate) facts: RoundFacts,
}

impl Play {
    pub(crate) fn every(seconds: i64) -> Self {
        let present = SourceState::Present { age_ms: 0 };
        let facts = RoundFacts {
            at_ms: 1_767_225_600_000,
            interval_ms: seconds * 1000,
            counting: Counting::Increases,
            sources: Sources { agent_pods: present, nodes: present, ..Sources::default() },
            daemon_set: None,
        };
        Self { insight: Insight::new(Mutes::default()), facts }
    }

    /// One page of each node.
    pub(crate) fn single() -> Self {
        let mut play = Self::every(30);
        play.facts.counting = Counting::Totals;
        play
    }

    pub(crate) fn round(&mut self, nodes: &[Node]) -> Conclusion {
        self.facts.at_ms += self.facts.interval_ms;
        let mut round = self.insight.begin(self.facts);
        for node in nodes {
            Self::observe(&mut round, node);
        }
        round.finish()
    }

    /// Shows a node to a round.
    pub(crate) fn observe(round: &mut InsightRound<'_>, node: &Node) {
        let counts: Vec<LabelCount<'_>> = node
            .counts
            .iter()
            .map(|(family, first, second, value)| LabelCount { family: *family, first, second, value: *value })
            .collect();
        round.observe(&NodeEvidence {
            uid: &node.name,
            name: &node.name,
            zone: node.zone,
            instance_type: node.instance_type,
            node_group: node.group,
            status: node.status,
            eni_config: node.eni_config.map(|(name, subnet)| EniConfigEvidence {
                name,
                content: subnet.map(|subnet| EniConfigContent { subnet }),
            }),
            cni_node: node.wants_trunk.map(|wants_trunk| CniNodeEvidence { wants_trunk }),
            agent: node.has_agent.then_some(AgentEvidence {
                env: Some(&node.env),
                restarts: node.restarts,
                is_ready: node.is_ready,
            }),
            version: node.version,
            page: match node.failure {
                Some(failure) => Err(failure),
                None => Ok(PageEvidence { counts: &counts, ..node.page }),
            },
        });
    }

    pub(crate) fn rounds(&mut self, count: usize, node: impl Fn(usize) -> Node) -> Conclusion {
        let mut last = Conclusion::default();
        for number in 0..count {
            last = self.round(&[node(number)]);
        }
        last
    }
}

/// The finding of this id.
pub(crate) fn found(conclusion: &Conclusion, id: FindingId) -> &Finding {
    let found = conclusion.findings.iter().find(|finding| finding.identity.id == id);
    found.unwrap_or_else(|| panic!("no {id} in {:#?}", conclusion.findings))
}

/// Ids with their severities.
pub(crate) fn named(conclusion: &Conclusion) -> Vec<(FindingId, Severity)> {
    conclusion.findings.iter().map(|finding| (finding.identity.id, finding.severity)).collect()
}
