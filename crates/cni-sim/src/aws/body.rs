//! Request bodies: read with a bound, unpacked with a bound.

use super::error::AwsError;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::HeaderMap;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::io::Read;

/// A request's body, unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// What the client meant.
    pub content: Bytes,
    /// How many bytes it was on the wire.
    pub wire_bytes: usize,
}

/// Reads `body`, which may be gzipped, and refuses it once its unpacked size exceeds `limit_bytes`.
///
/// AWS does not document whether its 1 MB counts packed or unpacked bytes. Unpacked is the stricter reading: a client
/// that keeps to it is safe under both.
pub async fn read(headers: &HeaderMap, body: axum::body::Body, limit_bytes: usize) -> Result<Payload, AwsError> {
    let raw = match Limited::new(body, limit_bytes).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(too_large(limit_bytes)),
        Err(error) => return Err(AwsError::malformed(format!("the body could not be read: {error}"))),
    };
    let wire_bytes = raw.len();
    let content = match headers.get(http::header::CONTENT_ENCODING).map(http::HeaderValue::as_bytes) {
        None | Some(b"identity" | b"") => raw,
        Some(b"gzip") => unpack(&raw, limit_bytes)?,
        Some(other) => {
            let name = String::from_utf8_lossy(other);
            return Err(AwsError::malformed(format!("content encoding {name} is not supported")));
        }
    };
    Ok(Payload { content, wire_bytes })
}

fn unpack(raw: &[u8], limit_bytes: usize) -> Result<Bytes, AwsError> {
    let mut content = Vec::new();
    let mut bounded = MultiGzDecoder::new(raw).take(limit_bytes as u64 + 1);
    bounded.read_to_end(&mut content).map_err(|error| AwsError::malformed(format!("bad gzip body: {error}")))?;
    if content.len() > limit_bytes { Err(too_large(limit_bytes)) } else { Ok(content.into()) }
}

fn too_large(limit_bytes: usize) -> AwsError {
    AwsError::shaped(
        413,
        "RequestEntityTooLarge",
        "RequestEntityTooLargeException",
        format!("Request size exceeded {limit_bytes} bytes"),
    )
}
