//! The `awscni_` families.

use super::counts::{Metrics, Started};
use super::flavour::PageFlavour;
use super::page::{Kind, Labels, Page};
use crate::block::Block;

/// Upper bounds of the two duration histograms, as text and as seconds.
const BOUNDS: [(&str, f64); 12] = [
    ("0.005", 0.005),
    ("0.01", 0.01),
    ("0.025", 0.025),
    ("0.05", 0.05),
    ("0.1", 0.1),
    ("0.25", 0.25),
    ("0.5", 0.5),
    ("1", 1.0),
    ("2.5", 2.5),
    ("5", 5.0),
    ("10", 10.0),
    ("+Inf", f64::INFINITY),
];

/// What the page shows and the counters do not know.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    /// When the page is asked for, Unix milliseconds.
    pub now_ms: i64,
    /// Seed of the numbers of the Go runtime.
    pub seed: u64,
    /// Connection marks are written by nftables instead of iptables.
    pub nftables: bool,
}

impl Metrics {
    /// Appends the whole page.
    pub fn render(&self, shown: Shown, flavour: PageFlavour, out: &mut Vec<u8>) {
        let mut page = Page { out, flavour };
        self.requests_and_assignments(&mut page);
        self.aws_calls(&mut page, shown);
        self.host(&mut page, shown);
        self.ec2_requests(&mut page);
        self.enis(&mut page);
        self.pool_actions(&mut page);
        self.durations(&mut page);
        self.pool(&mut page);
        self.runtime(&mut page, shown);
    }

    fn requests_and_assignments(&self, page: &mut Page<'_>) {
        let help = "Requests to add a pod to the network, as they arrive, refused ones included";
        page.plain("awscni_add_ip_req_count", Kind::Counter, help, self.add_requests as f64);
        let help = "Addresses that pods have now";
        page.plain("awscni_assigned_ip_addresses", Kind::Gauge, help, self.assigned as f64);
        let name = "awscni_assigned_ip_per_cidr";
        if !self.per_cidr.is_empty() && page.family(name, Kind::Gauge, "Addresses that pods have, by attached CIDR") {
            let mut series: Vec<_> = self.per_cidr.iter().map(|(block, count)| (label(block), count)).collect();
            series.sort();
            for (cidr, count) in &series {
                page.sample(name, &[("cidr", cidr)], f64::from(*count));
            }
        }
        let name = "awscni_assigned_ip_per_eni";
        if !self.per_eni.is_empty() && page.family(name, Kind::Gauge, "Addresses that pods have, by ENI") {
            for (eni, count) in self.per_eni.iter() {
                page.sample(name, &[("eni", &eni.to_string())], f64::from(*count));
            }
        }
    }

    fn aws_calls(&self, page: &mut Page<'_>, shown: Shown) {
        let name = "awscni_aws_api_error_count";
        let errors = &*self.errors;
        if !errors.api.is_empty() && page.family(name, Kind::Counter, "Errors that AWS answered, by call and code") {
            let flavour = page.flavour;
            let api = errors.api.iter().map(|((api, code), count)| {
                (flavour.shown_api(api), flavour.shown_code(errors.codes.name(*code)), *count)
            });
            let mut series: Vec<_> = api.collect();
            series.sort_unstable();
            for (api, code, count) in series {
                page.sample(name, &[("api", api), ("error", code)], count as f64);
            }
        }
        self.latencies(page, shown);
        let name = "awscni_aws_utils_error_count";
        let help = "Errors of composite AWS steps, by step and whole error text";
        if !errors.utils.is_empty() && page.family(name, Kind::Counter, help) {
            // Labels compare in name order: the error text before the step.
            let mut series: Vec<_> = errors.utils.iter().collect();
            series.sort_by_key(|((site, text), _)| (text, site.name()));
            for ((site, text), count) in series {
                page.sample(name, &[("error", text), ("fn", site.name())], *count as f64);
            }
        }
    }

    fn latencies(&self, page: &mut Page<'_>, shown: Shown) {
        let series = self.latency_truth(shown.now_ms, page.flavour);
        let legacy = page.flavour.has_quantiles();
        let name = "awscni_aws_api_latency_ms";
        if series.is_empty() || !page.family(name, Kind::Summary, "How long AWS calls took, milliseconds") {
            return;
        }
        for series in series {
            let error = if series.error { "true" } else { "false" };
            let all: Labels<'_> = &[("api", series.api), ("error", error), ("status", &series.status)];
            let labels = if legacy { all.get(..2).unwrap_or(all) } else { all };
            if legacy {
                let mean = series.sum_ms as f64 / (series.count as f64).max(1.0);
                let worst = series.p99_ms.unwrap_or(f64::NAN);
                let middle = if worst.is_nan() { f64::NAN } else { mean.min(worst).floor() };
                for (quantile, value) in [("0.5", middle), ("0.9", worst), ("0.99", worst)] {
                    let quantiled = [("api", series.api), ("error", error), ("quantile", quantile)];
                    page.sample(name, &quantiled, value);
                }
            }
            page.sample("awscni_aws_api_latency_ms_sum", labels, series.sum_ms as f64);
            page.count("awscni_aws_api_latency_ms_count", labels, series.count);
        }
    }

    fn host(&self, page: &mut Page<'_>, shown: Shown) {
        let name = "awscni_build_info";
        if page.family(name, Kind::Gauge, "Always 1; the labels tell what was built with what") {
            page.sample(name, &[("goversion", "go1.26.4"), ("version", "")], 1.0);
        }
        let name = "awscni_connmark_backend";
        if page.family(name, Kind::Gauge, "1 at the tool that writes connection marks") {
            let backend = if shown.nftables { "nftables" } else { "iptables" };
            page.sample(name, &[("backend", backend)], 1.0);
        }
        let name = "awscni_connmark_reconcile_total";
        if page.family(name, Kind::Counter, "Passes over the connection-mark rules, by result") {
            let [error, success] = self.connmark;
            page.sample(name, &[("result", "error")], error as f64);
            page.sample(name, &[("result", "success")], success as f64);
        }
        let name = "awscni_del_ip_req_count";
        let [deleted, undone] = self.del_requests;
        if deleted + undone > 0 && page.family(name, Kind::Counter, "Requests to take a pod off the network, by reason")
        {
            for (reason, count) in [("PodDeleted", deleted), ("SetupNSFailed", undone)] {
                if count > 0 {
                    page.sample(name, &[("reason", reason)], count as f64);
                }
            }
        }
    }

    fn ec2_requests(&self, page: &mut Page<'_>) {
        let help = "EC2 operations that failed, by operation";
        self.operations(page, ("awscni_ec2api_error_count", help), |started| started.failures);
        let help = "EC2 operations started, by operation";
        self.operations(page, ("awscni_ec2api_req_count", help), |started| started.requests);
    }

    fn operations(&self, page: &mut Page<'_>, (name, help): (&str, &str), count: impl Fn(&Started) -> u32) {
        let counts = || self.started.iter().map(|(op, started)| (*op, count(started))).filter(|(_, count)| *count > 0);
        if counts().next().is_some() && page.family(name, Kind::Counter, help) {
            for (op, count) in counts() {
                page.sample(name, &[("fn", op.name())], f64::from(count));
            }
        }
    }

    fn enis(&self, page: &mut Page<'_>) {
        let gauge = Kind::Gauge;
        page.plain("awscni_eni_allocated", gauge, "ENIs in the datastore", self.eni_allocated as f64);
        let help = "ENIs the node may have, less those the agent does not manage";
        page.plain("awscni_eni_max", gauge, help, self.eni_max as f64);
        let help = "ENIs that vanished while pods used them";
        page.plain("awscni_force_removed_enis", Kind::Counter, help, self.force_removed_enis as f64);
        let help = "Addresses that vanished while pods used them";
        page.plain("awscni_force_removed_ips", Kind::Counter, help, self.force_removed_ips as f64);
        let help = "Pod addresses the node can have at most";
        page.plain("awscni_ip_max", gauge, help, self.ip_max as f64);
    }

    fn pool_actions(&self, page: &mut Page<'_>) {
        let name = "awscni_ipamd_action_inprogress";
        if !self.in_progress.is_empty() && page.family(name, Kind::Gauge, "Steps of the agent under way, by step") {
            let legacy = page.flavour.is_before_counters();
            for (action, count) in self.in_progress.iter() {
                let shown = match action.name() {
                    "increaseDatastorePool" if legacy => "increaseIPPool",
                    "decreaseDatastorePool" if legacy => "decreaseIPPool",
                    name => name,
                };
                page.sample(name, &[("fn", shown)], f64::from(*count));
            }
            if legacy {
                page.sample(name, &[("fn", "retryAllocENIIP")], 0.0);
            }
        }
        let name = "awscni_ipamd_error_count";
        if !self.errors.ipamd.is_empty() && page.family(name, Kind::Counter, "Errors inside the agent, by place") {
            for (site, count) in self.errors.ipamd.iter() {
                page.sample(name, &[("fn", site.name())], *count as f64);
            }
        }
    }

    fn durations(&self, page: &mut Page<'_>) {
        let name = "awscni_ipamd_node_initialization_duration_seconds";
        let help = "How long the initialisation of the node took, seconds";
        histogram(page, (name, help), &[("success", "true")], self.init_seconds);
        let with = if self.with_api_server { "true" } else { "false" };
        let labels = [("failure_reason", ""), ("success", "true"), ("with_api_server", with)];
        let name = "awscni_ipamd_startup_duration_seconds";
        let help = "From process start until requests are served, seconds";
        histogram(page, (name, help), &labels, self.startup_seconds);
    }

    fn pool(&self, page: &mut Page<'_>) {
        let help = "Assignments refused because no address was usable";
        page.plain("awscni_no_available_ip_addresses", Kind::Counter, help, self.no_available as f64);
        let name = "awscni_pod_eni_error_count";
        let help = "Errors around security groups for pods, by place";
        if !self.errors.pod_eni.is_empty() && page.family(name, Kind::Counter, help) {
            for (site, count) in self.errors.pod_eni.iter() {
                page.sample(name, &[("fn", site.name())], *count as f64);
            }
        }
        let name = "awscni_reconcile_count";
        if !self.reconcile.is_empty() && page.family(name, Kind::Counter, "What reconciling met, by kind") {
            for (kind, count) in self.reconcile.iter() {
                page.sample(name, &[("fn", kind.name())], *count as f64);
            }
        }
        let help = "Addresses the datastore holds, used or not";
        page.plain("awscni_total_ip_addresses", Kind::Gauge, help, self.total as f64);
        let help = "IPv4 prefixes the datastore holds";
        page.plain("awscni_total_ipv4_prefixes", Kind::Gauge, help, self.prefixes as f64);
    }
}

/// A CIDR as its label shows it.
fn label(block: Block) -> String {
    match block {
        Block::Address(address) => format!("{address}/32"),
        Block::Prefix(base) => format!("{base}/28"),
        Block::Ipv6Prefix(base) => format!("{base}/80"),
    }
}

/// A histogram with one observation.
fn histogram(page: &mut Page<'_>, (name, help): (&str, &str), labels: Labels<'_>, seconds: f64) {
    if !page.family(name, Kind::Histogram, help) {
        return;
    }
    let bucket = format!("{name}_bucket");
    for (bound, limit) in BOUNDS {
        let mut bounded = labels.to_vec();
        bounded.push(("le", bound));
        page.count(&bucket, &bounded, u64::from(seconds <= limit));
    }
    page.sample(&format!("{name}_sum"), labels, seconds);
    page.count(&format!("{name}_count"), labels, 1);
}
