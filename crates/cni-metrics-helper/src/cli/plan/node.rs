//! `plan node`: the settled warm pool.

use std::io::Write;

use clap::Args;
use cni_types::agent_settings::{
    AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG, ENABLE_POD_ENI, ENABLE_PREFIX_DELEGATION, MAX_ENI, MINIMUM_IP_TARGET,
    WARM_ENI_TARGET, WARM_IP_TARGET, WARM_PREFIX_TARGET,
};
use ipamd_model::plan::{Binding, MaxPods, NodePlan, NodeQuestion, Warning, settle};
use ipamd_model::settings::Settings;
use serde::Serialize;

use super::shared::{NodeOptions, limits_of, vcpus_of};
use crate::cli::output::{Output, OutputArgs};
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
    #[command(flatten)]
    node: NodeOptions,
    /// The node's pod capacity [default: the number that `plan max-pods` gives]
    #[arg(long)]
    max_pods: Option<u32>,
    #[command(flatten)]
    output: OutputArgs,
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
    subnet_addresses: u32,
    node_subnet_addresses: u32,
}

pub(super) fn run(args: &NodeArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let (name, limits) = limits_of(&args.instance_type)?;
    let answer = args.node.max_pods(limits, vcpus_of(&name, None)).answer();
    let question = NodeQuestion {
        limits,
        settings: settings(args),
        pods: args.pods,
        max_pods: args.max_pods.unwrap_or(answer.max_pods),
        host_network_pods: args.node.host_network_pods,
    };
    let mut plan = settle(&question)?;
    if args.node.max_eni == Some(0) {
        plan.warnings.push(Warning::MaxEniZero);
    }
    match args.output.output {
        Output::Table => table(args, &name, &plan, &answer, out),
        Output::Json => Ok(Schema::Plan.print(&shown(&plan), out)?),
    }
}

/// The shipped manifest with the options laid over it.
fn settings(args: &NodeArgs) -> Settings {
    let numbers = [
        (WARM_ENI_TARGET.name, args.warm_eni_target),
        (WARM_IP_TARGET.name, args.warm_ip_target),
        (MINIMUM_IP_TARGET.name, args.minimum_ip_target),
        (WARM_PREFIX_TARGET.name, args.warm_prefix_target),
        (MAX_ENI.name, args.node.max_eni),
    ];
    let switches = [
        (ENABLE_PREFIX_DELEGATION.name, args.node.prefix_delegation),
        (AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG.name, args.node.custom_networking),
        (ENABLE_POD_ENI.name, args.node.pod_eni),
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
        subnet_addresses: plan.subnet_addresses,
        node_subnet_addresses: plan.node_subnet_addresses,
    }
}

fn table(args: &NodeArgs, name: &str, plan: &NodePlan, answer: &MaxPods, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(
        out,
        "{} with {} pods settles at {} {}, {} addresses ({} assigned, {} unused), max pods {}",
        name,
        args.pods,
        plan.enis,
        enis(plan.enis),
        plan.total_ips,
        plan.assigned,
        plan.unused,
        plan.max_pods
    )?;
    needs(plan, out)?;
    if args.max_pods.is_none() && answer.binding == Binding::Cap {
        let by = args.node.by().name();
        writeln!(
            out,
            "max pods {} is the cap of {by}; Karpenter and nodeadm have none, see --max-pods-by",
            plan.max_pods
        )?;
    }
    let prefixes = args.node.prefix_delegation && !plan.prefixes_per_eni.is_empty();
    let mut header = vec!["eni", "addresses", "pods"];
    if prefixes {
        header.insert(1, "prefixes");
    }
    let mut table = styled(&header);
    for (index, (addresses, pods)) in plan.ips_per_eni.iter().zip(&plan.pods_per_eni).enumerate() {
        let name = match index {
            0 => "primary".to_owned(),
            _ if plan.trunk == Some(index) => "trunk".to_owned(),
            _ => index.to_string(),
        };
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

/// The line about the subnets.
fn needs(plan: &NodePlan, out: &mut dyn Write) -> std::io::Result<()> {
    let own = plan.enis.saturating_sub(plan.node_subnet_addresses);
    let (pods, all) = (plan.total_ips, plan.subnet_addresses);
    let of = if own == 1 {
        "1 as the primary address of the ENI".to_owned()
    } else {
        format!("{own} as the primary addresses of the ENIs")
    };
    match plan.node_subnet_addresses {
        0 => writeln!(out, "the subnet lends {all} addresses ({pods} for pods, {of})"),
        node => {
            writeln!(out, "the pods' subnet lends {all} addresses ({pods} for pods, {of}), the node's subnet {node}")
        }
    }
}

fn enis(count: u32) -> &'static str {
    if count == 1 { "ENI" } else { "ENIs" }
}
