//! Grafana dashboards: of the helper's Prometheus output, and of aws-node's own pages for those who scrape these.

mod aws_node;
mod board;
mod helper;

use anyhow::ensure;
use clap::{Args, ValueEnum};

use super::artifact::{Artifact, Output};

#[derive(Debug, Clone, Args)]
pub(super) struct GrafanaArgs {
    /// Whose metrics the data source holds
    #[arg(long = "for", value_enum, value_name = "WHOSE", default_value = "helper")]
    whose: Whose,
    /// Refused with the reason
    #[arg(long, hide = true)]
    cluster_id: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Whose {
    /// This helper's, scraped from port 61681
    Helper,
    /// Each aws-node pod's own, scraped from port 61678
    AwsNode,
}

pub(super) fn make(args: &GrafanaArgs) -> anyhow::Result<Output> {
    ensure!(
        args.cluster_id.is_none(),
        "--cluster-id has no meaning for a Grafana dashboard: the same board serves every cluster, and its variables \
         \"Data source\" and \"Cluster\" choose among the Prometheus servers and the clusters in them"
    );
    let (name, board) = match args.whose {
        Whose::Helper => ("grafana-dashboard.json", helper::board()),
        Whose::AwsNode => ("grafana-dashboard-aws-node.json", aws_node::board()),
    };
    Ok(Output::one(Artifact::json(name, &board.body())?))
}
