//! One start of the helper's identity in a process of its own, and what it reported.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cni_aws::identity::{ClusterEvidence, Listing};
use cni_aws::identity::{
    ClusterIdFallback, Found, Identity, IdentityLimits, IdentityReader, IdentitySettings, IdentityState, resolve,
};
use cni_metrics_core::model::UnixMillis;
use cni_publish::Selection;
use cni_publish::cloudwatch::{AwsCloudWatch, CloudWatchSettings, MetricClient};
use cni_publish::delivery::buffer::Point;
use cni_publish::selection::ROWS;
use cni_runtime::clock::Clock;
use cni_runtime::shutdown::Shutdown;
use cni_testkit::wait;
use cni_types::catalogue::MetricSet;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::watch;

use super::services::Services;

/// What the child prints before its report.
const MARK: &str = "PROBE-REPORT ";

/// A case: the child's whole environment.
pub(crate) struct Probe {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

pub(crate) struct Report {
    said: Value,
    log: String,
}

impl Probe {
    pub(crate) fn new() -> Self {
        let folder = cni_testkit::temporary_folder();
        let nothing = folder.path().join("nothing").to_string_lossy().into_owned();
        let probe = Self { folder, variables: Vec::new() };
        probe.set("HOME", &nothing).set("AWS_CONFIG_FILE", &nothing).set("AWS_SHARED_CREDENTIALS_FILE", &nothing)
    }

    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A file of this content, and the variable that names it.
    pub(crate) fn file(self, variable: &str, content: &str) -> Self {
        let path = self.path(variable);
        std::fs::write(&path, content).unwrap();
        self.set(variable, &path.to_string_lossy())
    }

    pub(crate) fn path(&self, variable: &str) -> PathBuf {
        self.folder.path().join(variable)
    }

    pub(crate) fn imds(self, services: &Services) -> Self {
        self.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", &format!("http://{}", services.imds_address))
    }

    pub(crate) fn without_imds(self) -> Self {
        self.set("AWS_EC2_METADATA_DISABLED", "true")
    }

    pub(crate) fn cloudwatch(self, services: &Services) -> Self {
        self.set("AWS_ENDPOINT_URL_CLOUDWATCH", &format!("http://{}", services.cloudwatch_address))
    }

    pub(crate) fn ec2(self, services: &Services) -> Self {
        self.set("AWS_ENDPOINT_URL_EC2", &format!("http://{}", services.ec2_address))
    }

    pub(crate) fn irsa(self, services: &Services, token: &str) -> Self {
        self.set("AWS_ENDPOINT_URL_STS", &format!("http://{}", services.sts_address))
            .set("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/helper")
            .file("AWS_WEB_IDENTITY_TOKEN_FILE", token)
    }

    pub(crate) fn pod_identity(self, services: &Services, token: &str) -> Self {
        let url = format!("http://{}/v1/credentials", services.pod_identity_address);
        self.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url).file("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token)
    }

    /// Also sends this number of requests to CloudWatch, a fifth of a second apart.
    pub(crate) fn put(self, requests: u32) -> Self {
        self.set("PROBE_PUTS", &requests.to_string())
    }

    /// A source is unavailable after this time, and is asked again after as long.
    pub(crate) fn impatient(self, milliseconds: u32) -> Self {
        self.set("PROBE_LIMIT_MS", &milliseconds.to_string())
    }

    /// Goes on until this is in its log, or until a minute is over.
    pub(crate) fn until_logged(self, text: &str) -> Self {
        self.set("PROBE_UNTIL", text)
    }

    pub(crate) async fn run(self) -> Report {
        let program = cni_testkit::child_program("identity_sources::probe::probe").unwrap();
        let output = Command::from(program)
            .env_clear()
            .envs(self.variables)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        let log = String::from_utf8_lossy(&text).into_owned();
        let report = log.lines().find_map(|line| line.split_once(MARK)).map(|(_, report)| report.to_owned());
        let report = report.unwrap_or_else(|| format!("{:?}", format!("no report: {log}")));
        Report { said: serde_json::from_str(&report).unwrap(), log }
    }
}

impl Report {
    /// The text under a dotted path.
    pub(crate) fn text(&self, path: &str) -> String {
        let value = path.split('.').try_fold(&self.said, |value, key| value.get(key));
        let text = value.and_then(Value::as_str);
        text.map_or_else(|| format!("no {path} in {}\n{}", self.said, self.log), str::to_owned)
    }

    /// From the start of the search to its end.
    pub(crate) fn seconds(&self) -> f64 {
        self.said.get("seconds").and_then(Value::as_f64).unwrap_or(f64::INFINITY)
    }

    pub(crate) fn lines_with(&self, part: &str) -> Vec<&str> {
        self.log.lines().filter(|line| line.contains(part)).collect()
    }
}

/// The child's part.
#[child_program]
fn probe() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tracing_subscriber::fmt().with_ansi(false).with_writer(Log::default).init();
    let report = runtime.block_on(report());
    println!("\n{MARK}{report}");
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Standard error, and what was written there.
#[derive(Default)]
struct Log;

static LOGGED: Mutex<String> = Mutex::new(String::new());

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOGGED.lock().unwrap().push_str(&String::from_utf8_lossy(bytes));
        std::io::stderr().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

/// What the watches have shown: names that the case gives; the label only later, or never, if it says so.
fn evidence() -> (watch::Sender<ClusterEvidence>, ClusterEvidence) {
    let names = |name: Option<String>| {
        name.into_iter().flat_map(|names| names.split(',').map(str::to_owned).collect::<Vec<_>>()).collect()
    };
    let listing = |silent: &str| if variable(silent).is_some() { Listing::Awaited } else { Listing::Complete };
    let all = ClusterEvidence {
        pods: listing("HINT_PODS_SILENT"),
        agent_names: names(variable("HINT_AWS_NODE")),
        nodes: listing("HINT_NODES_SILENT"),
        eksctl_names: names(variable("HINT_EKSCTL")),
        instance_id: variable("HINT_INSTANCE"),
    };
    let first = match variable("HINT_LATE") {
        Some(_) => ClusterEvidence { eksctl_names: Vec::new(), agent_names: Vec::new(), ..all.clone() },
        None => all.clone(),
    };
    (watch::Sender::new(first), all)
}

fn limits() -> IdentityLimits {
    let Some(limit) = variable("PROBE_LIMIT_MS") else { return IdentityLimits::default() };
    let limit = Duration::from_millis(limit.parse().unwrap());
    IdentityLimits { unavailable_after: limit, ask_again: limit, remind: limit * 4, ..IdentityLimits::default() }
}

/// Waits for the end of the search.
async fn settled(reader: &mut IdentityReader) -> Result<std::sync::Arc<Identity>, String> {
    loop {
        match reader.borrow_and_update().clone() {
            IdentityState::Awaiting(_) => {}
            IdentityState::Known(identity) => return Ok(identity),
            state => return Err(state.awaited().unwrap()),
        }
        reader.changed().await.unwrap();
    }
}

async fn report() -> Value {
    let settings = IdentitySettings {
        aws_cluster_id: variable("AWS_CLUSTER_ID").map(|id| id.parse().unwrap()),
        aws_region: variable("AWS_REGION").unwrap_or_default(),
        needs_region: variable("PROBE_NEEDS_NO_REGION").is_none(),
        fallback: if variable("PROBE_REFUSE").is_some() {
            ClusterIdFallback::Refuse
        } else {
            ClusterIdFallback::Default
        },
        environment: std::sync::Arc::new(cni_aws::Environment::read(|name| std::env::var_os(name))),
        limits: limits(),
    };
    let (sender, all) = evidence();
    let (_trigger, shutdown) = Shutdown::manual();
    let mut reader = match resolve(&settings, sender.subscribe(), &shutdown).await {
        Ok(reader) => reader,
        Err(error) => return json!({ "error": error.to_string() }),
    };
    let begun = Instant::now();
    let first = settled(&mut reader).await;
    let took = begun.elapsed().as_secs_f64();
    if let Some(file) = variable("PROBE_KNOWN") {
        std::fs::write(file, "").unwrap();
    }
    sender.send_replace(all);
    if let Some(text) = variable("PROBE_UNTIL") {
        let times: usize = variable("PROBE_UNTIL_TIMES").map_or(1, |times| times.parse().unwrap());
        let give_up = Instant::now() + Duration::from_mins(1);
        while LOGGED.lock().unwrap().matches(&text).count() < times && Instant::now() < give_up {
            wait::pause_async().await;
        }
    }
    let identity = match (first, reader.borrow().known()) {
        (_, Some(identity)) => identity,
        (Err(error), None) => return json!({ "error": error, "seconds": took }),
        (Ok(_), None) => return json!({ "error": "what was known is not known any more" }),
    };
    let mut report = json!({
        "region": identity.region.as_ref().map(found),
        "cluster_id": found(&identity.cluster_id),
        "credentials": identity.credentials.to_string(),
        "seconds": took,
    });
    if let Some(put) = puts(&identity).await {
        report["put"] = put.into();
    }
    report
}

fn found<T: std::fmt::Display>(found: &Found<T>) -> Value {
    json!({ "value": found.value.to_string(), "source": found.source })
}

/// Sends as many requests as the case wants; how the last one ended.
async fn puts(identity: &Identity) -> Option<&'static str> {
    let puts: u32 = variable("PROBE_PUTS").map_or(0, |puts| puts.parse().unwrap());
    let settings = CloudWatchSettings {
        namespace: "Kubernetes".to_owned(),
        cluster_id: identity.cluster_id.value.clone(),
        shard: None,
        selection: Selection::new(MetricSet::Standard, &[], &[]).unwrap(),
        resolution_seconds: 60,
        flush_every: Duration::from_mins(1),
        buffer_bytes: 1 << 20,
        spool_dir: None,
    };
    let sink = AwsCloudWatch::new(&identity.sdk, &settings);
    let mut last = None;
    for number in 0..puts {
        if number > 0 {
            wait::sleep_as_input_async(Duration::from_millis(200)).await;
        }
        last = Some(put(&sink).await);
    }
    last
}

async fn put(sink: &AwsCloudWatch) -> &'static str {
    let UnixMillis(now) = Clock::wall().now();
    let point = Point { round: 0, at: UnixMillis(now), row: &ROWS[0], value: 1.0 };
    match sink.put(vec![point]).await {
        Ok(()) => "ok",
        Err(error) => {
            tracing::warn!(%error, "not put");
            error.outcome().label()
        }
    }
}
