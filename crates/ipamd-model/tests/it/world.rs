//! The world that answers an agent: EC2's own invariants, and the driver under a scripted agent.

mod agent;
mod careful;
mod cases;
mod chaos;
mod core;
mod driver;
mod invariants;
mod memory;
mod upstream;
