//! What the operator sets about the identity, and how long its sources may take.

use std::sync::Arc;
use std::time::Duration;

use crate::Environment;
use cni_types::cluster_id::ClusterId;

/// What the operator set.
#[derive(Debug, Clone)]
pub struct IdentitySettings {
    /// `AWS_CLUSTER_ID`, if set.
    pub aws_cluster_id: Option<ClusterId>,
    /// `AWS_REGION`; empty if not set (then `AWS_DEFAULT_REGION` and the others follow).
    pub aws_region: String,
    /// CloudWatch is published to, which needs a region. Without it a region is only used to ask EC2 for tags.
    pub needs_region: bool,
    /// What happens where no source names the cluster.
    pub fallback: ClusterIdFallback,
    /// AWS's own variables.
    pub environment: Arc<Environment>,
    /// How long the sources may take.
    pub limits: IdentityLimits,
}

/// What happens where no source names the cluster: `CLUSTER_ID_FALLBACK`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClusterIdFallback {
    /// It is published as [`ClusterId::fallback`], like every other cluster without a name.
    #[default]
    Default,
    /// Nothing is published to CloudWatch until a source names it.
    Refuse,
}

/// How long the sources of an identity may take.
#[derive(Debug, Clone, Copy)]
pub struct IdentityLimits {
    /// One try at the instance's metadata.
    pub metadata_try: Duration,
    /// Tries at the instance's metadata.
    pub metadata_tries: u32,
    /// One call of `ec2:DescribeTags`.
    pub ec2_try: Duration,
    /// A source that has not answered for this long is unavailable, and the next one is used.
    pub unavailable_after: Duration,
    /// Sources that did not answer are asked again after this time.
    pub ask_again: Duration,
    /// While nothing is published for lack of a name, the log says so this often, and every source is asked again.
    pub remind: Duration,
}

impl Default for IdentityLimits {
    fn default() -> Self {
        Self {
            metadata_try: Duration::from_secs(2),
            metadata_tries: 4,
            ec2_try: Duration::from_secs(5),
            unavailable_after: Duration::from_mins(2),
            ask_again: Duration::from_mins(5),
            remind: Duration::from_hours(1),
        }
    }
}
