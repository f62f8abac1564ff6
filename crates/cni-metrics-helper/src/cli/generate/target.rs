//! Which cluster it is for: cluster id, region, namespace, partition; checked before anything is made.

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};

/// The flags as given.
#[derive(Debug, Clone, Args)]
pub(super) struct TargetArgs {
    /// The cluster's name: the `CLUSTER_ID` dimension of its metrics
    #[arg(long, value_name = "TEXT", global = true)]
    cluster_id: Option<String>,
    /// AWS region, such as eu-west-1
    #[arg(long, value_name = "REGION", global = true)]
    region: Option<String>,
    /// Kubernetes namespace of the helper
    #[arg(long, value_name = "NAME", default_value = "kube-system", global = true)]
    namespace: String,
    /// AWS partition; found from the region when not given
    #[arg(long, value_enum, global = true)]
    partition: Option<Partition>,
}

/// An AWS partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Partition {
    /// The commercial regions
    Aws,
    /// China
    AwsCn,
    /// The US government regions
    AwsUsGov,
}

impl Partition {
    fn of_region(region: &str) -> Self {
        if region.starts_with("cn-") {
            Self::AwsCn
        } else if region.starts_with("us-gov-") {
            Self::AwsUsGov
        } else {
            Self::Aws
        }
    }

    /// The second field of ARNs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::AwsCn => "aws-cn",
            Self::AwsUsGov => "aws-us-gov",
        }
    }

    /// The end of host names of its services.
    pub(super) fn domain(self) -> &'static str {
        match self {
            Self::AwsCn => "amazonaws.com.cn",
            Self::Aws | Self::AwsUsGov => "amazonaws.com",
        }
    }

    /// The region whose registry is named when none is given.
    pub(super) fn usual_region(self) -> &'static str {
        match self {
            Self::Aws => "us-west-2",
            Self::AwsCn => "cn-northwest-1",
            Self::AwsUsGov => "us-gov-west-1",
        }
    }
}

/// The flags, checked.
pub(super) struct Target {
    cluster_id: Option<String>,
    pub(super) region: Option<String>,
    pub(super) namespace: String,
    pub(super) partition: Partition,
}

impl Target {
    pub(super) fn new(args: TargetArgs) -> anyhow::Result<Self> {
        let TargetArgs { cluster_id, region, namespace, partition } = args;
        if let Some(id) = &cluster_id {
            ensure!(
                is_dimension_value(id),
                "--cluster-id {id:?}: 1 to 1024 printable ASCII characters, no ':' in front"
            );
        }
        if let Some(region) = &region {
            ensure!(is_region(region), "--region {region:?}: a region such as eu-west-1 or us-gov-west-1");
        }
        ensure!(is_dns_label(&namespace), "--namespace {namespace:?}: lower-case letters, digits and '-', at most 63");
        let found = region.as_deref().map(Partition::of_region);
        if let (Some(given), Some(found)) = (partition, found)
            && given != found
        {
            bail!("--partition {} does not hold the region, which is in {}", given.name(), found.name());
        }
        Ok(Self { cluster_id, region, namespace, partition: partition.or(found).unwrap_or(Partition::Aws) })
    }

    pub(super) fn cluster_id(&self) -> Option<&str> {
        self.cluster_id.as_deref()
    }

    /// The cluster id, where nothing sensible can be made without it.
    pub(super) fn needed_cluster_id(&self) -> anyhow::Result<&str> {
        self.cluster_id()
            .context("--cluster-id is needed: it is the CLUSTER_ID dimension that the helper publishes under")
    }

    /// The region, where nothing sensible can be made without it.
    pub(super) fn needed_region(&self) -> anyhow::Result<&str> {
        self.region.as_deref().context("--region is needed, such as --region eu-west-1")
    }
}

fn is_dimension_value(text: &str) -> bool {
    (1..=1024).contains(&text.len())
        && text.bytes().all(|byte| (0x20..0x7f).contains(&byte))
        && !text.trim().is_empty()
        && !text.starts_with(':')
}

fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let Some((number, words)) = parts.split_last() else { return false };
    words.len() >= 2
        && words.iter().all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// A Kubernetes namespace's or service account's name.
pub(super) fn is_dns_label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(cluster_id: &str, region: Option<&str>, partition: Option<Partition>) -> TargetArgs {
        TargetArgs {
            cluster_id: Some(cluster_id.to_owned()),
            region: region.map(str::to_owned),
            namespace: "kube-system".to_owned(),
            partition,
        }
    }

    #[test]
    fn the_partition_follows_from_the_region() {
        for (region, partition) in
            [("eu-west-1", Partition::Aws), ("us-gov-east-1", Partition::AwsUsGov), ("cn-north-1", Partition::AwsCn)]
        {
            assert_eq!(Target::new(args("c", Some(region), None)).unwrap().partition, partition);
        }
        let wrong = Target::new(args("c", Some("eu-west-1"), Some(Partition::AwsCn)));
        assert_eq!(wrong.err().unwrap().to_string(), "--partition aws-cn does not hold the region, which is in aws");
    }

    #[test]
    fn a_value_that_would_break_out_of_its_place_is_refused() {
        for id in ["", " ", ":a", "a\nb", "é", &"x".repeat(1025)] {
            assert!(Target::new(args(id, None, None)).is_err(), "{id:?}");
        }
        for region in ["", "eu", "eu-west", "EU-west-1", "eu-west-1\n", "eu-west-1 x"] {
            assert!(Target::new(args("c", Some(region), None)).is_err(), "{region:?}");
        }
        for name in ["", "-a", "a-", "A", "a.b", "a b"] {
            assert!(!is_dns_label(name), "{name:?}");
        }
    }
}
