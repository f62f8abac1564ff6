//! Raw text (flags, variables) to a [`Config`] that is valid by construction; every mistake is reported at once.

mod environment;
mod parts;
pub(crate) mod read;
mod selector;
mod warnings;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cni_types::catalogue::MetricSet;
use thiserror::Error;
use tracing::Level;

use environment::ProcessEnvironment;
pub use parts::{CloudWatchConfig, Contexts, ElectionConfig, PrometheusConfig};
pub use read::Mistake;
use read::{Reader, given};

use crate::cli::settings::SettingsArgs;
use cni_aws::Environment;
use cni_aws::identity::ClusterIdFallback;
use cni_collector::discover::DiscoverSettings;
use cni_collector::discover::connect::ConnectSettings;
use cni_collector::scrape::{LARGE_PAGES_BYTES, ScrapeSettings, Via};
use cni_insight::evidence::InsightLevel;
use cni_insight::mute::Mutes;
use cni_publish::log::LogMetrics;
use cni_publish::{Selection, SelectionError};
use cni_runtime::logging::{LogFormat, LogSettings};
use cni_runtime::shutdown::Grace;
use cni_types::cluster_id::{ClusterId, ClusterIdError};
use cni_types::names;
use cni_types::shard::{Shard, ShardError};

/// Reads a flag that is a duration and no setting.
pub fn duration_flag(text: &str) -> Result<Duration, String> {
    read::duration(SECOND, DAY)(text)
}

/// A round's share of the interval.
const ROUND_SHARE: f64 = 0.8;

/// Where health is served unless that is set.
const ADMIN_ADDRESS: &str = "0.0.0.0:61682";

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// Everything the program needs to know, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// From one round's start to the next one's.
    pub interval: Duration,
    /// How the API server is reached.
    pub connect: ConnectSettings,
    /// Which pods are the agents.
    pub discover: DiscoverSettings,
    /// How their pages are fetched.
    pub scrape: ScrapeSettings,
    /// CloudWatch, if on.
    pub cloudwatch: Option<CloudWatchConfig>,
    /// Prometheus, if on.
    pub prometheus: Option<PrometheusConfig>,
    /// `cni_*` metrics have the cluster's id as a label, on the admin page too.
    pub cluster_label: bool,
    /// How much is read for findings, and those that are switched off; `None` if no conclusions are drawn.
    pub insight: Option<InsightConfig>,
    /// The election, if there is one.
    pub election: Option<ElectionConfig>,
    /// Where health and the helper's own metrics are served, if at all.
    pub admin: Option<SocketAddr>,
    /// `AWS_CLUSTER_ID`, if given.
    pub cluster_id: Option<ClusterId>,
    /// What happens where no source names the cluster.
    pub cluster_id_fallback: ClusterIdFallback,
    /// `AWS_REGION`, if given.
    pub region: Option<String>,
    /// AWS's own variables.
    pub environment: Arc<Environment>,
    /// The name of the helper's own pod, if it is known from the environment.
    pub pod_name: Option<Arc<str>>,
    /// Logs.
    pub log: LogSettings,
    /// Where the log has each round's values.
    pub log_metrics: LogMetrics,
    /// How long the program may take to end.
    pub grace: Grace,
    /// Combinations of settings that work, but worse than meant: each with the setting, the effective value and the reason.
    pub warnings: Vec<String>,
    /// The same about publishing, which does not concern a command that looks once.
    pub publishing_warnings: Vec<String>,
}

/// What findings are drawn from, and which are switched off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InsightConfig {
    /// How much is read.
    pub level: InsightLevel,
    /// The findings that are switched off.
    pub mutes: Mutes,
}

/// All errors in the settings, in one message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid configuration ({} {}):{}", .0.len(), if .0.len() == 1 { "error" } else { "errors" }, indented(.0))]
pub struct ConfigError(pub Vec<Mistake>);

fn indented(mistakes: &[Mistake]) -> String {
    mistakes.iter().flat_map(|mistake| ["\n  ".to_owned(), mistake.to_string()]).collect()
}

impl Config {
    /// Reads all settings of a command that measures one cluster, or reports all mistakes.
    pub fn read(args: &SettingsArgs) -> Result<Self, ConfigError> {
        let mut reader = Reader::default();
        let contexts = contexts(&mut reader, args);
        match &contexts {
            Some(Contexts::Named(names)) if names.len() > 1 => {
                reader.mistake("--context", &names.join(", "), ONE_CLUSTER);
            }
            Some(Contexts::All) => reader.mistake("--all-contexts", "true", ONE_CLUSTER),
            _ => {}
        }
        let mut config = read_all(&mut reader, args);
        if let (Some(config), Some(Contexts::Named(names))) = (&mut config, contexts) {
            config.connect.context = names.into_iter().next();
        }
        reader.finish(config)
    }

    /// The same for a command that measures one cluster after another; [`ConnectSettings::context`] is for it to set.
    pub fn read_with_contexts(args: &SettingsArgs) -> Result<(Self, Contexts), ConfigError> {
        let mut reader = Reader::default();
        let contexts = contexts(&mut reader, args);
        let config = read_all(&mut reader, args);
        reader.finish(config.zip(contexts))
    }

    /// How the API server is reached, as far as it can be told without checking any setting.
    pub fn connect_settings(args: &SettingsArgs) -> ConnectSettings {
        let context = args.context.iter().find_map(|name| given(Some(name))).map(str::to_owned);
        let kubeconfig = given(args.kubeconfig.as_ref()).map(PathBuf::from);
        ConnectSettings { context, ..ProcessEnvironment::of_process().connect(kubeconfig) }
    }

    /// A round's own time limit.
    pub fn round_limit(&self) -> Duration {
        round_limit(self.interval)
    }

    /// The share of the nodes that is this replica's; `None` is all of them.
    pub fn shard(&self) -> Option<Shard> {
        self.discover.shard
    }

    /// Where the agents are looked for, in words.
    pub fn looked_for(&self) -> String {
        let DiscoverSettings { namespace, selector, shard, .. } = &self.discover;
        let nodes = shard.map(|shard| format!(" on the nodes of shard {shard}")).unwrap_or_default();
        format!("selector {selector:?} in namespace {namespace:?}{nodes}")
    }
}

impl Reader {
    fn finish<T>(self, read: Option<T>) -> Result<T, ConfigError> {
        match read {
            Some(read) if self.mistakes.is_empty() => Ok(read),
            _ => Err(ConfigError(self.mistakes)),
        }
    }
}

/// What a command allows that goes on measuring.
const ONE_CLUSTER: &str = "one context at most: this command measures one cluster, and one helper is needed for each; `once` \
                           measures several";

fn contexts(reader: &mut Reader, args: &SettingsArgs) -> Option<Contexts> {
    let mut names: Vec<String> = Vec::new();
    for name in args.context.iter().filter_map(|name| given(Some(name))) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    match (names.is_empty(), args.all_contexts) {
        (true, false) => Some(Contexts::Current),
        (false, false) => Some(Contexts::Named(names)),
        (true, true) => Some(Contexts::All),
        (false, true) => {
            reader.mistake("--context", &names.join(", "), "either --context or --all-contexts, not both");
            None
        }
    }
}

fn round_limit(interval: Duration) -> Duration {
    interval.mul_f64(ROUND_SHARE)
}

/// Every reader runs whatever the others found, so that no mistake hides another.
fn read_all(reader: &mut Reader, args: &SettingsArgs) -> Option<Config> {
    let surroundings = ProcessEnvironment::of_process();
    let interval =
        reader.read("METRIC_UPDATE_INTERVAL", or(&args.metric_update_interval, "30"), read::whole_seconds(SECOND, DAY));
    let discover = discover(reader, args);
    let scrape = scrape(reader, args);
    let cloudwatch = cloudwatch(reader, args);
    let prometheus = prometheus(reader, args);
    let cluster_label =
        reader.read("PROMETHEUS_CLUSTER_LABEL", or(&args.prometheus_cluster_label, "true"), read::switch);
    let insight = insight(reader, args);
    let election = election(reader, args);
    let shard = shard(reader, args);
    let admin = admin(reader, args);
    let log = log(reader, args, surroundings.no_color);
    let log_lines = log_lines(reader, args);
    let grace = reader.read("TERMINATION_GRACE_PERIOD", or(&args.termination_grace_period, "30s"), grace);
    addresses(reader, args, prometheus.as_ref(), admin);
    let region = region(reader, args, &surroundings);
    let kubeconfig = optional(reader, "--kubeconfig", args.kubeconfig.as_ref(), kubeconfig);
    let on = warnings::Switched::of(cloudwatch.as_ref(), prometheus.as_ref(), election.as_ref());
    let mut warnings = Vec::new();
    let cluster_id = reader.read("AWS_CLUSTER_ID", args.aws_cluster_id.as_deref().unwrap_or_default(), cluster_id);
    let cluster_id_fallback = reader.read("CLUSTER_ID_FALLBACK", or(&args.cluster_id_fallback, "default"), fallback);
    let insight = insight?;
    let level = insight.as_ref().map_or(InsightLevel::Off, |insight| insight.level);
    let discover = DiscoverSettings { shard: shard?, level, ..discover? };
    let (interval, log, cloudwatch) = (interval?, log?, cloudwatch?);
    let scrape = ScrapeSettings { namespace: discover.namespace.clone(), ..scrape? };
    let scrape = effective_scrape(scrape, interval, &mut warnings);
    warnings.extend(selector::warning(&discover.selector));
    Some(Config {
        interval,
        connect: surroundings.connect(kubeconfig?),
        scrape,
        discover,
        log_metrics: log_metrics(log_lines?.unwrap_or(cloudwatch.is_none()), log.format),
        cloudwatch,
        prometheus: prometheus?,
        cluster_label: cluster_label?,
        insight,
        election: election?,
        admin: admin?,
        cluster_id: cluster_id?,
        cluster_id_fallback: cluster_id_fallback?,
        region: region?,
        environment: surroundings.aws,
        pod_name: surroundings.pod_name,
        log,
        grace: grace?,
        warnings,
        publishing_warnings: warnings::of(args, on),
    })
}

/// What of the scrape's settings can take effect beside the others.
fn effective_scrape(scrape: ScrapeSettings, interval: Duration, warnings: &mut Vec<String>) -> ScrapeSettings {
    let limit = round_limit(interval);
    if scrape.timeout > limit {
        warnings.push(format!(
            "SCRAPE_TIMEOUT = {:?}: a round has {limit:?} (80 % of METRIC_UPDATE_INTERVAL = {} s), so a scrape has that \
             much, too: the effective value is {limit:?}",
            scrape.timeout,
            interval.as_secs(),
        ));
    }
    if scrape.max_bytes > LARGE_PAGES_BYTES {
        warnings.push(format!(
            "SCRAPE_MAX_BYTES = {}: the helper keeps {LARGE_PAGES_BYTES} bytes for all large pages together, which is the \
             effective value",
            scrape.max_bytes,
        ));
    }
    if scrape.max_bytes < USUAL_PAGE_BYTES {
        warnings.push(format!(
            "SCRAPE_MAX_BYTES = {}: a page of aws-node has some 15 KiB and up to {USUAL_PAGE_BYTES} bytes on a large \
             node; pages over the limit are not read",
            scrape.max_bytes,
        ));
    }
    let max_bytes = scrape.max_bytes.min(LARGE_PAGES_BYTES);
    ScrapeSettings { timeout: scrape.timeout.min(limit), max_bytes, ..scrape }
}

/// The page of a large node with many label values.
const USUAL_PAGE_BYTES: usize = 100 << 10;

/// An empty value counts as not given.
fn or<'a>(value: &'a str, default: &'a str) -> &'a str {
    if value.trim().is_empty() { default } else { value }
}

/// `Some(None)` is a setting that is not given.
#[expect(clippy::option_option, reason = "a mistake, none, and a value are three things")]
fn optional<T>(
    reader: &mut Reader,
    setting: &str,
    value: Option<&String>,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Option<Option<T>> {
    match given(value) {
        Some(text) => reader.read(setting, text, parse).map(Some),
        None => Some(None),
    }
}

/// A region that is not set here is asked for later. `AWS_DEFAULT_REGION` is checked where it would be used.
#[expect(clippy::option_option, reason = "a mistake, none, and a region are three things")]
fn region(reader: &mut Reader, args: &SettingsArgs, surroundings: &ProcessEnvironment) -> Option<Option<String>> {
    let region = optional(reader, "AWS_REGION", args.aws_region.as_ref(), read::region)?;
    let default = surroundings.aws.default_region.as_ref().filter(|_| region.is_none());
    optional(reader, "AWS_DEFAULT_REGION", default, read::region)?;
    Some(region)
}

fn kubeconfig(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match std::fs::metadata(&path) {
        Ok(found) if found.is_dir() => Err("must be a kubeconfig file; this is a directory".to_owned()),
        Ok(_) => Ok(path),
        Err(error) => Err(format!("must be a kubeconfig file that can be read: {error}")),
    }
}

/// Two listeners cannot have one port, unless their addresses differ.
#[expect(clippy::option_option, reason = "a mistake, off, and on are three things")]
fn addresses(
    reader: &mut Reader,
    args: &SettingsArgs,
    prometheus: Option<&Option<PrometheusConfig>>,
    admin: Option<Option<SocketAddr>>,
) {
    let (Some(Some(prometheus)), Some(Some(admin))) = (prometheus, admin) else { return };
    let one = prometheus.address;
    let is_any = one.ip().is_unspecified() || admin.ip().is_unspecified();
    if one.port() == admin.port() && one.port() != 0 && (is_any || one.ip() == admin.ip()) {
        let shown = args.admin_address.as_deref().unwrap_or(ADMIN_ADDRESS);
        let allowed = format!("must differ from PROMETHEUS_ADDRESS = {one}, which is served too");
        reader.mistake("ADMIN_ADDRESS", shown, allowed);
    }
}

fn discover(reader: &mut Reader, args: &SettingsArgs) -> Option<DiscoverSettings> {
    let namespace =
        reader.read("AGENT_NAMESPACE", or(&args.agent_namespace, "kube-system"), read::label("a namespace's name"));
    let selector = or(&args.agent_selector, "k8s-app=aws-node");
    let selector = reader.read("AGENT_SELECTOR", selector, selector::selector);
    let own_node = optional(reader, "NODE_NAME", args.node_name.as_ref(), read::node_name);
    Some(DiscoverSettings {
        namespace: namespace?,
        selector: selector?,
        shard: None,
        own_node: own_node?,
        level: InsightLevel::Off,
    })
}

fn scrape(reader: &mut Reader, args: &SettingsArgs) -> Option<ScrapeSettings> {
    let via = reader.read("SCRAPE_VIA", or(&args.scrape_via, "auto"), |text| {
        text.parse::<Via>().map_err(|()| "must be auto, proxy or direct".to_owned())
    });
    let concurrency = reader.read("SCRAPE_CONCURRENCY", or(&args.scrape_concurrency, "auto"), concurrency);
    let timeout = read::duration(Duration::from_millis(10), HOUR);
    let timeout = reader.read("SCRAPE_TIMEOUT", or(&args.scrape_timeout, "5s"), timeout);
    let max_bytes = reader.read("SCRAPE_MAX_BYTES", or(&args.scrape_max_bytes, "8MiB"), read::bytes(1024, 1 << 30));
    let port = reader.read("AGENT_PORT", or(&args.agent_port, "61678"), read::number(1, 65_535));
    Some(ScrapeSettings {
        via: via?,
        concurrency: concurrency?,
        timeout: timeout?,
        max_bytes: usize::try_from(max_bytes?).ok()?,
        namespace: String::new(),
        port: u16::try_from(port?).ok()?,
    })
}

/// `None` is `auto`.
fn concurrency(text: &str) -> Result<Option<usize>, String> {
    if text.eq_ignore_ascii_case("auto") {
        return Ok(None);
    }
    let number = read::number(1, 10_000)(text).map_err(|allowed| format!("{allowed}, or auto"))?;
    Ok(usize::try_from(number).ok())
}

/// `Some(None)` is CloudWatch switched off without a mistake; its settings are checked all the same.
#[expect(clippy::option_option, reason = "a mistake, off, and on are three things")]
fn cloudwatch(reader: &mut Reader, args: &SettingsArgs) -> Option<Option<CloudWatchConfig>> {
    let on = match (given(args.use_cloudwatch.as_ref()), given(args.cloudwatch.as_ref())) {
        (Some(variable), _) => reader.read("USE_CLOUDWATCH", variable, read::switch),
        (None, Some(flag)) => reader.read("--cloudwatch", flag, read::switch),
        (None, None) => Some(true),
    };
    let namespace = reader.read("CLOUDWATCH_NAMESPACE", or(&args.cloudwatch_namespace, "Kubernetes"), namespace);
    let resolution = reader.read("CLOUDWATCH_RESOLUTION", or(&args.cloudwatch_resolution, "60"), |text| match text {
        "1" => Ok(1),
        "60" => Ok(60),
        _ => Err("must be 60 or 1 (seconds)".to_owned()),
    });
    let buffer = reader.read("CLOUDWATCH_BUFFER", or(&args.cloudwatch_buffer, "64MiB"), read::bytes(1 << 20, 16 << 30));
    let selection = selection(reader, args);
    let cloudwatch = CloudWatchConfig {
        namespace: namespace?,
        selection: selection?,
        resolution_seconds: resolution?,
        buffer_bytes: usize::try_from(buffer?).ok()?,
        spool_dir: given(args.spool_dir.as_ref()).map(PathBuf::from),
    };
    Some(on?.then_some(cloudwatch))
}

fn namespace(text: &str) -> Result<String, String> {
    names::is_namespace(text).then(|| text.to_owned()).ok_or_else(|| names::NAMESPACE_RULE.to_owned())
}

fn cluster_id(text: &str) -> Result<Option<ClusterId>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error: ClusterIdError| error.to_string())
}

fn fallback(text: &str) -> Result<ClusterIdFallback, String> {
    match text.to_ascii_lowercase().as_str() {
        "default" => Ok(ClusterIdFallback::Default),
        "refuse" => Ok(ClusterIdFallback::Refuse),
        _ => Err("must be default or refuse".to_owned()),
    }
}

fn selection(reader: &mut Reader, args: &SettingsArgs) -> Option<Selection> {
    let set = reader.read("METRIC_SET", or(&args.metric_set, "standard"), |text| {
        text.parse::<MetricSet>().map_err(|_| "must be standard or compat".to_owned())
    })?;
    let lists = [&args.metric_allow, &args.metric_deny].map(|list| read::list(list.as_deref().unwrap_or_default()));
    match Selection::new(set, &lists[0], &lists[1]) {
        Ok(selection) => Some(selection),
        Err(errors) => {
            for error in errors {
                let text = error.to_string();
                match &error {
                    SelectionError::Unknown { list, pattern } => {
                        let allowed = text.split_once("\" ").map_or(text.as_str(), |(_, allowed)| allowed);
                        reader.mistake(list, pattern, allowed);
                    }
                    SelectionError::Nothing => reader.mistake("METRIC_DENY", lists[1].join(",").as_str(), text),
                }
            }
            None
        }
    }
}

#[expect(clippy::option_option, reason = "a mistake, off, and on are three things")]
fn prometheus(reader: &mut Reader, args: &SettingsArgs) -> Option<Option<PrometheusConfig>> {
    let on = reader.read("USE_PROMETHEUS", or(&args.use_prometheus, "false"), read::switch);
    let address = reader.read("PROMETHEUS_ADDRESS", or(&args.prometheus_address, "0.0.0.0:61681"), |text| {
        text.parse::<SocketAddr>()
            .map_err(|_| "must be an address and a port such as 0.0.0.0:61681 or [::]:61681".to_owned())
    });
    let node_metrics = reader.read("PROMETHEUS_NODE_METRICS", or(&args.prometheus_node_metrics, "true"), read::switch);
    let prometheus = PrometheusConfig { address: address?, node_metrics: node_metrics? };
    Some(on?.then_some(prometheus))
}

/// `Some(None)` is off; the muted findings are checked all the same.
#[expect(clippy::option_option, reason = "a mistake, off, and on are three things")]
fn insight(reader: &mut Reader, args: &SettingsArgs) -> Option<Option<InsightConfig>> {
    let level = reader.read("INSIGHT", or(&args.insight, "basic"), |text| match text.to_ascii_lowercase().as_str() {
        // What YAML makes of `off` without quotes.
        "off" | "false" => Ok(InsightLevel::Off),
        "basic" => Ok(InsightLevel::Basic),
        "cluster" => Ok(InsightLevel::Cluster),
        "full" => {
            Err("must be off, basic or cluster: this version reads neither EC2 nor the pods of all namespaces"
                .to_owned())
        }
        _ => Err("must be off, basic or cluster".to_owned()),
    });
    let mutes = reader.read("FINDINGS_MUTE", args.findings_mute.as_deref().unwrap_or_default(), |text| {
        Mutes::parse(text).map_err(|error| format!("must be a list of ID or ID:SCOPE; {error}"))
    });
    let mutes = mutes?;
    let level = level?;
    Some((level > InsightLevel::Off).then_some(InsightConfig { level, mutes }))
}

/// `Some(None)` is no election; its settings are checked all the same.
#[expect(clippy::option_option, reason = "a mistake, off, and on are three things")]
fn election(reader: &mut Reader, args: &SettingsArgs) -> Option<Option<ElectionConfig>> {
    let on = reader.read("LEADER_ELECTION", or(&args.leader_election, "false"), read::switch);
    let name = reader.read("LEASE_NAME", or(&args.lease_name, "cni-metrics-helper"), read::label("a lease's name"));
    let namespace =
        optional(reader, "LEASE_NAMESPACE", args.lease_namespace.as_ref(), read::label("a namespace's name"));
    let seconds = read::whole_seconds(Duration::from_secs(5), Duration::from_mins(5));
    let duration = reader.read("LEASE_DURATION", or(&args.lease_duration, "15s"), seconds);
    let standby_scrape = reader.read("STANDBY_SCRAPE", or(&args.standby_scrape, "false"), read::switch);
    let election =
        ElectionConfig { namespace: namespace?, name: name?, duration: duration?, standby_scrape: standby_scrape? };
    Some(on?.then_some(election))
}

/// `Some(None)` is no shards.
#[expect(clippy::option_option, reason = "a mistake, none, and one are three things")]
fn shard(reader: &mut Reader, args: &SettingsArgs) -> Option<Option<Shard>> {
    let Some(text) = given(args.shard.as_ref()) else { return Some(None) };
    reader.read("SHARD", text, |text| text.parse().map(Some).map_err(|error: ShardError| error.to_string()))
}

/// An empty value switches it off: that is how a chart leaves a port out.
#[expect(clippy::option_option, reason = "a mistake, off, and on are three things")]
fn admin(reader: &mut Reader, args: &SettingsArgs) -> Option<Option<SocketAddr>> {
    let text = args.admin_address.as_deref().unwrap_or(ADMIN_ADDRESS);
    reader.read("ADMIN_ADDRESS", text, |text| match text.to_ascii_lowercase().as_str() {
        "" | "off" => Ok(None),
        text => text
            .parse::<SocketAddr>()
            .map(Some)
            .map_err(|_| "must be an address and a port such as 0.0.0.0:61682 or [::]:61682, or off".to_owned()),
    })
}

fn grace(text: &str) -> Result<Grace, String> {
    read::duration(Duration::from_secs(2), HOUR)(text).map(Grace::of_termination_period)
}

/// Whether the log has a line per metric; `Some(None)` is not given.
#[expect(clippy::option_option, reason = "a mistake, not given, and given are three things")]
fn log_lines(reader: &mut Reader, args: &SettingsArgs) -> Option<Option<bool>> {
    match given(args.log_metrics.as_ref()) {
        Some(text) => reader.read("LOG_METRICS", text, read::switch).map(Some),
        None => Some(None),
    }
}

/// Programs that read JSON find the values in one object, whatever lines there are beside it.
fn log_metrics(lines: bool, format: LogFormat) -> LogMetrics {
    match (lines, format) {
        (false, _) => LogMetrics::Fields,
        (true, LogFormat::Text) => LogMetrics::Lines,
        (true, LogFormat::Json) => LogMetrics::LinesAndFields,
    }
}

fn log(reader: &mut Reader, args: &SettingsArgs, no_color: bool) -> Option<LogSettings> {
    let level = reader.read("AWS_VPC_K8S_CNI_LOGLEVEL", or(&args.log_level, "INFO"), |text| {
        match text.to_ascii_uppercase().as_str() {
            "DEBUG" => Ok(Level::DEBUG),
            "INFO" => Ok(Level::INFO),
            "WARN" => Ok(Level::WARN),
            "ERROR" | "FATAL" => Ok(Level::ERROR),
            _ => Err("must be DEBUG, INFO, WARN, ERROR or FATAL (any case)".to_owned()),
        }
    });
    let format =
        reader.read("LOG_FORMAT", or(&args.log_format, "text"), |text| match text.to_ascii_lowercase().as_str() {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err("must be text or json".to_owned()),
        });
    Some(LogSettings { level: level?, format: format?, no_color })
}

#[cfg(test)]
mod tests;
