//! `plan max-pods`: pods a node may have, for one instance type or all.

use std::io::Write;

use clap::Args;
use cni_types::limits::{self, InstanceLimits};
use ipamd_model::plan::{Binding, MaxPods, MaxPodsQuestion, estimated_vcpus};
use serde::Serialize;

use super::shared::{Format, limits_of, vcpus_of};
use crate::view::schema::Schema;
use crate::view::table::styled;

/// Options of `plan max-pods`.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches of one command")]
#[expect(clippy::doc_markdown, reason = "the text is shown by --help, where backticks are noise")]
pub(super) struct MaxPodsArgs {
    /// EC2 instance type, e.g. m5.large
    #[arg(long, required_unless_present = "all", conflicts_with = "all")]
    instance_type: Option<String>,
    /// Every known instance type
    #[arg(long)]
    all: bool,
    /// ENABLE_PREFIX_DELEGATION
    #[arg(long)]
    prefix_delegation: bool,
    /// AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG
    #[arg(long)]
    custom_networking: bool,
    /// MAX_ENI
    #[arg(long)]
    max_eni: Option<u32>,
    /// vCPUs of the instance, which decide between the caps of 110 (up to 30) and 250 [default: by the size's name]
    #[arg(long)]
    vcpus: Option<u32>,
    /// Leave the recommended cap out
    #[arg(long)]
    no_cap: bool,
    /// How the numbers are printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
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
}

pub(super) fn run(args: &MaxPodsArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    if let Some(instance_type) = args.instance_type.as_deref() {
        let answer = ask(args, instance_type, limits_of(instance_type)?);
        return match args.output {
            Format::Table => explain(args, instance_type, &answer, out),
            Format::Json => Ok(Schema::Plan.print(&line(instance_type, &answer), out)?),
            Format::Csv => csv([line(instance_type, &answer)], out),
        };
    }
    let lines = limits::all().iter().map(|known| line(&known.name(), &ask(args, &known.name(), known.limits)));
    match args.output {
        Format::Csv => csv(lines, out),
        Format::Json => Ok(Schema::Plan.print_list(lines, out)?),
        Format::Table => table(lines, out),
    }
}

fn ask(args: &MaxPodsArgs, instance_type: &str, limits: InstanceLimits) -> MaxPods {
    let question = MaxPodsQuestion {
        limits,
        prefix_delegation: args.prefix_delegation,
        custom_networking: args.custom_networking,
        max_eni: args.max_eni,
        vcpus: vcpus_of(instance_type, args.vcpus),
        capped: !args.no_cap,
    };
    question.answer()
}

fn line(instance_type: &str, answer: &MaxPods) -> InstanceRow {
    InstanceRow {
        instance_type: instance_type.to_owned(),
        max_pods: answer.max_pods,
        by_slots: answer.by_slots,
        cap: answer.cap,
        binding: answer.binding.name(),
        formula: answer.formula.clone(),
        command: "max-pods",
    }
}

fn explain(args: &MaxPodsArgs, instance_type: &str, answer: &MaxPods, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "{instance_type}: max pods {}", answer.max_pods)?;
    writeln!(out, "  = {}", answer.formula)?;
    let binds = match answer.binding {
        Binding::Slots => "the instance's ENIs and their addresses".to_owned(),
        Binding::MaxEni => "MAX_ENI".to_owned(),
        Binding::Cap => format!("the recommended cap; without it {}", answer.by_slots),
    };
    writeln!(out, "  binding limit: {binds}")?;
    if let Some(cap) = answer.cap {
        let vcpus = vcpus_of(instance_type, args.vcpus);
        let source = match (args.vcpus, estimated_vcpus(instance_type)) {
            (Some(_), _) => format!("{vcpus} vCPUs as given"),
            (None, Some(_)) => format!("{vcpus} vCPUs by the size's name; --vcpus overrides"),
            (None, None) => "vCPUs unknown, taken to be few; --vcpus overrides".to_owned(),
        };
        writeln!(out, "  cap {cap}: {source}")?;
    }
    if answer.prefix_fallback {
        writeln!(out, "  note: no prefix delegation on this type (neither Nitro nor bare metal)")?;
    }
    Ok(())
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
