//! The program as it is started, its documents, and the whole of the workspace.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test stops where something is not as it must be"
)]

#[macro_use]
extern crate cni_testkit;

mod admin_health;
mod architecture;
mod chaos_rounds;
mod chart_agreement;
mod chart_cluster;
mod chart_render;
mod cli;
mod delivery_cells;
mod delivery_crash;
mod delivery_states;
mod delivery_world;
mod demo;
mod demo_terminal;
mod documentation_links;
mod e2e_cluster;
mod e2e_election;
mod error_texts;
mod findings;
mod forgotten_pods;
mod generate_alerts;
mod generate_documentation;
mod generate_iam_commands;
mod generate_output;
mod generate_prometheus_live;
mod generate_prometheus_names;
mod ha_findings;
mod ha_lapse;
mod ha_replicas;
mod ha_standby;
mod helm;
mod hostile_cost;
mod hostile_nodes;
mod identity_sources;
mod identity_start;
mod inspect_saved;
mod label_world;
mod log_rounds;
mod once_contexts;
mod once_look;
mod plan;
mod process_end;
mod program;
mod publish_cloudwatch;
mod publish_prometheus;
mod publish_properties;
mod publish_wire;
mod refused_causes;
mod scrape;
mod settings_check;
mod shard_world;

cni_testkit::main!();
