//! The smallest HTTP client that the simulator's control listener needs: one request a connection, nothing shared with the
//! programs that are measured.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

/// The truth of a hundred thousand nodes takes a while.
const TIMEOUT: Duration = Duration::from_mins(3);

/// Sends a request and reads the whole answer's body.
pub(crate) fn text(address: SocketAddr, method: &str, path: &str, body: &str) -> anyhow::Result<String> {
    let what = || format!("{method} http://{address}{path}");
    let mut stream = TcpStream::connect(address).with_context(what)?;
    stream.set_read_timeout(Some(TIMEOUT)).with_context(what)?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).with_context(what)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).with_context(what)?;
    let (status, body) = parse(&answer).with_context(what)?;
    ensure!((200..300).contains(&status), "{}: status {status}: {body}", what());
    Ok(body)
}

/// The same where the answer is JSON.
pub(crate) fn json(address: SocketAddr, method: &str, path: &str, body: &str) -> anyhow::Result<Value> {
    let text = text(address, method, path, body)?;
    serde_json::from_str(&text).with_context(|| format!("{method} {path}: the answer is not JSON"))
}

/// Status and body of a whole answer.
fn parse(answer: &[u8]) -> anyhow::Result<(u16, String)> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        bail!("the head of the answer does not end")
    };
    let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default()).to_ascii_lowercase();
    let status = head.split_ascii_whitespace().nth(1).and_then(|code| code.parse().ok()).context("no status")?;
    let body = answer.get(end + 4..).unwrap_or_default();
    let body = if head.contains("transfer-encoding: chunked") { unchunked(body)? } else { body.to_vec() };
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

fn unchunked(mut rest: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let line = rest.windows(2).position(|two| two == b"\r\n").context("a chunk without a size")?;
        let size = std::str::from_utf8(rest.get(..line).unwrap_or_default())?;
        let size = usize::from_str_radix(size.trim(), 16).context("a chunk's size")?;
        let begin = line + 2;
        if size == 0 {
            return Ok(whole);
        }
        whole.extend_from_slice(rest.get(begin..begin + size).context("the answer was cut")?);
        rest = rest.get(begin + size + 2..).context("the answer was cut")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_whole_or_in_chunks() {
        let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(parse(plain).unwrap(), (200, "{}".to_owned()));
        let chunked =
            b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n";
        assert_eq!(parse(chunked).unwrap(), (404, "abc0123456789".to_owned()));
        assert!(parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc\r\n").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\n").is_err());
    }
}
