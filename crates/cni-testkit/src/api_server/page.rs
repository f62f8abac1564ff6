//! The metrics page of a stand-in node: a real page's shape around numbers that the test chose.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// What one agent would say of itself.
#[derive(Debug, Clone)]
pub struct Page {
    /// When the agent's process started, in Unix seconds.
    pub start_seconds: f64,
    /// Family to value.
    pub gauges: BTreeMap<&'static str, f64>,
    /// Family and its label block (may be empty) to value.
    pub counters: BTreeMap<(&'static str, &'static str), f64>,
    /// Sum in milliseconds and number of the calls in `awscni_aws_api_latency_ms`.
    pub latency: Option<(f64, f64)>,
}

/// Counters without labels: on every page of an agent since v1.16, from 0 on.
const PLAIN: [&str; 4] = [
    "awscni_add_ip_req_count",
    "awscni_force_removed_enis",
    "awscni_force_removed_ips",
    "awscni_no_available_ip_addresses",
];

impl Page {
    /// A settled node with `assigned` pods on three interfaces of nine addresses, or of more where the pods need them; its
    /// agent started long ago.
    pub fn settled(assigned: u32) -> Self {
        let held = f64::from(assigned.max(27));
        let gauges = [
            ("awscni_assigned_ip_addresses", f64::from(assigned)),
            ("awscni_total_ip_addresses", held),
            ("awscni_total_ipv4_prefixes", 0.0),
            ("awscni_eni_allocated", 3.0),
            ("awscni_eni_max", 3.0),
            ("awscni_ip_max", held),
            ("awscni_ipamd_action_inprogress", 0.0),
        ];
        let labelled = [
            (("awscni_del_ip_req_count", r#"{reason="PodDeleted"}"#), 40.0),
            (("awscni_reconcile_count", r#"{fn="eniIPPoolReconcileAdd"}"#), 7.0),
            (("awscni_ec2api_req_count", r#"{fn="AssignPrivateIpAddresses"}"#), 12.0),
        ];
        let mut counters = plain();
        counters.extend(labelled);
        counters.insert(("awscni_add_ip_req_count", ""), 100.0);
        Self { start_seconds: unix_seconds() - 86_400.0, gauges: gauges.into(), counters, latency: None }
    }

    /// The agent's process starts again: its counters are at 0, and those with labels are gone until they are used.
    pub fn restart(&mut self) {
        self.start_seconds = unix_seconds();
        self.counters = plain();
    }

    /// Adds to a counter; one with labels appears with its first use as a real one does.
    pub fn count(&mut self, family: &'static str, labels: &'static str, more: f64) {
        *self.counters.entry((family, labels)).or_default() += more;
    }

    /// The page's text, as the agent serves it.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let mut said = "";
        for (family, value) in &self.gauges {
            let _ = writeln!(text, "# HELP {family} A gauge of ipamd\n# TYPE {family} gauge\n{family} {value}");
        }
        for ((family, labels), value) in &self.counters {
            if said != *family {
                let _ = writeln!(text, "# HELP {family} A counter of ipamd\n# TYPE {family} counter");
                said = family;
            }
            let _ = writeln!(text, "{family}{labels} {value}");
        }
        if let Some((sum, count)) = self.latency {
            let family = "awscni_aws_api_latency_ms";
            let labels = r#"{api="DescribeNetworkInterfaces",error="false",status="200"}"#;
            let _ = writeln!(text, "# HELP {family} AWS API call latency in ms\n# TYPE {family} summary");
            let _ = writeln!(text, "{family}_sum{labels} {sum}\n{family}_count{labels} {count}");
        }
        let family = "process_start_time_seconds";
        let _ = writeln!(text, "# HELP {family} Start time of the process since unix epoch in seconds.");
        let _ = writeln!(text, "# TYPE {family} gauge\n{family} {}", self.start_seconds);
        text
    }
}

fn plain() -> BTreeMap<(&'static str, &'static str), f64> {
    PLAIN.map(|family| ((family, ""), 0.0)).into()
}

fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}
