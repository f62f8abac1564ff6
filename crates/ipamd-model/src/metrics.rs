//! Counters of one process life and the page that shows them.

/// Which agent's page to imitate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PageFlavour {
    /// The current agent.
    #[default]
    V1_23,
    /// The current agent, its counters declared as gauges.
    CountersAsGauges,
    /// An old agent: quantiles, `GetMetadata`, no status label, an older family set.
    Legacy,
}

/// One latency series.
#[derive(Debug, Clone, PartialEq)]
pub struct LatencyTruth {
    /// Label `api`.
    pub api: &'static str,
    /// Label `error`.
    pub error: bool,
    /// Label `status`.
    pub status: &'static str,
    /// Sum of observations, milliseconds.
    pub sum_ms: u64,
    /// Number of observations.
    pub count: u64,
    /// What an old agent shows as its 0.99 quantile; `None` stands for NaN.
    pub p99_ms: Option<f64>,
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
}
