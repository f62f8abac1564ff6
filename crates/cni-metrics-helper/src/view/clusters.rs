//! Several clusters in one object: `{"schema","clusters":[{"context","error", and the keys of a look}]}`.
//!
//! `error` is null where the cluster was measured. Else it says why not, and the keys of a look are left out.

use serde::Serialize;

use super::json::LookJson;

/// The object.
#[derive(Debug, Serialize)]
pub struct ClustersJson<'a> {
    /// In the order in which they were named.
    pub clusters: Vec<ClusterJson<'a>>,
}

/// One cluster.
#[derive(Debug, Serialize)]
pub struct ClusterJson<'a> {
    context: &'a str,
    error: Option<String>,
    #[serde(flatten)]
    look: Option<LookJson<'a>>,
}

impl<'a> ClusterJson<'a> {
    /// A cluster that was measured.
    pub fn measured(context: &'a str, look: LookJson<'a>) -> Self {
        Self { context, error: None, look: Some(look) }
    }

    /// A cluster of which nothing is known but why.
    pub fn failed(context: &'a str, error: String) -> Self {
        Self { context, error: Some(error), look: None }
    }
}
