//! One connection: plain or TLS, able to end in a reset, and aware of when a page has really left.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use super::backend::SharedBackend;
use crate::answer::ServeTicket;
use crate::meter::Metered;

/// What the answers on a connection and its socket tell each other.
pub(crate) struct ConnectionState {
    backend: SharedBackend,
    /// Pages whose last byte is in hyper's buffer but perhaps not in the socket's.
    written: Mutex<Vec<ServeTicket>>,
    reset: AtomicBool,
}

impl ConnectionState {
    pub(crate) fn new(backend: SharedBackend) -> Arc<Self> {
        Arc::new(Self { backend, written: Mutex::default(), reset: AtomicBool::new(false) })
    }

    /// The last byte of a page was handed to the HTTP layer; the next flush that succeeds delivers it.
    pub(crate) fn page_written(&self, ticket: ServeTicket) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).push(ticket);
    }

    /// Ends the connection with a TCP reset instead of an orderly close.
    pub(crate) fn reset_on_close(&self) {
        self.reset.store(true, Ordering::Relaxed);
    }

    fn flushed(&self) {
        let delivered = std::mem::take(&mut *self.written.lock().unwrap_or_else(PoisonError::into_inner));
        for ticket in delivered {
            self.backend.delivered(ticket);
        }
    }
}

/// The bytes' way, with or without TLS.
pub(crate) enum Transport {
    Plain(Metered),
    Tls(Box<TlsStream<Metered>>),
}

impl Transport {
    fn metered(&self) -> &Metered {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

/// A [`Transport`] that reports to its [`ConnectionState`].
pub(crate) struct Connection {
    transport: Transport,
    connection: Arc<ConnectionState>,
}

impl Connection {
    pub(crate) fn new(transport: Transport, connection: Arc<ConnectionState>) -> Self {
        Self { transport, connection }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.connection.reset.load(Ordering::Relaxed) {
            // If it fails the peer sees an orderly close: the connection is gone either way.
            let _ = self.transport.metered().tcp().set_zero_linger();
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    /// The HTTP layer flushes the transport only once its own buffer is empty, so a flush that succeeds means that
    /// every byte written so far is the kernel's.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        };
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.connection.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
