//! What the simulated AWS services share: a clock, the wire formats AWS speaks, scripted faults and a small server.
//!
//! Requests of every protocol become one tree, [`doc::Doc`]; answers are built as the same tree and written back in
//! the protocol the caller used. So each operation and each limit exists once, however many SDKs speak to it.

pub mod fault;
pub mod identity;

/// The services' idea of now. The world's clock drives it in simulations, the wall clock elsewhere.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct WallClock;

impl Clock for WallClock {
    fn now_ms(&self) -> i64 {
        jiff::Timestamp::now().as_millisecond()
    }
}
