//! A small HTTP/1 server that can do to a connection what a router alone cannot: reset it.

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Marks a response that must not be sent: the connection is reset instead.
#[derive(Debug, Clone, Copy)]
struct ResetMark;

/// A response that resets its connection. Behind another server than [`serve`] it still breaks it off mid-answer.
pub fn reset_response() -> Response {
    let broken =
        futures::stream::once(async { Err::<bytes::Bytes, _>(io::Error::from(io::ErrorKind::ConnectionReset)) });
    let mut response = Response::new(Body::from_stream(broken));
    response.extensions_mut().insert(ResetMark);
    response
}

/// Serves `router` until `shutdown`; then open connections are dropped, hung requests with them.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) {
    let mut connections = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => connections.push(tokio::spawn(connection(stream, router.clone(), shutdown.clone()))),
                // Out of descriptors, most likely: give the open connections a moment to end.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            },
            Some(_) = connections.next() => {}
        }
    }
    // Each connection sees the same token and ends at once; afterwards nothing of this server is left running.
    while connections.next().await.is_some() {}
}

async fn connection(stream: TcpStream, router: Router, shutdown: CancellationToken) {
    // Without this every small answer waits for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let reset = Arc::new(AtomicBool::new(false));
    let io = TokioIo::new(Resettable { stream, reset: Arc::clone(&reset) });
    let service = hyper::service::service_fn(move |request| {
        let (router, reset) = (router.clone(), Arc::clone(&reset));
        async move {
            let response =
                hyper::service::Service::call(&hyper_util::service::TowerToHyperService::new(router), request)
                    .await
                    .unwrap_or_else(|never: std::convert::Infallible| match never {});
            if response.extensions().get::<ResetMark>().is_some() {
                reset.store(true, Ordering::Relaxed);
                return Err(io::Error::from(io::ErrorKind::ConnectionReset));
            }
            Ok(response)
        }
    });
    tokio::select! {
        () = shutdown.cancelled() => {}
        _ = http1::Builder::new().serve_connection(io, service) => {}
    }
}

/// A TCP stream that is closed with RST instead of FIN once told so.
struct Resettable {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Resettable {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Resettable {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Resettable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A shutdown would send the FIN that the reset is to replace.
        if self.reset.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
