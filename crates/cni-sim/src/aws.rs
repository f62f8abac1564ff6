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

/// What is left of a fault once hanging and delays have been lived through.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
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

/// Lives through a fault's waiting part. A hang ends only with the connection.
pub async fn endure(fault: Fault) -> Verdict {
    match fault {
        Fault::None => Verdict::Serve,
        Fault::Delay(ms) => {
            tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
            Verdict::Serve
        }
        Fault::Hang => std::future::pending().await,
        Fault::Reset => Verdict::Reset,
        Fault::ResetAfter => Verdict::ServeThenReset,
        Fault::HangAfter => Verdict::ServeThenHang,
        error => Verdict::Refuse(error),
    }
}

/// A request id as AWS forms them, unique within this process.
pub fn request_id() -> String {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let serial = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("00000000-0000-4000-8000-{serial:012x}")
}
