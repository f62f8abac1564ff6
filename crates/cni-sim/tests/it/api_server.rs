//! The simulated API server and nodes as their clients meet them: `kubectl` and plain HTTP.

mod client;
mod cluster;

mod access;
mod faults;
mod kubectl;
mod leases;
mod lists;
mod scrapes;
mod watches;
