//! Combinations of settings that are allowed and work worse than they look.

use super::parts::{CloudWatchConfig, ElectionConfig, PrometheusConfig};
use super::read;
use crate::cli::settings::SettingsArgs;
use crate::cli::sources::Source;

/// Settings that only matter for CloudWatch, by the id of their flag.
const OF_CLOUDWATCH: [(&str, &str); 7] = [
    ("cloudwatch_namespace", "CLOUDWATCH_NAMESPACE"),
    ("metric_set", "METRIC_SET"),
    ("metric_allow", "METRIC_ALLOW"),
    ("metric_deny", "METRIC_DENY"),
    ("cloudwatch_resolution", "CLOUDWATCH_RESOLUTION"),
    ("cloudwatch_buffer", "CLOUDWATCH_BUFFER"),
    ("spool_dir", "SPOOL_DIR"),
];

/// The same for Prometheus.
const OF_PROMETHEUS: [(&str, &str); 2] =
    [("prometheus_address", "PROMETHEUS_ADDRESS"), ("prometheus_node_metrics", "PROMETHEUS_NODE_METRICS")];

/// The same for the election; `STANDBY_SCRAPE` has a line of its own.
const OF_ELECTION: [(&str, &str); 3] =
    [("lease_name", "LEASE_NAME"), ("lease_namespace", "LEASE_NAMESPACE"), ("lease_duration", "LEASE_DURATION")];

/// What is switched on; `None` where a setting of it has a mistake, which is reported as that.
#[derive(Debug, Clone, Copy)]
pub(super) struct Switched {
    cloudwatch: Option<bool>,
    prometheus: Option<bool>,
    election: Option<bool>,
}

impl Switched {
    pub(super) fn of(
        cloudwatch: Option<&Option<CloudWatchConfig>>,
        prometheus: Option<&Option<PrometheusConfig>>,
        election: Option<&Option<ElectionConfig>>,
    ) -> Self {
        Self {
            cloudwatch: cloudwatch.map(Option::is_some),
            prometheus: prometheus.map(Option::is_some),
            election: election.map(Option::is_some),
        }
    }
}

/// One sentence for each: what is set, and what is in effect.
pub(super) fn of(args: &SettingsArgs, on: Switched) -> Vec<String> {
    let mut warnings = Vec::new();
    if (on.cloudwatch, on.prometheus) == (Some(false), Some(false)) {
        warnings.push(
            "USE_CLOUDWATCH=false and USE_PROMETHEUS=false: the figures are written to the log and published nowhere; set \
             one of them to true"
                .to_owned(),
        );
    }
    if on.election == Some(false) && read::switch(args.standby_scrape.trim()) == Ok(true) {
        warnings.push(
            "STANDBY_SCRAPE=true has no effect without LEADER_ELECTION=true: this replica publishes, and so does every \
             other one; the effective value is false"
                .to_owned(),
        );
    }
    for (is_on, settings, switch) in [
        (on.cloudwatch, &OF_CLOUDWATCH[..], "USE_CLOUDWATCH"),
        (on.prometheus, &OF_PROMETHEUS[..], "USE_PROMETHEUS"),
        (on.election, &OF_ELECTION[..], "LEADER_ELECTION"),
    ] {
        let is_given = |(id, _): &&(&str, &str)| args.sources.source(id) != Source::Default;
        let given: Vec<&str> = settings.iter().filter(is_given).map(|(_, name)| *name).collect();
        if is_on == Some(false) && !given.is_empty() {
            let (names, have) = (given.join(", "), if given.len() == 1 { "has" } else { "have" });
            warnings.push(format!("{names} {have} no effect without {switch}=true"));
        }
    }
    warnings
}
