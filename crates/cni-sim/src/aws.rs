//! What the simulated AWS services share: a clock, the wire formats AWS speaks, scripted faults and a small server.
//!
//! Requests of every protocol become one tree, [`doc::Doc`]; answers are built as the same tree and written back in
//! the protocol the caller used. So each operation and each limit exists once, however many SDKs speak to it.

pub mod auth;
pub mod body;
pub mod cbor;
pub mod doc;
pub mod error;
pub mod fault;
pub mod form;
pub mod identity;
pub mod json;
pub mod query;
pub mod serve;
pub mod time;
pub mod xml;

use fault::Fault;

/// The time that the services go by: the simulated cluster's in lockstep, the machine's otherwise.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> i64;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct WallClock;

impl Clock for WallClock {
    fn now_ms(&self) -> i64 {
        crate::wall_clock::wall_ms()
    }
}

/// How a request proceeds after a fault's delay.
#[derive(Debug, Clone, PartialEq)]
pub enum FaultEffect {
    /// Answer.
    Serve,
    /// Carry the request out, then reset instead of answering.
    ServeThenReset,
    /// Carry the request out, then never answer.
    ServeThenHang,
    /// Reset at once.
    Reset,
    /// Answer with the error that the service has for this fault.
    Refuse(Fault),
}

/// Waits as a fault requires and returns the rest of its effect. A hang ends only with the connection.
pub async fn apply_delay(fault: Fault) -> FaultEffect {
    match fault {
        Fault::None => FaultEffect::Serve,
        Fault::Delay(ms) => {
            tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
            FaultEffect::Serve
        }
        Fault::Hang => std::future::pending().await,
        Fault::Reset => FaultEffect::Reset,
        Fault::ResetAfter => FaultEffect::ServeThenReset,
        Fault::HangAfter => FaultEffect::ServeThenHang,
        error => FaultEffect::Refuse(error),
    }
}

/// A request id as AWS forms them, unique within this process.
pub fn request_id() -> String {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let serial = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("00000000-0000-4000-8000-{serial:012x}")
}
