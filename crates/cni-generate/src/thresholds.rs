//! When to wake somebody: shared by CloudWatch alarms and Prometheus rules, so that both say the same.

use clap::Args;

/// Where each alarm's line is.
#[derive(Debug, Clone, Args)]
pub(super) struct Thresholds {
    /// Pods refused an address, events in 5 minutes at which the alarm goes off
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) refused: u32,
    /// Assigned addresses, percent of the most the nodes could hold
    #[arg(long, value_name = "PERCENT", default_value_t = 85, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) full_percent: u32,
    /// Attached interfaces, percent of the most the nodes could have
    #[arg(long, value_name = "PERCENT", default_value_t = 95, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) eni_percent: u32,
    /// Failed EC2 calls in 5 minutes at which the alarm goes off
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) ec2_errors: u32,
    /// Nodes that answered, percent of those that should; below it for 10 minutes the alarm goes off
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) coverage_percent: u32,
    /// Minutes without a word from the helper. For intervals over a minute raise it: to at least three of the helper's
    /// intervals for Prometheus, and five for CloudWatch, which gets the points of two rounds at a time
    #[arg(long, value_name = "MINUTES", default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=60))]
    pub(super) silent_minutes: u32,
}
