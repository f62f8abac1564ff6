//! How a subcommand prints its result.

use std::io::Write;

use std::sync::Arc;

use clap::{Args, ValueEnum};
use cni_metrics_core::model::Snapshot;
use cni_runtime::text::chain;

use crate::view::clusters::{ClusterJson, ClustersJson};
use crate::view::json::{CountersJson, LookJson};
use crate::view::schema::Schema;
use crate::view::table;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Tables for people.
    Table,
    /// One JSON object.
    Json,
}

/// The output option of commands that print a result.
#[derive(Debug, Clone, Args)]
pub struct OutputArgs {
    /// How the result is printed
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// One of several clusters: what was measured, or why nothing was.
#[derive(Debug)]
pub(super) struct ClusterLook {
    pub(super) context: String,
    pub(super) outcome: anyhow::Result<Arc<Snapshot>>,
}

/// Prints a snapshot of agents that were read once: counters are totals.
pub(super) fn print(snapshot: &Snapshot, output: Output, out: &mut dyn Write) -> anyhow::Result<()> {
    match output {
        Output::Table => write!(out, "{}", table::render(snapshot, table::CounterMeaning::SinceStart))?,
        Output::Json => Schema::Look.print(&LookJson::new(snapshot, CountersJson::TOTAL), out)?,
    }
    Ok(())
}

/// Prints a block for each cluster, or one object with all of them.
pub(super) fn print_clusters(looks: &[ClusterLook], output: Output, out: &mut dyn Write) -> anyhow::Result<()> {
    if output == Output::Json {
        let clusters = looks.iter().map(|look| match &look.outcome {
            Ok(snapshot) => ClusterJson::measured(&look.context, snapshot, CountersJson::TOTAL),
            Err(error) => ClusterJson::failed(&look.context, chain(error.as_ref())),
        });
        return Ok(Schema::Looks.print(&ClustersJson { clusters: clusters.collect() }, out)?);
    }
    for (position, ClusterLook { context, outcome }) in looks.iter().enumerate() {
        if position > 0 {
            writeln!(out)?;
        }
        match outcome {
            Ok(snapshot) => {
                let id = snapshot.cluster.as_ref().map_or("without an id", |id| id.as_str());
                writeln!(out, "cluster {id}, context {context}")?;
                write!(out, "{}", table::render(snapshot, table::CounterMeaning::SinceStart))?;
            }
            Err(error) => writeln!(out, "context {context}\nnot measured: {}", chain(error.as_ref()))?,
        }
    }
    Ok(())
}
