//! The alerts: one name in Prometheus' rules, one in CloudWatch, one page of documentation.

/// An alert of [`ALERTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlertNames {
    /// The name of the rule in Prometheus, and of the alert's page.
    pub rule: &'static str,
    /// The end of the alarm's name in CloudWatch, after `CLUSTER-vpc-cni-`; `None` where CloudWatch has no such alarm.
    pub alarm: Option<&'static str>,
}

const fn both(rule: &'static str, alarm: &'static str) -> AlertNames {
    AlertNames { rule, alarm: Some(alarm) }
}

const fn rule(rule: &'static str) -> AlertNames {
    AlertNames { rule, alarm: None }
}

pub(crate) const PODS_REFUSED: AlertNames = both("VpcCniPodsRefusedAnAddress", "pods-refused-an-address");
pub(crate) const NODE_REFUSING: AlertNames = rule("VpcCniNodeRefusing");
pub(crate) const CLUSTER_NEARLY_FULL: AlertNames = both("VpcCniClusterNearlyFull", "cluster-nearly-full");
pub(crate) const NODES_FULL: AlertNames = rule("VpcCniNodesFull");
pub(crate) const INTERFACES_AT_LIMIT: AlertNames = both("VpcCniInterfacesAtLimit", "interfaces-at-limit");
pub(crate) const EC2_ERRORS: AlertNames = both("VpcCniEc2Errors", "ec2-errors");
pub(crate) const COVERAGE_INCOMPLETE: AlertNames = both("VpcCniCoverageIncomplete", "coverage-incomplete");
pub(crate) const HELPER_SILENT: AlertNames = both("VpcCniHelperSilent", "helper-silent");
pub(crate) const HELPER_MISSING: AlertNames = rule("VpcCniHelperMissing");

/// Every alert, in the order of the documents.
pub const ALERTS: [AlertNames; 9] = [
    PODS_REFUSED,
    NODE_REFUSING,
    CLUSTER_NEARLY_FULL,
    NODES_FULL,
    INTERFACES_AT_LIMIT,
    EC2_ERRORS,
    COVERAGE_INCOMPLETE,
    HELPER_SILENT,
    HELPER_MISSING,
];

impl AlertNames {
    /// The sentence at the end of every text about an alert, which is all that many people see of it.
    pub(crate) fn explained_by(self) -> String {
        format!("More: cni-metrics-helper explain {}", self.rule)
    }
}
