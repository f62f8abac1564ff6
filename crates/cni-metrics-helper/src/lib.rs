//! Cluster metrics of the Amazon VPC CNI: the program. It reads flags and settings, builds every part, runs the rounds, and
//! shows what came of them.

pub mod cli;
pub mod config;
pub mod app;
pub mod admin;
pub mod view;
pub mod demo;
