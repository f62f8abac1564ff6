//! Counters of one process life and the page that shows them.
//!
//! A labelled family is invisible until one of its series was touched, plain ones read 0 from the first page on; gauges
//! hold what the store last wrote, which is not always what the store has.

use std::collections::BTreeMap;

use crate::ec2::{Block, Ec2Code, Ec2Op, EniId};

mod agent;
mod labels;
mod number;
mod page;
mod runtime;
mod truth;

pub(crate) use agent::Shown;
pub use labels::{Action, IpamdError, PodEniError, Reconcile, UtilsError};
pub use truth::{LatencyTruth, Truth};

/// Old agents forget an observation after ten minutes; their quantiles then read NaN.
const QUANTILE_WINDOW_MS: i64 = 600_000;

/// Which agent's page to imitate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PageFlavour {
    /// The current agent.
    #[default]
    V1_23,
    /// The current agent, its counters declared as gauges.
    CountersAsGauges,
    /// An agent before 1.23, by its version: `GetMetadata`, an older family set, and before 1.10 quantiles and no status
    /// label.
    Legacy(Release),
}

/// An agent's version 1.MINOR.PATCH.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    /// The 12 of 1.12.6.
    pub minor: u16,
    /// The 6 of 1.12.6.
    pub patch: u16,
}

impl Release {
    /// The agents that the documentation of the metrics was written for, and the last but one with quantiles.
    pub const OLD: Self = Self { minor: 7, patch: 10 };

    /// Reads an image's tag: `v1.12.6`, with or without the `v` and what follows after a `-`.
    pub fn of_tag(tag: &str) -> Option<Self> {
        let numbers = tag.strip_prefix('v').unwrap_or(tag).split('-').next()?;
        let mut numbers = numbers.strip_prefix("1.")?.split('.');
        let (minor, patch) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
        numbers.next().is_none().then_some(Self { minor, patch })
    }

    /// The first release with the `awscni_` family.
    fn first_with(family: &str) -> Self {
        let (minor, patch) = match family {
            "awscni_force_removed_enis" | "awscni_force_removed_ips" => (6, 0),
            "awscni_pod_eni_error_count" => (7, 0),
            "awscni_assigned_ip_per_cidr" | "awscni_total_ipv4_prefixes" => (9, 0),
            "awscni_ec2api_error_count" | "awscni_ec2api_req_count" => (12, 1),
            "awscni_no_available_ip_addresses" => (16, 0),
            "awscni_assigned_ip_per_eni" => (18, 0),
            "awscni_build_info" | "awscni_ipamd_startup_duration_seconds" => (21, 0),
            "awscni_connmark_backend"
            | "awscni_connmark_reconcile_total"
            | "awscni_ipamd_node_initialization_duration_seconds" => (23, 0),
            _ => (0, 0),
        };
        Self { minor, patch }
    }
}

impl PageFlavour {
    /// Whether an agent of this flavour has the `awscni_` family at all.
    pub fn exposes(self, family: &str) -> bool {
        match self {
            Self::V1_23 | Self::CountersAsGauges => true,
            Self::Legacy(release) => release >= Release::first_with(family),
        }
    }

    /// Whether the page is of an agent before 1.23.
    pub fn is_legacy(self) -> bool {
        matches!(self, Self::Legacy(_))
    }

    /// Whether the latencies come with quantiles and without the label `status`.
    pub fn has_quantiles(self) -> bool {
        matches!(self, Self::Legacy(release) if release.minor < 10)
    }

    /// Whether counters without labels are declared as gauges, and the pool's actions have their older names.
    fn is_before_counters(self) -> bool {
        matches!(self, Self::Legacy(release) if release.minor < 19)
    }

    /// The name under which agents of this flavour show the family.
    fn shown_name(self, family: &str) -> &str {
        match (self, family) {
            (Self::Legacy(Release { minor: 9, .. }), "awscni_assigned_ip_per_cidr") => {
                "awscni_assigned_ip_per_ipv4cidr"
            }
            (Self::Legacy(Release { minor: ..5, .. }), "awscni_aws_api_latency_ms") => "awscni_aws_api_lantency_ms",
            (Self::Legacy(Release { minor: ..5, .. }), "awscni_aws_api_latency_ms_sum") => {
                "awscni_aws_api_lantency_ms_sum"
            }
            (Self::Legacy(Release { minor: ..5, .. }), "awscni_aws_api_latency_ms_count") => {
                "awscni_aws_api_lantency_ms_count"
            }
            _ => family,
        }
    }
}

/// One series of the latency summary.
#[derive(Debug, Clone, Copy)]
struct Latency {
    api: &'static str,
    error: bool,
    status: &'static str,
    sum_ms: u64,
    count: u64,
    last_ms: i64,
    recent_max_ms: u32,
}

/// What an EC2 operation left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) op: Ec2Op,
    pub(crate) code: Option<Ec2Code>,
    pub(crate) ms: u32,
}

/// Everything one process counts.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(crate) process_start_ms: i64,
    pub(crate) add_requests: u64,
    pub(crate) del_requests: [u64; 2],
    pub(crate) no_available: u64,
    pub(crate) force_removed_enis: u64,
    pub(crate) force_removed_ips: u64,
    pub(crate) assigned: i64,
    pub(crate) total: i64,
    pub(crate) prefixes: i64,
    pub(crate) eni_allocated: i64,
    pub(crate) eni_max: i64,
    pub(crate) ip_max: i64,
    pub(crate) ipv6: bool,
    pub(crate) per_cidr: BTreeMap<Block, i32>,
    pub(crate) per_eni: BTreeMap<EniId, i32>,
    pub(crate) connmark: [u64; 2],
    pub(crate) init_seconds: f64,
    pub(crate) startup_seconds: f64,
    pub(crate) with_api_server: bool,
    pub(crate) scrapes: [u64; 3],
    pub(crate) imds_reads: u64,
    requests: [u64; 14],
    failures: [u64; 14],
    latency: Vec<Latency>,
    api_errors: BTreeMap<(&'static str, &'static str), u64>,
    utils_errors: BTreeMap<(UtilsError, Box<str>), u64>,
    ipamd_errors: BTreeMap<IpamdError, u64>,
    pod_eni_errors: BTreeMap<PodEniError, u64>,
    reconcile: BTreeMap<Reconcile, u64>,
    in_progress: BTreeMap<Action, i32>,
}

impl Metrics {
    /// The kernel tells a process's start in hundredths of a second.
    pub(crate) fn new(process_start_ms: i64, ipv6: bool) -> Self {
        Self {
            process_start_ms: process_start_ms - process_start_ms.rem_euclid(10),
            add_requests: 0,
            del_requests: [0; 2],
            no_available: 0,
            force_removed_enis: 0,
            force_removed_ips: 0,
            assigned: 0,
            total: 0,
            prefixes: 0,
            eni_allocated: 0,
            eni_max: 0,
            ip_max: 0,
            ipv6,
            per_cidr: BTreeMap::new(),
            per_eni: BTreeMap::new(),
            connmark: [0; 2],
            init_seconds: 0.0,
            startup_seconds: 0.0,
            with_api_server: true,
            scrapes: [0; 3],
            imds_reads: 0,
            requests: [0; 14],
            failures: [0; 14],
            latency: Vec::new(),
            api_errors: BTreeMap::new(),
            utils_errors: BTreeMap::new(),
            ipamd_errors: BTreeMap::new(),
            pod_eni_errors: BTreeMap::new(),
            reconcile: BTreeMap::new(),
            in_progress: BTreeMap::new(),
        }
    }

    /// Counts one EC2 operation in all four families.
    ///
    /// An ENI that EC2 does not know is not an error in the request families; only the latency family counts it.
    pub(crate) fn call(&mut self, call: Call, at_ms: i64) {
        self.observe((call.op.latency_name(), call.code), call.ms, at_ms);
        bump(&mut self.requests, call.op);
        if call.code.is_some_and(|code| code != Ec2Code::InvalidNetworkInterfaceIdNotFound) {
            self.failed(call);
        }
    }

    /// Counts a whole leak scan: a request only if it worked, and never a latency.
    pub(crate) fn scan(&mut self, call: Call) {
        if call.code.is_some() {
            self.failed(call);
        } else {
            bump(&mut self.requests, call.op);
        }
    }

    /// Counts a request that is not otherwise instrumented.
    pub(crate) fn plain_request(&mut self, call: Call) {
        bump(&mut self.requests, call.op);
        if call.code.is_some() {
            bump(&mut self.failures, call.op);
        }
    }

    fn failed(&mut self, call: Call) {
        bump(&mut self.failures, call.op);
        if let Some(code) = call.code.filter(|code| code.is_api_error()) {
            self.api_error(call.op.name(), code.name());
        }
    }

    /// One latency observation; `code` is `None` for a success.
    pub(crate) fn observe(&mut self, (api, code): (&'static str, Option<Ec2Code>), ms: u32, at_ms: i64) {
        let (error, status) = (code.is_some(), code.map_or("200", Ec2Code::name));
        let key = (api, error, status);
        let place = self.latency.binary_search_by(|known| (known.api, known.error, known.status).cmp(&key));
        let index = place.unwrap_or_else(|index| {
            let fresh = Latency { api, error, status, sum_ms: 0, count: 0, last_ms: at_ms, recent_max_ms: 0 };
            self.latency.insert(index, fresh);
            index
        });
        if let Some(series) = self.latency.get_mut(index) {
            let stale = at_ms - series.last_ms > QUANTILE_WINDOW_MS;
            series.recent_max_ms = if stale { ms } else { series.recent_max_ms.max(ms) };
            series.sum_ms += u64::from(ms);
            series.count += 1;
            series.last_ms = at_ms;
        }
    }

    pub(crate) fn api_error(&mut self, api: &'static str, code: &'static str) {
        *self.api_errors.entry((api, code)).or_default() += 1;
    }

    pub(crate) fn utils_error(&mut self, site: UtilsError, text: String) {
        *self.utils_errors.entry((site, text.into_boxed_str())).or_default() += 1;
    }

    pub(crate) fn ipamd_error(&mut self, site: IpamdError) {
        *self.ipamd_errors.entry(site).or_default() += 1;
    }

    pub(crate) fn pod_eni_error(&mut self, site: PodEniError) {
        *self.pod_eni_errors.entry(site).or_default() += 1;
    }

    pub(crate) fn reconciled(&mut self, kind: Reconcile, count: u64) {
        if count > 0 {
            *self.reconcile.entry(kind).or_default() += count;
        }
    }

    pub(crate) fn progress(&mut self, action: Action, change: i32) {
        *self.in_progress.entry(action).or_default() += change;
    }

    pub(crate) fn scraped(&mut self, code: u16) {
        let slot = match code {
            200 => self.scrapes.first_mut(),
            500 => self.scrapes.get_mut(1),
            _ => self.scrapes.get_mut(2),
        };
        if let Some(count) = slot {
            *count += 1;
        }
    }
}

fn bump(counts: &mut [u64; 14], op: Ec2Op) {
    counts.iter_mut().zip(Ec2Op::ALL).filter(|(_, known)| *known == op).for_each(|(count, _)| *count += 1);
}
