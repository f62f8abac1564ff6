//! How a subcommand prints its result.

use std::io::Write;

use clap::{Args, ValueEnum};

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

/// Prints a snapshot of agents that were read once: counters are totals.
pub(super) fn print(
    snapshot: &cni_metrics_core::model::Snapshot,
    output: Output,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    use crate::view::json::{CountersJson, LookJson};
    use crate::view::{schema::Schema, table};
    match output {
        Output::Table => write!(out, "{}", table::render(snapshot, table::CounterMeaning::SinceStart))?,
        Output::Json => Schema::Look.print(&LookJson::new(snapshot, CountersJson::TOTAL), out)?,
    }
    Ok(())
}
