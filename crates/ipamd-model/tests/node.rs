//! A node over hours of its time: timers, failures, and random histories.

#[cfg(test)]
#[path = "node/failures.rs"]
mod failures;
#[cfg(test)]
#[path = "node/histories.rs"]
mod histories;
#[cfg(test)]
#[path = "node/timers.rs"]
mod timers;
#[cfg(test)]
#[path = "node/cloud.rs"]
mod cloud;
