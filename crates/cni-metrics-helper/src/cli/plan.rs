//! `plan`: what a node settles at, and how many pods it may have, worked out without any cluster.

use std::io::Write;

use clap::{Args, Subcommand};

mod max_pods;
mod node;
mod shared;

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

/// Works the plan out and prints it.
pub fn run(args: PlanArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    match args.what {
        What::Node(args) => node::run(&args, out),
        What::MaxPods(args) => max_pods::run(&args, out),
    }
}
