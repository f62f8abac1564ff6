//! Sends an [`Answer`] over HTTP, the same way behind the proxy and on the node itself.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use tokio::time::{Instant, sleep, sleep_until};

use super::backend::SharedBackend;
use super::body::{self, Body, PageBody};
use super::connection::ConnectionState;
use crate::answer::{Answer, PodKey, ServeTicket, Via};
use crate::meter::PageMeter;

/// What `promhttp` says of a page.
const PAGE_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

/// A slow page trickles in steps of this length.
const TRICKLE_STEP: Duration = Duration::from_millis(1000 / TRICKLE_STEPS_PER_SECOND as u64);
const TRICKLE_STEPS_PER_SECOND: u32 = 20;

/// Comment lines for bodies that only have to be big.
const FILLER: &str =
    "# a comment line that says nothing, repeated until the reader has had enough of it ............\n";

/// What the server that was asked has to do with an answer.
pub(crate) enum ScrapeOutcome {
    /// Send this.
    Response(Box<Response<Body>>),
    /// The agent broke the connection.
    Reset,
    /// Nothing listens at the agent's port.
    Refused,
    /// The agent's packets are dropped.
    Dropped,
    /// There is no such pod.
    NotFound,
}

impl ScrapeOutcome {
    fn response(code: StatusCode, content_type: &'static str, body: Body) -> Self {
        Self::Response(Box::new(body::with_type(code, content_type, body)))
    }
}

/// Asks the cluster for the answer to a scrape and sends it.
pub(crate) async fn fetch(
    backend: &SharedBackend,
    pod: &PodKey,
    via: Via,
    gzip: bool,
    connection: &Arc<ConnectionState>,
) -> ScrapeOutcome {
    let _asked = backend.page_meter().map(PageMeter::asked);
    let latency = backend.latency();
    if !latency.is_zero() {
        sleep(latency).await;
    }
    respond(backend.serve(pod, via), gzip, connection).await
}

/// Sends an answer. Waits as long as the answer says before the headers; without end if it hangs.
pub(crate) async fn respond(answer: Answer, gzip: bool, connection: &Arc<ConnectionState>) -> ScrapeOutcome {
    match answer {
        Answer::Page { body, ticket } => page(body, ticket, gzip, connection),
        Answer::KeptPage { packed, ticket } => kept(packed, ticket, gzip, connection),
        Answer::SlowPage { body, bytes_per_second, first_byte_after, ticket } => {
            sleep(first_byte_after).await;
            let length = body.len() as u64;
            let outcome =
                ScrapeOutcome::response(StatusCode::OK, PAGE_TYPE, trickle(body, bytes_per_second, ticket, connection));
            with_length(outcome, length)
        }
        Answer::Status { code, retry_after_s, content_type, body } => {
            let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut response = body::with_type(code, content_type, body::full(body));
            if let Some(seconds) = retry_after_s {
                response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            }
            ScrapeOutcome::Response(Box::new(response))
        }
        Answer::LongHeaders { count } => long_headers(count),
        Answer::GzipBomb { unpacked_bytes } => {
            gzipped(ScrapeOutcome::response(StatusCode::OK, PAGE_TYPE, bomb(unpacked_bytes)))
        }
        Answer::Huge { bytes } => with_length(ScrapeOutcome::response(StatusCode::OK, PAGE_TYPE, huge(bytes)), bytes),
        Answer::Truncated { body, announced_bytes } => {
            let announced = announced_bytes.max(body.len() as u64 + 1);
            with_length(
                ScrapeOutcome::response(StatusCode::OK, PAGE_TYPE, PageBody::truncated(body, announced)),
                announced,
            )
        }
        Answer::Hang => std::future::pending().await,
        Answer::EndlessSlow => ScrapeOutcome::response(StatusCode::OK, PAGE_TYPE, endless()),
        Answer::Reset => ScrapeOutcome::Reset,
        Answer::Refused => ScrapeOutcome::Refused,
        Answer::Dropped => ScrapeOutcome::Dropped,
        Answer::NotFound => ScrapeOutcome::NotFound,
    }
}

fn long_headers(count: u32) -> ScrapeOutcome {
    let mut outcome = ScrapeOutcome::response(StatusCode::OK, PAGE_TYPE, body::full("awscni_eni_max 3\n"));
    if let ScrapeOutcome::Response(response) = &mut outcome {
        let filler = HeaderValue::from_maybe_shared(Bytes::from(vec![b'a'; 1000]));
        for number in 0..count {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(format!("x-filler-{number}")), &filler) {
                response.headers_mut().insert(name, value.clone());
            }
        }
    }
    outcome
}

/// A page that was compressed before.
fn kept(packed: Bytes, ticket: ServeTicket, gzip: bool, connection: &Arc<ConnectionState>) -> ScrapeOutcome {
    if gzip {
        return gzipped(ScrapeOutcome::response(
            StatusCode::OK,
            PAGE_TYPE,
            PageBody::delivered(packed, ticket, Arc::clone(connection)),
        ));
    }
    let mut text = Vec::with_capacity(packed.len() * 8);
    // What was packed here unpacks; an empty page would be seen at once by any reader.
    let _ = flate2::read::GzDecoder::new(&*packed).read_to_end(&mut text);
    page(text.into(), ticket, false, connection)
}

fn page(text: Bytes, ticket: ServeTicket, gzip: bool, connection: &Arc<ConnectionState>) -> ScrapeOutcome {
    if gzip {
        let packed = packed(&text, Compression::fast());
        gzipped(ScrapeOutcome::response(
            StatusCode::OK,
            PAGE_TYPE,
            PageBody::delivered(packed, ticket, Arc::clone(connection)),
        ))
    } else {
        ScrapeOutcome::response(StatusCode::OK, PAGE_TYPE, PageBody::delivered(text, ticket, Arc::clone(connection)))
    }
}

fn gzipped(mut outcome: ScrapeOutcome) -> ScrapeOutcome {
    if let ScrapeOutcome::Response(response) = &mut outcome {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    outcome
}

/// Streams have no length of their own to announce.
fn with_length(mut outcome: ScrapeOutcome, bytes: u64) -> ScrapeOutcome {
    if let ScrapeOutcome::Response(response) = &mut outcome {
        response.headers_mut().insert(header::CONTENT_LENGTH, bytes.into());
    }
    outcome
}

/// One gzip member, as `promhttp` writes it.
pub(crate) fn packed(text: &[u8], level: Compression) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 4), level);
    // Writing into a Vec cannot fail; an empty body would be seen at once by any reader.
    let _ = encoder.write_all(text);
    encoder.finish().unwrap_or_default().into()
}

fn trickle(text: Bytes, bytes_per_second: u32, ticket: ServeTicket, connection: &Arc<ConnectionState>) -> Body {
    let connection = Arc::clone(connection);
    let state = (text, ticket, connection, Instant::now());
    let each = (bytes_per_second / TRICKLE_STEPS_PER_SECOND).max(1);
    // Paces below one byte a step stretch the step instead.
    let step = TRICKLE_STEP.max(Duration::from_secs(1) / bytes_per_second.max(1));
    body::stream(stream::unfold(state, move |(mut rest, ticket, connection, due)| async move {
        if rest.is_empty() {
            return None;
        }
        sleep_until(due).await;
        let piece = rest.split_to(rest.len().min(usize::try_from(each).unwrap_or(usize::MAX)));
        if rest.is_empty() {
            connection.page_written(ticket);
        }
        Some((Ok(piece), (rest, ticket, connection, due + step)))
    }))
}

fn huge(bytes: u64) -> Body {
    let block = Bytes::from(FILLER.repeat(700));
    body::stream(stream::unfold(bytes, move |left| {
        let block = block.clone();
        async move {
            let take = left.min(block.len() as u64);
            let piece = block.slice(..usize::try_from(take).unwrap_or(block.len()));
            (take > 0).then_some((Ok(piece), left - take))
        }
    }))
}

fn endless() -> Body {
    body::stream(stream::unfold(0_usize, |at| async move {
        sleep(Duration::from_secs(u64::from(at > 0))).await;
        let byte = FILLER.as_bytes().get(at % FILLER.len()).copied().unwrap_or(b'\n');
        Some((Ok(Bytes::copy_from_slice(&[byte])), at + 1))
    }))
}

/// One gzip member that unpacks to `unpacked` bytes, packed block by block as it is read.
fn bomb(unpacked: u64) -> Body {
    let block = Bytes::from(FILLER.repeat(700));
    let state = Some((GzEncoder::new(Vec::new(), Compression::fast()), unpacked));
    body::stream(stream::unfold(state, move |state| {
        let block = block.clone();
        async move {
            let (mut encoder, mut left) = state?;
            while left > 0 && encoder.get_ref().len() < 16 * 1024 {
                let take = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
                if let Err(error) = encoder.write_all(block.get(..take).unwrap_or_default()) {
                    return Some((Err(error), None));
                }
                left -= take as u64;
                // A bomb of gigabytes must not keep one worker thread to itself.
                tokio::task::yield_now().await;
            }
            if left == 0 {
                return Some((encoder.finish().map(Bytes::from), None));
            }
            let piece = std::mem::take(encoder.get_mut());
            Some((Ok(Bytes::from(piece)), Some((encoder, left))))
        }
    }))
}
