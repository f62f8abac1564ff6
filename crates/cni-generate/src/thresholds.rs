//! When to notify: shared by CloudWatch alarms and Prometheus rules, so that both say the same.

use clap::Args;

/// The minutes of which `--refused-minutes` must be bad.
pub(super) const REFUSED_OF_MINUTES: u32 = 10;

/// Where each alarm's line is.
#[derive(Debug, Clone, Args)]
pub(super) struct Thresholds {
    /// Pods refused an address: minutes of the last 10 that must be bad. A wave of pods that ends by itself makes fewer
    #[arg(
        long,
        value_name = "MINUTES",
        default_value_t = 8,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(REFUSED_OF_MINUTES))
    )]
    pub(super) refused_minutes: u32,
    /// Assigned addresses, percent of the most that pods could have
    #[arg(long, value_name = "PERCENT", default_value_t = 85, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) full_percent: u32,
    /// Attached interfaces, percent of the most that the nodes could have. Without it there is no such alarm: on small
    /// instance types all interfaces are attached in normal operation
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) eni_percent: Option<u32>,
    /// Failed EC2 calls in 5 minutes, for 10 minutes
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) ec2_errors: u32,
    /// Nodes that answered, percent of those that should; below it for 10 minutes the alarm goes off
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) coverage_percent: u32,
    /// Minutes without a finished round of the helper. For intervals over a minute raise it: to at least three of the
    /// helper's intervals for Prometheus, and five for CloudWatch, which gets the points of two rounds at a time
    #[arg(long, value_name = "MINUTES", default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=60))]
    pub(super) silent_minutes: u32,
}
