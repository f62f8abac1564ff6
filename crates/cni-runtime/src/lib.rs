//! What the asynchronous crates share, without Kubernetes, AWS or HTTP: the clock of rounds, supervised tasks, the end of
//! the program, its log, and the gate between the election and the sinks.

pub mod clock;
pub mod supervise;
pub mod shutdown;
pub mod logging;
pub mod gate;
pub mod backoff;
pub mod text;
