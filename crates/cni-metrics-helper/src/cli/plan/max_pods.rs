//! `plan max-pods`: pods a node may have, for one instance type or all.

use std::io::Write;

use clap::{Args, ValueEnum};
use cni_types::limits::{self, InstanceLimits};
use ipamd_model::plan::{Binding, MaxPods, MaxPodsBy, estimated_vcpus};
use serde::Serialize;

use super::shared::{NodeOptions, limits_of, vcpus_of};
use crate::view::schema::Schema;
use crate::view::table::styled;

/// How the numbers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// One JSON document.
    Json,
    /// Comma-separated values, one line per instance type.
    Csv,
}

/// Options of `plan max-pods`.
#[derive(Debug, Clone, Args)]
pub(super) struct MaxPodsArgs {
    /// EC2 instance type, e.g. m5.large
    #[arg(long, required_unless_present = "all", conflicts_with = "all")]
    instance_type: Option<String>,
    /// Every known instance type
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    node: NodeOptions,
    /// vCPUs of the instance, which decide between the caps of 110 (up to 30) and 250 [default: by the size's name]
    #[arg(long)]
    vcpus: Option<u32>,
    /// Leave the cap of 110 or 250 out
    #[arg(long)]
    no_cap: bool,
    /// How the numbers are printed
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// One type's line.
#[derive(Serialize)]
struct InstanceRow {
    instance_type: String,
    max_pods: u32,
    by_slots: u32,
    cap: Option<u32>,
    binding: &'static str,
    formula: String,
    command: &'static str,
    cap_of: Option<&'static str>,
    notes: Vec<String>,
}

pub(super) fn run(args: &MaxPodsArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    if let Some(instance_type) = args.instance_type.as_deref() {
        let (name, limits) = limits_of(instance_type)?;
        let answer = ask(args, &name, limits);
        return match args.output {
            Format::Table => explain(args, &name, limits, &answer, out),
            Format::Json => Ok(Schema::Plan.print(&line(args, &name, limits, &answer), out)?),
            Format::Csv => csv([line(args, &name, limits, &answer)], out),
        };
    }
    let lines = limits::all().iter().map(|known| {
        let answer = ask(args, &known.name(), known.limits);
        line(args, &known.name(), known.limits, &answer)
    });
    match args.output {
        Format::Csv => csv(lines, out),
        Format::Json => Ok(Schema::Plan.print_list(lines, out)?),
        Format::Table => table(lines, out),
    }
}

fn ask(args: &MaxPodsArgs, instance_type: &str, limits: InstanceLimits) -> MaxPods {
    let mut question = args.node.max_pods(limits, vcpus_of(instance_type, args.vcpus));
    question.capped &= !args.no_cap;
    question.answer()
}

fn line(args: &MaxPodsArgs, instance_type: &str, limits: InstanceLimits, answer: &MaxPods) -> InstanceRow {
    InstanceRow {
        instance_type: instance_type.to_owned(),
        max_pods: answer.max_pods,
        by_slots: answer.by_slots,
        cap: answer.cap,
        binding: answer.binding.name(),
        formula: answer.formula.clone(),
        command: "max-pods",
        cap_of: answer.cap.map(|_| args.node.by().name()),
        notes: notes(args, limits, answer),
    }
}

fn explain(
    args: &MaxPodsArgs,
    instance_type: &str,
    limits: InstanceLimits,
    answer: &MaxPods,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    writeln!(out, "{instance_type}: max pods {}", answer.max_pods)?;
    writeln!(out, "  = {}", answer.formula)?;
    let by = args.node.by();
    let binds = match answer.binding {
        Binding::Slots => "the instance's ENIs and their addresses".to_owned(),
        Binding::MaxEni => "MAX_ENI".to_owned(),
        Binding::Cap => format!(
            "the cap of {}; without it {} (Karpenter and nodeadm have none, see --max-pods-by)",
            by.name(),
            answer.by_slots
        ),
    };
    writeln!(out, "  binding limit: {binds}")?;
    if let Some(cap) = answer.cap {
        let vcpus = vcpus_of(instance_type, args.vcpus);
        let source = match (args.vcpus, estimated_vcpus(instance_type)) {
            (Some(_), _) => format!("{vcpus} vCPUs as given"),
            (None, Some(_)) => format!("{vcpus} vCPUs by the size's name; --vcpus overrides"),
            (None, None) => "vCPUs unknown, taken to be few; --vcpus overrides".to_owned(),
        };
        writeln!(out, "  cap {cap} of {}: {source}", by.name())?;
    }
    for note in notes(args, limits, answer) {
        writeln!(out, "  note: {note}")?;
    }
    Ok(())
}

/// What else there is to know about the number.
fn notes(args: &MaxPodsArgs, limits: InstanceLimits, answer: &MaxPods) -> Vec<String> {
    let mut notes = Vec::new();
    if answer.prefix_fallback {
        notes.push("no prefix delegation on this type (neither Nitro nor bare metal)".to_owned());
    }
    if args.node.max_eni == Some(0) {
        notes.push("MAX_ENI=0 has no effect: the agent takes values below 1 as not set".to_owned());
    }
    match (args.node.pod_eni, answer.has_trunk, limits.branch_enis) {
        (true, true, 0) => notes.push("pods with a security group have branch ENIs, and count beside these".to_owned()),
        (true, true, branches) => notes.push(format!(
            "up to {branches} pods with a security group have a branch ENI each; with them the node can hold {}",
            answer.by_slots.saturating_add(u32::from(branches))
        )),
        (true, false, _) if !limits.trunk_compatible => {
            notes.push("ENABLE_POD_ENI has no effect: this type cannot carry a trunk ENI".to_owned());
        }
        _ => {}
    }
    let by = args.node.by();
    if matches!(by, MaxPodsBy::Karpenter | MaxPodsBy::Nodeadm) && answer.without_prefixes < answer.by_slots {
        notes.push(format!(
            "{} does not count prefixes and sets {}; set the kubelet's maxPods to use more",
            by.name(),
            answer.without_prefixes
        ));
    }
    notes
}

fn csv(lines: impl IntoIterator<Item = InstanceRow>, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "instance_type,max_pods,by_slots,cap,binding")?;
    for line in lines {
        let cap = line.cap.map(|cap| cap.to_string()).unwrap_or_default();
        writeln!(out, "{},{},{},{cap},{}", line.instance_type, line.max_pods, line.by_slots, line.binding)?;
    }
    Ok(())
}

fn table(lines: impl IntoIterator<Item = InstanceRow>, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut table = styled(&["instance type", "max pods", "binding limit", "formula"]);
    for line in lines {
        table.add_row([line.instance_type, line.max_pods.to_string(), line.binding.to_owned(), line.formula]);
    }
    for row in table.to_string().lines() {
        writeln!(out, "{}", row.trim_end())?;
    }
    Ok(())
}
