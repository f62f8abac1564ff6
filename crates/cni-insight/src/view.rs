//! One node in one round, as the rules see it: the page beside what is remembered, and the terms that several rules use.

use cni_types::agent_settings as settings;
use cni_types::catalogue::LabelledFamily;
use cni_types::ec2::{CodeMeaning, Ec2Operation, is_growth_api};
use cni_types::limits;
use cni_types::version::AgentVersion;

use crate::catalogue::FindingId;
use crate::evidence::{Counting, Environment, NodeEvidence, PageEvidence, ReadSetting, Source, Sources};
use crate::memory::{Change, Mark, Moment, NodeMemory};
use crate::verdict::{Figures, Verdict};

/// The first agents that count refused requests.
pub(crate) const COUNTS_REFUSALS: AgentVersion = AgentVersion::new(1, 16, 0);

/// The first agents that respect a tag which excludes the primary ENI's subnet.
pub(crate) const RESPECTS_TAG: AgentVersion = AgentVersion::new(1, 22, 0);

/// Pods on the host network that each node has (aws-node, kube-proxy): they count towards the maximum and need no address.
pub(crate) const HOST_PODS: u32 = 2;

/// The calls of instance metadata that an agent makes for each request for an address, and every 30 s beside it.
pub(crate) const VPC_BLOCKS: [&str; 2] = ["GetVPCIPv4CIDRBlocks", "GetVPCIPv6CIDRBlocks"];

/// How it is known that requests were refused.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Refusal {
    /// The agent counts them: this many.
    Counted(f64),
    /// The agent does not count them: all addresses are assigned, and pods ask for more.
    Inferred,
    /// Requests fail before an address is looked for: instance metadata does not answer.
    Metadata,
}

/// A node in a round.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) node: &'a NodeEvidence<'a>,
    pub(crate) page: &'a PageEvidence<'a>,
    pub(crate) past: &'a NodeMemory,
    pub(crate) change: Change,
    pub(crate) now: Moment,
    pub(crate) sources: &'a Sources,
    /// Errors that can explain refusals; see [`View::newest_errors`].
    pub(crate) errors: &'a [CallError<'a>],
}

/// An error that can explain refusals.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallError<'a> {
    pub(crate) api: &'a str,
    pub(crate) code: &'a str,
    pub(crate) count: f64,
}

impl CallError<'_> {
    pub(crate) fn meaning(&self) -> Option<CodeMeaning> {
        CodeMeaning::of(self.code)
    }

    /// The operation, also by its former names.
    pub(crate) fn is_of(&self, operation: Ec2Operation) -> bool {
        Ec2Operation::of_label(self.api.as_bytes()) == Some(operation)
            || operation.former_name().is_some_and(|former| self.api.starts_with(former))
    }
}

impl<'a> View<'a> {
    /// Whether requests were refused since the page before.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        let page = self.page;
        if let Some(refused) = page.refused.filter(|refused| *refused > 0.0) {
            return Some(Refusal::Counted(refused));
        }
        let asked = page.requests.is_some_and(|requests| requests > 0.0);
        if asked && self.metadata_failures_beyond_checks() >= 2.0 {
            return Some(Refusal::Metadata);
        }
        (asked && page.counts_refusals == Some(false) && self.is_inferred()).then_some(Refusal::Inferred)
    }

    /// An agent that does not count refusals shows them by addresses that are all assigned from page to page while pods ask for
    /// more. Pages further apart than an address rests miss pods that come and go.
    fn is_inferred(&self) -> bool {
        if self.now.counting == Counting::Totals {
            return self.is_used_up();
        }
        let rest_ms =
            self.env().map_or(settings::IP_COOLDOWN_PERIOD.default, |env| settings::IP_COOLDOWN_PERIOD.of(env));
        self.change.stays_used_up && self.change.since_ms <= rest_ms.max(30).saturating_mul(1000)
    }

    /// All held addresses are assigned.
    pub(crate) fn is_used_up(&self) -> bool {
        self.page.assigned.zip(self.page.held).is_some_and(|(assigned, held)| held > 0.0 && assigned >= held)
    }

    /// Failed reads of the VPC's address blocks beyond those that the agent makes by itself.
    pub(crate) fn metadata_failures_beyond_checks(&self) -> f64 {
        if self.now.counting == Counting::Totals {
            return 0.0;
        }
        let failed = VPC_BLOCKS.iter().map(|api| self.errors_of(api)).sum::<f64>();
        let checks = self.change.since_ms.saturating_add(29_999).div_euclid(30_000);
        failed - checks as f64
    }

    /// Errors of an API on this page, whatever their code.
    pub(crate) fn errors_of(&self, api: &str) -> f64 {
        self.counted(LabelledFamily::AwsApiErrorCount, api)
    }

    /// What the page counts for the first label of a family.
    pub(crate) fn counted(&self, family: LabelledFamily, first: &str) -> f64 {
        let of_it = self.page.counts.iter().filter(|count| count.family == family && count.first == first);
        of_it.map(|count| count.value).sum()
    }

    /// The agent's environment, where it is known.
    pub(crate) fn env(&self) -> Option<Environment<'a>> {
        self.node.agent.and_then(|agent| agent.env)
    }

    /// A switch is on. Without the environment, none is.
    pub(crate) fn is_on(&self, switch: &settings::AgentSetting<bool>) -> bool {
        self.env().is_some_and(|env| switch.of(env))
    }

    /// A number of the environment.
    pub(crate) fn number(&self, setting: &settings::AgentSetting<u32>) -> Option<u32> {
        self.env().map(|env| setting.of(env))
    }

    /// The most addresses that pods can have, where page and settings say; without the settings what no node exceeds.
    pub(crate) fn usable(&self) -> Option<f64> {
        if self.page.is_ipv6 || self.is_on(&settings::ENABLE_MULTI_NIC) {
            return None;
        }
        self.page.usable.map(f64::from).or(self.page.most.filter(|_| self.env().is_none()))
    }

    /// The node holds all addresses that it can use; `None` where that is not known.
    pub(crate) fn is_full(&self) -> Option<bool> {
        let (usable, held) = self.usable().zip(self.page.held)?;
        Some(held > 0.0 && held >= usable)
    }

    /// The maximum number of its pods.
    pub(crate) fn max_pods(&self) -> Option<u32> {
        self.node.status.and_then(|status| status.max_pods)
    }

    /// ENIs that the instance type has, where the type is known.
    pub(crate) fn type_enis(&self) -> Option<u32> {
        self.node.instance_type.and_then(limits::find).map(|limits| u32::from(limits.max_enis))
    }

    /// The name of the node's `ENIConfig`, if custom networking is on and there is no such object.
    pub(crate) fn missing_eni_config(&self) -> Option<&'a str> {
        let wanted = self.node.eni_config.filter(|_| self.is_on(&settings::AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG))?;
        wanted.content.is_none().then_some(wanted.name)
    }

    /// The node has as many ENIs as it can have; `None` where that is not known.
    pub(crate) fn has_all_enis(&self) -> Option<bool> {
        let (enis, most) = self.page.enis.zip(self.page.most_enis)?;
        Some(most > 0.0 && enis >= most)
    }

    /// Errors that can explain refusals, the newest only: those of growth since the node last grew, less those that say nothing.
    pub(crate) fn newest_errors(&self) -> Vec<CallError<'a>> {
        if self.now.counting == Counting::Totals {
            return self.all_errors();
        }
        self.marked_errors(self.past.errors_count_from(self.now))
    }

    /// The same with those before the node last grew: what slows growth down lets some of it through.
    pub(crate) fn latest_errors(&self) -> Vec<CallError<'a>> {
        if self.now.counting == Counting::Totals { Vec::new() } else { self.marked_errors(i64::MIN) }
    }

    /// The newest errors of growth from this time on.
    fn marked_errors(&self, from: i64) -> Vec<CallError<'a>> {
        let counts = |mark: &&Mark| mark.at_ms >= from && is_growth_error(mark.family, &mark.first, &mark.second);
        let errors: Vec<&Mark> = self.past.marks().iter().filter(counts).collect();
        let newest = errors.iter().map(|mark| mark.at_ms).max();
        let is_newest = |mark: &&&Mark| Some(mark.at_ms) == newest;
        let error = |mark: &&'a Mark| CallError { api: &mark.first, code: &mark.second, count: mark.sum };
        errors.iter().filter(is_newest).map(error).collect()
    }

    /// The same of a single page: of all that it counts, the code that is counted most.
    fn all_errors(&self) -> Vec<CallError<'a>> {
        let counts = self.page.counts.iter().filter(|count| is_growth_error(count.family, count.first, count.second));
        let errors: Vec<_> =
            counts.map(|count| CallError { api: count.first, code: count.second, count: count.value }).collect();
        let of_code =
            |code: &str| errors.iter().filter(|error| error.code == code).map(|error| error.count).sum::<f64>();
        let most = errors.iter().map(|error| error.code).max_by(|one, other| of_code(one).total_cmp(&of_code(other)));
        errors.iter().filter(|error| Some(error.code) == most).copied().collect()
    }

    /// APIs of EC2 that answered lately with a code of one of these meanings, growth or not.
    pub(crate) fn apis_with(&self, is_wanted: impl Fn(CodeMeaning) -> bool) -> usize {
        let has_it = |code: &str| CodeMeaning::of(code).is_some_and(&is_wanted);
        let mut apis: Vec<&str> = match self.now.counting {
            Counting::Totals => {
                let of_apis = self.page.counts.iter().filter(|count| count.family == LabelledFamily::AwsApiErrorCount);
                of_apis.filter(|count| has_it(count.second)).map(|count| count.first).collect()
            }
            Counting::Increases => {
                let of_apis = self.past.marks().iter().filter(|mark| mark.family == LabelledFamily::AwsApiErrorCount);
                of_apis.filter(|mark| has_it(&mark.second)).map(|mark| &*mark.first).collect()
            }
        };
        apis.sort_unstable();
        apis.dedup();
        apis.len()
    }

    /// A label set increased lately.
    pub(crate) fn mark(&self, family: LabelledFamily, first: &str) -> Option<&'a Mark> {
        self.past.marks().iter().find(|mark| mark.family == family && *mark.first == *first)
    }

    /// A call of instance metadata failed lately.
    pub(crate) fn has_metadata_error(&self) -> bool {
        let is_metadata = |mark: &Mark| {
            let api = mark.first.as_bytes();
            mark.family == LabelledFamily::AwsApiErrorCount
                && Ec2Operation::of_label(api).is_none()
                && !is_growth_api(api)
                && &*mark.first != OUT_OF_STEP_API
        };
        self.past.marks().iter().any(is_metadata)
    }

    /// What is remembered of the node allows rules about this many pages.
    pub(crate) fn has_pages(&self, pages: u16) -> bool {
        self.now.counting == Counting::Increases && self.past.pages >= pages
    }

    /// What a source shows may not be as things are.
    pub(crate) fn is_unsure(&self, source: Source) -> bool {
        match source {
            Source::AgentPods => !self.sources.agent_pods.is_sure() || self.env().is_none(),
            Source::Nodes => !self.sources.nodes.is_sure() || self.node.status.is_none(),
            Source::EniConfigs => !self.sources.eni_configs.is_sure() || self.node.eni_config.is_none(),
            Source::CniNodes => !self.sources.cni_nodes.is_sure() || self.node.cni_node.is_none(),
            _ => false,
        }
    }
}

impl Verdict {
    /// A verdict with the figures of the node's page.
    pub(crate) fn new(id: FindingId, view: &View<'_>) -> Self {
        let page = view.page;
        let figures = Figures {
            assigned: page.assigned,
            held: page.held,
            usable: view.usable(),
            max_pods: view.max_pods(),
            type_enis: view.type_enis(),
            ..Figures::default()
        };
        let verdict = Self { figures, ..Self::without_page(id) };
        if view.now.counting == Counting::Totals {
            return verdict.likely(Source::SecondPage);
        }
        if page.is_doubtful { verdict.likely(Source::AgentLog) } else { verdict }
    }

    /// It rests on this source; where that is not as things are now, it is not certain.
    pub(crate) fn needs(self, source: Source, view: &View<'_>) -> Self {
        if view.is_unsure(source) { self.likely(source) } else { self }
    }
}

/// The label `api` under which agents count that EC2 and instance metadata differ.
pub(crate) const OUT_OF_STEP_API: &str = "IMDSMetaDataOutOfSync";

/// An error of a call by which a node gets more addresses, with a code that is no success.
fn is_growth_error(family: LabelledFamily, api: &str, code: &str) -> bool {
    family == LabelledFamily::AwsApiErrorCount
        && is_growth_api(api.as_bytes())
        && CodeMeaning::of(code) != Some(CodeMeaning::OutOfStep)
}
