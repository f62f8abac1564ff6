//! The instance's own metadata (IMDSv2), all of it within one time limit.
//!
//! In a pod the service may be unreachable: a hop limit of 1, a network policy, a route that drops packets. Then there is
//! no answer, and each attempt takes its time limit and not longer.

use std::time::Duration;

use aws_config::imds::Client;
use aws_config::imds::client::error::ImdsError;
use aws_config::provider_config::ProviderConfig;
use tokio::time::{Instant, timeout_at};

use super::{Environment, Verdict, refused};
use cni_runtime::text::{causes, excerpt};

/// Instance tags that may name the cluster, best first.
pub const CLUSTER_TAGS: [&str; 3] = ["eks:cluster-name", "CLUSTER_ID", "Name"];

/// What the metadata service says about the instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceFacts {
    /// The region it runs in.
    pub region: Verdict<String>,
    /// Its id.
    pub instance_id: Verdict<String>,
    /// Its tags of [`CLUSTER_TAGS`], in that order.
    pub tags: [Verdict<String>; CLUSTER_TAGS.len()],
}

impl InstanceFacts {
    /// The same verdict on everything.
    fn all(verdict: &Verdict<String>) -> Self {
        Self { region: verdict.clone(), instance_id: verdict.clone(), tags: std::array::from_fn(|_| verdict.clone()) }
    }

    /// Nothing was asked yet.
    pub fn unasked() -> Self {
        Self::all(&Verdict::Unavailable("not asked yet".to_owned()))
    }

    /// Something has not been answered.
    pub fn is_open(&self) -> bool {
        self.region.is_open() || self.instance_id.is_open() || self.tags.iter().any(Verdict::is_open)
    }

    /// What was known, and for the rest a later answer.
    #[must_use]
    pub fn or(self, later: Self) -> Self {
        let [first, second, third] = self.tags;
        let [later_first, later_second, later_third] = later.tags;
        Self {
            region: self.region.or(later.region),
            instance_id: self.instance_id.or(later.instance_id),
            tags: [first.or(later_first), second.or(later_second), third.or(later_third)],
        }
    }
}

/// Reads what there is. Never takes longer than `limit`; asks nothing with `AWS_EC2_METADATA_DISABLED=true`.
pub async fn read(config: &ProviderConfig, environment: &Environment, limit: Duration) -> InstanceFacts {
    if environment.is_metadata_disabled {
        return InstanceFacts::all(&Verdict::SaysNo("switched off by AWS_EC2_METADATA_DISABLED".to_owned()));
    }
    // Long enough for a second SYN, which the kernel sends after one second.
    let attempt = limit.mul_f64(0.9);
    let client = Client::builder()
        .configure(config)
        .connect_timeout(attempt)
        .read_timeout(attempt)
        .operation_attempt_timeout(attempt)
        .operation_timeout(limit)
        .max_attempts(2)
        .build();
    let until = Instant::now() + limit;
    let get = |path: &str| {
        let (client, path) = (client.clone(), format!("/latest/meta-data/{path}"));
        async move {
            match timeout_at(until, client.get(path)).await {
                Ok(Ok(text)) => {
                    let text = text.as_ref().trim().to_owned();
                    if text.is_empty() { Verdict::SaysNo("an empty answer".to_owned()) } else { Verdict::Says(text) }
                }
                Ok(Err(error)) => verdict(&error),
                Err(_) => Verdict::Unavailable(format!("no answer within {:.1} s", limit.as_secs_f64())),
            }
        }
    };
    // The region is asked for first and alone: it fetches the session token for all, and if even that fails there is
    // nothing more to ask.
    let (region, has_session) = match get("placement/region").await {
        Verdict::Says(region) => (Verdict::Says(region), true),
        other => {
            // A refusal of the path is an answer within a session; everything else speaks for the whole service.
            let is_of_the_path = matches!(&other, Verdict::SaysNo(why) if why.as_str() == status_text(404));
            (other, is_of_the_path)
        }
    };
    if !has_session {
        return InstanceFacts::all(&region);
    }
    let [first, second, third] = CLUSTER_TAGS.map(|name| format!("tags/instance/{name}"));
    // A tag that is not set, and tags that are not offered to instances at all, both answer 404.
    let (instance_id, first, second, third) = tokio::join!(get("instance-id"), get(&first), get(&second), get(&third));
    InstanceFacts { region, instance_id, tags: [first, second, third] }
}

fn status_text(status: u16) -> String {
    format!("HTTP status {status}")
}

fn verdict(error: &ImdsError) -> Verdict<String> {
    match error {
        ImdsError::ErrorResponse(answer) => {
            let status = answer.response().status().as_u16();
            refused(status, status_text(status))
        }
        ImdsError::FailedToLoadToken(_) => {
            let text = causes(error);
            // The client gives no other sign of the status 403, which the service answers with where it is disabled.
            if text.contains("request forbidden") { Verdict::SaysNo(text) } else { Verdict::Unavailable(text) }
        }
        _ => Verdict::Unavailable(excerpt(&causes(error))),
    }
}
