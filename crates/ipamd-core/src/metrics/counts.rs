//! What one process counts.

use super::codes::{Code, Codes};
use super::labels::{Action, IpamdError, PodEniError, Reconcile, UtilsError};
use super::per_cidr::PerCidr;
use crate::id::EniId;
use crate::rare::{Empty, Rare};
use crate::small_map::{SmallMap, make_room};
use cni_types::ec2::{Ec2Code, Ec2Operation};

/// Old agents forget an observation after ten minutes; their quantiles then read NaN.
pub(super) const QUANTILE_WINDOW_MS: i64 = 600_000;

/// Texts of errors that are counted apart, of all steps together.
const MOST_TEXTS: usize = 1_000;
/// Bytes of such a text; what is longer is cut.
const LONGEST_TEXT: usize = 4_096;
/// Under this text errors are counted for whose own there is no room.
const FURTHER_TEXTS: &str = "errors of further texts, which are not counted apart";

/// What has a latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timed {
    /// A call of EC2.
    Call(Ec2Operation),
    /// The wait for a new ENI to appear in the instance metadata service.
    WaitAttached,
}

impl Timed {
    /// The label `api`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Call(op) => op.latency_name(),
            Self::WaitAttached => "waitForENIAndIPsAttached",
        }
    }
}

/// One series of the latency summary.
#[derive(Debug, Clone, Copy)]
pub(super) struct Latency {
    pub(super) timed: Timed,
    /// `None`: it worked.
    pub(super) failed: Option<Code>,
    pub(super) recent_max_ms: u32,
    pub(super) count: u32,
    pub(super) sum_ms: u64,
    pub(super) last_ms: i64,
}

/// What an EC2 operation left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call<'a> {
    /// Which.
    pub op: Ec2Operation,
    /// The code with which it failed, empty where no answer came; `None` if it did not fail.
    pub code: Option<&'a str>,
    /// How long it took, milliseconds.
    pub ms: u32,
}

/// How often an EC2 operation was started, and how often it failed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Started {
    pub(super) requests: u32,
    pub(super) failures: u32,
}

/// What only a process counts that met errors.
#[derive(Debug, Clone)]
pub(super) struct Errors {
    pub(super) codes: Codes,
    pub(super) api: SmallMap<(&'static str, Code), u64>,
    pub(super) utils: SmallMap<(UtilsError, Box<str>), u64>,
    pub(super) ipamd: SmallMap<IpamdError, u64>,
    pub(super) pod_eni: SmallMap<PodEniError, u64>,
}

impl Errors {
    const fn new() -> Self {
        Self {
            codes: Codes::new(),
            api: SmallMap::new(),
            utils: SmallMap::new(),
            ipamd: SmallMap::new(),
            pod_eni: SmallMap::new(),
        }
    }
}

impl Empty for Errors {
    const EMPTY: &'static Self = &Self::new();

    fn empty() -> Self {
        Self::new()
    }
}

/// Everything one process counts.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Start of the process, Unix milliseconds, in whole hundredths of a second.
    pub process_start_ms: i64,
    /// `awscni_add_ip_req_count`.
    pub add_requests: u64,
    /// `awscni_del_ip_req_count`, for `PodDeleted` and `SetupNSFailed`.
    pub del_requests: [u64; 2],
    /// `awscni_no_available_ip_addresses`.
    pub no_available: u64,
    /// `awscni_force_removed_enis`.
    pub force_removed_enis: u64,
    /// `awscni_force_removed_ips`.
    pub force_removed_ips: u64,
    /// `awscni_assigned_ip_addresses`.
    pub assigned: i64,
    /// `awscni_total_ip_addresses`; 2^48 per IPv6 prefix.
    pub total: i64,
    /// `awscni_total_ipv4_prefixes`.
    pub prefixes: i64,
    /// `awscni_eni_allocated`.
    pub eni_allocated: i64,
    /// `awscni_eni_max`.
    pub eni_max: i64,
    /// `awscni_ip_max`.
    pub ip_max: i64,
    /// An IPv6 node.
    pub ipv6: bool,
    /// `awscni_assigned_ip_per_cidr`.
    pub per_cidr: PerCidr,
    /// `awscni_assigned_ip_per_eni`.
    pub per_eni: SmallMap<EniId, i32>,
    /// `awscni_connmark_reconcile_total`: failures and successes.
    pub connmark: [u64; 2],
    /// The observation of `awscni_ipamd_node_initialization_duration_seconds`.
    pub init_seconds: f64,
    /// The observation of `awscni_ipamd_startup_duration_seconds`.
    pub startup_seconds: f64,
    /// Its label `with_api_server`.
    pub with_api_server: bool,
    /// Scrapes answered with 200, with 500, and with any other status.
    pub scrapes: [u64; 3],
    /// Reads of the instance metadata service, which old agents show.
    pub imds_reads: u64,
    pub(super) started: SmallMap<Ec2Operation, Started>,
    /// In the order of what they are, not of their labels.
    pub(super) latency: Vec<Latency>,
    pub(super) errors: Rare<Errors>,
    pub(super) reconcile: SmallMap<Reconcile, u64>,
    pub(super) in_progress: SmallMap<Action, i32>,
}

impl Metrics {
    /// The kernel tells a process's start in hundredths of a second.
    pub fn new(process_start_ms: i64, ipv6: bool) -> Self {
        Self {
            process_start_ms: process_start_ms.saturating_sub(process_start_ms.rem_euclid(10)),
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
            per_cidr: PerCidr::default(),
            per_eni: SmallMap::new(),
            connmark: [0; 2],
            init_seconds: 0.0,
            startup_seconds: 0.0,
            with_api_server: true,
            scrapes: [0; 3],
            imds_reads: 0,
            started: SmallMap::new(),
            latency: Vec::new(),
            errors: Rare::EMPTY,
            reconcile: SmallMap::new(),
            in_progress: SmallMap::new(),
        }
    }

    /// Counts one EC2 operation in all four families.
    ///
    /// An ENI that EC2 does not know is not an error in the request families; only the latency family counts it.
    pub fn call(&mut self, call: Call<'_>, at_ms: i64) {
        self.observe((Timed::Call(call.op), call.code), call.ms, at_ms);
        self.requested(call.op);
        if call.code.is_some_and(|code| code != Ec2Code::InvalidNetworkInterfaceIdNotFound.name()) {
            self.failed(call);
        }
    }

    /// Counts a whole leak scan: a request only if it worked, and never a latency.
    pub fn scan(&mut self, call: Call<'_>) {
        if call.code.is_some() {
            self.failed(call);
        } else {
            self.requested(call.op);
        }
    }

    /// Counts a request that is not otherwise instrumented.
    pub fn plain_request(&mut self, call: Call<'_>) {
        self.requested(call.op);
        if call.code.is_some() {
            let count = &mut self.started.or_default(call.op).failures;
            *count = count.saturating_add(1);
        }
    }

    fn requested(&mut self, op: Ec2Operation) {
        let count = &mut self.started.or_default(op).requests;
        *count = count.saturating_add(1);
    }

    fn failed(&mut self, call: Call<'_>) {
        let count = &mut self.started.or_default(call.op).failures;
        *count = count.saturating_add(1);
        if let Some(code) = call.code.filter(|code| !code.is_empty()) {
            self.api_error(call.op.name(), code);
        }
    }

    /// The number of a code.
    fn code(&mut self, code: &str) -> Code {
        self.errors.codes.find(code).unwrap_or_else(|| self.errors.codes.add(code))
    }

    /// One latency observation; `code` is `None` for a success, and empty where no answer came.
    pub fn observe(&mut self, (timed, code): (Timed, Option<&str>), ms: u32, at_ms: i64) {
        let failed = code.map(|code| self.code(code));
        let place = self.latency.binary_search_by(|known| (known.timed, known.failed).cmp(&(timed, failed)));
        let index = place.unwrap_or_else(|index| {
            let fresh = Latency { timed, failed, sum_ms: 0, count: 0, last_ms: at_ms, recent_max_ms: 0 };
            make_room(&mut self.latency);
            self.latency.insert(index, fresh);
            index
        });
        if let Some(series) = self.latency.get_mut(index) {
            let stale = at_ms.saturating_sub(series.last_ms) > QUANTILE_WINDOW_MS;
            series.recent_max_ms = if stale { ms } else { series.recent_max_ms.max(ms) };
            series.sum_ms = series.sum_ms.saturating_add(u64::from(ms));
            series.count = series.count.saturating_add(1);
            series.last_ms = at_ms;
        }
    }

    /// Counts an error of an AWS API by its code. Codes for which there is no room are counted under one label that says so;
    /// the original has no such limit.
    pub fn api_error(&mut self, api: &'static str, code: &str) {
        let code = self.code(code);
        add(&mut self.errors.api, (api, code), 1);
    }

    /// Counts an error of a composite step by its text. An agent that counts as many texts as there is room for counts errors
    /// of further texts under one that says so; the original has no such limit.
    pub fn utils_error(&mut self, site: UtilsError, mut text: String) {
        text.truncate(text.floor_char_boundary(LONGEST_TEXT));
        let mut key = (site, text.into_boxed_str());
        if self.errors.utils.len() >= MOST_TEXTS && !self.errors.utils.contains_key(&key) {
            key.1 = FURTHER_TEXTS.into();
        }
        add(&mut self.errors.utils, key, 1);
    }

    /// Counts an error inside the agent.
    pub fn ipamd_error(&mut self, site: IpamdError) {
        add(&mut self.errors.ipamd, site, 1);
    }

    /// Counts an error around security groups for pods.
    pub fn pod_eni_error(&mut self, site: PodEniError) {
        add(&mut self.errors.pod_eni, site, 1);
    }

    /// Counts what a reconcile met.
    pub fn reconciled(&mut self, kind: Reconcile, count: u64) {
        if count > 0 {
            add(&mut self.reconcile, kind, count);
        }
    }

    /// Changes the number of steps of this kind that are under way.
    pub fn progress(&mut self, action: Action, change: i32) {
        let count = self.in_progress.or_default(action);
        *count = count.saturating_add(change);
    }

    /// Counts an answered scrape by its status.
    pub fn scraped(&mut self, code: u16) {
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

fn add<K: Ord>(counts: &mut SmallMap<K, u64>, key: K, events: u64) {
    let count = counts.or_default(key);
    *count = count.saturating_add(events);
}

#[cfg(test)]
mod tests {
    use super::super::codes::FURTHER;
    use super::super::flavour::PageFlavour;
    use super::*;

    #[test]
    fn texts_of_errors_are_limited_in_number_and_length_and_none_is_lost() {
        let mut metrics = Metrics::new(0, false);
        for number in 0..5_000 {
            metrics.utils_error(UtilsError::CleanUpLeaked, format!("{number}: {}", "ä".repeat(4_096)));
        }
        assert_eq!(metrics.errors.utils.len(), MOST_TEXTS + 1);
        assert_eq!(metrics.errors.utils.values().sum::<u64>(), 5_000);
        assert!(metrics.errors.utils.keys().all(|(_, text)| text.len() <= LONGEST_TEXT));
        let further = (UtilsError::CleanUpLeaked, Box::from(FURTHER_TEXTS));
        assert_eq!(metrics.errors.utils.get(&further), Some(&4_000));
    }

    #[test]
    fn codes_are_counted_as_ec2_sent_them_and_those_without_room_together() {
        let mut metrics = Metrics::new(0, false);
        let op = Ec2Operation::CreateNetworkInterface;
        for number in 0..1_000 {
            metrics.call(Call { op, code: Some(&format!("Code.{number}")), ms: 1 }, 0);
        }
        let truth = metrics.truth(0, PageFlavour::V1_23);
        let of_family = truth.labels.iter().filter(|count| count.family == "awscni_aws_api_error_count");
        let counts: Vec<_> = of_family.map(|count| (count.labels[1].1.to_string(), count.count)).collect();
        assert_eq!((counts.len(), counts.iter().map(|(_, count)| count).sum::<u64>()), (257, 1_000));
        assert!(counts.contains(&("Code.255".to_owned(), 1)) && counts.contains(&(FURTHER.to_owned(), 744)));
        assert_eq!((truth.aws_api_errors, truth.ec2_requests, truth.ec2_errors), (1_000, 1_000, 1_000));
        assert!(truth.latency.iter().any(|series| series.error && series.status == "Code.7" && series.count == 1));
    }
}
