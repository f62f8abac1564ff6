//! `generate`: everything around the helper that would otherwise be clicked together: manifest, rights, dashboards,
//! alarms. Same flags, same bytes.

mod alarms;
pub mod alert;
mod artifact;
mod cloudwatch_dashboard;
mod grafana;
mod iam;
mod label;
mod links;
mod manifest;
mod promql;
mod rules;
mod target;
mod thresholds;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};

use artifact::Output;

/// Write manifests, IAM policies, dashboards, alarms and rules.
#[derive(Debug, Clone, Args)]
pub struct GenerateArgs {
    /// Write files into this directory instead of to the standard output
    #[arg(long, value_name = "DIR", global = true)]
    output_dir: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Kubernetes manifest: what the Helm chart renders, as plain YAML
    Manifest(manifest::ManifestArgs),
    /// IAM policy, trust policies and the commands that put them in place
    IamPolicy(iam::IamArgs),
    /// CloudWatch dashboard, a body for put-dashboard
    CloudwatchDashboard(cloudwatch_dashboard::DashboardArgs),
    /// CloudWatch alarms, as inputs for put-metric-alarm or as a stack template
    CloudwatchAlarms(alarms::AlarmArgs),
    /// Grafana dashboard for a Prometheus data source; the same one for every cluster
    GrafanaDashboard(grafana::GrafanaArgs),
    /// Prometheus recording and alerting rules
    PrometheusRules(rules::RulesArgs),
}

/// Makes what is asked for and writes it to `out`, or to files whose paths are written to `out`; `notices` gets what has
/// to be said and must not be mixed into a document.
pub fn run(args: GenerateArgs, out: &mut dyn Write, notices: &mut dyn Write) -> anyhow::Result<()> {
    let output = match &args.what {
        What::Manifest(args) => manifest::make(args)?,
        What::IamPolicy(args) => iam::make(args)?,
        What::CloudwatchDashboard(args) => cloudwatch_dashboard::make(args)?,
        What::CloudwatchAlarms(args) => alarms::make(args)?,
        What::GrafanaDashboard(args) => grafana::make(args)?,
        What::PrometheusRules(args) => rules::make(args)?,
    };
    if let Some(notice) = &output.notice {
        writeln!(notices, "{notice}")?;
    }
    match args.output_dir {
        None => out.write_all(output.shown.body.as_bytes())?,
        Some(dir) => write_files(&dir, &output, out)?,
    }
    Ok(out.flush()?)
}

fn write_files(dir: &Path, output: &Output, out: &mut dyn Write) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make the directory {}", dir.display()))?;
    for artifact in std::iter::once(&output.shown).chain(&output.beside) {
        let path = dir.join(&artifact.name);
        fs::write(&path, &artifact.body).with_context(|| format!("cannot write {}", path.display()))?;
        writeln!(out, "{}", path.display())?;
    }
    Ok(())
}
