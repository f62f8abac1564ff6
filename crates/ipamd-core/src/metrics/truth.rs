//! The page's numbers without the page.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::codes::Codes;
use super::counts::{Latency, Metrics, QUANTILE_WINDOW_MS};
use super::flavour::PageFlavour;
use cni_types::ec2::Ec2Code;

/// One latency series.
#[derive(Debug, Clone, PartialEq)]
pub struct LatencyTruth {
    /// Label `api`.
    pub api: &'static str,
    /// Label `error`.
    pub error: bool,
    /// Label `status`.
    pub status: Cow<'static, str>,
    /// Sum of observations, milliseconds.
    pub sum_ms: u64,
    /// Number of observations.
    pub count: u64,
    /// What an old agent shows as its 0.99 quantile; `None` stands for NaN.
    pub p99_ms: Option<f64>,
}

/// A family, and the names and values of the labels that tell causes apart; the second is empty where there is one label.
type LabelSet = (&'static str, [(&'static str, Cow<'static, str>); 2]);

/// How often one label set of a family with labels was counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelCount {
    /// The family.
    pub family: &'static str,
    /// Names and values of the labels that tell causes apart; the second is empty where there is one label.
    pub labels: [(&'static str, Cow<'static, str>); 2],
    /// Events.
    pub count: u64,
}

/// What the page says, as plain numbers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Truth {
    /// Start of this process life, Unix milliseconds.
    pub process_start_ms: i64,
    /// An IPv6 node.
    pub ipv6: bool,
    /// `assigned_ip_addresses`.
    pub assigned: i64,
    /// `total_ip_addresses`; 2^48 per IPv6 prefix.
    pub total: f64,
    /// `total_ipv4_prefixes`.
    pub prefixes: i64,
    /// Sum of `assigned_ip_per_cidr`; `None` while the family is absent.
    pub assigned_per_cidr: Option<i64>,
    /// `eni_allocated`.
    pub eni_allocated: i64,
    /// `eni_max`.
    pub eni_max: i64,
    /// `ip_max`.
    pub ip_max: i64,
    /// Sum of `ipamd_action_inprogress`.
    pub in_progress: i64,
    /// `add_ip_req_count`.
    pub add_requests: u64,
    /// Sum of `del_ip_req_count`.
    pub del_requests: u64,
    /// `no_available_ip_addresses`.
    pub no_available: u64,
    /// `force_removed_enis`.
    pub force_removed_enis: u64,
    /// `force_removed_ips`.
    pub force_removed_ips: u64,
    /// Sum of `reconcile_count`.
    pub reconcile: u64,
    /// Sum of `ipamd_error_count`.
    pub ipamd_errors: u64,
    /// Sum of `pod_eni_error_count`.
    pub pod_eni_errors: u64,
    /// Sum of `aws_api_error_count`.
    pub aws_api_errors: u64,
    /// Sum of `aws_utils_error_count`.
    pub aws_utils_errors: u64,
    /// Sum of `ec2api_req_count`.
    pub ec2_requests: u64,
    /// Sum of `ec2api_error_count`.
    pub ec2_errors: u64,
    /// Every latency series.
    pub latency: Vec<LatencyTruth>,
    /// The counters above whose families have labels, by label set, in ascending order; of the whole text of an error only
    /// its code. Those that counted nothing are left out.
    pub labels: Vec<LabelCount>,
}

impl Metrics {
    /// What a page of this flavour says at `now_ms`; families it does not have read 0.
    pub fn truth(&self, now_ms: i64, flavour: PageFlavour) -> Truth {
        let kept = |family: &str, value: u64| if flavour.exposes(family) { value } else { 0 };
        Truth {
            process_start_ms: self.process_start_ms,
            ipv6: self.ipv6,
            assigned: self.assigned,
            total: self.total as f64,
            prefixes: if flavour.exposes("awscni_total_ipv4_prefixes") { self.prefixes } else { 0 },
            assigned_per_cidr: (flavour.exposes("awscni_assigned_ip_per_cidr") && !self.per_cidr.is_empty())
                .then(|| self.per_cidr.iter().map(|(_, pods)| i64::from(pods)).sum()),
            eni_allocated: self.eni_allocated,
            eni_max: self.eni_max,
            ip_max: self.ip_max,
            in_progress: self.in_progress.values().copied().map(i64::from).sum(),
            add_requests: self.add_requests,
            del_requests: self.del_requests.iter().sum(),
            no_available: kept("awscni_no_available_ip_addresses", self.no_available),
            force_removed_enis: kept("awscni_force_removed_enis", self.force_removed_enis),
            force_removed_ips: kept("awscni_force_removed_ips", self.force_removed_ips),
            reconcile: self.reconcile.values().sum(),
            ipamd_errors: self.errors.ipamd.values().sum(),
            pod_eni_errors: kept("awscni_pod_eni_error_count", self.errors.pod_eni.values().sum()),
            aws_api_errors: self.errors.api.values().sum(),
            aws_utils_errors: self.errors.utils.values().sum(),
            ec2_requests: kept("awscni_ec2api_req_count", self.started.values().map(|of| u64::from(of.requests)).sum()),
            ec2_errors: kept("awscni_ec2api_error_count", self.started.values().map(|of| u64::from(of.failures)).sum()),
            latency: self.latency_truth(now_ms, flavour),
            labels: self.label_truth(flavour),
        }
    }

    fn label_truth(&self, flavour: PageFlavour) -> Vec<LabelCount> {
        let mut found: BTreeMap<LabelSet, u64> = BTreeMap::new();
        let mut add = |family, labels, count| *found.entry((family, labels)).or_default() += count;
        let one = |name, value| [(name, Cow::Borrowed(value)), ("", Cow::Borrowed(""))];
        let errors = &*self.errors;
        for ((api, code), count) in errors.api.iter() {
            let code = match errors.codes.label(*code) {
                Cow::Borrowed(code) => Cow::Borrowed(flavour.shown_code(code)),
                Cow::Owned(code) => Cow::Owned(flavour.shown_code(&code).to_owned()),
            };
            let labels = [("api", flavour.shown_api(api).into()), ("error", code)];
            add("awscni_aws_api_error_count", labels, *count);
        }
        for ((site, text), count) in errors.utils.iter() {
            let labels = [("fn", site.name().into()), ("code", code_in(text).into())];
            add("awscni_aws_utils_error_count", labels, *count);
        }
        for (reason, count) in ["PodDeleted", "SetupNSFailed"].into_iter().zip(self.del_requests) {
            add("awscni_del_ip_req_count", one("reason", reason), count);
        }
        for (op, started) in self.started.iter() {
            add("awscni_ec2api_error_count", one("fn", op.name()), started.failures.into());
            add("awscni_ec2api_req_count", one("fn", op.name()), started.requests.into());
        }
        for (site, count) in errors.ipamd.iter() {
            add("awscni_ipamd_error_count", one("fn", site.name()), *count);
        }
        for (site, count) in errors.pod_eni.iter() {
            add("awscni_pod_eni_error_count", one("fn", site.name()), *count);
        }
        for (kind, count) in self.reconcile.iter() {
            add("awscni_reconcile_count", one("fn", kind.name()), *count);
        }
        let shown = found.into_iter().filter(|((family, _), count)| *count > 0 && flavour.exposes(family));
        shown.map(|((family, labels), count)| LabelCount { family, labels, count }).collect()
    }

    /// The summary's series in page order; an old agent adds its IMDS reads, a very old one merges statuses.
    pub(super) fn latency_truth(&self, now_ms: i64, flavour: PageFlavour) -> Vec<LatencyTruth> {
        let mut all: Vec<_> = self.latency.iter().map(|series| series.truth(now_ms, &self.errors.codes)).collect();
        all.sort_by(|one, other| (one.api, one.error, &one.status).cmp(&(other.api, other.error, &other.status)));
        if !flavour.is_legacy() {
            return all;
        }
        let merges = flavour.has_quantiles();
        let metadata = LatencyTruth {
            api: "GetMetadata",
            error: false,
            status: if merges { "" } else { "200" }.into(),
            sum_ms: self.imds_reads,
            count: self.imds_reads,
            p99_ms: (self.imds_reads > 0).then_some(1.0),
        };
        let mut merged: Vec<LatencyTruth> = Vec::new();
        for series in all.into_iter().chain([metadata]) {
            let same = |known: &&mut LatencyTruth| merges && known.api == series.api && known.error == series.error;
            match merged.iter_mut().find(same) {
                Some(known) => {
                    known.sum_ms += series.sum_ms;
                    known.count += series.count;
                    known.p99_ms = known.p99_ms.into_iter().chain(series.p99_ms).reduce(f64::max);
                }
                None if merges => merged.push(LatencyTruth { status: "".into(), ..series }),
                None => merged.push(series),
            }
        }
        merged.sort_by(|one, other| (one.api, one.error, &one.status).cmp(&(other.api, other.error, &other.status)));
        merged
    }
}

/// The code of EC2 in an error's text.
fn code_in(text: &str) -> &'static str {
    let code = text.split_once("api error ").and_then(|(_, rest)| rest.split_once(':')).map(|(code, _)| code);
    let known = Ec2Code::ANSWERED.iter().map(|known| known.name()).find(|known| code == Some(known));
    known.unwrap_or("unknown")
}

impl Latency {
    fn truth(&self, now_ms: i64, codes: &Codes) -> LatencyTruth {
        let fresh = now_ms.saturating_sub(self.last_ms) <= QUANTILE_WINDOW_MS;
        LatencyTruth {
            api: self.timed.name(),
            error: self.failed.is_some(),
            status: self.failed.map_or(Cow::Borrowed("200"), |code| codes.label(code)),
            sum_ms: self.sum_ms,
            count: self.count.into(),
            p99_ms: fresh.then(|| f64::from(self.recent_max_ms)),
        }
    }
}
