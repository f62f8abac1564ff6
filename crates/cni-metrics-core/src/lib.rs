//! The arithmetic of the helper: pure, deterministic, without clock, network or randomness.
//!
//! Data flows through the modules in reading order: the nouns ([`model`]), what the agent's version decides ([`agent`]), the labels that are kept
//! ([`labels`]), a page's text to a [`model::NodeSample`] ([`parse`]), and many samples to a [`model::Snapshot`]
//! ([`aggregate`]), which [`summary`] puts into one line. Time is always an argument.

#![deny(clippy::indexing_slicing)]

pub mod model;

pub mod agent;

pub mod labels;

pub mod text;

pub mod parse;

pub mod aggregate;

pub mod summary;
