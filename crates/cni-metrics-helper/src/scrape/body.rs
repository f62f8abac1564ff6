//! A response's body under a size limit, decompressed as it arrives.

use std::io::Write;

use bytes::{Bytes, BytesMut};
use flate2::write::GzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use http_body::Body;
use http_body_util::BodyExt;

use super::failure::ScrapeError;

/// Reads the whole body, at most `limit_bytes` after decompression. A gzip bomb is cut off at the limit: no more than
/// that is ever decompressed or kept.
pub(super) async fn read<B>(headers: &HeaderMap, body: B, limit_bytes: usize) -> Result<Bytes, ScrapeError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    match headers.get(CONTENT_ENCODING).map(http::HeaderValue::as_bytes) {
        None | Some(b"identity") => plain(body, limit_bytes).await,
        Some(b"gzip") => gunzip(body, limit_bytes).await,
        Some(other) => {
            Err(ScrapeError::BadPage(format!("content encoding {} was not asked for", String::from_utf8_lossy(other))))
        }
    }
}

async fn plain<B>(mut body: B, limit_bytes: usize) -> Result<Bytes, ScrapeError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let mut whole = BytesMut::new();
    while let Some(chunk) = next_chunk(&mut body).await? {
        if whole.len() + chunk.len() > limit_bytes {
            return Err(ScrapeError::TooLarge { limit_bytes });
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

async fn gunzip<B>(mut body: B, limit_bytes: usize) -> Result<Bytes, ScrapeError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let mut decoder = GzDecoder::new(Bounded { bytes: Vec::new(), limit_bytes, full: false });
    while let Some(chunk) = next_chunk(&mut body).await? {
        let written = decoder.write_all(&chunk);
        if decoder.get_ref().full {
            return Err(ScrapeError::TooLarge { limit_bytes });
        }
        written.map_err(|error| damaged(&error))?;
    }
    let finished = decoder.try_finish();
    if decoder.get_ref().full {
        return Err(ScrapeError::TooLarge { limit_bytes });
    }
    finished.map_err(|error| damaged(&error))?;
    Ok(Bytes::from(std::mem::take(&mut decoder.get_mut().bytes)))
}

fn damaged(error: &std::io::Error) -> ScrapeError {
    ScrapeError::BadPage(format!("damaged gzip stream: {error}"))
}

async fn next_chunk<B>(body: &mut B) -> Result<Option<Bytes>, ScrapeError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => return Err(ScrapeError::from_client(&error)),
            Some(Ok(frame)) => {
                // Trailers carry no page.
                if let Ok(chunk) = frame.into_data() {
                    return Ok(Some(chunk));
                }
            }
        }
    }
}

/// Takes what fits and refuses the rest.
#[derive(Debug)]
struct Bounded {
    bytes: Vec<u8>,
    limit_bytes: usize,
    full: bool,
}

impl Write for Bounded {
    fn write(&mut self, chunk: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + chunk.len() > self.limit_bytes {
            self.full = true;
            return Err(std::io::Error::other("over the size limit"));
        }
        self.bytes.extend_from_slice(chunk);
        Ok(chunk.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

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

    async fn read_gzip(packed: Bytes, limit_bytes: usize) -> Result<Bytes, ScrapeError> {
        let headers = HeaderMap::from_iter([(CONTENT_ENCODING, http::HeaderValue::from_static("gzip"))]);
        read(&headers, Full::new(packed), limit_bytes).await
    }

    #[tokio::test]
    async fn exactly_the_limit_fits_and_one_byte_more_does_not() {
        let page = Bytes::from(vec![b'a'; 8 << 20]);
        let whole = read(&HeaderMap::new(), Full::new(page.clone()), 8 << 20).await.unwrap();
        assert_eq!(whole.len(), 8 << 20);
        let error = read(&HeaderMap::new(), Full::new(page), (8 << 20) - 1).await.unwrap_err();
        assert_eq!(error.kind(), FailureKind::TooLarge);
        assert_eq!(error.to_string(), "the page is larger than 8388607 bytes (SCRAPE_MAX_BYTES)");
    }

    #[tokio::test]
    async fn a_gzip_page_is_unpacked_and_a_bomb_is_cut_off() {
        assert_eq!(read_gzip(gzip(b"awscni_eni_max 3\n"), 1 << 20).await.unwrap(), "awscni_eni_max 3\n");
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
}
