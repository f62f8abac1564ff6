//! What one process counts.

use std::collections::BTreeMap;

use super::labels::{Action, IpamdError, PodEniError, Reconcile, UtilsError};
use super::per_cidr::PerCidr;
use crate::id::EniId;
use crate::small_map::SmallMap;
use cni_types::ec2::{Ec2Code, Ec2Operation};

/// Old agents forget an observation after ten minutes; their quantiles then read NaN.
pub(super) const QUANTILE_WINDOW_MS: i64 = 600_000;

/// Texts of errors that are counted apart, of all steps together.
const MOST_TEXTS: usize = 1_000;
/// Bytes of such a text; what is longer is cut.
const LONGEST_TEXT: usize = 4_096;
/// Under this text errors are counted for whose own there is no room.
const FURTHER_TEXTS: &str = "errors of further texts, which are not counted apart";

/// One series of the latency summary.
#[derive(Debug, Clone, Copy)]
pub(super) struct Latency {
    pub(super) api: &'static str,
    pub(super) error: bool,
    pub(super) status: &'static str,
    pub(super) sum_ms: u64,
    pub(super) count: u64,
    pub(super) last_ms: i64,
    pub(super) recent_max_ms: u32,
}

/// What an EC2 operation left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Which.
    pub op: Ec2Operation,
    /// How it failed; `None` if it did not.
    pub code: Option<Ec2Code>,
    /// How long it took, milliseconds.
    pub ms: u32,
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
    pub(super) requests: [u64; 14],
    pub(super) failures: [u64; 14],
    pub(super) latency: Vec<Latency>,
    pub(super) api_errors: BTreeMap<(&'static str, &'static str), u64>,
    pub(super) utils_errors: BTreeMap<(UtilsError, Box<str>), u64>,
    pub(super) ipamd_errors: BTreeMap<IpamdError, u64>,
    pub(super) pod_eni_errors: BTreeMap<PodEniError, u64>,
    pub(super) reconcile: BTreeMap<Reconcile, u64>,
    pub(super) in_progress: BTreeMap<Action, i32>,
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
    pub fn call(&mut self, call: Call, at_ms: i64) {
        self.observe((call.op.latency_name(), call.code), call.ms, at_ms);
        bump(&mut self.requests, call.op);
        if call.code.is_some_and(|code| code != Ec2Code::InvalidNetworkInterfaceIdNotFound) {
            self.failed(call);
        }
    }

    /// Counts a whole leak scan: a request only if it worked, and never a latency.
    pub fn scan(&mut self, call: Call) {
        if call.code.is_some() {
            self.failed(call);
        } else {
            bump(&mut self.requests, call.op);
        }
    }

    /// Counts a request that is not otherwise instrumented.
    pub fn plain_request(&mut self, call: Call) {
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
    pub fn observe(&mut self, (api, code): (&'static str, Option<Ec2Code>), ms: u32, at_ms: i64) {
        let (error, status) = (code.is_some(), code.map_or("200", Ec2Code::name));
        let key = (api, error, status);
        let place = self.latency.binary_search_by(|known| (known.api, known.error, known.status).cmp(&key));
        let index = place.unwrap_or_else(|index| {
            let fresh = Latency { api, error, status, sum_ms: 0, count: 0, last_ms: at_ms, recent_max_ms: 0 };
            self.latency.insert(index, fresh);
            index
        });
        if let Some(series) = self.latency.get_mut(index) {
            let stale = at_ms.saturating_sub(series.last_ms) > QUANTILE_WINDOW_MS;
            series.recent_max_ms = if stale { ms } else { series.recent_max_ms.max(ms) };
            series.sum_ms += u64::from(ms);
            series.count += 1;
            series.last_ms = at_ms;
        }
    }

    /// Counts an error of an AWS API by its code.
    pub fn api_error(&mut self, api: &'static str, code: &'static str) {
        *self.api_errors.entry((api, code)).or_default() += 1;
    }

    /// Counts an error of a composite step by its text. An agent that counts as many texts as there is room for counts errors
    /// of further texts under one that says so; the original has no such limit.
    pub fn utils_error(&mut self, site: UtilsError, mut text: String) {
        text.truncate(text.floor_char_boundary(LONGEST_TEXT));
        let mut key = (site, text.into_boxed_str());
        if self.utils_errors.len() >= MOST_TEXTS && !self.utils_errors.contains_key(&key) {
            key.1 = FURTHER_TEXTS.into();
        }
        *self.utils_errors.entry(key).or_default() += 1;
    }

    /// Counts an error inside the agent.
    pub fn ipamd_error(&mut self, site: IpamdError) {
        *self.ipamd_errors.entry(site).or_default() += 1;
    }

    /// Counts an error around security groups for pods.
    pub fn pod_eni_error(&mut self, site: PodEniError) {
        *self.pod_eni_errors.entry(site).or_default() += 1;
    }

    /// Counts what a reconcile met.
    pub fn reconciled(&mut self, kind: Reconcile, count: u64) {
        if count > 0 {
            *self.reconcile.entry(kind).or_default() += count;
        }
    }

    /// Changes the number of steps of this kind that are under way.
    pub fn progress(&mut self, action: Action, change: i32) {
        *self.in_progress.entry(action).or_default() += change;
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

fn bump(counts: &mut [u64; 14], op: Ec2Operation) {
    counts.iter_mut().zip(Ec2Operation::ALL).filter(|(_, known)| *known == op).for_each(|(count, _)| *count += 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_errors_are_limited_in_number_and_length_and_none_is_lost() {
        let mut metrics = Metrics::new(0, false);
        for number in 0..5_000 {
            metrics.utils_error(UtilsError::CleanUpLeaked, format!("{number}: {}", "ä".repeat(4_096)));
        }
        assert_eq!(metrics.utils_errors.len(), MOST_TEXTS + 1);
        assert_eq!(metrics.utils_errors.values().sum::<u64>(), 5_000);
        assert!(metrics.utils_errors.keys().all(|(_, text)| text.len() <= LONGEST_TEXT));
        let further = (UtilsError::CleanUpLeaked, FURTHER_TEXTS.into());
        assert_eq!(metrics.utils_errors.get(&further), Some(&4_000));
    }
}
