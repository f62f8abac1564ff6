//! A response's body under a size limit, decompressed, and all bodies together under a budget.

use std::cell::Cell;
use std::io::{Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cni_metrics_core::text::excerpt;
use flate2::bufread::GzDecoder;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::failure::ScrapeError;

/// Pages up to this size are read whatever others need: a real page has some 15 KB. With 1,280 scrapes at once that is
/// 40 MiB at most.
const FREE_BYTES: usize = 32 << 10;

/// What larger pages under way may need together, of which a very large node's has some 100 KB. Hostile nodes share it
/// among themselves.
pub const LARGE_PAGES_BYTES: usize = 16 << 20;

/// More than the page of any agent.
const GROWN_BYTES: usize = 256 << 10;

/// This much is unpacked at a time; the round's other work is done in between.
const STEP_BYTES: usize = 128 << 10;

/// A page's text is at least this many times smaller when it is packed; what is not is no such text.
const LEAST_RATIO: usize = 4;

/// A body that is not whole after this time, and slower than this, drips.
const DRIPS_AFTER: Duration = Duration::from_millis(50);
const DRIP_BYTES_PER_SECOND: f64 = 16.0 * 1024.0;

/// The longest pause between two reads of a body that drips: a page may be complete this much later than without pauses.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// This long before the end of its time, a body that drips is looked at as any other.
const LAST_LOOK: Duration = Duration::from_millis(20);

/// How much of a body is read, and until when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    /// After decompression.
    pub(super) bytes: usize,
    /// When reading stops.
    pub(super) deadline: Instant,
}

thread_local! {
    /// A decoder has tables and a window of some 50 KB: they are made once, not for every page.
    static DECODER: Cell<Option<GzDecoder<Cursor<Bytes>>>> = const { Cell::new(None) };
}

/// The memory that pages under way take, over all scrapes.
#[derive(Debug, Clone, Default)]
pub(super) struct Budget(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// What large pages take now.
    taken_bytes: AtomicUsize,
    /// The size of the last page: the next one will be much like it.
    usual_bytes: AtomicUsize,
}

/// A page's text. As long as it is kept, so is its part of the budget.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) bytes: Vec<u8>,
    pub(super) share: Share,
}

/// One page's part of the budget, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Budget,
    taken_bytes: usize,
}

impl Budget {
    /// Reads the whole body, at most `limit.bytes` after decompression. A gzip bomb is cut off at the limit: no more than
    /// that is ever decompressed or kept.
    pub(super) async fn read<B>(&self, headers: &HeaderMap, body: B, limit: Limit) -> Result<Text, ScrapeError>
    where
        B: Body<Data = Bytes> + Unpin,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let limit_bytes = limit.bytes;
        let body = Chunks::new(body, limit.deadline);
        let share = Share { budget: self.clone(), taken_bytes: 0 };
        let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        // One allocation of the right size, rather than a copy for every doubling.
        let usual_bytes = self.0.usual_bytes.load(Ordering::Relaxed).min(limit_bytes);
        let mut page = PageBuffer { bytes: Vec::with_capacity(usual_bytes), limit_bytes, share };
        let read = match headers.get(CONTENT_ENCODING).map(http::HeaderValue::as_bytes) {
            None | Some(b"identity") if announced > Some(limit_bytes) => Err(ScrapeError::TooLarge { limit_bytes }),
            None | Some(b"identity") => plain(body, &mut page).await,
            Some(b"gzip") => gunzip(body, &mut page).await,
            Some(other) => {
                let encoding = excerpt(other, 40);
                Err(ScrapeError::BadPage(format!("content encoding {encoding} was not requested")))
            }
        };
        read?;
        // A little more: counters grow, and the end is found by reading on.
        let usual_bytes = page.bytes.len() + page.bytes.len() / 16 + 64;
        self.0.usual_bytes.store(usual_bytes.min(FREE_BYTES), Ordering::Relaxed);
        Ok(Text { bytes: page.bytes, share: page.share })
    }
}

impl Share {
    /// Makes room for a page of `size_bytes`; false where there is none.
    fn grow_to(&mut self, size_bytes: usize) -> bool {
        let wanted = size_bytes.saturating_sub(FREE_BYTES).saturating_sub(self.taken_bytes);
        if wanted == 0 {
            return true;
        }
        let before = self.budget.0.taken_bytes.fetch_add(wanted, Ordering::Relaxed);
        self.taken_bytes += wanted;
        before + wanted <= LARGE_PAGES_BYTES
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.taken_bytes.fetch_sub(self.taken_bytes, Ordering::Relaxed);
    }
}

/// A page under way: takes what fits and refuses the rest.
#[derive(Debug)]
struct PageBuffer {
    bytes: Vec<u8>,
    limit_bytes: usize,
    share: Share,
}

impl PageBuffer {
    fn push(&mut self, chunk: &[u8]) -> Result<(), ScrapeError> {
        let size_bytes = self.bytes.len() + chunk.len();
        if size_bytes > self.limit_bytes {
            return Err(ScrapeError::TooLarge { limit_bytes: self.limit_bytes });
        }
        self.make_room(size_bytes)?;
        self.reserve(size_bytes);
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    /// Address space for a page of `size_bytes` or more. A page that grows beyond what any agent serves gets all that it
    /// may have at once: what is not written takes no memory, where growing would keep the old copy beside the new one.
    fn reserve(&mut self, size_bytes: usize) {
        if size_bytes > self.bytes.capacity() {
            let most = if size_bytes > GROWN_BYTES { self.limit_bytes + STEP_BYTES } else { GROWN_BYTES };
            let wanted = if size_bytes > FREE_BYTES { most.max(size_bytes) } else { FREE_BYTES };
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
    }

    /// Takes of the budget what a page of `size_bytes` needs.
    fn make_room(&mut self, size_bytes: usize) -> Result<(), ScrapeError> {
        let fits = self.share.grow_to(size_bytes);
        if fits { Ok(()) } else { Err(ScrapeError::Crowded { limit_bytes: LARGE_PAGES_BYTES }) }
    }

    /// Another one under the same budget for its packed form, still empty.
    fn packed(&self) -> Self {
        let share = Share { budget: self.share.budget.clone(), taken_bytes: 0 };
        let limit_bytes = (self.limit_bytes / LEAST_RATIO).max(FREE_BYTES).min(self.limit_bytes);
        Self { bytes: Vec::new(), limit_bytes, share }
    }
}

async fn plain<B>(mut body: Chunks<B>, page: &mut PageBuffer) -> Result<(), ScrapeError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    while let Some(chunk) = body.next().await? {
        page.push(&chunk)?;
    }
    Ok(())
}

async fn gunzip<B>(body: Chunks<B>, page: &mut PageBuffer) -> Result<(), ScrapeError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let packed = packed(body, page).await?;
    let fresh = || GzDecoder::new(Cursor::default());
    let mut decoder = DECODER.take().unwrap_or_else(fresh);
    decoder.reset(Cursor::new(packed));
    let unpacked = unpack(&mut decoder, page).await;
    decoder.reset(Cursor::default());
    DECODER.set(Some(decoder));
    unpacked
}

/// The body as it came, mostly in one piece and then not copied.
async fn packed<B>(mut body: Chunks<B>, page: &PageBuffer) -> Result<Bytes, ScrapeError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let first = body.next().await?.unwrap_or_default();
    let Some(second) = body.next().await? else { return Ok(first) };
    let mut whole = page.packed();
    let read = match whole.push(&first).and_then(|()| whole.push(&second)) {
        Ok(()) => plain(body, &mut whole).await,
        Err(error) => Err(error),
    };
    match read {
        Ok(()) => Ok(whole.bytes.into()),
        // The limit that the operator knows.
        Err(ScrapeError::TooLarge { .. }) => Err(ScrapeError::TooLarge { limit_bytes: page.limit_bytes }),
        Err(error) => Err(error),
    }
}

/// Unpacks piece by piece: no more than the limit is ever decompressed or kept, and a large page lets others run between
/// its pieces.
async fn unpack(decoder: &mut GzDecoder<Cursor<Bytes>>, page: &mut PageBuffer) -> Result<(), ScrapeError> {
    loop {
        let room = STEP_BYTES.min(page.limit_bytes - page.bytes.len() + 1);
        if page.bytes.len() >= FREE_BYTES {
            page.reserve(page.bytes.len() + room);
        }
        let read = decoder.by_ref().take(room as u64).read_to_end(&mut page.bytes);
        let read = read.map_err(|error| ScrapeError::BadPage(format!("damaged gzip stream: {error}")))?;
        if page.bytes.len() > page.limit_bytes {
            return Err(ScrapeError::TooLarge { limit_bytes: page.limit_bytes });
        }
        page.make_room(page.bytes.len())?;
        if read < room {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
}

/// The beginning of an error's body. What cannot be read of it is left out: the status says enough.
pub(super) async fn beginning<B>(body: B, limit: Limit) -> Bytes
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let (mut body, mut text) = (Chunks::new(body, limit.deadline), BytesMut::new());
    while text.len() < limit.bytes {
        let Ok(Some(chunk)) = body.next().await else { break };
        text.extend_from_slice(&chunk);
    }
    text.truncate(limit.bytes);
    text.freeze()
}

/// A body piece by piece. One that drips is not looked at for every drop: between two looks at it there is a pause that
/// grows with the time that the body has taken so far, so that the looks grow with the logarithm of that time only. What
/// arrives in between waits in the socket.
struct Chunks<B> {
    body: B,
    began: Instant,
    read_bytes: usize,
    deadline: Instant,
}

impl<B> Chunks<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    fn new(body: B, deadline: Instant) -> Self {
        Self { body, began: Instant::now(), read_bytes: 0, deadline }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ScrapeError> {
        loop {
            if let Some(pause) = self.pause(Instant::now()) {
                tokio::time::sleep(pause).await;
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(ScrapeError::from_client(&error)),
                Some(Ok(frame)) => {
                    // Trailers carry no page.
                    if let Ok(chunk) = frame.into_data() {
                        self.read_bytes = self.read_bytes.saturating_add(chunk.len());
                        return Ok(Some(chunk));
                    }
                }
            }
        }
    }

    /// How long to wait before the next look; never beyond the last one that is of use.
    fn pause(&self, now: Instant) -> Option<Duration> {
        let taken = now.saturating_duration_since(self.began);
        let drips = taken >= DRIPS_AFTER && (self.read_bytes as f64) < taken.as_secs_f64() * DRIP_BYTES_PER_SECOND;
        let left = self.deadline.saturating_duration_since(now).saturating_sub(LAST_LOOK);
        drips.then(|| (taken / 2).min(LONGEST_PAUSE).min(left)).filter(|pause| !pause.is_zero())
    }
}

#[cfg(test)]
mod tests;
