//! The simulated cluster: nodes with one ipamd each, the subnets they share, the pods that come and go, and the faults.

mod answer;

pub use answer::{Answer, PodKey, ServeTicket, Via};
