//! Which cluster it is for: cluster id, region, namespace, partition; checked before anything is made.

use anyhow::{Context, anyhow, bail, ensure};
use clap::{Args, ValueEnum};

use cni_types::names::{self, is_account, is_dns_label, is_region};
use cni_types::partition;

/// Flags that say which cluster a document is for. Each document has those that it uses, and no other.
#[derive(Debug, Clone, Default)]
pub(super) struct Flags {
    pub(super) cluster_id: Option<String>,
    pub(super) region: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) partition: Option<Partition>,
}

/// Flag `--cluster-id`.
#[derive(Debug, Clone, Args)]
pub(super) struct ClusterIdFlag {
    /// The cluster's name: the `CLUSTER_ID` dimension of its metrics, and their label `cluster` in Prometheus
    #[arg(long, value_name = "TEXT")]
    pub(super) cluster_id: Option<String>,
}

/// Flag `--region`.
#[derive(Debug, Clone, Args)]
pub(super) struct RegionFlag {
    /// AWS region, such as eu-west-1
    #[arg(long, value_name = "REGION")]
    pub(super) region: Option<String>,
}

/// Flag `--namespace`.
#[derive(Debug, Clone, Args)]
pub(super) struct NamespaceFlag {
    /// Kubernetes namespace of the helper
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAMESPACE)]
    pub(super) namespace: String,
}

/// Flag `--partition`.
#[derive(Debug, Clone, Args)]
pub(super) struct PartitionFlag {
    /// AWS partition; found from the region when not given
    #[arg(long, value_enum)]
    pub(super) partition: Option<Partition>,
}

/// The namespace of the helper, where none is given.
const DEFAULT_NAMESPACE: &str = "kube-system";

/// All four flags.
#[derive(Debug, Clone, Args)]
pub(super) struct ClusterFlags {
    #[command(flatten)]
    cluster_id: ClusterIdFlag,
    #[command(flatten)]
    region: RegionFlag,
    #[command(flatten)]
    namespace: NamespaceFlag,
    #[command(flatten)]
    partition: PartitionFlag,
}

impl From<&ClusterFlags> for Flags {
    fn from(flags: &ClusterFlags) -> Self {
        Self {
            cluster_id: flags.cluster_id.cluster_id.clone(),
            region: flags.region.region.clone(),
            namespace: Some(flags.namespace.namespace.clone()),
            partition: flags.partition.partition,
        }
    }
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
    /// Regions of other partitions count as commercial ones.
    fn of_region(region: &str) -> Self {
        let found = partition::Partition::of_region(region);
        [Self::AwsCn, Self::AwsUsGov].into_iter().find(|own| own.facts() == found).unwrap_or(Self::Aws)
    }

    fn facts(self) -> partition::Partition {
        match self {
            Self::Aws => partition::AWS,
            Self::AwsCn => partition::AWS_CN,
            Self::AwsUsGov => partition::AWS_US_GOV,
        }
    }

    /// The second field of ARNs.
    pub(super) fn name(self) -> &'static str {
        self.facts().name
    }

    /// The end of host names of its services.
    pub(super) fn domain(self) -> &'static str {
        self.facts().dns_suffix
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
    /// The partition, where a flag says it.
    known_partition: Option<Partition>,
}

impl Target {
    pub(super) fn new(flags: Flags) -> anyhow::Result<Self> {
        let Flags { cluster_id, region, namespace, partition } = flags;
        let namespace = namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        if let Some(id) = &cluster_id {
            ensure!(names::is_cluster_id(id), "--cluster-id {id:?}: {}", names::CLUSTER_ID_RULE);
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
        let known = partition.or(found);
        Ok(Self { cluster_id, region, namespace, partition: known.unwrap_or(Partition::Aws), known_partition: known })
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

    /// Checks the ARN of an SNS topic: its shape, and that an alarm of this cluster can reach it.
    pub(super) fn check_topic(&self, arn: &str) -> anyhow::Result<()> {
        let wrong = |what: &str| anyhow!("--topic-arn {arn:?}: {what}");
        let shape = "must be arn:PARTITION:sns:REGION:ACCOUNT:NAME, such as arn:aws:sns:eu-west-1:111122223333:alarms";
        let parts: Vec<&str> = arn.split(':').collect();
        let ["arn", partition, "sns", region, account, name] = parts.as_slice() else { return Err(wrong(shape)) };
        if !is_region(region) {
            return Err(wrong(&format!("{region:?} is not a region; it {shape}")));
        }
        if !is_account(account) {
            return Err(wrong(&format!("the account {account:?} is not twelve digits")));
        }
        if !is_topic_name(name) {
            return Err(wrong(&format!(
                "the topic's name {name:?} must be 1 to 256 letters, digits, '-' and '_' (and may end with .fifo)"
            )));
        }
        let holds_region = Partition::of_region(region);
        if *partition != holds_region.name() {
            return Err(wrong(&format!(
                "the partition {partition:?} does not hold {region}, which is in {}",
                holds_region.name()
            )));
        }
        if let Some(ours) = &self.region
            && ours != region
        {
            return Err(wrong(&format!("it is in {region}, but an alarm tells topics of its own region only: {ours}")));
        }
        match self.known_partition {
            Some(ours) if ours != holds_region => {
                Err(wrong(&format!("it is in the partition {partition}, the alarms are in {}", ours.name())))
            }
            _ => Ok(()),
        }
    }
}

/// Checks `--cloudwatch-namespace` as the program checks its own setting.
pub(super) fn check_cloudwatch_namespace(namespace: &str) -> anyhow::Result<()> {
    ensure!(names::is_namespace(namespace), "--cloudwatch-namespace {namespace:?}: {}", names::NAMESPACE_RULE);
    Ok(())
}

fn is_topic_name(text: &str) -> bool {
    let stem = text.strip_suffix(".fifo").unwrap_or(text);
    text.len() <= 256
        && !stem.is_empty()
        && stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(cluster_id: &str, region: Option<&str>, partition: Option<Partition>) -> Flags {
        Flags { cluster_id: Some(cluster_id.to_owned()), region: region.map(str::to_owned), namespace: None, partition }
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

    #[test]
    fn a_topic_must_be_one_that_the_alarms_can_tell() {
        let check = |region: Option<&str>, partition, arn: &str| {
            let said = Target::new(args("c", region, partition)).unwrap().check_topic(arn);
            said.map_err(|error| error.to_string())
        };
        for (region, partition, arn) in [
            (None, None, "arn:aws:sns:eu-west-1:111122223333:ops"),
            (None, None, "arn:aws-us-gov:sns:us-gov-west-1:111122223333:ops_2.fifo"),
            (None, Some(Partition::AwsCn), "arn:aws-cn:sns:cn-north-1:111122223333:ops"),
            (Some("eu-west-1"), None, "arn:aws:sns:eu-west-1:111122223333:ops"),
        ] {
            assert_eq!(check(region, partition, arn), Ok(()), "{arn}");
        }
        let alarm = "arn:aws:cloudwatch:eu-west-1:111122223333:alarm";
        let long = format!("arn:aws:sns:eu-west-1:111122223333:{}", "x".repeat(257));
        for (region, partition, arn, message) in [
            (None, None, "ops", "must be arn:PARTITION:sns:REGION:ACCOUNT:NAME"),
            (None, None, "arn:aws:sns:x", "must be arn:PARTITION:sns:REGION:ACCOUNT:NAME"),
            (None, None, alarm, "must be arn:PARTITION:sns:REGION:ACCOUNT:NAME"),
            (None, None, "arn:aws:sns:eu-west-1:111122223333:ops:5f", "must be arn:PARTITION"),
            (None, None, "arn:aws:sns:mars:111122223333:ops", "\"mars\" is not a region"),
            (None, None, "arn:aws:sns:eu-west-1:1111:ops", "the account \"1111\" is not twelve digits"),
            (None, None, "arn:aws:sns:eu-west-1:111122223333:", "the topic's name \"\" must be"),
            (None, None, "arn:aws:sns:eu-west-1:111122223333:a b", "the topic's name \"a b\" must be"),
            (None, None, &long, "must be 1 to 256"),
            (None, None, "arn:aws:sns:cn-north-1:111122223333:ops", "does not hold cn-north-1, which is in aws-cn"),
            (
                Some("eu-west-1"),
                None,
                "arn:aws:sns:eu-west-2:111122223333:ops",
                "topics of its own region only: eu-west-1",
            ),
            (None, Some(Partition::AwsCn), "arn:aws:sns:eu-west-1:111122223333:ops", "the alarms are in aws-cn"),
        ] {
            let said = check(region, partition, arn).unwrap_err();
            assert!(said.starts_with("--topic-arn") && said.contains(message), "{arn}: {said}");
        }
    }
}
