//! A node over hours of its time: timers, failures, and random histories.

mod failures;
mod histories;
mod timers;
mod cloud;
