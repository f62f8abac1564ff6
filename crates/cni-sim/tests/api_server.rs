//! The simulated API server and nodes as their clients meet them: `kubectl` and plain HTTP.

#[cfg(test)]
#[expect(dead_code, reason = "nothing here needs root or what is built")]
#[path = "../../cni-metrics-helper/tests/needs/needs.rs"]
mod needs;

#[cfg(test)]
#[path = "api_server/client.rs"]
mod client;
#[cfg(test)]
#[path = "api_server/cluster.rs"]
mod cluster;

#[cfg(test)]
#[path = "api_server/access.rs"]
mod access;
#[cfg(test)]
#[path = "api_server/faults.rs"]
mod faults;
#[cfg(test)]
#[path = "api_server/kubectl.rs"]
mod kubectl;
#[cfg(test)]
#[path = "api_server/leases.rs"]
mod leases;
#[cfg(test)]
#[path = "api_server/lists.rs"]
mod lists;
#[cfg(test)]
#[path = "api_server/scrapes.rs"]
mod scrapes;
#[cfg(test)]
#[path = "api_server/watches.rs"]
mod watches;
