//! `plan node`: the settled warm pool.

use std::io::Write;

use clap::Args;
use cni_types::agent_settings::{
    AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG, ENABLE_PREFIX_DELEGATION, MAX_ENI, MINIMUM_IP_TARGET, WARM_ENI_TARGET,
    WARM_IP_TARGET, WARM_PREFIX_TARGET,
};
use ipamd_model::plan::{MaxPodsQuestion, NodePlan, NodeQuestion, settle};
use ipamd_model::settings::Settings;
use serde::Serialize;

use super::shared::{Format, limits_of, vcpus_of};
use crate::view::schema::Schema;
use crate::view::table::styled;

/// Options of `plan node`.
#[derive(Debug, Clone, Args)]
#[expect(clippy::doc_markdown, reason = "the text is shown by --help, where backticks are noise")]
pub(super) struct NodeArgs {
    /// EC2 instance type, e.g. m5.large
    #[arg(long)]
    instance_type: String,
    /// Pods that take an address from the pool (not those on the host network), added one at a time
    #[arg(long)]
    pods: u32,
    /// WARM_ENI_TARGET [default: 1, as the shipped manifest sets it]
    #[arg(long)]
    warm_eni_target: Option<u32>,
    /// WARM_IP_TARGET
    #[arg(long)]
    warm_ip_target: Option<u32>,
    /// MINIMUM_IP_TARGET
    #[arg(long)]
    minimum_ip_target: Option<u32>,
    /// WARM_PREFIX_TARGET [default: 1, as the shipped manifest sets it]
    #[arg(long)]
    warm_prefix_target: Option<u32>,
    /// MAX_ENI
    #[arg(long)]
    max_eni: Option<u32>,
    /// ENABLE_PREFIX_DELEGATION
    #[arg(long)]
    prefix_delegation: bool,
    /// AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG
    #[arg(long)]
    custom_networking: bool,
    /// The node's pod capacity [default: the number that `plan max-pods` gives]
    #[arg(long)]
    max_pods: Option<u32>,
    /// How the plan is printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// The JSON shape.
#[derive(Serialize)]
struct Shown<'a> {
    enis: u32,
    total_ips: u32,
    prefixes: u32,
    assigned: u32,
    unused: u32,
    ips_per_eni: &'a [u32],
    prefixes_per_eni: &'a [u32],
    max_pods: u32,
    warnings: Vec<String>,
    command: &'static str,
}

pub(super) fn run(args: &NodeArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let limits = limits_of(&args.instance_type)?;
    let max_pods = args.max_pods.unwrap_or_else(|| {
        let question = MaxPodsQuestion {
            limits,
            prefix_delegation: args.prefix_delegation,
            custom_networking: args.custom_networking,
            max_eni: args.max_eni,
            vcpus: vcpus_of(&args.instance_type, None),
            capped: true,
        };
        question.answer().max_pods
    });
    let plan = settle(&NodeQuestion { limits, settings: settings(args), pods: args.pods, max_pods })?;
    match args.output {
        Format::Table => table(args, &plan, out),
        Format::Json => Ok(Schema::Plan.print(&shown(&plan), out)?),
        Format::Csv => anyhow::bail!("plan node prints a table or json, not csv"),
    }
}

/// The shipped manifest with the options laid over it.
fn settings(args: &NodeArgs) -> Settings {
    let numbers = [
        (WARM_ENI_TARGET.name, args.warm_eni_target),
        (WARM_IP_TARGET.name, args.warm_ip_target),
        (MINIMUM_IP_TARGET.name, args.minimum_ip_target),
        (WARM_PREFIX_TARGET.name, args.warm_prefix_target),
        (MAX_ENI.name, args.max_eni),
    ];
    let switches = [
        (ENABLE_PREFIX_DELEGATION.name, args.prefix_delegation),
        (AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG.name, args.custom_networking),
    ];
    let numbers = numbers.into_iter().filter_map(|(name, value)| Some((name, value?.to_string())));
    let switches = switches.into_iter().filter(|(_, on)| *on).map(|(name, _)| (name, "true".to_owned()));
    let env: Vec<_> = numbers.chain(switches).collect();
    Settings::manifest_with(env.iter().map(|(name, value)| (*name, value.as_str())))
}

fn shown(plan: &NodePlan) -> Shown<'_> {
    Shown {
        enis: plan.enis,
        total_ips: plan.total_ips,
        prefixes: plan.prefixes,
        assigned: plan.assigned,
        unused: plan.unused,
        ips_per_eni: &plan.ips_per_eni,
        prefixes_per_eni: &plan.prefixes_per_eni,
        max_pods: plan.max_pods,
        warnings: plan.warnings.iter().map(ToString::to_string).collect(),
        command: "node",
    }
}

fn table(args: &NodeArgs, plan: &NodePlan, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(
        out,
        "{} with {} pods settles at {} {}, {} addresses ({} assigned, {} unused), max pods {}",
        args.instance_type,
        args.pods,
        plan.enis,
        if plan.enis == 1 { "ENI" } else { "ENIs" },
        plan.total_ips,
        plan.assigned,
        plan.unused,
        plan.max_pods
    )?;
    let prefixes = args.prefix_delegation && !plan.prefixes_per_eni.is_empty();
    let mut header = vec!["eni", "addresses", "pods"];
    if prefixes {
        header.insert(1, "prefixes");
    }
    let mut table = styled(&header);
    for (index, (addresses, pods)) in plan.ips_per_eni.iter().zip(&plan.pods_per_eni).enumerate() {
        let name = if index == 0 { "primary".to_owned() } else { index.to_string() };
        let mut row = vec![name, addresses.to_string(), pods.to_string()];
        if prefixes {
            row.insert(1, plan.prefixes_per_eni.get(index).copied().unwrap_or(0).to_string());
        }
        table.add_row(row);
    }
    for line in table.to_string().lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    for warning in &plan.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    Ok(())
}
