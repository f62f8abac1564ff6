use cni_metrics_core::model::FailureKind;
use flate2::Compression;
use flate2::read::GzEncoder;
use http_body_util::Full;

use super::*;

fn gzip(plain: &[u8]) -> Bytes {
    let mut packed = Vec::new();
    GzEncoder::new(plain, Compression::best()).read_to_end(&mut packed).unwrap();
    Bytes::from(packed)
}

fn limit(bytes: usize) -> Limit {
    Limit { bytes, deadline: Instant::now() + Duration::from_mins(1) }
}

async fn read_plain(page: Bytes, limit_bytes: usize) -> Result<Vec<u8>, ScrapeError> {
    Budget::default().read(&HeaderMap::new(), Full::new(page), limit(limit_bytes)).await.map(|text| text.bytes)
}

async fn read_gzip(packed: Bytes, limit_bytes: usize) -> Result<Vec<u8>, ScrapeError> {
    let headers = HeaderMap::from_iter([(CONTENT_ENCODING, http::HeaderValue::from_static("gzip"))]);
    Budget::default().read(&headers, Full::new(packed), limit(limit_bytes)).await.map(|text| text.bytes)
}

#[tokio::test]
async fn exactly_the_limit_fits_and_one_byte_more_does_not() {
    let page = Bytes::from(vec![b'a'; 8 << 20]);
    assert_eq!(read_plain(page.clone(), 8 << 20).await.unwrap().len(), 8 << 20);
    let error = read_plain(page, (8 << 20) - 1).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::TooLarge);
    assert_eq!(error.to_string(), "the page is larger than 8388607 bytes (SCRAPE_MAX_BYTES)");
}

#[tokio::test]
async fn a_gzip_page_is_unpacked_and_a_bomb_is_cut_off() {
    assert_eq!(read_gzip(gzip(b"awscni_eni_max 3\n"), 1 << 20).await.unwrap(), b"awscni_eni_max 3\n");
    let bomb = gzip(&vec![0; 64 << 20]);
    assert!(bomb.len() < 1 << 20);
    assert_eq!(read_gzip(bomb, 1 << 20).await.unwrap_err().kind(), FailureKind::TooLarge);
}

#[tokio::test]
async fn a_damaged_or_cut_gzip_stream_is_a_bad_page() {
    let packed = gzip(&b"awscni_eni_max 3\n".repeat(100));
    let cut = packed.slice(..packed.len() - 6);
    assert_eq!(read_gzip(cut, 1 << 20).await.unwrap_err().kind(), FailureKind::BadPage);
    let error = read_gzip(Bytes::from_static(b"not gzip at all"), 1 << 20).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::BadPage);
}

#[tokio::test]
async fn a_gzip_page_in_pieces_is_put_together_also_after_a_damaged_one() {
    let lines: Vec<_> = (0..5_000).map(|node| format!("awscni_eni_max{{n=\"{node}\"}} {node}")).collect();
    let text = lines.join("\n");
    let packed = gzip(text.as_bytes());
    let gzip_header = HeaderMap::from_iter([(CONTENT_ENCODING, http::HeaderValue::from_static("gzip"))]);
    for piece_bytes in [1, 1000, packed.len() - 1] {
        assert!(read_gzip(packed.slice(..packed.len() / 2), 1 << 20).await.is_err());
        let pieces: Vec<_> = packed.chunks(piece_bytes).map(Bytes::copy_from_slice).collect();
        let frames = pieces.into_iter().map(|piece| Ok::<_, std::io::Error>(http_body::Frame::data(piece)));
        let body = http_body_util::StreamBody::new(futures::stream::iter(frames));
        let page = Budget::default().read(&gzip_header, body, limit(1 << 20)).await.unwrap();
        assert!(page.bytes == text.as_bytes(), "pieces of {piece_bytes} bytes");
    }
}

#[tokio::test]
async fn large_pages_share_a_budget_and_small_ones_are_always_read() {
    let budget = Budget::default();
    let _hostile = Share { budget: budget.clone(), taken_bytes: LARGE_PAGES_BYTES };
    budget.0.taken_bytes.fetch_add(LARGE_PAGES_BYTES, Ordering::Relaxed);
    let read = |bytes: usize| {
        let budget = budget.clone();
        async move { budget.read(&HeaderMap::new(), Full::new(Bytes::from(vec![b'a'; bytes])), limit(8 << 20)).await }
    };
    assert_eq!(read(FREE_BYTES).await.unwrap().bytes.len(), FREE_BYTES);
    assert_eq!(read(FREE_BYTES + 1).await.unwrap_err().kind(), FailureKind::TooLarge);
    // What was taken for the page that was refused is given back.
    assert_eq!(budget.0.taken_bytes.load(Ordering::Relaxed), LARGE_PAGES_BYTES);
}

/// A page in drops of one byte, one each `pause`; counts the drops that were taken one by one.
fn drips(text: &'static [u8], pause: Duration) -> impl Body<Data = Bytes, Error = std::io::Error> + Unpin {
    let began = Instant::now();
    let mut sent = 0;
    let frames = futures::stream::poll_fn(move |context| {
        let fallen = usize::try_from(began.elapsed().as_micros() / pause.as_micros()).unwrap();
        let drops = text.get(sent..fallen.min(text.len())).unwrap_or_default();
        if sent == text.len() {
            return std::task::Poll::Ready(None);
        }
        if drops.is_empty() {
            let waker = context.waker().clone();
            tokio::spawn(async move {
                tokio::time::sleep(pause).await;
                waker.wake();
            });
            return std::task::Poll::Pending;
        }
        sent += drops.len();
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(drops)))))
    });
    http_body_util::StreamBody::new(frames)
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_is_looked_at_rarely_and_is_had_at_most_one_pause_late() {
    const TEXT: &[u8] = &[b'a'; 10_000];
    let began = Instant::now();
    let mut body = Chunks::new(drips(TEXT, Duration::from_millis(1)), began + Duration::from_mins(1));
    let (mut looks, mut read) = (0, 0);
    while let Some(chunk) = body.next().await.unwrap() {
        looks += 1;
        read += chunk.len();
    }
    assert_eq!(read, TEXT.len());
    assert!(looks < 120, "{looks} looks in 10 s at 10,000 drops");
    assert!(began.elapsed() <= Duration::from_secs(10) + LONGEST_PAUSE * 2, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_until_just_before_its_deadline_is_read_whole() {
    const TEXT: &[u8] = &[b'a'; 995];
    let deadline = Instant::now() + Duration::from_secs(1);
    let body = drips(TEXT, Duration::from_millis(1));
    let limit = Limit { bytes: 1 << 20, deadline };
    let page = tokio::time::timeout_at(deadline, Budget::default().read(&HeaderMap::new(), body, limit)).await;
    assert_eq!(page.unwrap().unwrap().bytes.len(), TEXT.len());
}

#[tokio::test]
async fn an_announced_size_over_the_limit_is_refused_unread() {
    let headers = HeaderMap::from_iter([(CONTENT_LENGTH, http::HeaderValue::from_static("9000000"))]);
    let body = http_body_util::combinators::UnsyncBoxBody::<Bytes, std::io::Error>::new(Never);
    let error = Budget::default().read(&headers, body, limit(8 << 20)).await.unwrap_err();
    assert_eq!(error.kind(), FailureKind::TooLarge);
}

/// A body that hangs when it is read.
struct Never;

impl Body for Never {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, std::io::Error>>> {
        std::task::Poll::Pending
    }
}
