//! One page as numbers: what the model counted, under the names a collector publishes.

use ipamd_model::metrics::{PageFlavour, Truth as ModelTruth};
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

/// One API's latency on one page, over all results.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiLatency {
    /// EC2 operation.
    pub api: &'static str,
    /// Milliseconds.
    pub sum_ms: u64,
    /// Observations.
    pub count: u64,
    /// Highest 0.99 quantile, where there is one that is not NaN.
    pub p99_ms: Option<f64>,
}

/// One page.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeNumbers {
    /// Start of the agent's process.
    pub process_start_ms: i64,
    /// An IPv6 node.
    pub ipv6: bool,
    /// The page shows quantiles.
    pub quantiles: bool,
    /// By [`Gauge`]; `None` where the page has no such family.
    pub gauges: [Option<f64>; GAUGES.len()],
    /// By [`COUNTERS`]; a family the page lacks is 0.
    pub counters: [f64; COUNTERS.len()],
    /// By API.
    pub latency: Arc<[ApiLatency]>,
}

impl NodeNumbers {
    /// From the model's numbers for a page of this flavour.
    pub fn of(model: &ModelTruth, flavour: PageFlavour) -> Self {
        let count = |value: u64| value as f64;
        let gauge = |value: i64| Some(value as f64);
        let has_prefixes = flavour.exposes("awscni_total_ipv4_prefixes");
        Self {
            process_start_ms: model.process_start_ms,
            ipv6: model.ipv6,
            quantiles: flavour == PageFlavour::Legacy,
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
                model.aws_api_errors,
                model.aws_utils_errors,
                model.ipamd_errors,
                model.reconcile,
                model.add_requests,
                model.del_requests,
                model.pod_eni_errors,
                model.force_removed_enis,
                model.force_removed_ips,
                model.ec2_requests,
                model.ec2_errors,
                model.no_available,
            ]
            .map(count),
            latency: latencies(model),
        }
    }

    /// One gauge.
    pub fn gauge(&self, gauge: Gauge) -> Option<f64> {
        self.gauges.get(gauge as usize).copied().flatten()
    }

    /// What the counters gained since `base`; without one, since the process began.
    pub fn counters_since(&self, base: Option<&Self>) -> [f64; COUNTERS.len()] {
        let mut gained = self.counters;
        if let Some(base) = base {
            gained.iter_mut().zip(base.counters).for_each(|(now, before)| *now = (*now - before).max(0.0));
        }
        gained
    }
}

fn latencies(model: &ModelTruth) -> Arc<[ApiLatency]> {
    let mut apis: Vec<ApiLatency> = Vec::new();
    for series in &model.latency {
        match apis.iter_mut().find(|known| known.api == series.api) {
            Some(known) => {
                known.sum_ms += series.sum_ms;
                known.count += series.count;
                known.p99_ms = known.p99_ms.into_iter().chain(series.p99_ms).reduce(f64::max);
            }
            None => apis.push(ApiLatency {
                api: series.api,
                sum_ms: series.sum_ms,
                count: series.count,
                p99_ms: series.p99_ms,
            }),
        }
    }
    apis.into()
}
