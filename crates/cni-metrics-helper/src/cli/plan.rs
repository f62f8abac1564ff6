//! `plan`: what a node settles at, and how many pods it may have, worked out without any cluster.

use std::io::Write;

use clap::{Args, Subcommand, ValueEnum};

mod max_pods;
mod node;

/// Options of `plan`.
#[derive(Debug, Clone, Args)]
pub struct PlanArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// ENIs, addresses and prefixes a node holds once its warm pool has settled
    Node(node::NodeArgs),
    /// Pods a node may have, how that comes about, and which limit binds
    MaxPods(max_pods::MaxPodsArgs),
}

/// How a plan is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// One JSON document.
    Json,
    /// Comma-separated values, one line an instance type (max-pods).
    Csv,
}

/// Works the plan out and prints it.
pub fn run(args: PlanArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    match args.what {
        What::Node(args) => node::run(&args, out),
        What::MaxPods(args) => max_pods::run(&args, out),
    }
}

/// The limits of a type, or an error that names the types most like it.
fn limits_of(instance_type: &str) -> anyhow::Result<ipamd_model::limits::InstanceLimits> {
    ipamd_model::limits::find(instance_type).ok_or_else(|| {
        let nearest = ipamd_model::limits::nearest(instance_type, 3).join(", ");
        anyhow::anyhow!("unknown instance type {instance_type:?}; the nearest known ones are {nearest}")
    })
}

/// vCPUs as told, else by the size's name, else few: the lower cap is the safer one.
fn vcpus_of(instance_type: &str, told: Option<u32>) -> u32 {
    told.or_else(|| ipamd_model::plan::estimated_vcpus(instance_type)).unwrap_or(1)
}
