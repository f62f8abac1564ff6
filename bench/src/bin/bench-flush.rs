//! Reads numbers from standard input, one per line, and for each sends that many data points to CloudWatch by the helper's
//! own client; answers with a line each. The bench reads its CPU time and memory from outside.

use std::io::{BufRead, Write};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use cni_aws::AwsHttp;
use cni_metrics_core::model::UnixMillis;
use cni_publish::Selection;
use cni_publish::cloudwatch::{AwsCloudWatch, CloudWatchSettings, MetricClient, limits};
use cni_publish::delivery::buffer::Point;
use cni_types::catalogue::CATALOGUE;

fn main() -> anyhow::Result<()> {
    // Another one can only be the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let endpoint = std::env::var("AWS_ENDPOINT_URL_CLOUDWATCH").context("AWS_ENDPOINT_URL_CLOUDWATCH")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let settings = settings()?;
        let sink = AwsCloudWatch::new(&sdk(&endpoint)?, &settings);
        let mut out = std::io::stdout().lock();
        for line in std::io::stdin().lock().lines() {
            let data: usize = line?.trim().parse()?;
            for request in points(data)?.chunks(limits::data_per_request(&settings.cluster_id)) {
                sink.put(request.to_vec()).await?;
            }
            writeln!(out, "{data}")?;
            out.flush()?;
        }
        Ok(())
    })
}

fn settings() -> anyhow::Result<CloudWatchSettings> {
    Ok(CloudWatchSettings {
        namespace: "Kubernetes".to_owned(),
        cluster_id: "bench".parse()?,
        shard: None,
        selection: Selection::all(),
        resolution_seconds: 60,
        flush_every: Duration::from_mins(1),
        buffer_bytes: 64 << 20,
        spool_dir: None,
    })
}

fn sdk(endpoint: &str) -> anyhow::Result<SdkConfig> {
    let credentials = Credentials::new("AKIASIMULATEDSTATIC1", "simulated-secret-of-no-value", None, None, "bench");
    Ok(SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .endpoint_url(endpoint)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(AwsHttp::new(None)?.sdk_client())
        .build())
}

/// Rounds of half a minute up to now, with values that differ as those of a live cluster do.
fn points(data: usize) -> anyhow::Result<Vec<Point>> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let now_ms = i64::try_from(now.as_millis())?;
    let rounds = data.div_ceil(CATALOGUE.len());
    let point = |number: usize| {
        let (round, row) = (number / CATALOGUE.len(), CATALOGUE.get(number % CATALOGUE.len())?);
        let ago = i64::try_from(rounds - round).ok()? * 30_000;
        let value = (number as f64 * 1_234.567).round();
        Some(Point { round: round as u64, at: UnixMillis(now_ms - ago), row, value })
    };
    Ok((0..data).filter_map(point).collect())
}
