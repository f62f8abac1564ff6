//! Response bodies.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};

use super::connection::ConnectionState;
use crate::answer::ServeTicket;

/// Any response body; an error in it cuts the connection.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A whole body.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that comes in pieces.
pub(crate) fn stream(pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    StreamBody::new(pieces.map(|piece| piece.map(Frame::data))).boxed_unsync()
}

/// A JSON answer.
pub(crate) fn json(code: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    with_type(code, "application/json", full(text))
}

/// An answer with a content type.
pub(crate) fn with_type(code: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    if !content_type.is_empty() {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}

/// The connection breaks here.
pub(crate) fn cut() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionAborted)
}

/// A body that announces one length and may carry less, and that can report its end to the connection.
pub(crate) struct PageBody {
    bytes: Option<Bytes>,
    announced: u64,
    end: PageEnd,
}

enum PageEnd {
    Delivered(Option<(ServeTicket, Arc<ConnectionState>)>),
    Cut,
}

impl PageBody {
    /// A whole page; its ticket goes to the connection with the last byte.
    pub(crate) fn delivered(bytes: Bytes, ticket: ServeTicket, connection: Arc<ConnectionState>) -> Body {
        let announced = bytes.len() as u64;
        let end = PageEnd::Delivered(Some((ticket, connection)));
        Self { bytes: Some(bytes), announced, end }.boxed_unsync()
    }

    /// `announced` bytes are promised, the connection breaks after `bytes`.
    pub(crate) fn truncated(bytes: Bytes, announced: u64) -> Body {
        let announced = announced.max(bytes.len() as u64 + 1);
        Self { bytes: Some(bytes), announced, end: PageEnd::Cut }.boxed_unsync()
    }
}

impl http_body::Body for PageBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let bytes = self.bytes.take();
        match (&mut self.end, bytes) {
            (PageEnd::Delivered(last), bytes) => {
                if let Some((ticket, connection)) = last.take() {
                    connection.page_written(ticket);
                }
                Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
            (PageEnd::Cut, Some(bytes)) if !bytes.is_empty() => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            (PageEnd::Cut, _) => Poll::Ready(Some(Err(cut()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none() && matches!(self.end, PageEnd::Delivered(_))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(if self.bytes.is_some() { self.announced } else { 0 })
    }
}
