//! What the cluster's sockets saw: connections and bytes of each listener, and the bursts in which pages were asked for.
//!
//! A benchmark reads it over the control listener. It holds for any collector, since nothing of it is the collector's
//! own word: a round is a burst of page requests, from the first request to the moment the last one was answered or
//! given up.

use serde::Serialize;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A burst ends when nothing was asked for, or was still open, for this long: far above the pause between two scrapes
/// of one round, far below that between two rounds.
pub const QUIET: Duration = Duration::from_millis(250);

/// Bursts kept; older ones are forgotten.
const BURSTS_KEPT: usize = 4_096;

/// One listener's connections and bytes, as the network carries them: with TLS, without TCP's and IP's own headers.
#[derive(Debug, Default)]
pub struct Traffic {
    accepted: AtomicU64,
    open: AtomicI64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

/// [`Traffic`] at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TrafficFigures {
    /// Connections taken so far.
    pub accepted: u64,
    /// Connections open now.
    pub open: i64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
}

impl Traffic {
    /// The figures now.
    pub fn figures(&self) -> TrafficFigures {
        TrafficFigures {
            accepted: self.accepted.load(Ordering::Relaxed),
            open: self.open.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
        }
    }
}

/// A connection whose bytes are counted.
#[derive(Debug)]
pub(crate) struct Metered {
    stream: TcpStream,
    traffic: Arc<Traffic>,
}

impl Metered {
    pub(crate) fn new(stream: TcpStream, traffic: Arc<Traffic>) -> Self {
        traffic.accepted.fetch_add(1, Ordering::Relaxed);
        traffic.open.fetch_add(1, Ordering::Relaxed);
        Self { stream, traffic }
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.stream
    }

    fn sent(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            self.traffic.bytes_out.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.traffic.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let got = buf.filled().len().saturating_sub(before) as u64;
        self.traffic.bytes_in.fetch_add(got, Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.sent(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.sent(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Requests for pages close together: one round of one collector, if there is only one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Burst {
    /// First request, microseconds since the meter began.
    pub began_us: u64,
    /// Last request, page handed over, or request given up.
    pub ended_us: u64,
    /// Requests.
    pub asked: u64,
    /// Whole pages handed over.
    pub delivered: u64,
    /// Most requests open at once.
    pub most_open: u64,
}

#[derive(Debug, Default)]
struct Bursts {
    open: u64,
    kept: VecDeque<Burst>,
}

/// Counts requests for pages, on whatever way they come.
#[derive(Debug)]
pub struct PageMeter {
    began: Instant,
    bursts: Mutex<Bursts>,
}

impl Default for PageMeter {
    fn default() -> Self {
        Self { began: Instant::now(), bursts: Mutex::default() }
    }
}

/// A request for a page that is not answered yet. Dropped when it is, or when the client has gone.
#[derive(Debug)]
pub(crate) struct OpenRequest(Arc<PageMeter>);

impl PageMeter {
    /// Notes a request.
    pub(crate) fn asked(self: &Arc<Self>) -> OpenRequest {
        let now_us = self.now_us();
        let mut bursts = self.lock();
        let quiet_us = u64::try_from(QUIET.as_micros()).unwrap_or(u64::MAX);
        let idle = bursts.open == 0;
        bursts.open += 1;
        let open = bursts.open;
        let goes_on = |last: &&mut Burst| !idle || now_us.saturating_sub(last.ended_us) < quiet_us;
        if let Some(burst) = bursts.kept.back_mut().filter(goes_on) {
            burst.asked += 1;
            burst.ended_us = now_us;
            burst.most_open = burst.most_open.max(open);
        } else {
            if bursts.kept.len() >= BURSTS_KEPT {
                bursts.kept.pop_front();
            }
            bursts.kept.push_back(Burst {
                began_us: now_us,
                ended_us: now_us,
                asked: 1,
                delivered: 0,
                most_open: open,
            });
        }
        drop(bursts);
        OpenRequest(Arc::clone(self))
    }

    /// A whole page was handed over.
    pub(crate) fn delivered(&self) {
        self.last(|burst| burst.delivered += 1);
    }

    /// Requests open now, and all bursts, the last of which may go on.
    pub fn bursts(&self) -> (u64, Vec<Burst>) {
        let bursts = self.lock();
        (bursts.open, bursts.kept.iter().copied().collect())
    }

    /// Microseconds since the meter began.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn last(&self, change: impl FnOnce(&mut Burst)) {
        let now_us = self.now_us();
        if let Some(burst) = self.lock().kept.back_mut() {
            burst.ended_us = now_us;
            change(burst);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Bursts> {
        self.bursts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let meter = &self.0;
        {
            let mut bursts = meter.lock();
            bursts.open = bursts.open.saturating_sub(1);
        }
        meter.last(|_| ());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_close_together_are_one_burst_and_a_pause_begins_another() {
        let meter = Arc::new(PageMeter::default());
        let first = meter.asked();
        let second = meter.asked();
        meter.delivered();
        drop(first);
        let (open, bursts) = meter.bursts();
        assert_eq!((open, bursts.len()), (1, 1));
        assert_eq!((bursts[0].asked, bursts[0].delivered, bursts[0].most_open), (2, 1, 2));
        // A request that stays open keeps its burst open, however long it takes.
        std::thread::sleep(QUIET * 2);
        let third = meter.asked();
        assert_eq!(meter.bursts().1.len(), 1);
        drop((second, third));
        std::thread::sleep(QUIET * 2);
        drop(meter.asked());
        let (open, bursts) = meter.bursts();
        assert_eq!((open, bursts.len()), (0, 2));
        assert!(bursts[0].ended_us - bursts[0].began_us >= 2 * 250_000);
        assert!(bursts[1].began_us - bursts[0].ended_us >= 250_000);
        assert_eq!((bursts[1].asked, bursts[1].delivered), (1, 0));
    }
}
