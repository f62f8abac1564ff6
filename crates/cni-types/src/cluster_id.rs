//! The identity of a cluster: the name under which everything that is measured of it is published.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::names::{CLUSTER_ID_RULE, is_cluster_id};

/// The id of clusters that no source names, as the original helper has it.
pub const FALLBACK_CLUSTER_ID: &str = "k8s-cluster";

/// A cluster's id: [`CLUSTER_ID_RULE`] holds. A clone shares the text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(Arc<str>);

/// A text that is no cluster id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterIdError;

impl ClusterId {
    /// [`FALLBACK_CLUSTER_ID`].
    pub fn fallback() -> Self {
        Self(FALLBACK_CLUSTER_ID.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClusterId {
    type Err = ClusterIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_cluster_id(text) { Ok(Self(text.into())) } else { Err(ClusterIdError) }
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<str> for ClusterId {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other
    }
}

impl PartialEq<&str> for ClusterId {
    fn eq(&self, other: &&str) -> bool {
        *self.0 == **other
    }
}

impl fmt::Display for ClusterIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CLUSTER_ID_RULE)
    }
}

impl std::error::Error for ClusterIdError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cloudwatch_takes_as_a_dimension_is_an_id() {
        let longest = "x".repeat(1024);
        for good in ["prod", "arn:aws:eks:eu-west-1:1:cluster/x", "with blank", longest.as_str()] {
            let id: ClusterId = good.parse().unwrap();
            assert!(id == good && id == *good && id.as_str() == good, "{good}");
            assert_eq!(format!("{id}"), good);
        }
        let too_long = "x".repeat(1025);
        for bad in ["", "  ", ":prod", "m\u{fc}nchen", "tab\t", too_long.as_str()] {
            assert_eq!(bad.parse::<ClusterId>(), Err(ClusterIdError), "{bad}");
        }
        assert_eq!(ClusterId::fallback(), FALLBACK_CLUSTER_ID.parse::<ClusterId>().unwrap());
    }
}
