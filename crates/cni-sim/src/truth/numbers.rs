//! One page as numbers: what the model counted, under the names a collector publishes.

use cni_types::ec2::Ec2Operation;
use ipamd_core::metrics::{LabelCount, PageFlavour, Truth as ModelTruth};
use std::borrow::Cow;
use std::sync::Arc;

/// Published names of the counters, in the order of [`NodeNumbers::counters`].
pub const COUNTERS: [&str; 12] = [
    "awsAPIErr",
    "awsUtilErr",
    "ipamdErr",
    "reconcileCount",
    "addReqCount",
    "delReqCount",
    "podENIErr",
    "forceRemoveENI",
    "forceRemoveIPs",
    "ec2ApiReqCount",
    "ec2ApiErrCount",
    "noAvailableIPAddresses",
];

/// A gauge's place in [`NodeNumbers::gauges`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "GAUGES names each")]
pub enum Gauge {
    Assigned,
    Total,
    Prefixes,
    AssignedPerCidr,
    EniAllocated,
    EniMax,
    IpMax,
    InProgress,
}

/// Each gauge, its published name, and whether it counts IPv4 addresses (and so leaves IPv6 nodes out).
pub const GAUGES: [(Gauge, &str, bool); 8] = [
    (Gauge::Assigned, "assignIPAddresses", true),
    (Gauge::Total, "totalIPAddresses", true),
    (Gauge::Prefixes, "totalIPv4Prefixes", true),
    (Gauge::AssignedPerCidr, "totalAssignedIPv4sPerCidr", true),
    (Gauge::EniAllocated, "eniAllocated", false),
    (Gauge::EniMax, "eniMaxAvailable", false),
    (Gauge::IpMax, "maxIPAddresses", true),
    (Gauge::InProgress, "ipamdActionInProgress", false),
];

/// One EC2 operation's latency on one page, over all results.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiLatency {
    /// EC2 operation.
    pub api: &'static str,
    /// Milliseconds.
    pub sum_ms: u64,
    /// Observations.
    pub count: u64,
}

/// A family, and the names and values of the labels that tell causes apart.
pub type LabelSet = (&'static str, [(&'static str, Cow<'static, str>); 2]);

/// Events by label set. Which label sets there are hardly ever changes, so pages share it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LabelCounts {
    pub(super) sets: Arc<[LabelSet]>,
    pub(super) counts: Arc<[u64]>,
}

impl LabelCounts {
    /// From the model's list.
    pub fn of(list: &[LabelCount]) -> Self {
        Self {
            sets: list.iter().map(|one| (one.family, one.labels.clone())).collect(),
            counts: list.iter().map(|one| one.count).collect(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&LabelSet, u64)> {
        self.sets.iter().zip(self.counts.iter().copied())
    }

    /// What each label set gained since `base`; without one, since the process began.
    pub(super) fn gained_since(&self, base: Option<&Self>) -> Vec<(LabelSet, u64)> {
        let before = |set: &LabelSet| base?.iter().find(|(known, _)| *known == set).map(|(_, count)| count);
        self.iter().map(|(set, count)| (set.clone(), count.saturating_sub(before(set).unwrap_or(0)))).collect()
    }
}

/// A number for each counter; `None` where it is not measured.
pub type Counters = [Option<f64>; COUNTERS.len()];

/// Adds each counter that is measured.
pub(super) fn add(sum: &mut Counters, part: &Counters) {
    for (sum, part) in sum.iter_mut().zip(part) {
        if let Some(part) = part {
            *sum.get_or_insert(0.0) += part;
        }
    }
}

/// One page.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeNumbers {
    /// Start of the agent's process.
    pub process_start_ms: i64,
    /// An IPv6 node.
    pub ipv6: bool,
    /// By [`Gauge`]; `None` where the page has no such family.
    pub gauges: [Option<f64>; GAUGES.len()],
    /// By [`COUNTERS`]; `None` where the agent has no such family. One that it has and does not show yet is 0.
    pub counters: Counters,
    /// By EC2 operation.
    pub latency: Arc<[ApiLatency]>,
    /// Of the counters whose families have labels: events by label set, in ascending order.
    pub labels: LabelCounts,
}

impl NodeNumbers {
    /// From the model's numbers for a page of this flavour.
    pub fn of(model: &ModelTruth, flavour: PageFlavour) -> Self {
        let count = |value: u64, family: &str| flavour.exposes(family).then_some(value as f64);
        let gauge = |value: i64| Some(value as f64);
        let has_prefixes = flavour.exposes("awscni_total_ipv4_prefixes");
        Self {
            process_start_ms: model.process_start_ms,
            ipv6: model.ipv6,
            gauges: [
                gauge(model.assigned),
                Some(model.total),
                gauge(model.prefixes).filter(|_| has_prefixes),
                model.assigned_per_cidr.map(|value| value as f64),
                gauge(model.eni_allocated),
                gauge(model.eni_max),
                gauge(model.ip_max),
                gauge(model.in_progress),
            ],
            counters: [
                count(model.aws_api_errors, "awscni_aws_api_error_count"),
                count(model.aws_utils_errors, "awscni_aws_utils_error_count"),
                count(model.ipamd_errors, "awscni_ipamd_error_count"),
                count(model.reconcile, "awscni_reconcile_count"),
                count(model.add_requests, "awscni_add_ip_req_count"),
                count(model.del_requests, "awscni_del_ip_req_count"),
                count(model.pod_eni_errors, "awscni_pod_eni_error_count"),
                count(model.force_removed_enis, "awscni_force_removed_enis"),
                count(model.force_removed_ips, "awscni_force_removed_ips"),
                count(model.ec2_requests, "awscni_ec2api_req_count"),
                count(model.ec2_errors, "awscni_ec2api_error_count"),
                count(model.no_available, "awscni_no_available_ip_addresses"),
            ],
            latency: latencies(model),
            labels: LabelCounts::of(&model.labels),
        }
    }

    /// One gauge, unless the page contradicts it: more addresses in use than held cannot be, and which of the two is wrong
    /// shows only where addresses were taken away by force, which the agent then subtracts twice from what it holds.
    pub fn gauge(&self, gauge: Gauge) -> Option<f64> {
        let read = |gauge: Gauge| self.gauges.get(gauge as usize).copied().flatten();
        let believed = |value: &f64| *value >= 0.0 || (self.ipv6 && gauge == Gauge::AssignedPerCidr);
        let contradicted = match (read(Gauge::Assigned), read(Gauge::Total)) {
            (Some(assigned), Some(held)) if held >= 0.0 && assigned > held => {
                let [.., enis, ips, _, _, _] = self.counters;
                let taken = enis.unwrap_or(0.0) + ips.unwrap_or(0.0) > 0.0;
                gauge == Gauge::Total || (gauge == Gauge::Assigned && !taken)
            }
            _ => false,
        };
        read(gauge).filter(believed).filter(|_| !contradicted)
    }

    /// What the counters gained since `base`; without one, since the process began.
    pub fn counters_since(&self, base: Option<&Self>) -> Counters {
        let mut gained = self.counters;
        if let Some(base) = base {
            for (now, before) in gained.iter_mut().zip(base.counters) {
                *now = now.map(|now| (now - before.unwrap_or(0.0)).max(0.0));
            }
        }
        gained
    }
}

/// EC2 operations only, without reads of the metadata service and waits.
fn latencies(model: &ModelTruth) -> Arc<[ApiLatency]> {
    let is_ec2 = |api: &str| Ec2Operation::ALL.iter().any(|op| op.latency_name() == api);
    let mut apis: Vec<ApiLatency> = Vec::new();
    for series in model.latency.iter().filter(|series| is_ec2(series.api)) {
        match apis.iter_mut().find(|known| known.api == series.api) {
            Some(known) => {
                known.sum_ms += series.sum_ms;
                known.count += series.count;
            }
            None => apis.push(ApiLatency { api: series.api, sum_ms: series.sum_ms, count: series.count }),
        }
    }
    apis.into()
}
