//! What one process counts.

use std::collections::BTreeMap;

use super::labels::{Action, IpamdError, PodEniError, Reconcile, UtilsError};
use crate::ec2::{Block, EniId};
use cni_types::ec2::{Ec2Code, Ec2Operation};

/// Old agents forget an observation after ten minutes; their quantiles then read NaN.
pub(super) const QUANTILE_WINDOW_MS: i64 = 600_000;

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
pub(crate) struct Call {
    pub(crate) op: Ec2Operation,
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

fn bump(counts: &mut [u64; 14], op: Ec2Operation) {
    counts.iter_mut().zip(Ec2Operation::ALL).filter(|(_, known)| *known == op).for_each(|(count, _)| *count += 1);
}
