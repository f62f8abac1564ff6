//! The instance's own metadata (IMDSv2), all of it within two seconds.
//!
//! In a pod the service may be out of reach: a hop limit of 1, a network policy, a route that drops. Then there is
//! simply no answer, and it must cost a bounded time, once.

use std::time::Duration;

use aws_config::imds::Client;
use aws_config::imds::client::error::ImdsError;
use aws_config::provider_config::ProviderConfig;
use tokio::time::{Instant, timeout_at};

/// All requests together.
pub const BUDGET: Duration = Duration::from_secs(2);
/// One attempt at one request: long enough for a second SYN, which the kernel sends after one second.
const ATTEMPT: Duration = Duration::from_millis(1800);

/// Instance tags that may name the cluster, best first.
pub const CLUSTER_TAGS: [&str; 3] = ["eks:cluster-name", "CLUSTER_ID", "Name"];

/// What the instance says of itself; each is `None` where it did not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstanceFacts {
    /// The region it runs in.
    pub region: Option<String>,
    /// Its id.
    pub instance_id: Option<String>,
    /// The first of [`CLUSTER_TAGS`] with a value, and that value.
    pub cluster_tag: Option<(&'static str, String)>,
    /// Why nothing is known, if so.
    pub unreachable: Option<String>,
}

impl InstanceFacts {
    /// Nothing known, for this reason.
    pub fn unreachable(why: String) -> Self {
        Self { unreachable: Some(why), ..Self::default() }
    }
}

/// Reads what there is. Never takes longer than [`BUDGET`]; not at all with `AWS_EC2_METADATA_DISABLED=true`.
pub async fn read(config: &ProviderConfig) -> InstanceFacts {
    if std::env::var("AWS_EC2_METADATA_DISABLED").is_ok_and(|value| value.trim().eq_ignore_ascii_case("true")) {
        return InstanceFacts::unreachable("switched off by AWS_EC2_METADATA_DISABLED".to_owned());
    }
    let client = Client::builder()
        .configure(config)
        .connect_timeout(ATTEMPT)
        .read_timeout(ATTEMPT)
        .operation_attempt_timeout(ATTEMPT)
        .operation_timeout(BUDGET)
        .max_attempts(2)
        .build();
    let until = Instant::now() + BUDGET;
    let get = |path: String| {
        let client = client.clone();
        async move { timeout_at(until, client.get(path)).await }
    };
    // The region is asked for first and alone: it fetches the session token for all, and if even that fails there is
    // nothing more to ask.
    let region = match get("/latest/meta-data/placement/region".to_owned()).await {
        Ok(Ok(region)) => Some(region.as_ref().trim().to_owned()).filter(|region| !region.is_empty()),
        Ok(Err(ImdsError::ErrorResponse(_))) => None,
        Ok(Err(error)) => {
            let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
            let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
            return InstanceFacts::unreachable(text);
        }
        Err(_) => return InstanceFacts::unreachable(format!("no answer within {} s", BUDGET.as_secs())),
    };
    let value = |path: String| {
        let answer = get(path);
        async move {
            let text = answer.await.ok()?.ok()?;
            Some(text.as_ref().trim().to_owned()).filter(|text| !text.is_empty())
        }
    };
    // A tag that is not set, and tags that are not offered to instances at all, both answer 404.
    let tag = |name: &str| value(format!("/latest/meta-data/tags/instance/{name}"));
    let [eks, cluster_id, name] = CLUSTER_TAGS;
    let (instance_id, eks_tag, cluster_id_tag, name_tag) =
        tokio::join!(value("/latest/meta-data/instance-id".to_owned()), tag(eks), tag(cluster_id), tag(name));
    let tags = [(eks, eks_tag), (cluster_id, cluster_id_tag), (name, name_tag)];
    let cluster_tag = tags.into_iter().find_map(|(name, value)| Some((name, value?)));
    InstanceFacts { region, instance_id, cluster_tag, unreachable: None }
}
