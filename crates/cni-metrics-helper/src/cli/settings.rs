//! The settings as flags and variables, still unread text: [`crate::config`] checks them all at once.

#![expect(clippy::doc_markdown, reason = "the comments are help texts, which show backticks as such")]

use clap::Args;

use super::sources::Sources;

/// Every setting of the helper. An empty value counts as not given.
#[derive(Debug, Clone, Args)]
pub struct SettingsArgs {
    /// Send to CloudWatch. Started with `--cloudwatch=false` as the original image is; USE_CLOUDWATCH, if set, wins
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub cloudwatch: Option<String>,
    /// Send to CloudWatch: true, yes, on, 1 or false, no, off, 0, in any case [default: true]
    #[arg(long, env = "USE_CLOUDWATCH", value_name = "BOOL", hide_env_values = true)]
    pub use_cloudwatch: Option<String>,
    /// Serve Prometheus metrics
    #[arg(long, env, value_name = "BOOL", default_value = "false")]
    pub use_prometheus: String,
    /// Where Prometheus metrics are served, under /metrics; 0.0.0.0 includes the addresses of IPv6
    #[arg(long, env, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:61681")]
    pub prometheus_address: String,
    /// Also expose one series per node (`cni_node_*`) beside the cluster's sums
    #[arg(long, env, value_name = "BOOL", default_value = "true")]
    pub prometheus_node_metrics: String,
    /// Give every cni_* metric the cluster's id as the label `cluster`; without it there is no such label, and nothing waits
    /// for the id
    #[arg(long, env, value_name = "BOOL", default_value = "true")]
    pub prometheus_cluster_label: String,

    /// Time from one round to the next: whole seconds such as 30, 30s or 5m, from 1s to 24h
    #[arg(long = "interval", env = "METRIC_UPDATE_INTERVAL", value_name = "DURATION", default_value = "30")]
    pub metric_update_interval: String,

    /// Conclude from each round why pods are refused an address and what else is wrong: off, basic (from what the helper reads
    /// anyway), or cluster (also from the VPC CNI's networking objects and the agents' daemon set, which needs further rights)
    #[arg(long, env, value_name = "LEVEL", default_value = "basic", help_heading = "Findings")]
    pub insight: String,
    /// Findings that are switched off: ID or ID:SCOPE, comma-separated; they are listed as muted
    #[arg(long, env, value_name = "LIST", help_heading = "Findings")]
    pub findings_mute: Option<String>,

    /// How nodes are reached: auto (proxy first; a node the API server cannot reach is tried directly), proxy, direct
    #[arg(long, env, value_name = "WAY", default_value = "auto", help_heading = "Scraping")]
    pub scrape_via: String,
    /// Maximum concurrent scrapes, 1 to 10000; auto begins with 16 and follows how many nodes there are and how
    /// fast they answer, up to 256 (1280 with those that wait for slow nodes)
    #[arg(long, env, value_name = "N", default_value = "auto", help_heading = "Scraping")]
    pub scrape_concurrency: String,
    /// Timeout of one node's scrape, retries included, such as 5s, 5 or 500ms. A round must finish within 80 % of --interval
    #[arg(long, env, value_name = "DURATION", default_value = "5s", help_heading = "Scraping")]
    pub scrape_timeout: String,
    /// A page's size limit after decompression, such as 8MiB, 8MB, 500KiB or a number of bytes
    #[arg(long, env, value_name = "SIZE", default_value = "8MiB", help_heading = "Scraping")]
    pub scrape_max_bytes: String,
    /// The agents' namespace
    #[arg(long, env, value_name = "NAME", default_value = "kube-system", help_heading = "Scraping")]
    pub agent_namespace: String,
    /// The agents' label selector
    #[arg(long, env, value_name = "SELECTOR", default_value = "k8s-app=aws-node", help_heading = "Scraping")]
    pub agent_selector: String,
    /// The agents' metrics port
    #[arg(long, env, value_name = "PORT", default_value = "61678", help_heading = "Scraping")]
    pub agent_port: String,
    /// A kubeconfig file; without one the pod's service account is used, or else the usual kubeconfig
    #[arg(long, value_name = "FILE", help_heading = "Scraping")]
    pub kubeconfig: Option<String>,
    /// A context of the kubeconfig; `once` takes several
    #[arg(long, value_name = "NAME", help_heading = "Scraping")]
    pub context: Vec<String>,
    /// All contexts of the kubeconfig, for `once`
    #[arg(long, help_heading = "Scraping")]
    pub all_contexts: bool,

    /// CloudWatch namespace
    #[arg(long, env, value_name = "NAME", default_value = "Kubernetes", help_heading = "CloudWatch")]
    pub cloudwatch_namespace: String,
    /// Which names are sent: standard, or compat (exactly those of the Go helper)
    #[arg(long, env, value_name = "SET", default_value = "standard", help_heading = "CloudWatch")]
    pub metric_set: String,
    /// Send only these names: comma-separated, * stands for any text
    #[arg(long, env, value_name = "NAMES", help_heading = "CloudWatch")]
    pub metric_allow: Option<String>,
    /// Do not send these names: comma-separated, * stands for any text
    #[arg(long, env, value_name = "NAMES", help_heading = "CloudWatch")]
    pub metric_deny: Option<String>,
    /// Storage resolution in seconds: 60 or 1
    #[arg(long, env, value_name = "SECONDS", default_value = "60", help_heading = "CloudWatch")]
    pub cloudwatch_resolution: String,
    /// Memory for points that CloudWatch does not take at the moment, 1MiB or more; the oldest are dropped first
    #[arg(long, env, value_name = "SIZE", default_value = "64MiB", help_heading = "CloudWatch")]
    pub cloudwatch_buffer: String,
    /// A directory in which unsent points and the counters' baselines survive a restart
    #[arg(long, env, value_name = "DIR", help_heading = "CloudWatch")]
    pub spool_dir: Option<String>,
    /// The CLUSTER_ID dimension; without it the instance's tags are asked, then the cluster itself
    #[arg(long, env, value_name = "TEXT", help_heading = "CloudWatch")]
    pub aws_cluster_id: Option<String>,
    /// Where no source names the cluster: default publishes as k8s-cluster, as other clusters without a name do; refuse
    /// publishes nothing to CloudWatch until one does
    #[arg(long, env, value_name = "WHAT", default_value = "default", help_heading = "CloudWatch")]
    pub cluster_id_fallback: String,
    /// The node the helper runs on, set by the chart; its EC2 instance's tags may name the cluster
    #[arg(long, env, value_name = "NAME", help_heading = "CloudWatch")]
    pub node_name: Option<String>,
    /// The AWS region; without it AWS_DEFAULT_REGION, the shared config and the instance are asked
    #[arg(long, env, value_name = "REGION", help_heading = "CloudWatch")]
    pub aws_region: Option<String>,

    /// Elect one of several replicas by a Lease; only the elected one publishes
    #[arg(long, env, value_name = "BOOL", default_value = "false", help_heading = "Replicas")]
    pub leader_election: String,
    /// The Lease's name
    #[arg(long, env, value_name = "NAME", default_value = "cni-metrics-helper", help_heading = "Replicas")]
    pub lease_name: String,
    /// The Lease's namespace; without it the pod's own, or the kubeconfig's, or `default`
    #[arg(long, env, value_name = "NAME", help_heading = "Replicas")]
    pub lease_namespace: Option<String>,
    /// How long a leader that died keeps the others waiting, in whole seconds from 5s to 5m
    #[arg(long, env, value_name = "DURATION", default_value = "15s", help_heading = "Replicas")]
    pub lease_duration: String,
    /// Let standby replicas scrape as well, so that failover leaves no gap
    #[arg(long, env, value_name = "BOOL", default_value = "false", help_heading = "Replicas")]
    pub standby_scrape: String,
    /// Measure only this share of the nodes, by their names: i/n, replica i (from 0) of n, 1 to 1000
    #[arg(long, env, value_name = "I/N", help_heading = "Replicas")]
    pub shard: Option<String>,
    /// Where /livez, /readyz and the helper's own /metrics are served; `off` switches them off [default: 0.0.0.0:61682]
    #[arg(long, env, value_name = "ADDRESS:PORT", help_heading = "Health")]
    pub admin_address: Option<String>,

    /// Time from SIGTERM to the end of the process, equal to the pod's terminationGracePeriodSeconds: all of it but 2 s is
    /// used to end the current round, send what is queued and release the lease. From 2s to 1h
    #[arg(long, env, value_name = "DURATION", default_value = "30s", help_heading = "Health")]
    pub termination_grace_period: String,

    /// Log level: DEBUG, INFO, WARN, ERROR or FATAL, in any case
    #[arg(long, env = "AWS_VPC_K8S_CNI_LOGLEVEL", value_name = "LEVEL", default_value = "INFO", help_heading = "Logs")]
    pub log_level: String,
    /// Log format: text or json
    #[arg(long, env, value_name = "FORMAT", default_value = "text", help_heading = "Logs")]
    pub log_format: String,
    /// Write one line per metric and round, as the original does, instead of the values as fields of the round's line; if
    /// not set, only while CloudWatch is off
    #[arg(long, env, value_name = "BOOL", hide_env_values = true, help_heading = "Logs")]
    pub log_metrics: Option<String>,

    /// Where the values come from.
    #[arg(skip)]
    pub sources: Sources,
}
