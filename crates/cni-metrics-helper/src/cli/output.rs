//! How a subcommand prints its result.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use cni_insight::finding::Conclusion;
use cni_metrics_core::model::Snapshot;
use cni_runtime::text::chain;

use super::nodes::{Chosen, NodeChoice};
use crate::view::clusters::{ClusterJson, ClustersJson};
use crate::view::findings;
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
    pub(super) outcome: anyhow::Result<Look>,
}

/// What was measured, and what the counters of it count.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) snapshot: Arc<Snapshot>,
    /// The time between two scrapes; `None` where agents were read once, and counters are totals.
    pub(super) window: Option<Duration>,
    /// What is concluded from it; `None` where no conclusions are drawn.
    pub(super) conclusion: Option<Arc<Conclusion>>,
}

impl Look {
    /// The same with the chosen nodes.
    fn chosen(&self, nodes: &NodeChoice) -> ChosenLook {
        let nodes = nodes.choose(Arc::clone(&self.snapshot));
        ChosenLook { nodes, window: self.window, conclusion: self.conclusion.clone() }
    }
}

/// A look as it is printed.
struct ChosenLook {
    nodes: Chosen,
    window: Option<Duration>,
    conclusion: Option<Arc<Conclusion>>,
}

/// How a look is shown: the format, and which nodes.
#[derive(Debug, Clone, Copy)]
pub(super) struct LookStyle<'a> {
    pub(super) output: Output,
    pub(super) nodes: &'a NodeChoice,
}

impl ChosenLook {
    fn counters(&self) -> CountersJson {
        self.window.map_or(CountersJson::TOTAL, CountersJson::increase)
    }

    fn table(&self, out: &mut dyn Write) -> std::io::Result<()> {
        let counters = self.window.map_or(table::CounterMeaning::SinceStart, table::CounterMeaning::Within);
        write!(out, "{}", table::render(&self.nodes.snapshot, counters))?;
        if self.nodes.left_out > 0 {
            writeln!(out, "{} more nodes are not shown (--top)", self.nodes.left_out)?;
        }
        if let Some(conclusion) = &self.conclusion {
            write!(out, "\n{}", findings::render(conclusion))?;
        }
        Ok(())
    }

    fn json(&self) -> LookJson<'_> {
        LookJson::new(&self.nodes.snapshot, self.counters(), self.conclusion.as_deref())
    }
}

/// Prints one look.
pub(super) fn print(look: &Look, shown: LookStyle<'_>, out: &mut dyn Write) -> anyhow::Result<()> {
    let look = look.chosen(shown.nodes);
    match shown.output {
        Output::Table => look.table(out)?,
        Output::Json => Schema::Look.print(&look.json(), out)?,
    }
    Ok(())
}

/// Prints a block for each cluster, or one object with all of them.
pub(super) fn print_clusters(looks: &[ClusterLook], shown: LookStyle<'_>, out: &mut dyn Write) -> anyhow::Result<()> {
    let chosen: Vec<(&str, Result<ChosenLook, &anyhow::Error>)> = looks
        .iter()
        .map(|look| (look.context.as_str(), look.outcome.as_ref().map(|look| look.chosen(shown.nodes))))
        .collect();
    if shown.output == Output::Json {
        let clusters = chosen.iter().map(|(context, outcome)| match outcome {
            Ok(look) => ClusterJson::measured(context, look.json()),
            Err(error) => ClusterJson::failed(context, chain(error.as_ref())),
        });
        return Ok(Schema::Looks.print(&ClustersJson { clusters: clusters.collect() }, out)?);
    }
    for (position, (context, outcome)) in chosen.iter().enumerate() {
        if position > 0 {
            writeln!(out)?;
        }
        match outcome {
            Ok(look) => {
                let id = look.nodes.snapshot.cluster.as_ref().map_or("without an id", |id| id.as_str());
                writeln!(out, "cluster {id}, context {context}")?;
                look.table(out)?;
            }
            Err(error) => writeln!(out, "context {context}\nnot measured: {}", chain(error.as_ref()))?,
        }
    }
    Ok(())
}
